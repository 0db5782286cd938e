/** Which number colours the grid of heads: entropy, sink mass, or any loss of the registry. */

import { call } from "../api.js";
import { byId, h, show } from "../dom.js";
import { language, t } from "../i18n.js";
import { set, state } from "../state.js";
import { headGrid } from "./heads.js";
import { Part } from "./part.js";
import { knobs, lossEntry, measures, measuring, place, sides, targetKeys, targetNames, wantsTarget } from "./requests.js";

const FIRST = ["entropy", "sink"];

export class Measure {
  /** @type {any[]} */
  specs = [];
  /** @type {{layer: number, values: number[]}[] | null} numbers of the loss that is chosen */
  layers = null;
  #name = "";

  constructor(page) {
    this.page = page;
    this.part = new Part(page, "grid", byId("grid"));
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
    const drawn = `${this.spec.name} ${state.params} ${language} ${this.#sizes}`;
    if (byId("measure-params").dataset.of === drawn) return;
    byId("measure-params").dataset.of = drawn;
    const fields = [...(wantsTarget(this.spec) ? this.#target() : []), ...knobs(this.spec).map((one) => this.#field(one))];
    byId("measure-params").replaceChildren(...fields);
    show(byId("measure-params"), fields.length > 0);
  }

  /** How many queries and keys a map of what is on screen has. */
  get #sizes() {
    const { read, result } = this.page;
    if (!result) return [0, 0];
    const { rows, columns } = sides(read, result);
    return [rows.tokens.length, columns.tokens.length];
  }

  #target() {
    const { spec, params } = this;
    const names = [...targetNames(spec), "list"];
    const options = names.map((name) => h("option", { value: name, selected: name === params.target }, t(`target.${name}`)));
    const choice = h("label", {}, t("target.label"), h("select", { name: "target" }, options));
    if (params.target !== "list") return [choice];
    const value = targetKeys(spec, params, ...this.#sizes).join(" ");
    return [choice, h("label", {}, t("target.keys"), h("input", { name: "keys", value, inputmode: "numeric", autocomplete: "off" }))];
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
    return measuring(this.page.read, lossEntry(this.spec, this.params, ...this.#sizes));
  }

  async load() {
    const { spec } = this;
    if (!spec) return;
    const { path, body } = this.asked();
    if (this.#name !== spec.name) this.layers = null;
    const { heads } = this.page.read.model.sites[this.page.read.site];
    const ask = async (options) => (await call(path, body, options)).results[0].layers;
    const draw = (layers) => {
      this.layers = layers.map(({ layer, losses }) => {
        const [values] = Object.values(losses);
        return { layer, values: Array.isArray(values) ? values : Array(heads).fill(values) };
      });
      this.#name = spec.name;
      this.draw();
    };
    if ((await this.part.run(ask, draw, () => this.load())) !== false) return;
    this.layers = null;
    byId("grid").replaceChildren();
  }

  draw() {
    const shape = this.page.read.model.sites[this.page.read.site];
    this.grid.show(this.layers, { name: this.#name, layer: place(state.layer, shape.layers), head: place(state.head, shape.heads) });
  }
}
