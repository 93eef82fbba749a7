/** What the page knows. Everything that is drawn follows from these signals. */

import { computed, signal, type Signal } from "@preact/signals";
import type { Description, GalleryPicture, Model } from "./segment/api";
import { isUsable } from "./labels/template";
import type { Fault } from "./segment/faults";
import type { Decoded } from "./mask/worker";

export type Mode = "fast" | "accurate";
export type View = "overlay" | "outlines" | "swipe" | "split";

/** All that decides a mask, besides the picture. */
export interface Question {
  model: string;
  labels: string[];
  mode: Mode;
  threshold: number;
  /** The sentence that each word stands in, or a JSON list of several; empty for the word as it is. */
  template: string;
}

export interface Stage {
  name: string;
  milliseconds: number;
}

/** A mask and what is known of how it came about. */
export interface Result {
  question: Question;
  png: Uint8Array<ArrayBuffer>;
  /** Null for pictures that are not on show: it is decoded again when they are. */
  mask: Decoded | null;
  /** The response in the format `json` as it came, and its mean scores by index. */
  json: string | null;
  scores: (number | null)[] | null;
  device: string;
  stages: Stage[];
  /** From the request to the mask in the browser, in milliseconds. */
  elapsed: number;
  /** Whether this page sent the picture before and its features were still held. */
  featuresHeld: boolean;
}

export type Status =
  | { kind: "idle" }
  | { kind: "working"; since: number; estimate: number | null }
  | { kind: "failed"; fault: Fault; question: string };

export interface Picture {
  id: number;
  name: string;
  file: Blob;
  /** An address that an <img> can show; empty until the server has drawn a kind that the browser cannot. */
  url: Signal<string>;
  gallery: GalleryPicture | null;
  status: Signal<Status>;
  result: Signal<Result | null>;
  /** The same picture by another model or mode. */
  other: Signal<Result | null>;
  agreement: Signal<number | null>;
}

/** Why nothing is sent at present, and when it will be tried again (milliseconds since 1970). */
export interface Pause {
  fault: Fault;
  until: number;
  attempt: number;
}

export const models = signal<Model[]>([]);
export const gallery = signal<GalleryPicture[]>([]);
export const pictures = signal<Picture[]>([]);
export const activeId = signal<number | null>(null);

export const labels = signal<string[]>([]);
/** The word that is being typed. */
export const draft = signal("");
export const mode = signal<Mode>("fast");
export const threshold = signal(0);
/** As it is typed; it counts once it is usable. */
export const template = signal("");
export const modelId = signal("");
/** What the mask is compared with: a model and a mode. */
export const comparison = signal<{ model: string; mode: Mode } | null>(null);

export const view = signal<View>("overlay");
export const opacity = signal(0.6);
export const hidden = signal<ReadonlySet<string>>(new Set());
export const isolated = signal<string | null>(null);
/** The label under the pointer in the legend, shown alone as long as it is there. */
export const peeked = signal<string | null>(null);
/** The label under the pointer or the cursor in the picture, by its index. */
export const pointed = signal<number | null>(null);

export const pause = signal<Pause | null>(null);
/** A short message that goes by itself, such as "copied". */
export const notice = signal("");

export const active = computed(() => pictures.value.find((one) => one.id === activeId.value) ?? null);
export const model = computed<Model | null>(() => models.value.find((one) => one.id === modelId.value) ?? null);
export const description = computed<Description | null>(() => model.value?.description ?? null);

/** What is typed as the template, where it can be used. */
const usedTemplate = computed(() => (isUsable(template.value) ? template.value.trim() : ""));

/** The question as it stands, without the word that is being typed. */
export const question = computed<Question>(() => ({
  model: modelId.value,
  labels: labels.value,
  mode: mode.value,
  threshold: threshold.value,
  template: usedTemplate.value,
}));

export const keyOf = (one: Question): string => JSON.stringify([one.model, one.labels, one.mode, one.threshold, one.template]);

/** Whether a label is drawn: one that is isolated or peeked at goes before those that are hidden. */
export function isShown(name: string): boolean {
  const alone = peeked.value ?? isolated.value;
  return alone === null ? !hidden.value.has(name) : alone === name;
}
