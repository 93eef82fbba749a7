/** Painting a mask through a table of 256 colours: to hide or isolate labels changes the table alone. */

import { UNLABELLED } from "./measure";

const littleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** The colour of each index as a pixel of a canvas; those that `shown` refuses, and unlabelled ones, are transparent. */
export function colourTable(palette: Uint8Array, shown: (index: number) => boolean): Uint32Array {
  const table = new Uint32Array(256);
  for (let index = 0; index < UNLABELLED; index++) {
    if (!shown(index)) continue;
    const [red, green, blue] = palette.subarray(3 * index, 3 * index + 3) as unknown as [number, number, number];
    table[index] = littleEndian
      ? ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0
      : ((red << 24) | (green << 16) | (blue << 8) | 255) >>> 0;
  }
  return table;
}

/** Paint `indices` on the canvas, which takes the size of the mask. */
export function paint(
  canvas: HTMLCanvasElement,
  indices: Uint8Array,
  width: number,
  height: number,
  table: Uint32Array,
): void {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) return;
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < indices.length; at++) pixels[at] = table[indices[at]!]!;
  context.putImageData(image, 0, 0);
}

/** The colour of an index as CSS takes it. */
export function cssColour(palette: Uint8Array, index: number): string {
  return `rgb(${palette[3 * index]} ${palette[3 * index + 1]} ${palette[3 * index + 2]})`;
}
