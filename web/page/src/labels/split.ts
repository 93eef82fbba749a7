/** Labels out of text that was typed or pasted. */

const COMMAS = /[,，、،]/;
const OTHERS = /[;；\t]/;
const BARS = /[|｜]/;
const BETWEEN = " | ";

/** The form in which two labels count as one: as the endpoint's text tower reads them. */
export const folded = (label: string): string => label.normalize("NFC").trim().replace(/\s+/g, " ").toLowerCase();

/** The words of a label: bars stand between synonyms, which the mask shows as one. */
export const wordsOf = (label: string): string[] =>
  label
    .split(BARS)
    .map((word) => word.trim())
    .filter(Boolean);

/** A label as a request in JSON names it. A group is called what its chip says, so that the legend says the same. */
export function inRequest(label: string): string | { name: string; any: string[] } {
  const words = wordsOf(label);
  return words.length > 1 ? { name: label, any: words } : label;
}

/**
 * The labels in `text`: a JSON list as it is, else one label a line, else parts between commas, semicolons or tabs.
 * Bars within a label stand between its words. Where some lines hold commas inside ("building, edifice"), a line stays one label. Bullets and numbers at the
 * start of a line go.
 */
export function splitLabels(text: string): string[] {
  const listed = jsonList(text);
  if (listed) return distinct(listed);
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter(Boolean);
  if (lines.length > 1) {
    const wrapped = lines.slice(0, -1).every((line) => COMMAS.test(line.slice(-1)));
    if (wrapped) return distinct(lines.join(" ").split(COMMAS));
    return distinct(lines.map((line) => line.replace(/^(?:[-*•]|\d+[.):])\s+/, "").replace(/[,，、،]$/, "")));
  }
  return distinct(text.split(OTHERS).flatMap((part) => part.split(COMMAS)));
}

/** Those of `more` that `known` lacks, after `known`. New words of a label that is there already are put into it. */
export const joined = (known: string[], more: string[]): string[] => distinct([...known, ...more]);

function distinct(labels: string[]): string[] {
  const places = new Map<string, number>(); // of each word, the label that it is in
  const groups: string[][] = [];
  for (const label of labels) {
    const words = wordsOf(label.normalize("NFC").trim().replace(/\s+/g, " "));
    const fresh = words.filter((word, at) => {
      const first = words.findIndex((one) => folded(one) === folded(word));
      return first === at && !places.has(folded(word));
    });
    if (fresh.length === 0) continue;
    const there = words.map((word) => places.get(folded(word))).find((place) => place !== undefined);
    const place = there ?? groups.push([]) - 1;
    groups[place]!.push(...fresh);
    for (const word of fresh) places.set(folded(word), place);
  }
  return groups.map((words) => words.join(BETWEEN));
}

function jsonList(text: string): string[] | null {
  if (!text.trim().startsWith("[")) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (!Array.isArray(value)) return null;
    const labels = value.map(labelOf);
    return labels.every((one) => one !== null) ? labels : null;
  } catch {
    return null;
  }
}

/** A label of a JSON list, where it is a text, a list of words or an object with words; a name is not kept. */
function labelOf(item: unknown): string | null {
  if (typeof item === "string") return item;
  const words: unknown = Array.isArray(item) ? item : (item as { any?: unknown } | null)?.any;
  return Array.isArray(words) && words.every((one) => typeof one === "string") ? words.join(BETWEEN) : null;
}
