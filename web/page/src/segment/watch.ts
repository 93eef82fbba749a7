/** Keeps the list of models current: often while something is amiss, rarely otherwise. */

import { modelId, models, pause } from "../state";
import { fetchModels, type Model } from "./api";
import { Fault } from "./faults";

const AMISS_MS = 1500;
const QUIET_MS = 20000;

/** Look at the models now and from then on, for as long as the page is open. */
export async function watchModels(): Promise<void> {
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
  window.setTimeout(() => void watchModels(), amiss ? AMISS_MS : QUIET_MS);
}
