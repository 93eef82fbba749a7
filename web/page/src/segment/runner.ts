/**
 * Decides what is asked next: one request at a time, the picture on show first. A question that has changed aborts the
 * request on its way. A fault that passes pauses everything, and is tried again with growing pauses.
 */

import { effect, untracked } from "@preact/signals";
import { joined } from "../labels/split";
import { decode } from "../mask/tasks";
import {
  active,
  activeId,
  comparison,
  draft,
  keyOf,
  labels,
  model,
  modelId,
  pause,
  pictures,
  question,
  type Picture,
  type Question,
} from "../state";
import { addScores, answer, expected } from "./answers";
import type { Model } from "./api";
import { delayBefore, Fault, passes } from "./faults";

const MOST_ATTEMPTS = 60;
const AT_ONCE_MS = 0;
const TYPING_MS = 300;
const SCORES_MS = 350;
const STATE_MS = 2000; // until the state of a model that is not ready is looked at again

interface Job {
  picture: Picture;
  key: string;
  controller: AbortController;
}

let job: Job | null = null;
let timer = 0;
let isDue = false; // whether the timer is of what counts at once
let scoresTimer = 0;
let scoresJob: AbortController | null = null;

/** The question with the word that is being typed, where new words come quickly. */
function asked(): Question {
  const base = question.value;
  const word = draft.value.trim();
  const last = active.value?.result.value;
  const quick =
    base.mode === "fast" && base.threshold === 0 && last !== null && last !== undefined && last.elapsed < 1500;
  if (word.length < 2 || !quick) return base;
  const more = joined(base.labels, [word]);
  return more.join() === base.labels.join() ? base : { ...base, labels: more };
}

/** Whether a picture has to be asked for; one that failed at this very question waits for another one. */
function isOpen(picture: Picture, one: Question): boolean {
  const status = picture.status.value;
  if (status.kind === "failed" && status.question === keyOf(one)) return false;
  return !picture.result.value || keyOf(picture.result.value.question) !== keyOf(one);
}

function otherQuestion(): Question | null {
  const wanted = comparison.value;
  return wanted === null ? null : { ...question.value, ...wanted };
}

/** The next thing to do: the picture on show, its comparison, then the others in their order. */
function next(): { picture: Picture; one: Question; isOther: boolean } | null {
  const shown = active.value;
  const one = asked();
  if (!one.model || one.labels.length === 0) return null;
  if (shown && isOpen(shown, one)) return { picture: shown, one, isOther: false };
  const other = otherQuestion();
  if (shown?.result.value && other && keyOf(other) !== keyOf(one)) {
    const status = shown.status.value;
    const failed = status.kind === "failed" && status.question === keyOf(other);
    const held = shown.other.value;
    if (!failed && (!held || keyOf(held.question) !== keyOf(other)))
      return { picture: shown, one: other, isOther: true };
  }
  const rest = pictures.value.find((picture) => picture !== shown && isOpen(picture, question.value));
  return rest ? { picture: rest, one: question.value, isOther: false } : null;
}

/** Take back faults of questions that are no longer asked, where what is asked now was answered before. */
function forgetOldFaults(): void {
  const one = asked();
  const other = otherQuestion();
  const current = [one, question.value, ...(other ? [other] : [])].map(keyOf);
  for (const picture of pictures.value) {
    const status = picture.status.value;
    const isOld = status.kind === "failed" && !current.includes(status.question);
    if (isOld && !isOpen(picture, picture === active.value ? one : question.value)) picture.status.value = { kind: "idle" };
  }
}

function schedule(milliseconds: number): void {
  window.clearTimeout(timer);
  isDue = milliseconds === AT_ONCE_MS;
  timer = window.setTimeout(() => {
    isDue = false;
    void run();
  }, milliseconds);
}

/** Stop what is on its way; nothing more is asked until something changes. */
export function cancel(): void {
  window.clearTimeout(timer);
  isDue = false;
  abort();
  pause.value = null;
}

function abort(): void {
  const stale = job;
  job = null;
  stale?.controller.abort();
  if (stale?.picture.status.value.kind === "working") stale.picture.status.value = { kind: "idle" };
}

/** Try again now, also what failed. */
export function retryNow(): void {
  for (const picture of pictures.value) {
    if (picture.status.value.kind === "failed") picture.status.value = { kind: "idle" };
  }
  if (pause.value) pause.value = { ...pause.value, until: Date.now() };
  schedule(AT_ONCE_MS);
}

