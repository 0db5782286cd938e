/** English and Chinese: the words of `words.js`, in the page and in what scripts write. */

import { WORDS } from "./words.js";

const KEPT = "attnloss-language";
const LANGUAGES = ["en", "zh"];

/** Storage can be forbidden; the page then forgets. */
export const kept = (name, value) => {
  try {
    if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return null;
  }
};

const chosen = kept(KEPT);
export let language = LANGUAGES.includes(chosen) ? chosen : navigator.language?.startsWith("zh") ? "zh" : "en";

/** @param {string} key @param {Record<string, any>} values for `{name}` */
export function t(key, values = {}) {
  const words = WORDS[key];
  if (!words) {
    console.error(`no words for ${key}`);
    return key;
  }
  return words[LANGUAGES.indexOf(language)].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** @param {number} value @param {number} digits significant ones */
export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(Math.max(1, digits - 2)).replace("-", "−");
  return value.toLocaleString(language === "zh" ? "zh-CN" : "en-GB", { maximumSignificantDigits: Math.max(digits, size >= 1 ? Math.ceil(Math.log10(size + 1)) : 1) }).replace("-", "−");
}

/** Every `data-i18n` text and `data-i18n-*` attribute of the page. */
export function translatePage() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = t("page.title");
  for (const element of document.querySelectorAll("[data-i18n]")) element.textContent = t(element.dataset.i18n);
  for (const name of ["placeholder", "aria-label", "title"]) {
    for (const element of document.querySelectorAll(`[data-i18n-${name}]`)) element.setAttribute(name, t(element.getAttribute(`data-i18n-${name}`)));
  }
}

/** @param {string} given */
export function setLanguage(given) {
  if (!LANGUAGES.includes(given)) return;
  language = given;
  kept(KEPT, given);
  translatePage();
}
