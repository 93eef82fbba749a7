/** The pictures of this session in a row, each with its mask as it comes; and the gallery's others. */

import { useLayoutEffect, useRef } from "preact/hooks";
import { decode } from "../mask/tasks";
import { colourTable, paint } from "../mask/paint";
import { Icon } from "../panel/Icon";
import { active, activeId, gallery, pictures, type Picture } from "../state";
import { t } from "../texts";
import { ChooseButtons } from "./Choose";
import { closePicture, openGallery } from "./open";

const THUMB = 160;

export function Strip() {
  const open = new Set(pictures.value.map((one) => one.gallery?.id));
  return (
    <nav class="strip" aria-label={t().strip.title}>
      <ul>
        {pictures.value.map((one) => (
          <Entry key={one.id} picture={one} />
        ))}
        <li>
          <ChooseButtons compact />
        </li>
        {gallery.value
          .filter((one) => !open.has(one.id))
          .map((one) => (
            <li key={one.id} class="offer">
              <button
                type="button"
                class="thumb"
                aria-label={t().start.open(one.title)}
                title={one.title}
                onClick={() => void openGallery(one)}
              >
                <img src={one.thumbnail} alt="" loading="lazy" />
              </button>
            </li>
          ))}
      </ul>
    </nav>
  );
}

function Entry({ picture }: { picture: Picture }) {
  const status = picture.status.value;
  const state = status.kind === "idle" ? (picture.result.value ? "done" : "idle") : status.kind;
  return (
    <li data-state={state}>
      <button
        type="button"
        class="thumb"
        aria-current={active.value === picture ? "true" : undefined}
        aria-label={`${picture.name}, ${t().strip.status[state]}`}
        title={picture.name}
        onClick={() => (activeId.value = picture.id)}
      >
        {picture.url.value && <img src={picture.url.value} alt="" />}
        <ThumbMask picture={picture} />
        <span class="badge" aria-hidden="true">
          {state === "done" && <Icon name="check" />}
        </span>
      </button>
      <button
        type="button"
        class="thumb-close"
        aria-label={t().strip.close(picture.name)}
        onClick={() => closePicture(picture)}
      >
        <Icon name="close" />
      </button>
    </li>
  );
}

/** The mask at the size of a thumbnail. */
function ThumbMask({ picture }: { picture: Picture }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const png = picture.result.value?.png;
  useLayoutEffect(() => {
    if (!png) return;
    let current = true;
    const held = picture.result.peek()?.mask;
    const mask = held ? Promise.resolve(held) : decode(png);
    void mask.then(({ indices, width, height, palette }) => {
      if (!current || !canvas.current) return;
      const step = Math.max(1, Math.ceil(Math.max(width, height) / THUMB));
      const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
      const few = new Uint8Array(columns * rows);
      for (let y = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++) few[y * columns + x] = indices[y * step * width + x * step]!;
      }
      paint(
        canvas.current,
        few,
        columns,
        rows,
        colourTable(palette, () => true),
      );
    });
    return () => {
      current = false;
    };
  }, [png]);
  return png ? <canvas ref={canvas} class="thumb-mask" aria-hidden="true" /> : null;
}
