/** The legend: a table of the labels with colour, share and mean score, and the mask in words. */

import { useSignal } from "@preact/signals";
import { UNLABELLED } from "../mask/measure";
import { cssColour } from "../mask/paint";
import type { Decoded } from "../mask/worker";
import { active, hidden, isolated, peeked, pointed, type Result } from "../state";
import { percent, scoreText, t } from "../texts";
import { Icon } from "./Icon";

type Column = "name" | "share" | "score";

interface Row {
  index: number;
  name: string;
  share: number;
  score: number | null;
}

/** A row for each label in the mask's order, without the pixels that have none. */
export function rowsOf(mask: Decoded, result: Result): Row[] {
  return mask.labels.map((name, index) => ({
    index,
    name,
    share: mask.areas[index]! / mask.indices.length,
    score: result.scores?.[index] ?? null,
  }));
}

export function Legend() {
  const column = useSignal<Column>("share");
  const upwards = useSignal(false);
  const result = active.value?.result.value;
  const mask = result?.mask;
  if (!result || !mask) return null;
  const rows = rowsOf(mask, result);
  const sign = upwards.value ? 1 : -1;
  rows.sort((a, b) =>
    column.value === "name"
      ? sign * a.name.localeCompare(b.name)
      : sign * ((a[column.value] ?? -1) - (b[column.value] ?? -1)),
  );
  const unlabelled = mask.areas[UNLABELLED]! / mask.indices.length;
  const by = (one: Column): void => {
    upwards.value = column.value === one ? !upwards.value : one === "name";
    column.value = one;
  };
  const heading = (one: Column, text: string) => (
    <th
      scope="col"
      class={one}
      aria-sort={column.value === one ? (upwards.value ? "ascending" : "descending") : undefined}
    >
      <button type="button" onClick={() => by(one)}>
        {text}
        <Icon name="sort" />
      </button>
    </th>
  );

  return (
    <section class="card legend" aria-labelledby="legend-title">
      <div class="card-head">
        <h2 id="legend-title">{t().legend.title}</h2>
        {(hidden.value.size > 0 || isolated.value !== null) && (
          <button
            type="button"
            class="quiet"
            onClick={() => {
              hidden.value = new Set();
              isolated.value = null;
            }}
          >
            {t().legend.showAll}
          </button>
        )}
      </div>
      <div class="legend-scroll">
        <table onPointerLeave={() => (peeked.value = null)}>
          <thead>
            <tr>
              <th scope="col">
                <span class="unseen">{t().legend.shown}</span>
              </th>
              {heading("name", t().legend.label)}
              {heading("share", t().legend.share)}
              {heading("score", t().legend.score)}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <LegendRow key={row.name} row={row} colour={cssColour(mask.palette, row.index)} />
            ))}
            {unlabelled > 0 && (
              <tr class="unlabelled">
                <td />
                <th scope="row">{t().legend.unlabelled}</th>
                <td class="share">{percent(unlabelled)}</td>
                <td class="score">–</td>
              </tr>
            )}
          </tbody>
        </table>
      </div>
      <p class="in-words" role="status">
        {inWords(rowsOf(mask, result), unlabelled)}
      </p>
    </section>
  );
}

function LegendRow({ row, colour }: { row: Row; colour: string }) {
  const isHidden = hidden.value.has(row.name);
  const isAlone = isolated.value === row.name;
  const toggle = (): void => {
    const next = new Set(hidden.value);
    if (!next.delete(row.name)) next.add(row.name);
    hidden.value = next;
  };
  return (
    <tr
      class={row.share === 0 ? "absent" : undefined}
      data-pointed={pointed.value === row.index}
      data-hidden={isHidden}
      data-alone={isAlone}
      onPointerEnter={(event) => event.pointerType === "mouse" && row.share > 0 && (peeked.value = row.name)}
    >
      <td class="toggle">
        <button type="button" aria-pressed={!isHidden} aria-label={t().legend.show(row.name)} onClick={toggle}>
          <Icon name={isHidden ? "hidden" : "eye"} />
        </button>
      </td>
      <th scope="row">
        <button
          type="button"
          class="isolate"
          aria-pressed={isAlone}
          title={t().legend.isolate(row.name)}
          onClick={() => (isolated.value = isAlone ? null : row.name)}
        >
          <span class="dot" style={{ background: colour }} />
          <bdi>{row.name}</bdi>
        </button>
      </th>
      <td class="share">
        <span class="bar" aria-hidden="true">
          <span style={{ width: `${row.share * 100}%`, background: colour }} />
        </span>
        <span class="number">{percent(row.share)}</span>
      </td>
      <td class="score">{row.score === null || row.share === 0 ? "–" : scoreText(row.score)}</td>
    </tr>
  );
}

/** A name within a sentence of the page: one from right to left must not turn what is beside it. */
const apart = (name: string): string => `\u2068${name}\u2069`;

/** The mask described for those who do not see it: the largest labels with their shares, and those not found. */
function inWords(rows: Row[], unlabelled: number): string {
  const found = rows.filter((row) => row.share > 0).sort((a, b) => b.share - a.share);
  const absent = rows.filter((row) => row.share === 0).map((row) => apart(row.name));
  const named = found.slice(0, 6).map((row) => `${apart(row.name)} ${percent(row.share)}`);
  return t().legend.words(named, found.length - named.length, absent.slice(0, 8), absent.length, percent(unlabelled));
}
