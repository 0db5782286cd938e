/** Cross-attention alignment: for each target token the source token that the layer's heads look at most, on average. */

import { Latest } from "../api.js";
import { byId, h, show } from "../dom.js";
import { headView } from "../draw/headview.js";
import { t } from "../i18n.js";
import { labels, short } from "./codepoints.js";
import { place } from "./requests.js";
import { percent } from "./tokens.js";
import { meanSource } from "./weights.js";

export class Alignment {
  #latest = new Latest();
  /** @type {{at: number, weight: number}[] | null} */
  found = null;

  constructor(page) {
    this.page = page;
  }

  async load() {
    const { read, result, state } = this.page;
    this.found = null;
    this.#latest.stop();
    show(byId("alignment-card"), read.model.kind === "encoder-decoder");
    byId("alignment").replaceChildren();
    byId("alignment-list").replaceChildren();
    if (read.model.kind !== "encoder-decoder") return;
    byId("alignment-says").textContent = t(read.target ? "alignment.working" : "alignment.target");
    if (!read.target) return;
    const cross = { ...read, site: "cross" };
    const layer = place(state.layer, read.model.sites.cross.layers);
    const [rows, columns] = [result.target_tokens.length, result.tokens.length];
    try {
      const source = await this.#latest.run((signal) => meanSource(cross, layer, rows, columns, { signal, waiting: this.page.waiting }));
      if (source === undefined) return;
      byId("alignment-says").textContent = t(source ? "alignment.says" : "alignment.long", { layer });
      if (!source) return;
      this.found = Array.from({ length: rows }, (_, q) => {
        const row = source.data.slice(q * columns, (q + 1) * columns);
        const weight = Math.max(...row);
        return { at: row.indexOf(weight), weight };
      });
      this.draw();
    } catch (error) {
      byId("alignment-says").textContent = "";
      this.page.fail("alignment", error, () => this.load());
    }
  }

  get names() {
    const { result } = this.page;
    return {
      target: labels(result.target_tokens, result.target_offsets).map((label) => short(label)),
      source: labels(result.tokens, result.offsets).map((label) => short(label)),
    };
  }

  figure() {
    const { target, source } = this.names;
    const weight = (q, k) => (this.found[q].at === k ? Math.max(0.25, this.found[q].weight) : 0);
    return headView({ queries: target, keys: source, weight, focus: null, label: t("alignment.title"), colour: "#d9480f" });
  }

  draw() {
    if (!this.found) return;
    const { target, source } = this.names;
    byId("alignment").replaceChildren(this.figure());
    byId("alignment-list").replaceChildren(
      h("caption", {}, t("alignment.caption")),
      h("tbody", {}, this.found.map(({ at, weight }, q) => h("tr", {}, h("th", { scope: "row", dir: "auto" }, target[q]), h("td", { dir: "auto" }, source[at]), h("td", {}, percent(weight))))),
    );
  }
}
