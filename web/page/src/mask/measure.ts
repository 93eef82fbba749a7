/** What is counted in masks: areas, outlines, and where two masks agree. */

export const UNLABELLED = 255;

/** The number of pixels of each of the 256 indices. */
export function areas(indices: Uint8Array): Uint32Array {
  const counts = new Uint32Array(256);
  for (let at = 0; at < indices.length; at++) counts[indices[at]!]!++;
  return counts;
}

/**
 * The mask with everything but the borders between labels unlabelled.
 * On each side of a border a five-hundredth of the longer side is left, so that it shows on large photos too.
 */
export function outlines(indices: Uint8Array, width: number, height: number): Uint8Array {
  const out = new Uint8Array(indices.length).fill(UNLABELLED);
  const reach = Math.max(1, Math.round(Math.max(width, height) / 500));
  const down = reach * width;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const own = indices[at]!;
      if (
        (x >= reach && indices[at - reach] !== own) ||
        (x + reach < width && indices[at + reach] !== own) ||
        (y >= reach && indices[at - down] !== own) ||
        (y + reach < height && indices[at + down] !== own)
      ) {
        out[at] = own;
      }
    }
  }
  return out;
}

/** The share of pixels, 0 to 1, to which two masks of one size and one list of labels give the same label. */
export function agreement(first: Uint8Array, second: Uint8Array): number {
  let same = 0;
  for (let at = 0; at < first.length; at++) if (first[at] === second[at]) same++;
  return first.length ? same / first.length : 1;
}
