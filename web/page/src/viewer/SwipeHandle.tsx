/** The line between the two halves of the swipe view; a slider for the keyboard and for screen readers. */

import type { Signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { t } from "../texts";

export function SwipeHandle({ at, width }: { at: Signal<number>; width: number }) {
  const held = useRef(false);
  const set = (value: number): void => {
    at.value = Math.min(1, Math.max(0, value));
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const steps: Record<string, number> = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.1, PageUp: 0.1 };
    const step = steps[event.key];
    if (event.key === "Home") set(0);
    else if (event.key === "End") set(1);
    else if (step !== undefined) set(at.value + step);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div
      class="swipe"
      role="slider"
      tabIndex={0}
      aria-label={t().viewer.swipe}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(at.value * 100)}
      style={{ left: `${at.value * width}px` }}
      onKeyDown={onKeyDown}
      onPointerDown={(event) => {
        held.current = true;
        event.currentTarget.setPointerCapture(event.pointerId);
      }}
      onPointerMove={(event) => {
        const box = event.currentTarget.parentElement?.getBoundingClientRect();
        if (held.current && box) set((event.clientX - box.left) / box.width);
      }}
      onPointerUp={() => {
        held.current = false;
      }}
    >
      <span aria-hidden="true">‹ ›</span>
    </div>
  );
}
