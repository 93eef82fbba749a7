/** How long an answer will take, learnt from the last ones on this machine and kept in the browser. */

import { recall, remember } from "../memory";
import type { Mode } from "../state";

const PLACE = "durations";

/** Pictures whose number of pixels is within a factor of two are taken for alike. */
function kind(model: string, mode: Mode, pixels: number, held: boolean): string {
  return [model, mode, Math.round(Math.log2(Math.max(pixels, 1))), held ? "held" : "new"].join("|");
}

function durations(): Record<string, number> {
  try {
    return JSON.parse(recall(PLACE) ?? "{}") as Record<string, number>;
  } catch {
    return {};
  }
}

/**
 * Milliseconds that the next answer of this kind may take; null where there was none yet. Of a picture that was sent
 * before the features need not be held: as long as nothing is known of those that are, it may take as long as a new one.
 */
export function estimate(model: string, mode: Mode, pixels: number, held: boolean): number | null {
  const known = durations();
  const first = known[kind(model, mode, pixels, false)] ?? null;
  return held ? (known[kind(model, mode, pixels, true)] ?? first) : first;
}

/** Learn from an answer: the newest counts half. */
export function learn(model: string, mode: Mode, pixels: number, held: boolean, milliseconds: number): void {
  const known = durations();
  const one = kind(model, mode, pixels, held);
  known[one] = Math.round(known[one] === undefined ? milliseconds : (known[one] + milliseconds) / 2);
  remember(PLACE, JSON.stringify(known));
}
