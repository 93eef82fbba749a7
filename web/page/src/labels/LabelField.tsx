/** The labels as chips, and the field for new ones. */

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { cssColour } from "../mask/paint";
import { Icon } from "../panel/Icon";
import { active, description, draft, labels, notice } from "../state";
import { t } from "../texts";
import { presets, suggestions } from "./presets";
import { folded, joined, splitLabels, wordsOf } from "./split";

const BREAKS = /[,，、،;；\n\t]/;

export function LabelField() {
  const input = useRef<HTMLInputElement>(null);
  const chosen = useSignal(-1);
  const open = useSignal(false);
  const offered = open.value ? suggestions(draft.value, labels.value) : [];
  const isOpen = offered.length > 0;

  const add = (text: string): void => {
    const more = splitLabels(text);
    labels.value = joined(labels.value, more);
    draft.value = "";
    chosen.value = -1;
    open.value = false;
  };
  const remove = (label: string): void => {
    labels.value = labels.value.filter((one) => one !== label);
    notice.value = t().labels.removed(label);
    input.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.isComposing) return;
    if (event.key === "Enter") add(offered[chosen.value] ?? draft.value);
    else if (event.key === "ArrowDown" && isOpen) chosen.value = (chosen.value + 1) % offered.length;
    else if (event.key === "ArrowUp" && isOpen)
      chosen.value = (Math.max(chosen.value, 0) + offered.length - 1) % offered.length;
    else if (event.key === "Escape" && isOpen) open.value = false;
    else if (event.key === "Backspace" && draft.value === "" && labels.value.length > 0) remove(labels.value.at(-1)!);
    else return;
    event.preventDefault();
  };
  const onInput = (event: Event): void => {
    const text = (event.currentTarget as HTMLInputElement).value;
    open.value = true;
    chosen.value = -1;
    if (BREAKS.test(text) && !text.trim().startsWith("[")) add(text);
    else draft.value = text;
  };
  const onPaste = (event: ClipboardEvent): void => {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!BREAKS.test(text) && !text.trim().startsWith("[")) return;
    event.preventDefault();
    add(draft.value ? `${draft.value}\n${text}` : text);
  };

  return (
    <section class="card labels" aria-labelledby="labels-title">
      <div class="card-head">
        <h2 id="labels-title">{t().labels.title}</h2>
        {labels.value.length > 0 && (
          <button type="button" class="quiet" onClick={() => (labels.value = [])}>
            {t().labels.clear}
          </button>
        )}
      </div>
      <div class="chips-box" onClick={(event) => event.target === event.currentTarget && input.current?.focus()}>
        {labels.value.length > 0 && (
          <ul class="chips" aria-label={t().labels.list}>
            {labels.value.map((label) => (
              <Chip key={label} label={label} onRemove={() => remove(label)} />
            ))}
          </ul>
        )}
        <input
          ref={input}
          class="chip-input"
          role="combobox"
          aria-label={t().labels.field}
          aria-autocomplete="list"
          aria-expanded={isOpen}
          aria-controls="label-offers"
          aria-activedescendant={isOpen && chosen.value >= 0 ? `offer-${chosen.value}` : undefined}
          placeholder={labels.value.length ? t().labels.more : t().labels.first}
          dir="auto"
          autocomplete="off"
          autocapitalize="off"
          enterkeyhint="enter"
          spellcheck={false}
          maxLength={description.value?.limits?.max_label_length ?? 200}
          value={draft.value}
          onInput={onInput}
          onKeyDown={onKeyDown}
          onPaste={onPaste}
          onBlur={() => (open.value = false)}
        />
        <ul id="label-offers" class="offers" role="listbox" aria-label={t().labels.offers} hidden={!isOpen}>
          {offered.map((label, at) => (
            <li
              key={label}
              id={`offer-${at}`}
              role="option"
              aria-selected={at === chosen.value}
              onPointerDown={(event) => {
                event.preventDefault();
                add(label);
              }}
            >
              {label}
            </li>
          ))}
        </ul>
      </div>
      <Presets />
    </section>
  );
}

function Chip({ label, onRemove }: { label: string; onRemove: () => void }) {
  const mask = active.value?.result.value?.mask;
  const index = mask ? mask.labels.indexOf(label) : -1;
  const colour = mask && index >= 0 ? cssColour(mask.palette, index) : "var(--line-strong)";
  return (
    <li class="chip">
      <span class="dot" style={{ background: colour }} />
      <bdi>{label}</bdi>
      <button type="button" aria-label={t().labels.remove(label)} onClick={onRemove}>
        <Icon name="close" />
      </button>
    </li>
  );
}

function Presets() {
  const hasOther = labels.value.flatMap(wordsOf).some((word) => folded(word) === "other");
  return (
    <div class="presets" role="group" aria-label={t().labels.presets}>
      {!hasOther && (
        <button
          type="button"
          class="pill"
          title={t().labels.otherWhy}
          onClick={() => (labels.value = joined(labels.value, ["other"]))}
        >
          + other
        </button>
      )}
      {presets().map((one) => (
        <button
          type="button"
          key={one.id}
          class="pill"
          aria-pressed={one.labels.join() === labels.value.join()}
          onClick={() => (labels.value = one.labels)}
        >
          {t().labels.preset[one.id]} <span class="count">{one.labels.length}</span>
        </button>
      ))}
    </div>
  );
}
