/** What else the model expected at the place of the pinned token. */

import { call } from "../api.js";
import { byId, h } from "../dom.js";
import { number, t } from "../i18n.js";
import { labels, short } from "./codepoints.js";
import { Part } from "./part.js";
import { alternatives } from "./requests.js";
import { percent } from "./tokens.js";

export class Alternatives {
  /** The result whose alternatives are under way: they come for all of its tokens at once. */
  #asked = null;

  constructor(page) {
    this.page = page;
    this.part = new Part(page, "alternatives", byId("alternatives"));
  }

  /** With a short text they have come; for a long one they are asked for only now. */
  show() {
    const { read, result, state } = this.page;
    const host = byId("alternatives");
    const at = state.token;
    const tokens = result?.target_tokens ?? result?.tokens;
    const note = (key) => h("p", { class: "note" }, t(key));
    if (this.#asked !== result) this.#stop();
    if (at < 0 || !tokens?.[at]) return host.replaceChildren(note("alternatives.hint"));
    const offsets = result.target_offsets ?? result.offsets;
    const title = h("h3", { dir: "auto" }, `“${short(labels(tokens, offsets)[at], 30)}”`, h("small", {}, ` ${t("token.at", { at })}`));
    if (!read.scores) return host.replaceChildren(title, note("alternatives.encoder"));
    if (!result.alternatives) {
      host.replaceChildren(title, note("status.working"));
      return this.#asked ? undefined : this.#ask();
    }
    const logProb = result.log_probs?.[at] ?? null;
    const nats = logProb !== null && h("p", {}, t("token.nats", { nats: number(-logProb) }));
    return host.replaceChildren(title, nats || "", alternativeList(result.alternatives[at], tokens[at], logProb));
  }

  #stop() {
    this.part.stop();
    this.#asked = null;
  }

  async #ask() {
    const { read, result } = this.page;
    this.#asked = result;
    const { path, body } = alternatives(read);
    const ask = async (options) => (await call(path, body, options)).results[0].alternatives;
    const draw = (came) => {
      result.alternatives = came;
      this.show();
    };
    if ((await this.part.run(ask, draw, () => this.show())) !== false) return;
    this.#asked = null;
    byId("alternatives").replaceChildren();
  }
}

/** What else might have stood there. @param {any[] | null} found @param {string} given @param {number | null} logProb */
function alternativeList(found, given, logProb) {
  if (!found) return h("p", { class: "note" }, t("alternatives.none"));
  const own = { token: given, log_prob: logProb, own: true };
  const shown = found.some((one) => one.log_prob === logProb || one.token === given) ? found : [...found, own];
  return h(
    "table",
    { class: "bars" },
    h("caption", {}, t("alternatives.caption")),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("alternatives.token")), h("th", { scope: "col" }, t("alternatives.probability")))),
    h(
      "tbody",
      {},
      shown.map((one) => {
        const share = Math.exp(one.log_prob);
        const name = labels([one.token], [[0, 1]])[0].text;
        return h(
          "tr",
          { class: one.own || one.token === given ? "given" : null },
          h("th", { scope: "row", dir: "auto" }, name),
          h("td", {}, h("span", { class: "bar", style: { width: `${Math.max(0.5, 60 * share)}%` } }), h("span", {}, percent(share))),
        );
      }),
    ),
  );
}
