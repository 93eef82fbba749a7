/** One question about one picture, from the request to the decoded mask. */

import { decode } from "../mask/tasks";
import { keyOf, type Picture, type Question, type Result, type Stage } from "../state";
import { requestMask, stagesOf, type JsonAnswer } from "./api";
import { estimate, learn } from "./estimate";
import { Fault } from "./faults";

/** For each picture and model: the milliseconds that the network took for it at first. */
const firstPass = new Map<string, number>();

const seenKey = (picture: Picture, question: Question): string => `${picture.id}|${question.model}|${question.mode}`;

const pixelsOf = (picture: Picture): number =>
  picture.result.value?.mask
    ? picture.result.value.mask.width * picture.result.value.mask.height
    : (picture.gallery?.width ?? 1000) * (picture.gallery?.height ?? 1000);

/** Milliseconds that the answer may take, by the last ones; null where nothing is known. */
export const expected = (picture: Picture, question: Question): number | null =>
  estimate(question.model, question.mode, pixelsOf(picture), firstPass.has(seenKey(picture, question)));

/**
 * Ask and decode. Fast mode answers with a PNG, and `addScores` asks for the rest when there is time; accurate mode
 * takes long, so that everything is asked for at once.
 */
export async function answer(picture: Picture, question: Question, signal: AbortSignal): Promise<Result> {
  const started = performance.now();
  const whole = question.mode === "accurate";
  let response: Response;
  let json: string | null = null;
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    response = await requestMask(picture.file, question, whole ? "json" : "png", signal);
  } catch (error) {
    if (!(whole && error instanceof Fault && error.type === "response_too_large")) throw error;
    response = await requestMask(picture.file, question, "png", signal);
  }
  if (response.headers.get("Content-Type")?.startsWith("application/json")) {
    json = await response.text();
    bytes = fromBase64((JSON.parse(json) as JsonAnswer).mask);
  } else {
    bytes = new Uint8Array(await response.arrayBuffer());
  }
  const png = bytes;
  performance.mark("lseg-received");
  const mask = await decode(png);
  signal.throwIfAborted();
  const stages = stagesOf(response.headers.get("Server-Timing"));
  const elapsed = performance.now() - started;
  const held = featuresHeld(picture, question, stages);
  learn(question.model, question.mode, mask.width * mask.height, held, elapsed);
  return {
    question,
    png,
    mask,
    json,
    scores: json === null ? null : scoresOf(json),
    device: response.headers.get("X-LSeg-Device") ?? "",
    stages,
    elapsed,
    featuresHeld: held,
  };
}

/** The same result with the response in the format `json`, whose mean scores the PNG lacks. */
export async function addScores(picture: Picture, result: Result, signal: AbortSignal): Promise<void> {
  const json = await (await requestMask(picture.file, result.question, "json", signal)).text();
  const now = picture.result.value;
  if (now && keyOf(now.question) === keyOf(result.question)) {
    picture.result.value = { ...now, json, scores: scoresOf(json) };
  }
}

function scoresOf(json: string): (number | null)[] {
  return (JSON.parse(json) as JsonAnswer).labels.map((entry) => entry.mean_score);
}

/** The features were held where the network took less than a third of its first time for this picture. */
function featuresHeld(picture: Picture, question: Question, stages: Stage[]): boolean {
  const network = stages.find((stage) => stage.name === "network")?.milliseconds;
  if (network === undefined) return false;
  const key = seenKey(picture, question);
  const first = firstPass.get(key);
  if (first === undefined || network > first) firstPass.set(key, network);
  return first !== undefined && network < first / 3;
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let at = 0; at < characters.length; at++) bytes[at] = characters.charCodeAt(at);
  return bytes;
}
