/** The page as a whole. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { LabelField } from "./labels/LabelField";
import { Header } from "./panel/Header";
import { Legend } from "./panel/Legend";
import { Options } from "./panel/Options";
import { Progress } from "./panel/Progress";
import { Timings } from "./panel/Timings";
import { Start } from "./pictures/Choose";
import { filesIn, openFiles } from "./pictures/open";
import { Strip } from "./pictures/Strip";
import { Downloads } from "./share/Downloads";
import { active, labels, notice } from "./state";
import { t } from "./texts";
import { ViewBar } from "./viewer/ViewBar";
import { Viewer } from "./viewer/Viewer";

const NOTICE_MS = 2500;

export function App() {
  const picture = active.value;
  const hasPicture = picture !== null;
  // The button that opened the first picture is gone with the start page: the keyboard goes on at the picture.
  useEffect(() => {
    if (hasPicture) document.querySelector<HTMLElement>(".viewer")?.focus({ preventScroll: true });
  }, [hasPicture]);
  return (
    <>
      <Header />
      <main id="main" tabIndex={-1} data-empty={picture === null}>
        {picture ? (
          <>
            <div class="stage">
              <div class="frame">
                <Viewer key={picture.id} picture={picture} />
                <Progress picture={picture} />
                {labels.value.length === 0 && <p class="hint">{t().labels.none}</p>}
              </div>
              <ViewBar />
              <Strip />
            </div>
            <div class="panel">
              <LabelField />
              <Legend />
              <Options />
              <Downloads />
              <Timings />
            </div>
          </>
        ) : (
          <Start />
        )}
      </main>
      <DropTarget />
      <Notice />
    </>
  );
}

/** Pictures may be dropped and pasted anywhere on the page. */
function DropTarget() {
  const over = useSignal(false);
  useEffect(() => {
    const stop = new AbortController();
    const options = { signal: stop.signal };
    const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    document.addEventListener(
      "dragover",
      (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        over.value = true;
      },
      options,
    );
    document.addEventListener(
      "dragleave",
      (event) => {
        if (event.relatedTarget === null) over.value = false;
      },
      options,
    );
    document.addEventListener(
      "drop",
      (event) => {
        over.value = false;
        if (!hasFiles(event)) return;
        event.preventDefault();
        openFiles(filesIn(event.dataTransfer));
      },
      options,
    );
    document.addEventListener(
      "paste",
      (event) => {
        const files = filesIn(event.clipboardData);
        if (files.length === 0) return;
        event.preventDefault();
        openFiles(files);
      },
      options,
    );
    return () => stop.abort();
  }, []);
  return over.value ? (
    <div class="drop" aria-hidden="true">
      <p>{t().start.drop}</p>
    </div>
  ) : null;
}

function Notice() {
  const text = notice.value;
  useEffect(() => {
    if (!text) return;
    const timer = window.setTimeout(() => (notice.value = ""), NOTICE_MS);
    return () => window.clearTimeout(timer);
  }, [text]);
  return (
    <div class="notice" role="status" data-shown={text !== ""}>
      {text}
    </div>
  );
}
