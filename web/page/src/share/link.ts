/** The address that brings back labels and options: all of it lies behind `#`, which is never sent to a server. */

import { effect } from "@preact/signals";
import { openGallery } from "../pictures/open";
import { active, gallery, labels, mode, modelId, template, threshold, view, type View } from "../state";

const VIEWS: View[] = ["overlay", "outlines", "swipe", "split"];

/** The address of the page as it stands. A picture is named where it is one of the gallery. */
export function currentLink(): string {
  const parts: string[] = [];
  // Labels are encoded one by one, so that a comma within a label is told from one between two.
  if (labels.value.length > 0) parts.push(`labels=${labels.value.map(encodeURIComponent).join(",")}`);
  if (mode.value !== "fast") parts.push(`mode=${mode.value}`);
  if (threshold.value > 0) parts.push(`threshold=${threshold.value}`);
  if (template.value) parts.push(`template=${encodeURIComponent(template.value)}`);
  if (view.value !== "overlay") parts.push(`view=${view.value}`);
  if (modelId.value) parts.push(`model=${encodeURIComponent(modelId.value)}`);
  if (active.value?.gallery) parts.push(`picture=${encodeURIComponent(active.value.gallery.id)}`);
  return `${location.origin}${location.pathname}${parts.length ? `#${parts.join("&")}` : ""}`;
}

/** Take over what the address says; what it does not understand is left out. Returns the picture that it names. */
export function readLink(hash: string): string | null {
  const found = new Map(
    hash
      .replace(/^#/, "")
      .split("&")
      .map((part): [string, string] => {
        const at = part.indexOf("=");
        return [part.slice(0, at), part.slice(at + 1)];
      }),
  );
  const listed = found.get("labels");
  if (listed) labels.value = [...new Set(listed.split(",").map(decoded).filter(Boolean))];
  if (found.get("mode") === "accurate") mode.value = "accurate";
  const limit = Number(found.get("threshold"));
  if (limit > 0 && limit <= 1) threshold.value = limit;
  template.value = decoded(found.get("template") ?? "");
  const wanted = VIEWS.find((one) => one === found.get("view"));
  if (wanted) view.value = wanted;
  modelId.value = decoded(found.get("model") ?? "");
  return decoded(found.get("picture") ?? "") || null;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text).trim();
  } catch {
    return "";
  }
}

/** Open the gallery's picture that the address named. */
export async function openLinked(id: string | null): Promise<void> {
  const one = gallery.value.find((picture) => picture.id === id);
  if (one) await openGallery(one);
}

/** Keep the address in step with the page, so that a reload brings it back. */
export function followLink(): void {
  effect(() => {
    const link = currentLink();
    if (link !== location.href) history.replaceState(null, "", link);
  });
}
