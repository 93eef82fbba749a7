/** The worker's tasks as promises. */

import type { Decoded, Task } from "./worker";

interface Answer {
  id: number;
  value?: unknown;
  error?: string;
}

const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
let last = 0;

worker.onmessage = (event: MessageEvent<Answer>) => {
  const { id, value, error } = event.data;
  const one = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) one?.resolve(value);
  else one?.reject(new Error(error));
};

function ask<T>(task: Task): Promise<T> {
  const id = ++last;
  return new Promise<T>((resolve, reject) => {
    waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
    worker.postMessage({ id, task });
  });
}

/** The mask in the bytes of a palette PNG, with the area of each index in pixels. */
export const decode = (bytes: Uint8Array<ArrayBuffer>): Promise<Decoded> => ask({ kind: "decode", bytes });

/** The borders between labels; see `measure.outlines`. */
export const findOutlines = (indices: Uint8Array, width: number, height: number): Promise<Uint8Array> =>
  ask({ kind: "outlines", indices, width, height });

/** The share of pixels, 0 to 1, on which two masks agree. */
export const compare = (first: Uint8Array, second: Uint8Array): Promise<number> =>
  ask({ kind: "agreement", first, second });
