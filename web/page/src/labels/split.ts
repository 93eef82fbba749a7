/** Labels out of text that was typed or pasted. */

const COMMAS = /[,，、،]/;
const OTHERS = /[;；\t|]/;

/** The form in which two labels count as one: as the endpoint's text tower reads them. */
export const folded = (label: string): string => label.normalize("NFC").trim().replace(/\s+/g, " ").toLowerCase();

/**
 * The labels in `text`: a JSON list as it is, else one label a line, else parts between commas, semicolons, tabs or
 * bars. Where some lines hold commas inside ("building, edifice"), a line stays one label. Bullets and numbers at the
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

/** Those of `more` that `known` lacks, after `known`. */
export const joined = (known: string[], more: string[]): string[] => distinct([...known, ...more]);

function distinct(labels: string[]): string[] {
  const seen = new Set<string>();
  const out: string[] = [];
  for (const label of labels) {
    const name = label.normalize("NFC").trim().replace(/\s+/g, " ");
    if (!name || seen.has(folded(name))) continue;
    seen.add(folded(name));
    out.push(name);
  }
  return out;
}

function jsonList(text: string): string[] | null {
  if (!text.trim().startsWith("[")) return null;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((one) => typeof one === "string") ? value : null;
  } catch {
    return null;
  }
}
