/** Lists of labels that are offered: those of the picture, of the model, and of known data sets. */

import ade20k from "../../../../labelsets/ade20k.txt?raw";
import coco from "../../../../labelsets/coco.txt?raw";
import pascal from "../../../../labelsets/pascal.txt?raw";
import { active, description } from "../state";
import { folded, splitLabels, wordsOf } from "./split";

export interface Preset {
  id: "picture" | "model" | "ade20k" | "pascal" | "coco";
  labels: string[];
}

const SETS: Preset[] = [
  { id: "ade20k", labels: splitLabels(ade20k) },
  { id: "pascal", labels: splitLabels(pascal) },
  { id: "coco", labels: splitLabels(coco) },
];

/** The lists to choose from at present. */
export function presets(): Preset[] {
  const found: Preset[] = [];
  const picture = active.value?.gallery?.labels ?? [];
  if (picture.length > 0) found.push({ id: "picture", labels: picture });
  const model = description.value?.label_set ?? [];
  if (model.length > 0) found.push({ id: "model", labels: model });
  const same = (one: Preset): boolean => one.labels.join() === model.join();
  return [...found, ...SETS.filter((one) => !same(one))];
}

/** Known labels that hold what was typed, those that begin with it first; at most `most`. */
export function suggestions(typed: string, taken: string[], most = 7): string[] {
  const word = typed.trim().toLowerCase();
  if (!word) return [];
  const used = new Set(taken.flatMap(wordsOf).map(folded));
  const known = new Set(presets().flatMap((one) => one.labels));
  const fitting = [...known].filter((label) => label.toLowerCase().includes(word) && !used.has(folded(label)));
  const rank = (label: string): number => (label.toLowerCase().startsWith(word) ? 0 : 1);
  return fitting.sort((a, b) => rank(a) - rank(b) || a.length - b.length).slice(0, most);
}
