/** Which of two compared masks lies on a side. */

import { view, type Result } from "../state";
import { t } from "../texts";

export function Caption({ result, side }: { result: Result; side: "left" | "right" }) {
  if (view.value !== "swipe" && view.value !== "split") return null;
  return (
    <p class="caption" data-side={side}>
      {result.question.model} · {t().options.modes[result.question.mode]}
    </p>
  );
}
