/** Two heads, two texts or two models side by side, and how far their maps are apart. */

import { call } from "../api.js";
import { byId, h, show } from "../dom.js";
import { HeatMap } from "../draw/heatmap.js";
import { bars, fitted } from "../draw/plots.js";
import { number, t } from "../i18n.js";
import { labels, short } from "./codepoints.js";
import { Part } from "./part.js";
import { comparing, place, reading, scoring, sides } from "./requests.js";
import { percent } from "./tokens.js";
import { divergences, headSource } from "./weights.js";

/** Queries that are compared where a map is too large to compare whole. */
const QUERIES = { causal: 256, whole: 64 };

export class Comparison {
  found = null;

  constructor(page) {
    this.page = page;
    this.part = new Part(page, "compare", byId("compare-body"));
    const failed = (error) => page.fail("compare", error, () => this.maps.forEach((map) => map.draw()));
    const map = (id) => new HeatMap(byId(id), { label: t("map.title"), words: t, failed });
    this.maps = [map("map-a"), map("map-b")];
    for (const [id, name] of [["layer2", "layer2"], ["head2", "head2"]]) {
      byId(id).addEventListener("change", (event) => page.set({ [name]: Number(event.target.value) }));
    }
    byId("text2").addEventListener("input", (event) => page.set({ text2: event.target.value }));
    byId("model2").addEventListener("change", (event) => page.set({ model2: event.target.value }));
    byId("compare-modes").addEventListener("change", ({ target: { value } }) => {
      const same = value === "models" ? { layer2: page.state.layer, head2: page.state.head } : {};
      page.set({ compare: value, ...same });
    });
  }

