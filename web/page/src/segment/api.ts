/** The calls of the app that serves this page. */

import { inRequest } from "../labels/split";
import type { Question, Stage } from "../state";
import { Fault, faultOf } from "./faults";

export interface Description {
  label_set?: string[];
  limits?: { max_labels?: number; max_label_length?: number; max_image_pixels?: number };
}

export interface Model {
  id: string;
  server: string;
  model: string;
  state: "ready" | "warming" | "no_worker" | "away";
  device: string | null;
  description: Description | null;
}

export interface GalleryPicture {
  id: string;
  title: string;
  url: string;
  thumbnail: string;
  width: number;
  height: number;
  credit: string;
  labels: string[];
}

/** What is read of a response in the format `json`. */
export interface JsonAnswer {
  device: string;
  timings_ms?: Record<string, number>;
  labels: { index: number; name: string; mean_score: number | null }[];
  mask: string;
}

export type Format = "png" | "json" | "overlay" | "zip";

/** The address that masks are asked for at. */
export const segmentPath = (model: string): string =>
  `/api/models/${model.split("/").map(encodeURIComponent).join("/")}/segment`;

async function call(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Fault("page_unreachable", "");
  }
  if (!response.ok) throw await faultOf(response);
  return response;
}

export async function fetchModels(): Promise<Model[]> {
  return ((await (await call("/api/models", { cache: "no-store" })).json()) as { models: Model[] }).models;
}

export async function fetchGallery(): Promise<GalleryPicture[]> {
  return ((await (await call("/api/gallery")).json()) as { pictures: GalleryPicture[] }).pictures;
}

/** The file at an address of this page. */
export const fetchFile = async (path: string): Promise<Blob> => (await call(path)).blob();

/** The fields of a request, without the image, as the endpoint takes them. */
export function fieldsOf(question: Question, format: Format, alpha?: number): [string, string][] {
  const fields: [string, string][] = [
    ["labels", JSON.stringify(question.labels.map(inRequest))],
    ["format", format],
    ["mode", question.mode],
  ];
  if (question.threshold > 0) fields.push(["threshold", String(question.threshold)]);
  if (question.template) fields.push(["template", question.template]);
  if (alpha !== undefined) fields.push(["alpha", String(alpha)]);
  return fields;
}

/** Ask for the mask of a picture in one of the endpoint's formats; a Fault says what went wrong. */
export async function requestMask(
  file: Blob,
  question: Question,
  format: Format,
  signal: AbortSignal | null,
  alpha?: number,
): Promise<Response> {
  const form = new FormData();
  for (const [name, value] of fieldsOf(question, format, alpha)) form.append(name, value);
  form.append("image", file, "image");
  return call(segmentPath(question.model), { method: "POST", body: form, signal });
}

/** The stages in a `Server-Timing` header such as `decode;dur=4.1, network;dur=20`. */
export function stagesOf(header: string | null): Stage[] {
  const stages: Stage[] = [];
  for (const part of (header ?? "").split(",")) {
    const found = /^\s*([\w-]+)\s*;.*?dur=([\d.]+)/.exec(part);
    if (found) stages.push({ name: found[1]!, milliseconds: Number(found[2]) });
  }
  return stages;
}
