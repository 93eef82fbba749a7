/** The palette PNG of the endpoint, decoded by hand: a canvas could return other values than were sent. */

export interface Mask {
  width: number;
  height: number;
  /** The index of each pixel's label, row by row; 255 is unlabelled. */
  indices: Uint8Array;
  /** 256 colours, three bytes each: red, green, blue. */
  palette: Uint8Array;
  /** The labels in the order of their indices, from the text chunk `legend`. */
  labels: string[];
}

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const LEGEND = "legend";

/** Decode a PNG of 8 bits with a palette and without interlace; throws an Error that says what is wrong. */
export async function decodeMask(bytes: Uint8Array<ArrayBuffer>): Promise<Mask> {
  if (SIGNATURE.some((byte, at) => bytes[at] !== byte)) throw new Error("the mask is not a PNG");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const palette = new Uint8Array(768);
  let width = 0;
  let height = 0;
  let labels: string[] = [];
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (type === "IHDR") {
      width = view.getUint32(at + 8);
      height = view.getUint32(at + 12);
      if (data[8] !== 8 || data[9] !== 3 || data[12] !== 0) throw new Error("the mask is not a plain palette PNG");
    } else if (type === "PLTE") palette.set(data);
    else if (type === "iTXt") labels = legendOf(data) ?? labels;
    else if (type === "IDAT") parts.push(data);
    else if (type === "IEND") break;
    at += length + 12;
  }
  const rows = await inflate(parts, (width + 1) * height);
  return { width, height, indices: unfilter(rows, width, height), palette, labels };
}

/** The names in an uncompressed `iTXt` chunk, or undefined where it is another text. */
function legendOf(data: Uint8Array): string[] | undefined {
  const text = new TextDecoder().decode(data);
  if (!text.startsWith(`${LEGEND}\0\0\0`)) return undefined;
  // Behind the keyword and its end: two bytes about compression, then a language and a translated keyword.
  const start = text.indexOf("\0", text.indexOf("\0", LEGEND.length + 3) + 1) + 1;
  const entries = JSON.parse(text.slice(start)) as { name: string }[];
  return entries.map((entry) => entry.name);
}

/** Unpack zlib's format; `size` is the number of bytes that must come out. */
async function inflate(parts: Uint8Array<ArrayBuffer>[], size: number): Promise<Uint8Array> {
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(size);
  const reader = stream.getReader();
  let filled = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (filled + value.length > size) throw new Error("the mask has more pixels than its header says");
    rows.set(value, filled);
    filled += value.length;
  }
  if (filled !== size) throw new Error(`the mask ends after ${filled} of ${size} bytes`);
  return rows;
}

/** Undo the filter of each row (PNG specification, chapter 9); a pixel is one byte. */
function unfilter(rows: Uint8Array, width: number, height: number): Uint8Array {
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (width + 1)];
    const from = y * (width + 1) + 1;
    const to = y * width;
    if (filter === 0) {
      out.set(rows.subarray(from, from + width), to);
      continue;
    }
    for (let x = 0; x < width; x++) {
      const left = x > 0 ? out[to + x - 1]! : 0;
      const up = y > 0 ? out[to + x - width]! : 0;
      const corner = x > 0 && y > 0 ? out[to + x - width - 1]! : 0;
      out[to + x] = rows[from + x]! + predicted(filter!, left, up, corner);
    }
  }
  return out;
}

function predicted(filter: number, left: number, up: number, corner: number): number {
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  if (filter !== 4) throw new Error(`the mask has a row of the unknown filter ${filter}`);
  const a = Math.abs(up - corner);
  const b = Math.abs(left - corner);
  const c = Math.abs(left + up - 2 * corner);
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