  /** Reading and place of the second map. */
  #second() {
    const { state, read } = this.page;
    const models = this.page.models.all;
    const mode = state.compare;
    const model = mode === "models" ? (models.find((one) => one.name === state.model2) ?? models.find((one) => one.name !== read.model.name) ?? read.model) : read.model;
    const second = reading({ text: mode === "texts" ? state.text2 : state.text, target: state.target, site: read.site }, model);
    const shape = model.sites?.[second.site] ?? { layers: 1, heads: 1 };
    const [layer, head] = mode === "texts" ? [state.layer, state.head] : [state.layer2, state.head2];
    return { read: second, layer: place(layer, shape.layers), head: place(head, shape.heads), shape };
  }

  /** The controls as the state has them. */
  controls(second = this.#second()) {
    const { state } = this.page;
    const mode = state.compare;
    for (const input of byId("compare-modes").querySelectorAll("input")) input.checked = input.value === mode;
    show(byId("compare-body"), mode !== "");
    show(byId("compare-place"), mode === "heads" || mode === "models");
    show(byId("compare-text"), mode === "texts");
    show(byId("compare-model"), mode === "models");
    const options = (count, chosen) => Array.from({ length: count }, (_, i) => h("option", { value: i, selected: i === chosen }, String(i)));
    byId("layer2").replaceChildren(...options(second.shape.layers, second.layer));
    byId("head2").replaceChildren(...options(second.shape.heads, second.head));
    byId("model2").replaceChildren(
      ...this.page.models.all.map((one) => h("option", { value: one.name, selected: one.name === second.read.model.name, disabled: one.state === "failed" }, one.name)),
    );
    if (byId("text2").value !== state.text2) byId("text2").value = state.text2;
  }

  async load() {
    const { state } = this.page;
    this.found = null;
    this.part.stop();
    const second = this.#second();
    this.controls(second);
    if (!state.compare) return;
    byId("compare-kl").replaceChildren();
    const empty = second.read.text === "";
    byId("compare-says").textContent = t(empty ? "compare.empty" : "compare.working");
    show(byId("compare-maps"), !empty);
    byId("compare-numbers").replaceChildren();
    if (empty) return;
    const draw = (found) => {
      this.found = found;
      this.draw();
    };
    if ((await this.part.run((options) => this.#fetch(second, options), draw, () => this.load())) !== false) return;
    byId("compare-says").textContent = "";
    show(byId("compare-maps"), false);
  }

  async #fetch(second, options) {
    const { state, read, result } = this.page;
    const shape = read.model.sites[read.site];
    const first = { read, result, layer: place(state.layer, shape.layers), head: place(state.head, shape.heads) };
    if (state.compare !== "heads") {
      const { path, body } = scoring(second.read);
      second.result = (await call(path, body, options)).results[0];
    } else second.result = result;
    const both = [first, second];
    for (const one of both) {
      one.sides = sides(one.read, one.result);
      const [rows, columns] = [one.sides.rows.tokens.length, one.sides.columns.tokens.length];
      one.source = await headSource(one.read, { layer: one.layer, head: one.head, rows, columns }, options);
    }
    return { both, apart: await this.#apart(first, second, options) };
  }

  /** KL and Jensen-Shannon per query; a word why not where there are none. */
  async #apart(first, second, options) {
    const { rows, columns } = first.source;
    const names = (one) => [one.sides.rows.tokens, one.sides.columns.tokens].map((side) => side.join("\u0000")).join("\u0001");
    if (this.page.state.compare === "models" && names(first) !== names(second)) return { why: "compare.tokens" };
    if (rows !== second.source.rows) return { why: "compare.sizes", a: rows, b: second.source.rows };
    if (columns !== second.source.columns) return { why: "compare.keys", a: columns, b: second.source.columns };
    const whole = first.source.data && second.source.data;
    const asked = this.page.state.compare !== "texts" && first.head === second.head && !first.read.target;
    if (!whole && asked && first.read.model.sites[first.read.site].heads === second.read.model.sites[second.read.site].heads) {
      const { path, body } = comparing(first.read, second.read.model, first.layer, second.layer);
      const { losses } = (await call(path, body, options)).results[0].pairs[0];
      const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
      const [kl, js] = [losses.kl[first.head], losses.js[first.head]];
      return { kl, js, meanKl: mean(kl), meanJs: mean(js), of: rows };
    }
    const causal = first.read.causal && second.read.causal;
    const some = whole ? rows : Math.min(rows, causal ? QUERIES.causal : QUERIES.whole);
    const wide = !whole && causal ? some : columns;
    const cells = ({ source }) => source.data ?? source.fetchWindow(0, some, 0, wide, options.signal);
    const [p, r] = await Promise.all([cells(first), cells(second)]);
    return { ...divergences(p, r, some, wide), of: some };
  }

  draw() {
    if (!this.found) return;
    const { both, apart } = this.found;
    const letters = ["A", "B"];
    both.forEach((one, i) => {
      const [rowLabels, columnLabels] = [one.sides.rows, one.sides.columns].map((side) => labels(side.tokens, side.offsets));
      const row = (q) => short(rowLabels[q]);
      const column = (k) => short(columnLabels[k]);
      const words = { which: letters[i], model: one.read.model.name, layer: one.layer, head: one.head };
      byId(`name-${letters[i].toLowerCase()}`).textContent = t("compare.name", words);
      this.maps[i].canvas.setAttribute("aria-label", t("compare.name", words));
      const shown = {
        source: one.source, rowName: row, columnName: column, colours: "viridis",
        share: this.page.state.scale === "sqrt" ? Math.sqrt : (value) => value,
        describe: (q, k, value) => t("map.cell", { query: row(q), key: column(k), value: value === undefined ? "…" : percent(value), q, k }),
      };
      this.maps[i].show(shown, { keep: this.maps[i].shown?.source === one.source });
    });
    this.#numbers(both);
    if (apart.why) {
      byId("compare-says").textContent = t(apart.why, apart);
      byId("compare-kl").replaceChildren();
      return;
    }
    const partly = apart.of < both[0].source.rows ? ` ${t("compare.partly", { of: apart.of })}` : "";
    byId("compare-says").textContent = t("compare.kl", { kl: number(apart.meanKl), js: number(apart.meanJs) }) + partly;
    const names = labels(both[0].sides.rows.tokens, both[0].sides.rows.offsets);
    const plot = h("div");
    byId("compare-kl").replaceChildren(h("h3", {}, t("compare.per_query")), plot);
    fitted(plot, (width) => bars({ values: apart.kl, label: t("compare.per_query"), name: (i) => short(names[i]), unit: t("unit.nats"), width }));
  }

  #numbers(both) {
    if (this.page.state.compare === "heads" || !both.every((one) => one.read.scores)) return;
    const row = (name, value) => h("tr", {}, h("th", { scope: "row" }, t(`metric.${name}`)), both.map((one) => h("td", {}, number(value(one.result)))));
    byId("compare-numbers").replaceChildren(
      h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, "A"), h("th", { scope: "col" }, "B"))),
      h(
        "tbody",
        {},
        row("loss", (one) => one.loss),
        row("perplexity", (one) => one.perplexity),
        row("bits", (one) => one.bits_per_byte),
        row("tokens", (one) => (one.target_tokens ?? one.tokens).length),
      ),
    );
  }
}