async function run(): Promise<void> {
  forgetOldFaults();
  const task = next();
  if (!task) return abort(); // what is on its way is not wanted any more
  const { picture, one, isOther } = task;
  const key = keyOf(one);
  if (job && job.picture === picture && job.key === key) return;
  abort();
  scoresJob?.abort();
  const rest = (pause.value?.until ?? 0) - Date.now();
  if (rest > 0) return schedule(rest);
  const state = model.value?.state;
  if (state && state !== "ready" && one.model === modelId.value) {
    return hold(faultOfState(state), STATE_MS, pause.value?.attempt ?? 0);
  }
  const mine: Job = { picture, key, controller: new AbortController() };
  job = mine;
  picture.status.value = { kind: "working", since: Date.now(), estimate: expected(picture, one) };
  try {
    const result = await answer(picture, one, mine.controller.signal);
    if (job !== mine) return;
    pause.value = null;
    if (isOther) {
      picture.other.value = result;
    } else {
      // Pictures beside the one on show keep their file alone.
      picture.result.value = picture === active.value ? result : { ...result, mask: null };
    }
    picture.status.value = { kind: "idle" };
  } catch (error) {
    if (job !== mine) return; // it was aborted
    fail(picture, key, error);
  }
  job = null;
  if (!pause.value) {
    schedule(AT_ONCE_MS);
    scheduleScores();
  }
}

function fail(picture: Picture, key: string, error: unknown): void {
  const fault = error instanceof Fault ? error : new Fault("internal_error", String(error));
  const attempt = pause.value?.attempt ?? 0;
  if (passes(fault) && attempt < MOST_ATTEMPTS) {
    picture.status.value = { kind: "idle" };
    hold(fault, delayBefore(attempt, fault), attempt + 1);
  } else {
    pause.value = null;
    picture.status.value = { kind: "failed", fault, question: key };
  }
}

/** What a model that is not ready is waited for. */
const faultOfState = (state: Model["state"]): Fault =>
  new Fault(state === "away" ? "server_unreachable" : "warming", "");

/** Ask nothing for a time. `attempt` counts requests that failed; a model known to be away is not asked at all. */
function hold(fault: Fault, milliseconds: number, attempt: number): void {
  pause.value = { fault, until: Date.now() + milliseconds, attempt };
  schedule(milliseconds);
}

/** Mean scores come when the page is at rest, so that they never delay a mask. */
function scheduleScores(): void {
  window.clearTimeout(scoresTimer);
  scoresTimer = window.setTimeout(() => {
    const picture = active.value;
    const result = picture?.result.value;
    if (!picture || !result || result.scores || job || pause.value) return;
    if (keyOf(result.question) !== keyOf(question.value)) return;
    scoresJob = new AbortController();
    addScores(picture, result, scoresJob.signal).catch(() => undefined); // the mask is there without them
  }, SCORES_MS);
}

/** A picture that comes on show has its mask decoded; the others let go of theirs. */
async function holdOneMask(): Promise<void> {
  const shown = active.peek();
  for (const picture of pictures.peek()) {
    const result = picture.result.peek();
    if (picture !== shown && result?.mask) picture.result.value = { ...result, mask: null };
    if (picture !== shown) picture.other.value = null;
  }
  const result = shown?.result.peek();
  if (!shown || !result || result.mask) return;
  const mask = await decode(result.png);
  const now = shown.result.peek();
  if (now && now.png === result.png) shown.result.value = { ...now, mask };
}

/** Begin to answer whatever the state asks for. */
export function startRunner(): void {
  let quick = "";
  effect(() => {
    // Words that are complete, and choices, count at once; typing and sliders wait for a rest.
    const one = question.value;
    const now = JSON.stringify([
      one.model,
      one.labels,
      one.mode,
      activeId.value,
      comparison.value,
      pictures.value.length,
    ]);
    const isQuick = now !== quick;
    quick = now;
    void draft.value;
    // A word that is complete empties the field behind it, which is no typing that should be waited for.
    schedule(isQuick || isDue ? AT_ONCE_MS : TYPING_MS);
  });
  effect(() => {
    void activeId.value;
    void holdOneMask();
    scheduleScores();
  });
  effect(() => {
    const state = model.value?.state;
    const now = pause.peek();
    if (!state || !now) return;
    // The server has come back: no need to wait for the end of the pause.
    if (state === "ready") return untracked(retryNow);
    // It is on its way: what is said follows it.
    const fault = faultOfState(state);
    const isOfState = now.fault.type === "server_unreachable" || now.fault.type === "warming";
    if (isOfState && now.fault.type !== fault.type) pause.value = { ...now, fault };
  });
  effect(() => {
    if (labels.value.length === 0) untracked(abort);
  });
}
