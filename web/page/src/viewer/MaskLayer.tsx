/** A canvas with a mask in its labels' colours. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { findOutlines } from "../mask/tasks";
import { colourTable, paint } from "../mask/paint";
import { isShown, keyOf, opacity, type Result } from "../state";

interface Props {
  result: Result;
  outlined: boolean;
  /** The part that shows, as a CSS clip path; all of it by default. */
  clip?: string;
  name: string;
}

export function MaskLayer({ result, outlined, clip, name }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const mask = result.mask;
  const borders = useOutlines(result, outlined);
  const shown = mask ? mask.labels.map((label) => (isShown(label) ? "1" : "0")).join("") : "";

  useLayoutEffect(() => {
    const target = canvas.current;
    if (!target || !mask || (outlined && !borders)) return;
    const table = colourTable(mask.palette, (index) => shown[index] === "1");
    paint(target, borders ?? mask.indices, mask.width, mask.height, table);
    target.dataset.question = keyOf(result.question);
    target.dataset.outlined = String(outlined);
    performance.mark("lseg-painted");
  }, [mask, borders, outlined, shown]);

  return (
    <canvas
      ref={canvas}
      class="mask"
      data-layer={name}
      aria-hidden="true"
      style={{ opacity: outlined ? 1 : opacity.value, clipPath: clip ?? "none" }}
    />
  );
}

/** The borders of the labels once they are found; null before, and where they are not wanted. */
function useOutlines(result: Result, wanted: boolean): Uint8Array | null {
  const [found, setFound] = useState<{ of: unknown; borders: Uint8Array } | null>(null);
  const mask = result.mask;
  useLayoutEffect(() => {
    if (!wanted || !mask) return;
    let current = true;
    void findOutlines(mask.indices, mask.width, mask.height).then((borders) => {
      if (current) setFound({ of: mask, borders });
    });
    return () => {
      current = false;
    };
  }, [wanted, mask]);
  return wanted && found?.of === mask ? found.borders : null;
}
