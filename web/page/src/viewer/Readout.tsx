/** What lies under the pointer or the cursor: the label's name, share and mean score. */

import { UNLABELLED } from "../mask/measure";
import { cssColour } from "../mask/paint";
import type { Result } from "../state";
import { percent, scoreText, t } from "../texts";
import type { Place, Size } from "./zoom";

export interface Spot {
  /** The pixel of the picture. */
  x: number;
  y: number;
  index: number | null;
  byKeys: boolean;
}

export function Readout({ spot, result, place, room }: { spot: Spot; result: Result; place: Place; room: Size }) {
  const mask = result.mask;
  if (!mask || spot.index === null) return null;
  const left = place.x + (spot.x + 0.5) * place.scale;
  const top = place.y + (spot.y + 0.5) * place.scale;
  const name = spot.index === UNLABELLED ? t().legend.unlabelled : (mask.labels[spot.index] ?? "");
  const share = (mask.areas[spot.index] ?? 0) / mask.indices.length;
  const score = result.scores?.[spot.index] ?? null;
  return (
    <>
      {spot.byKeys && <div class="cursor" style={{ left: `${left}px`, top: `${top}px` }} />}
      <div
        class="readout"
        role={spot.byKeys ? "status" : undefined}
        data-left={left > room.width - 300}
        data-above={top > room.height - 70}
        style={{ left: `${left}px`, top: `${top}px` }}
      >
        <span class="dot" style={{ background: cssColour(mask.palette, spot.index) }} />
        <bdi class="readout-name">{name}</bdi>
        <span class="readout-figures">
          {percent(share)}
          {score !== null && ` · ${t().legend.score} ${scoreText(score)}`}
        </span>
      </div>
    </>
  );
}
