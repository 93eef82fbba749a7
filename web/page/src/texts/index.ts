/** The language of the page, and numbers as it writes them. To add a language, write a file like en.ts and name it here. */

import { effect, signal } from "@preact/signals";
import { recall, remember } from "../memory";
import { de } from "./de";
import { en, type Texts } from "./en";

export const LANGUAGES = { en, de } satisfies Record<string, Texts>;
export type Language = keyof typeof LANGUAGES;

const PLACE = "language";

function preferred(): Language {
  const kept = recall(PLACE);
  for (const one of [kept, ...navigator.languages]) {
    const code = one?.slice(0, 2).toLowerCase();
    if (code && code in LANGUAGES) return code as Language;
  }
  return "en";
}

export const language = signal<Language>(preferred());

/** The texts in the page's language. */
export const t = (): Texts => LANGUAGES[language.value];

effect(() => {
  document.documentElement.lang = language.value;
  document.title = `LSeg · ${t().title}`;
});

/** Change the language, and remember it in this browser. */
export function setLanguage(one: Language): void {
  language.value = one;
  remember(PLACE, one);
}

/** A share from 0 to 1, such as `42 %`; small ones with a decimal. */
export function percent(share: number): string {
  const digits = share > 0 && share < 0.0995 ? 1 : 0;
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  if (share > 0 && share < 0.0005) return `<${(0.1).toLocaleString(language.value)} %`;
  return `${(share * 100).toLocaleString(language.value, options)} %`;
}

/** A mean softmax, 0 to 1, with two decimals. */
export const scoreText = (score: number): string =>
  score.toLocaleString(language.value, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** A duration; from 10 s on in seconds. */
export function milliseconds(value: number): string {
  if (value >= 10_000) return `${(value / 1000).toLocaleString(language.value, { maximumFractionDigits: 1 })} s`;
  return `${value.toLocaleString(language.value, { maximumFractionDigits: value < 10 ? 1 : 0 })} ms`;
}
