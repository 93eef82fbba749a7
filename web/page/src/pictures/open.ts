/** Pictures into the page: files, the clipboard, the gallery, the camera. */

import { signal } from "@preact/signals";
import { fetchFile, requestMask, type GalleryPicture } from "../segment/api";
import { activeId, labels, modelId, pictures, type Picture } from "../state";

let last = 0;

/** Take pictures up, and show the first of them. */
export function openFiles(files: Iterable<Blob>, gallery: GalleryPicture | null = null): void {
  const added: Picture[] = [];
  for (const file of files) {
    const picture: Picture = {
      id: ++last,
      name: file instanceof File && file.name ? file.name : `picture-${last}.png`,
      file,
      url: signal(URL.createObjectURL(file)),
      gallery,
      status: signal({ kind: "idle" }),
      result: signal(null),
      other: signal(null),
      agreement: signal(null),
    };
    added.push(picture);
  }
  if (added.length === 0) return;
  if (labels.value.length === 0 && gallery) labels.value = gallery.labels;
  pictures.value = [...pictures.value, ...added];
  activeId.value = added[0]!.id;
}

/** Open a picture of the gallery; one that is open already is shown. */
export async function openGallery(one: GalleryPicture): Promise<void> {
  const open = pictures.value.find((picture) => picture.gallery?.id === one.id);
  if (open) {
    activeId.value = open.id;
    return;
  }
  const blob = await fetchFile(one.url);
  const name = one.url.split("/").pop() ?? one.id;
  openFiles([new File([blob], name, { type: blob.type })], one);
}

/** Take a picture away; the one beside it is shown. */
export function closePicture(picture: Picture): void {
  const rest = pictures.value.filter((one) => one !== picture);
  const at = pictures.value.indexOf(picture);
  if (picture.url.value) URL.revokeObjectURL(picture.url.value);
  if (activeId.value === picture.id) activeId.value = (rest[at] ?? rest[at - 1])?.id ?? null;
  pictures.value = rest;
}

const MOST_DRAWINGS = 3; // of one picture, so that a browser that shows none of them is no endless loop
const drawings = new WeakMap<Picture, number>();
const beingDrawn = new Set<Picture>();

/** For kinds that the browser cannot show: the picture as the server reads it, an overlay without its colours. */
export async function drawByServer(picture: Picture): Promise<void> {
  const stale = picture.url.value;
  picture.url.value = "";
  if (stale) URL.revokeObjectURL(stale);
  const count = drawings.get(picture) ?? 0;
  if (!modelId.value || beingDrawn.has(picture) || count >= MOST_DRAWINGS) return;
  drawings.set(picture, count + 1);
  beingDrawn.add(picture);
  const question = { model: modelId.value, labels: ["other"], mode: "fast" as const, threshold: 0, template: "" };
  try {
    const response = await requestMask(picture.file, question, "overlay", null, 0);
    picture.url.value = URL.createObjectURL(await response.blob());
  } catch {
    // The request of its mask fails by the same fault, and says so; when there is a mask, this is tried again.
  } finally {
    beingDrawn.delete(picture);
  }
}

/** A copy of the picture with at most `pixels` pixels, as a JPEG; it takes the picture's place. */
export async function shrink(picture: Picture, pixels = 4_000_000): Promise<void> {
  const bitmap = await createImageBitmap(picture.file);
  const scale = Math.min(1, Math.sqrt(pixels / (bitmap.width * bitmap.height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  if (!blob) return;
  const name = `${picture.name.replace(/\.\w+$/, "")}-small.jpg`;
  closePicture(picture);
  openFiles([new File([blob], name, { type: "image/jpeg" })]);
}

/** The image files that were dropped or pasted. */
export function filesIn(data: DataTransfer | null): File[] {
  return [...(data?.files ?? [])];
}
