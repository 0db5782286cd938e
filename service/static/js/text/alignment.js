/** Cross-attention alignment: for each target token the source token that the layer's heads look at most, on average. */

import { byId, h, show } from "../dom.js";
import { headView, headViewSize } from "../draw/headview.js";
import { fitted } from "../draw/plots.js";
import { t } from "../i18n.js";
import { labels, short } from "./codepoints.js";
import { Part } from "./part.js";
import { place } from "./requests.js";
import { percent } from "./tokens.js";
import { meanSource } from "./weights.js";

export class Alignment {
  /** @type {{at: number, weight: number}[] | null} */
  found = null;

  constructor(page) {
    this.page = page;
    this.part = new Part(page, "alignment");
  }

  async load() {
    const { read, result, state } = this.page;
    this.found = null;
    this.part.stop();
    show(byId("alignment-card"), read.model.kind === "encoder-decoder");
    byId("alignment").replaceChildren();
    byId("alignment-list").replaceChildren();
    if (read.model.kind !== "encoder-decoder") return;
    byId("alignment-says").textContent = t(read.target ? "alignment.working" : "alignment.target");
    if (!read.target) return;
    const cross = { ...read, site: "cross" };
    const layer = place(state.layer, read.model.sites.cross.layers);
    const [rows, columns] = [result.target_tokens.length, result.tokens.length];
    const draw = (source) => {
      byId("alignment-says").textContent = t(source ? "alignment.says" : "alignment.long", { layer });
      if (!source) return;
      this.found = Array.from({ length: rows }, (_, q) => {
        const row = source.data.slice(q * columns, (q + 1) * columns);
        const weight = Math.max(...row);
        return { at: row.indexOf(weight), weight };
      });
      this.draw();
    };
    const ask = (options) => meanSource(cross, layer, rows, columns, options);
    if ((await this.part.run(ask, draw, () => this.load())) === false) byId("alignment-says").textContent = "";
  }

  get names() {
    return this.#names();
  }

  /** @param {number | undefined} most characters of each */
  #names(most) {
    const { result } = this.page;
    const named = (tokens, offsets) => labels(tokens, offsets).map((label) => short(label, most));
    return { target: named(result.target_tokens, result.target_offsets), source: named(result.tokens, result.offsets) };
  }

  figure(room) {
    const { width, characters } = headViewSize(room);
    const { target, source } = this.#names(characters);
    const weight = (q, k) => (this.found[q].at === k ? Math.max(0.25, this.found[q].weight) : 0);
    return headView({ queries: target, keys: source, weight, focus: null, label: t("alignment.title"), colour: "#d9480f", width });
  }

  draw() {
    const { target, source } = this.names;
    fitted(byId("alignment"), (width) => this.figure(width));
    byId("alignment-list").replaceChildren(
      h("caption", {}, t("alignment.caption")),
      h("tbody", {}, this.found.map(({ at, weight }, q) => h("tr", {}, h("th", { scope: "row", dir: "auto" }, target[q]), h("td", { dir: "auto" }, source[at]), h("td", {}, percent(weight))))),
    );
  }
}
