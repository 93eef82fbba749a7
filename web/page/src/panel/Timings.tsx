/** Where the time of the last answer went, on which device, and which cache helped. */

import { active } from "../state";
import { milliseconds, t } from "../texts";

export function Timings() {
  const result = active.value?.result.value;
  if (!result || result.stages.length === 0) return null;
  const served = result.stages.reduce((sum, stage) => sum + stage.milliseconds, 0);
  const stages = [...result.stages, { name: "rest", milliseconds: Math.max(0, result.elapsed - served) }];
  const text = result.stages.find((stage) => stage.name === "text");
  const helped = [
    result.featuresHeld && t().timings.features,
    text && text.milliseconds < 1 && t().timings.texts,
  ].filter((one): one is string => Boolean(one));
  return (
    <section class="card timings" aria-labelledby="timings-title">
      <div class="card-head">
        <h2 id="timings-title">{t().timings.title}</h2>
        <span class="figure">{milliseconds(result.elapsed)}</span>
      </div>
      <div class="stages" aria-hidden="true">
        {stages.map((stage) => (
          <span
            key={stage.name}
            class={`stage ${stage.name}`}
            style={{ flexGrow: Math.max(stage.milliseconds, 0.1) }}
          />
        ))}
      </div>
      <dl>
        {stages.map((stage) => (
          <div key={stage.name}>
            <dt>
              <span class={`dot ${stage.name}`} />
              {t().timings.stages[stage.name] ?? stage.name}
            </dt>
            <dd>{milliseconds(stage.milliseconds)}</dd>
          </div>
        ))}
      </dl>
      <p class="small">
        {result.question.model} · {result.device || "?"}
        {helped.length > 0 && ` · ${helped.join(", ")}`}
      </p>
    </section>
  );
}
