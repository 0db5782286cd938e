/** Which number colours the grid of heads: entropy, sink mass, or any loss of the registry. */

import { Latest, call } from "../api.js";
import { byId, h, show } from "../dom.js";
import { t } from "../i18n.js";
import { set, state } from "../state.js";
import { headGrid } from "./heads.js";
import { TARGETS, knobs, lossEntry, measures, measuring, place, sides, wantsTarget } from "./requests.js";

const FIRST = ["entropy", "sink"];

export class Measure {
  #latest = new Latest();
  /** @type {any[]} */
  specs = [];
  layers = null;

  constructor(page) {
    this.page = page;
    this.grid = headGrid(byId("grid"), (layer, head) => set({ layer, head }));
    byId("measure").addEventListener("change", (event) => set({ measure: event.target.value, params: "" }));
    byId("measure-params").addEventListener("change", (event) => {
      const params = { ...this.params, [event.target.name]: event.target.value };
      set({ params: new URLSearchParams(Object.entries(params).filter(([, value]) => value !== "")).toString() });
    });
  }

  /** @param {any[]} losses of GET /losses */
  setSpecs(losses) {
    this.specs = measures(losses);
    this.specs.sort((a, b) => FIRST.includes(b.name) - FIRST.includes(a.name));
    this.controls();
  }

  get spec() {
    return this.specs.find((one) => one.name === state.measure) ?? this.specs[0];
  }

  get params() {
    return Object.fromEntries(new URLSearchParams(state.params));
  }

  controls() {
    if (!this.spec) return;
    const known = [...byId("measure").options].map((one) => one.value).join();
    if (known !== this.specs.map((one) => one.name).join()) {
      byId("measure").replaceChildren(...this.specs.map((one) => h("option", { value: one.name }, one.name)));
    }
    byId("measure").value = this.spec.name;
    byId("measure-about").textContent = `${this.spec.summary} ${this.spec.formula}`;
    if (byId("measure-params").dataset.of === `${this.spec.name} ${state.params}`) return;
    byId("measure-params").dataset.of = `${this.spec.name} ${state.params}`;
    const fields = knobs(this.spec).map((one) => this.#field(one));
    if (wantsTarget(this.spec) && this.spec.parameters.some((one) => one.name === "target" && one.kind === "target")) {
      const options = Object.keys(TARGETS).map((name) => h("option", { value: name, selected: name === this.params.target }, t(`target.${name}`)));
      fields.unshift(h("label", {}, t("target.label"), h("select", { name: "target" }, options)));
    }
    byId("measure-params").replaceChildren(...fields);
    show(byId("measure-params"), fields.length > 0);
  }

  #field(knob) {
    const value = this.params[knob.name] ?? "";
    if (knob.kind === "choice") {
      return h("label", { title: knob.help }, knob.name, h("select", { name: knob.name }, h("option", { value: "" }, "–"), knob.choices.map((one) => h("option", { selected: one === value }, one))));
    }
    return h(
      "label",
      { title: knob.help },
      knob.name,
      h("input", { type: "number", name: knob.name, value, placeholder: knob.default ?? "", min: knob.minimum, max: knob.maximum, step: "any" }),
    );
  }

  /** What is asked for the grid of what is on screen. */
  asked() {
    const { read, result } = this.page;
    const { rows, columns } = sides(read, result);
    return measuring(read, lossEntry(this.spec, this.params, rows.tokens.length, columns.tokens.length));
  }

  async load() {
    const { page } = this;
    if (!this.spec) return;
    const { path, body } = this.asked();
    byId("grid").setAttribute("aria-busy", "true");
    try {
      const answer = await this.#latest.run((signal) => call(path, body, { signal, waiting: page.waiting }));
      if (!answer) return;
      const shape = page.read.model.sites[page.read.site];
      this.layers = answer.results[0].layers.map(({ layer, losses }) => {
        const [values] = Object.values(losses);
        return { layer, values: Array.isArray(values) ? values : Array(shape.heads).fill(values) };
      });
      this.draw();
    } catch (error) {
      page.fail("grid", error, () => this.load());
    } finally {
      byId("grid").setAttribute("aria-busy", "false");
    }
  }

  draw() {
    if (!this.layers || !this.page.read) return;
    const shape = this.page.read.model.sites[this.page.read.site];
    this.grid.show(this.layers, { name: this.spec.name, layer: place(state.layer, shape.layers), head: place(state.head, shape.heads) });
  }
}
