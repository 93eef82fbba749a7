/** What is going on over the picture: work in progress with an estimate, a fault, a pause until the next attempt. */

import { useEffect, useState } from "preact/hooks";
import { closePicture, shrink } from "../pictures/open";
import { isTooBig } from "../segment/faults";
import { cancel, retryNow } from "../segment/runner";
import { pause, type Picture } from "../state";
import { t } from "../texts";

const LONG_MS = 900;

/** The time, renewed as often as a progress bar needs. */
function useNow(every: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    setNow(Date.now());
    const timer = window.setInterval(() => setNow(Date.now()), every);
    return () => window.clearInterval(timer);
  }, [every]);
  return now;
}

export function Progress({ picture }: { picture: Picture }) {
  const status = picture.status.value;
  if (pause.value) return <Paused />;
  if (status.kind === "failed") return <Failed picture={picture} />;
  if (status.kind === "working") return <Working key={status.since} since={status.since} estimate={status.estimate} />;
  return null;
}

function Working({ since, estimate }: { since: number; estimate: number | null }) {
  const now = useNow(100);
  const passed = now - since;
  if (passed < 250) return null;
  const known = estimate !== null && passed < estimate;
  const long = (estimate ?? passed) > LONG_MS;
  return (
    <div class="progress" role={long ? "status" : undefined}>
      <div
        class="progress-bar"
        data-known={known}
        role="progressbar"
        aria-label={t().progress.working}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={known ? Math.round((passed / estimate) * 100) : undefined}
      >
        <span style={known ? { width: `${(passed / estimate) * 100}%` } : {}} />
      </div>
      {long && (
        <p>
          <span>
            {known
              ? t().progress.left(Math.ceil((estimate - passed) / 1000))
              : t().progress.since(Math.round(passed / 1000))}
          </span>
          <button type="button" class="quiet" onClick={cancel}>
            {t().progress.cancel}
          </button>
        </p>
      )}
    </div>
  );
}

function Paused() {
  const now = useNow(250);
  if (!pause.value) return null;
  const { fault, until } = pause.value;
  const text = t().faults[fault.type];
  return (
    <div class="fault passing" role="status">
      <h2>{text.title}</h2>
      <p>{text.help}</p>
      <p class="small">{t().progress.again(Math.max(0, Math.ceil((until - now) / 1000)))}</p>
      <p class="buttons">
        <button type="button" onClick={retryNow}>
          {t().progress.now}
        </button>
        <button type="button" class="quiet" onClick={cancel}>
          {t().progress.cancel}
        </button>
      </p>
    </div>
  );
}

function Failed({ picture }: { picture: Picture }) {
  const status = picture.status.value;
  if (status.kind !== "failed") return null;
  const text = t().faults[status.fault.type];
  return (
    <div class="fault" role="alert">
      <h2>{text.title}</h2>
      <p>{text.help}</p>
      {status.fault.message && (
        <p class="small said">
          <bdi>{status.fault.message}</bdi>
        </p>
      )}
      <p class="buttons">
        {isTooBig(status.fault) && (
          <button type="button" onClick={() => void shrink(picture)}>
            {t().progress.shrink}
          </button>
        )}
        <button type="button" class={isTooBig(status.fault) ? "quiet" : ""} onClick={retryNow}>
          {t().progress.now}
        </button>
        <button type="button" class="quiet" onClick={() => closePicture(picture)}>
          {t().strip.close(picture.name)}
        </button>
      </p>
    </div>
  );
}
