/** The worker: decodes and measures masks, so that the page stays responsive with large photos. */

import { agreement, areas, outlines } from "./measure";
import { decodeMask, type Mask } from "./png";

export type Task =
  | { kind: "decode"; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "outlines"; indices: Uint8Array; width: number; height: number }
  | { kind: "agreement"; first: Uint8Array; second: Uint8Array };

export interface Decoded extends Mask {
  areas: Uint32Array;
}

interface Message {
  id: number;
  task: Task;
}

async function work(task: Task): Promise<unknown> {
  if (task.kind === "outlines") return outlines(task.indices, task.width, task.height);
  if (task.kind === "agreement") return agreement(task.first, task.second);
  const mask = await decodeMask(task.bytes);
  return { ...mask, areas: areas(mask.indices) } satisfies Decoded;
}

self.onmessage = async (event: MessageEvent<Message>) => {
  const { id, task } = event.data;
  try {
    const value = await work(task);
    const buffers: Transferable[] = [];
    if (value instanceof Uint8Array) buffers.push(value.buffer);
    else if (task.kind === "decode") buffers.push((value as Decoded).indices.buffer);
    self.postMessage({ id, value }, { transfer: buffers });
  } catch (error) {
    self.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
};
