/** Model, mode, threshold, template, and what the mask is compared with. */

import { isUsable } from "../labels/template";
import { active, comparison, mode, model, modelId, models, template, threshold, view, type Mode } from "../state";
import { percent, t } from "../texts";

export function Options() {
  const others = models.value.flatMap((one) =>
    (["fast", "accurate"] as Mode[])
      .filter((kind) => one.id !== modelId.value || kind !== mode.value)
      .map((kind) => ({ model: one.id, mode: kind })),
  );
  const chosen = comparison.value ? JSON.stringify(comparison.value) : "";
  const compareWith = (value: string): void => {
    comparison.value = value ? (JSON.parse(value) as { model: string; mode: Mode }) : null;
    if (value && view.value !== "split") view.value = "swipe";
  };
  const agreement = active.value?.agreement.value ?? null;

  return (
    <section class="card options" aria-labelledby="options-title">
      <h2 id="options-title">{t().options.title}</h2>
      {models.value.length > 1 && (
        <label class="field">
          <span>{t().options.model}</span>
          <select value={modelId.value} onChange={(event) => (modelId.value = event.currentTarget.value)}>
            {models.value.map((one) => (
              <option key={one.id} value={one.id}>
                {one.id}
                {one.device ? ` · ${one.device}` : ""} · {t().states[one.state]}
              </option>
            ))}
          </select>
        </label>
      )}
      <fieldset class="segmented">
        <legend>{t().options.mode}</legend>
        {(["fast", "accurate"] as Mode[]).map((one) => (
          <label key={one} title={t().options.modeWhy[one]}>
            <input
              type="radio"
              name="mode"
              value={one}
              checked={mode.value === one}
              onChange={() => (mode.value = one)}
            />
            <span>{t().options.modes[one]}</span>
          </label>
        ))}
      </fieldset>
      <label class="field range">
        <span>{t().options.threshold}</span>
        <input
          type="range"
          min="0"
          max="0.99"
          step="0.01"
          value={threshold.value}
          style={{ "--at": threshold.value / 0.99 }}
          aria-valuetext={percent(threshold.value)}
          onInput={(event) => (threshold.value = Number(event.currentTarget.value))}
        />
        <output>{threshold.value === 0 ? t().options.off : threshold.value.toFixed(2)}</output>
      </label>
      <label class="field">
        <span>{t().options.template}</span>
        <input
          type="text"
          value={template.value}
          placeholder={t().options.templateHint}
          title={t().options.templateWhy}
          aria-invalid={!isUsable(template.value)}
          spellcheck={false}
          autocomplete="off"
          dir="auto"
          onInput={(event) => (template.value = event.currentTarget.value)}
        />
      </label>
      {!isUsable(template.value) && (
        <p class="wrong" role="status">
          {t().options.templateWrong}
        </p>
      )}
      {model.value && others.length > 0 && (
        <label class="field">
          <span>{t().options.compare}</span>
          <select value={chosen} onChange={(event) => compareWith(event.currentTarget.value)}>
            <option value="">{t().options.nothing}</option>
            {others.map((one) => (
              <option key={JSON.stringify(one)} value={JSON.stringify(one)}>
                {one.model} · {t().options.modes[one.mode]}
              </option>
            ))}
          </select>
        </label>
      )}
      {comparison.value && agreement !== null && (
        <p class="agreement" role="status">
          {t().options.agreement(percent(agreement))}
        </p>
      )}
    </section>
  );
}
