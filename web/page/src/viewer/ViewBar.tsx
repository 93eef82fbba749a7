/** How the mask is laid over the picture. */

import { opacity, view, type View } from "../state";
import { percent, t } from "../texts";

export function ViewBar() {
  return (
    <div class="view-bar">
      <fieldset class="segmented">
        <legend class="unseen">{t().viewer.view}</legend>
        {(["overlay", "outlines", "swipe", "split"] as View[]).map((one) => (
          <label key={one}>
            <input
              type="radio"
              name="view"
              value={one}
              checked={view.value === one}
              onChange={() => (view.value = one)}
            />
            <span>{t().viewer.views[one]}</span>
          </label>
        ))}
      </fieldset>
      <label class="field range opacity">
        <span>{t().viewer.opacity}</span>
        <input
          type="range"
          min="0"
          max="1"
          step="0.01"
          value={opacity.value}
          style={{ "--at": opacity.value }}
          aria-valuetext={percent(opacity.value)}
          onInput={(event) => (opacity.value = Number(event.currentTarget.value))}
        />
        <output>{percent(opacity.value)}</output>
      </label>
    </div>
  );
}
