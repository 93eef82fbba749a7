/** Keeps the list of models current: often while something is amiss, rarely otherwise. */

import { effect } from "@preact/signals";
import { modelId, models, pause } from "../state";
import { fetchModels, type Model } from "./api";
import { Fault } from "./faults";

const AMISS_MS = 1500;
const QUIET_MS = 20000;

let timer = 0;

async function look(): Promise<void> {
  window.clearTimeout(timer);
  try {
    const found = await fetchModels();
    if (JSON.stringify(found) !== JSON.stringify(models.value)) models.value = found;
    if (!found.some((one) => one.id === modelId.value)) {
      modelId.value = (found.find((one) => one.state === "ready") ?? found[0])?.id ?? "";
    }
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    models.value = models.value.map((one): Model => ({ ...one, state: "away" }));
  }
  const amiss = pause.value !== null || models.value.length === 0 || models.value.some((one) => one.state !== "ready");
  window.clearTimeout(timer);
  timer = window.setTimeout(() => void look(), amiss ? AMISS_MS : QUIET_MS);
}

/** Look at the models now and from then on, for as long as the page is open; at once where a request has failed. */
export function watchModels(): void {
  void look();
  effect(() => {
    if (pause.value) {
      window.clearTimeout(timer);
      timer = window.setTimeout(() => void look(), AMISS_MS);
    }
  });
}
