/** Ways to bring a picture in: files, the camera, the gallery. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "../panel/Icon";
import { gallery } from "../state";
import { t } from "../texts";
import { openFiles, openGallery } from "./open";

/** Buttons for files and for the camera. */
export function ChooseButtons({ compact }: { compact?: boolean }) {
  const files = useRef<HTMLInputElement>(null);
  const photo = useRef<HTMLInputElement>(null);
  const camera = useSignal(false);
  const take = (event: Event): void => {
    const input = event.currentTarget as HTMLInputElement;
    openFiles(input.files ?? []);
    input.value = "";
  };
  // Phones have a camera app behind `capture`; elsewhere the page shows the camera itself, where it may.
  const photograph = (): void => {
    const hasTouch = matchMedia("(pointer: coarse)").matches;
    if (hasTouch || !navigator.mediaDevices) photo.current?.click();
    else camera.value = true;
  };
  return (
    <>
      <input
        ref={files}
        type="file"
        accept="image/*,.tif,.tiff,.heic,.heif,.psd,.jp2,.jxl"
        multiple
        hidden
        aria-hidden="true"
        tabIndex={-1}
        data-choose=""
        onChange={take}
      />
      <input
        ref={photo}
        type="file"
        accept="image/*"
        capture="environment"
        hidden
        aria-hidden="true"
        tabIndex={-1}
        onChange={take}
      />
      <button
        type="button"
        class={compact ? "round" : "primary big"}
        aria-label={compact ? t().strip.add : undefined}
        onClick={() => files.current?.click()}
      >
        <Icon name={compact ? "plus" : "image"} />
        {!compact && t().start.choose}
      </button>
      {!compact && (
        <button type="button" class="big" onClick={photograph}>
          <Icon name="camera" />
          {t().start.photograph}
        </button>
      )}
      {camera.value && <Camera onClose={() => (camera.value = false)} />}
    </>
  );
}

/** The camera's picture in a dialog, with a button that takes it. */
function Camera({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const video = useRef<HTMLVideoElement>(null);
  const refused = useSignal(false);
  useEffect(() => {
    let stream: MediaStream | null = null;
    let open = true;
    dialog.current?.showModal();
    navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } }).then(
      (found) => {
        stream = found;
        if (!open) found.getTracks().forEach((track) => track.stop());
        else if (video.current) video.current.srcObject = found;
      },
      () => (refused.value = true),
    );
    return () => {
      open = false;
      stream?.getTracks().forEach((track) => track.stop());
    };
  }, []);
  const take = (): void => {
    const source = video.current;
    if (!source?.videoWidth) return;
    const canvas = document.createElement("canvas");
    canvas.width = source.videoWidth;
    canvas.height = source.videoHeight;
    canvas.getContext("2d")?.drawImage(source, 0, 0);
    canvas.toBlob(
      (blob) => {
        if (blob) openFiles([new File([blob], "photo.jpg", { type: blob.type })]);
        onClose();
      },
      "image/jpeg",
      0.95,
    );
  };
  return (
    <dialog ref={dialog} class="camera" aria-label={t().camera.title} onClose={onClose}>
      {refused.value ? <p role="alert">{t().camera.refused}</p> : <video ref={video} autoplay muted playsInline />}
      <p class="buttons">
        {!refused.value && (
          <button type="button" class="primary" onClick={take}>
            {t().camera.take}
          </button>
        )}
        <button type="button" onClick={() => dialog.current?.close()}>
          {t().camera.close}
        </button>
      </p>
    </dialog>
  );
}

/** What the page shows before there is a picture. */
export function Start() {
  return (
    <section class="start">
      <h2>{t().start.title}</h2>
      <p>{t().start.text}</p>
      <p class="buttons">
        <ChooseButtons />
      </p>
      {gallery.value.length > 0 && (
        <>
          <h3>{t().start.gallery}</h3>
          <ul class="gallery">
            {gallery.value.map((one) => (
              <li key={one.id}>
                <button type="button" onClick={() => void openGallery(one)}>
                  <img src={one.thumbnail} alt="" loading="lazy" />
                  <span class="gallery-title">{one.title}</span>
                  <span class="credit">{one.credit}</span>
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}
