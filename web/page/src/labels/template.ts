/** The sentences that words stand in: "a photo of a {}", or a JSON list of several. */

const isTemplate = (one: unknown): boolean => typeof one === "string" && one.split("{}").length === 2;

/** Whether the endpoint can take `text` as its template; nothing stands for none. */
export function isUsable(text: string): boolean {
  if (!text.trim()) return true;
  if (!text.trim().startsWith("[")) return isTemplate(text);
  try {
    const several: unknown = JSON.parse(text);
    return Array.isArray(several) && several.length > 0 && several.every(isTemplate);
  } catch {
    return false;
  }
}
