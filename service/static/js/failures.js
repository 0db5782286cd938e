/** Errors as a person needs them: what happened, what to do, a way to try again. */

import { Failure } from "./api.js";
import { byId, h } from "./dom.js";
import { t } from "./i18n.js";

const ADVISED = new Set([0, 400, 401, 404, 413, 422, 429, 431, 500, 503, 504]);

/** What the page itself cannot take, by the names of its words: a change of language tells it again. */
export class Refusal extends Error {
  /** @param {string} title @param {string} detail names of words @param {Record<string, any>} values of the detail */
  constructor(title, detail, values = {}) {
    super(t(detail, values));
    Object.assign(this, { title, detail, values });
  }

  /** In the language of now. */
  get says() {
    return t(this.detail, this.values);
  }
}

/** What a caught value is to a person. @returns {{status: number, title: string, detail: string, advice: string}} */
export function told(error) {
  if (error instanceof Refusal) return { status: -1, title: t(error.title), detail: error.says, advice: "" };
  if (!(error instanceof Failure)) {
    console.error(error);
    return { status: -1, title: t("failure.page"), detail: String(error?.message ?? error), advice: t("advice.page") };
  }
  const { status, detail } = error;
  const known = status === 0 && error.title === "timeout" ? "timeout" : String(status);
  const title = ADVISED.has(status) ? t(`failure.${known}`) : error.title;
  return { status, title, detail, advice: ADVISED.has(status) ? t(`advice.${known}`) : "" };
}

/** @type {Map<string, {error: unknown, again: (() => void) | undefined}>} what the boxes say */
const shown = new Map();

/**
 * @param {string} place the id of a box with `-failure` behind it
 * @param {unknown} error @param {(() => void) | undefined} again
 */
export function showFailure(place, error, again) {
  shown.set(place, { error, again });
  const { status, title, detail, advice } = told(error);
  const box = byId(`${place}-failure`);
  const retry = again && h("button", { type: "button", onclick: () => (clearFailure(place), again()) }, t("failure.again"));
  box.replaceChildren(
    h(
      "div",
      { class: "failure", "data-status": status },
      h("strong", {}, title, status > 0 && h("span", { class: "status" }, ` ${status}`)),
      detail && h("p", {}, detail),
      advice && h("p", { class: "advice" }, advice),
      retry,
    ),
  );
}

export function clearFailure(place) {
  shown.delete(place);
  byId(`${place}-failure`).replaceChildren();
}

/** All of them again, in the language of now. */
export function retellFailures() {
  for (const [place, { error, again }] of shown) showFailure(place, error, again);
}

/** A line that counts down until the request is sent again. @param {import("./api.js").Failure} failure */
export const waitingLine = (failure, seconds) =>
  seconds > 0 ? t("waiting", { why: failure.detail || t(`failure.${failure.status}`), seconds }) : t("status.working");
