/** Take the result along: files, commands, a link. */

import { requestMask, type Format } from "../segment/api";
import { Fault } from "../segment/faults";
import { active, notice, opacity, pictures, type Picture } from "../state";
import { Icon } from "../panel/Icon";
import { t } from "../texts";
import { currentLink } from "./link";
import { curlSnippet, pythonSnippet } from "./snippets";
import { zip, type Entry } from "./zip";

const stem = (picture: Picture): string => picture.name.replace(/\.[^.]+$/, "");

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  notice.value = t().downloads.saved(name);
}

async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard is closed to pages that did not come by HTTPS or from this machine.
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  notice.value = t().downloads.copied(what);
}

/** A file in one of the endpoint's formats; PNG and JSON are at hand, the others are asked for. */
async function download(picture: Picture, format: Format): Promise<void> {
  const result = picture.result.value;
  if (!result) return;
  const names: Record<Format, string> = {
    png: "mask.png",
    json: "mask.json",
    overlay: "overlay.png",
    zip: "parts.zip",
  };
  const name = `${stem(picture)}-${names[format]}`;
  try {
    if (format === "png") return save(new Blob([result.png], { type: "image/png" }), name);
    if (format === "json" && result.json) return save(new Blob([result.json], { type: "application/json" }), name);
    const alpha = format === "json" ? undefined : Math.round(opacity.value * 100) / 100;
    const response = await requestMask(picture.file, result.question, format, null, alpha);
    save(await response.blob(), name);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    notice.value = `${t().faults[error.type].title} ${error.message}`;
  }
}

/** The masks of all pictures that have one, with their legends, in one archive. */
async function downloadAll(): Promise<void> {
  const entries: Entry[] = [];
  const taken = new Set<string>();
  for (const picture of pictures.value) {
    const result = picture.result.value;
    if (!result) continue;
    let name = stem(picture);
    for (let copy = 2; taken.has(name); copy++) name = `${stem(picture)}-${copy}`;
    taken.add(name);
    const about = { image: picture.name, device: result.device, ...result.question };
    entries.push({ name: `${name}.mask.png`, bytes: result.png });
    entries.push({ name: `${name}.json`, bytes: new TextEncoder().encode(JSON.stringify(about, null, 2)) });
  }
  save(zip(entries), "masks.zip");
}

export function Downloads() {
  const picture = active.value;
  const result = picture?.result.value;
  if (!picture || !result) return null;
  const finished = pictures.value.filter((one) => one.result.value !== null).length;
  const formats: Format[] = ["png", "overlay", "json", "zip"];
  return (
    <section class="card downloads" aria-labelledby="downloads-title">
      <h2 id="downloads-title">{t().downloads.title}</h2>
      <div class="grid">
        {formats.map((format) => (
          <button type="button" key={format} onClick={() => void download(picture, format)}>
            <Icon name="download" />
            {t().downloads.formats[format]}
          </button>
        ))}
        {finished > 1 && (
          <button type="button" class="wide primary" onClick={() => void downloadAll()}>
            <Icon name="download" />
            {t().downloads.all(finished)}
          </button>
        )}
      </div>
      <div class="grid thirds">
        <button type="button" class="quiet" onClick={() => void copy(curlSnippet(picture, result.question), "curl")}>
          <Icon name="copy" />
          curl
        </button>
        <button
          type="button"
          class="quiet"
          onClick={() => void copy(pythonSnippet(picture, result.question), "Python")}
        >
          <Icon name="copy" />
          Python
        </button>
        <button type="button" class="quiet" onClick={() => void copy(currentLink(), t().downloads.link)}>
          <Icon name="link" />
          {t().downloads.link}
        </button>
      </div>
    </section>
  );
}
