/** Zoom by buttons, and how large the picture is shown beside its fit. */

import { Icon } from "../panel/Icon";
import { t } from "../texts";

export function ZoomButtons({
  zoom,
  onZoom,
  onFit,
}: {
  zoom: number;
  onZoom: (by: number) => void;
  onFit: () => void;
}) {
  return (
    <div class="zoom" role="group" aria-label={t().viewer.zoom}>
      <button type="button" aria-label={t().viewer.smaller} onClick={() => onZoom(1 / 1.5)}>
        <Icon name="minus" />
      </button>
      <button
        type="button"
        class="zoom-fit"
        aria-label={`${Math.round(zoom * 100)} %, ${t().viewer.fit}`}
        onClick={onFit}
      >
        {Math.round(zoom * 100)} %
      </button>
      <button type="button" aria-label={t().viewer.larger} onClick={() => onZoom(1.5)}>
        <Icon name="plus" />
      </button>
    </div>
  );
}
