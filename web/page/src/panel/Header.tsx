/** The head of the page: name, state of the model, language, light or dark. */

import { signal } from "@preact/signals";
import { recall, remember } from "../memory";
import { model } from "../state";
import { LANGUAGES, language, setLanguage, t, type Language } from "../texts";
import { Icon } from "./Icon";
import logo from "../icon.svg";

type Theme = "light" | "dark";
const PLACE = "theme";

const kept = recall(PLACE);
const theme = signal<Theme>(
  kept === "light" || kept === "dark" ? kept : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
);
if (kept) document.documentElement.dataset.theme = theme.value;

function switchTheme(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme.value;
  remember(PLACE, theme.value);
}

export function Header() {
  const one = model.value;
  return (
    <header class="head">
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.querySelector<HTMLElement>("#main .viewer, #main")?.focus();
        }}
      >
        {t().skip}
      </a>
      <img class="logo" src={logo} alt="" width="32" height="32" />
      <h1>
        LSeg <span>{t().title}</span>
      </h1>
      {one && (
        <p class="model-state" role="status" data-state={one.state}>
          <span class="lamp" aria-hidden="true" />
          <span>{one.id}</span>
          {one.device && <span class="device">{one.device}</span>}
          <span>{t().states[one.state]}</span>
        </p>
      )}
      <select
        class="language"
        aria-label={t().header.language}
        value={language.value}
        onChange={(event) => setLanguage(event.currentTarget.value as Language)}
      >
        {Object.entries(LANGUAGES).map(([code, texts]) => (
          <option key={code} value={code} lang={code}>
            {texts.name}
          </option>
        ))}
      </select>
      <button
        type="button"
        class="round"
        aria-label={t().header.theme}
        aria-pressed={theme.value === "dark"}
        onClick={switchTheme}
      >
        <Icon name={theme.value === "dark" ? "sun" : "moon"} />
      </button>
    </header>
  );
}
