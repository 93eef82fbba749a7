/** Pointers on the viewer: drag to move, two fingers or the wheel to zoom, a click to choose. */

export interface Handlers {
  /** Moved by (dx, dy) CSS pixels. */
  pan(dx: number, dy: number): void;
  /** Zoomed by `factor` about (x, y) of the page's window. */
  zoom(factor: number, x: number, y: number): void;
  point(x: number, y: number): void;
  leave(): void;
  /** Pressed and released at one place. */
  choose(x: number, y: number): void;
}

const STILL = 5;

interface Finger {
  x: number;
  y: number;
}

/** Listen on `element`; the result takes the listeners away. */
export function listen(element: HTMLElement, handlers: Handlers): () => void {
  const fingers = new Map<number, Finger>();
  let travelled = 0;
  const stop = new AbortController();
  const options = { signal: stop.signal };

  element.addEventListener(
    "pointerdown",
    (event) => {
      if (event.button !== 0 || (event.target as Element).closest("button, input, [role=slider]")) return;
      element.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (fingers.size === 1) travelled = 0;
    },
    options,
  );

  element.addEventListener(
    "pointermove",
    (event) => {
      const finger = fingers.get(event.pointerId);
      if (!finger) {
        if (event.pointerType === "mouse") handlers.point(event.clientX, event.clientY);
        return;
      }
      const [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y];
      const before = spread(fingers);
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      travelled += Math.hypot(dx, dy);
      const after = spread(fingers);
      if (before && after) {
        handlers.zoom(after.distance / Math.max(before.distance, 1), after.x, after.y);
        handlers.pan(after.x - before.x, after.y - before.y);
      } else if (travelled > STILL) {
        handlers.pan(dx, dy);
      }
      if (event.pointerType === "mouse") handlers.point(event.clientX, event.clientY);
    },
    options,
  );

  const release = (event: PointerEvent): void => {
    if (!fingers.delete(event.pointerId) || event.type === "pointercancel") return;
    if (fingers.size > 0) travelled = STILL + 1;
    else if (travelled <= STILL) {
      if (event.pointerType !== "mouse") handlers.point(event.clientX, event.clientY);
      handlers.choose(event.clientX, event.clientY);
    }
  };
  element.addEventListener("pointerup", release, options);
  element.addEventListener("pointercancel", release, options);
  element.addEventListener(
    "pointerleave",
    (event) => {
      if (event.pointerType === "mouse") handlers.leave();
    },
    options,
  );

  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const step = event.deltaY * (event.deltaMode === 1 ? 18 : 1) * (event.ctrlKey ? 4 : 1);
      handlers.zoom(Math.exp(-Math.max(-240, Math.min(240, step)) / 480), event.clientX, event.clientY);
    },
    { ...options, passive: false },
  );

  return () => stop.abort();
}

/** The middle of the first two fingers, and their distance. */
function spread(fingers: Map<number, Finger>): { x: number; y: number; distance: number } | null {
  const [first, second] = [...fingers.values()];
  if (!first || !second) return null;
  return {
    x: (first.x + second.x) / 2,
    y: (first.y + second.y) / 2,
    distance: Math.hypot(first.x - second.x, first.y - second.y),
  };
}
