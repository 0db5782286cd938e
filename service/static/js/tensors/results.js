/** What the service answered about tensors: losses, maps, per query, gradients. */

import { call, decodeTensor } from "../api.js";
import { byId, h, show } from "../dom.js";
import { HeatMap } from "../draw/heatmap.js";
import { bars, fitted } from "../draw/plots.js";
import { Source } from "../draw/source.js";
import { number, t } from "../i18n.js";
import { set, state } from "../state.js";
import { windowBody } from "./requests.js";

/** @param {any} tensor base64 or a plain number or list */
const decoded = (tensor) => (tensor?.base64 !== undefined ? decodeTensor(tensor) : { shape: [], data: [tensor].flat() });

/** What is looked at, by its names in the link; what the answer does not have counts as the first that it has. */
export const VIEW = ["shown", "perQuery", "batch", "queryHead"];

const options = (count, chosen) => Array.from({ length: count }, (_, i) => h("option", { value: i, selected: i === chosen }, String(i)));
const named = (pairs, chosen) => pairs.map(([value, name]) => h("option", { value, selected: value === chosen }, name));

export class TensorResults {
  /** @type {any} */
  answer = null;
  /** @type {Map<string, Promise<any>>} windows of all heads */
  #windows = new Map();
  /** Which map is drawn, and its size: the same one keeps its place. */
  #drawn = "";

  /** @param {(error: unknown) => void} failed */
  constructor(failed) {
    this.map = new HeatMap(byId("tensor-map"), { label: t("map.title"), words: t, failed });
    const chosen = (id, change) => byId(id).addEventListener("change", (event) => set(change(event.target.value)));
    chosen("tensor-shown", (shown) => ({ shown }));
    chosen("tensor-per-query", (perQuery) => ({ perQuery }));
    chosen("tensor-batch", (batch) => ({ batch: Number(batch) }));
    chosen("tensor-head", (head) => ({ queryHead: Number(head) }));
  }

  /** @param {any} answer @param {ReturnType<import("./requests.js").tensorBody>} made */
  show(answer, made) {
    Object.assign(this, { answer, made });
    this.#windows.clear();
    this.render();
  }

  render() {
    const { answer } = this;
    if (!answer) return;
    const one = (name, title, value) => h("div", { class: "metric", "data-metric": name }, h("dt", {}, title), h("dd", {}, value));
    const losses = Object.entries(answer.losses ?? {}).filter(([, value]) => typeof value === "number");
    const metric = (value) => (typeof value === "number" ? number(value, 6) : "…");
    byId("tensor-metrics").replaceChildren(
      one("loss", t("tensor.total"), metric(answer.loss)),
      ...losses.map(([name, value]) => one(name, name, metric(value))),
    );
    const maps = [["weights", t("tensor.weights")], ...(answer.output ? [["output", t("tensor.output")]] : [])];
    for (const name of Object.keys(answer.grad ?? {})) maps.push([`grad.${name}`, t(`tensor.grad_${name}`)]);
    byId("tensor-shown").replaceChildren(...named(maps, state.shown));
    const numbers = [...Object.keys(answer.per_query ?? {}).map((name) => [`per_query.${name}`, name]), ["entropy", t("tensor.entropy")], ["received", t("tensor.received")]];
    byId("tensor-per-query").replaceChildren(...named(numbers, state.perQuery));
    const [batches, heads] = [this.made.lead[0] ?? 1, this.made.lead[1] ?? 1];
    byId("tensor-batch").replaceChildren(...options(batches, state.batch));
    byId("tensor-head").replaceChildren(...options(heads, state.queryHead));
    show(byId("tensor-batch-field"), batches > 1);
    show(byId("tensor-head-field"), heads > 1);
    show(byId("tensor-results"), true);
    this.draw();
  }

  get batch() {
    return Number(byId("tensor-batch").value);
  }

  get head() {
    return Number(byId("tensor-head").value);
  }

  /** The part of this batch entry and head. Key heads may be fewer than query heads. @returns {{shape: number[], data: ArrayLike<number>}} */
  #part(tensor, trailing) {
    const { shape, data } = decoded(tensor);
    const lead = shape.slice(0, shape.length - trailing);
    const own = shape.slice(shape.length - trailing);
    const size = own.reduce((product, one) => product * one, 1);
    const heads = lead[1] ?? 1;
    const queryHeads = this.made.lead[1] ?? 1;
    const at = (lead[0] > 1 ? this.batch : 0) * heads + Math.floor((this.head * heads) / queryHeads);
    return { shape: own, data: data.slice(at * size, (at + 1) * size) };
  }

  #source() {
    const { answer, made, batch, head } = this;
    if (answer.weights) {
      const { shape, data } = this.#part(answer.weights, 2);
      return Source.whole(shape[0], shape[1], data);
    }
    return new Source(made.n, made.m, async (q0, q1, k0, k1) => {
      const window = [q0, q1, k0, k1];
      const name = window.join();
      if (!this.#windows.has(name)) {
        const asked = call("attention", windowBody(made.body, window)).then(({ weights }) => weights);
        asked.catch(() => this.#windows.delete(name));
        this.#windows.set(name, asked);
      }
      const { shape, data } = decodeTensor(await this.#windows.get(name));
      const size = shape.at(-1) * shape.at(-2);
      const at = batch * (made.lead[1] ?? 1) + head;
      return data.subarray(at * size, (at + 1) * size);
    });
  }

  /** The map that is chosen. */
  #chosen(what) {
    const plain = (prefix) => (i) => `${prefix}${i}`;
    const describe = (a, b) => (q, k, value) => t("tensor.cell", { row: `${a}${q}`, column: `${b}${k}`, value: value === undefined ? "…" : number(value, 6) });
    const sides = (a, b) => ({ rowName: plain(a), columnName: plain(b), describe: describe(a, b) });
    if (what === "weights") return { source: this.#source(), colours: "viridis", share: Math.sqrt, ...sides("q", "k") };
    const { shape, data } = this.#part(what === "output" ? this.answer.output : this.answer.grad[what.slice(5)], 2);
    const most = data.reduce((max, value) => Math.max(max, Math.abs(value)), 0) || 1;
    const row = what === "grad.key" || what === "grad.value" ? "k" : "q";
    return { source: Source.whole(shape[0], shape[1], data), colours: "balance", share: (value) => 0.5 + value / (2 * most), ...sides(row, "d") };
  }

  draw() {
    if (!this.answer) return;
    const what = byId("tensor-shown").value;
    const chosen = this.#chosen(what);
    const drawn = [what, chosen.source.rows, chosen.source.columns].join();
    this.map.show(chosen, { keep: drawn === this.#drawn });
    this.#drawn = drawn;
    this.map.canvas.setAttribute("aria-label", byId("tensor-shown").selectedOptions[0].textContent);
    this.map.readout.textContent = t(what === "weights" ? "map.hint" : "map.hint_tensor");
    this.#drawBars();
  }

  #drawBars() {
    const what = byId("tensor-per-query").value;
    const tensor = what.startsWith("per_query.") ? this.answer.per_query[what.slice(10)] : this.answer[what];
    if (!tensor) return;
    const whole = decoded(tensor);
    const each = whole.shape.length === this.made.lead.length + 1;
    const { data } = each ? this.#part(tensor, 1) : whole;
    const prefix = what === "received" ? "k" : each ? "q" : "";
    const label = byId("tensor-per-query").selectedOptions[0]?.textContent ?? what;
    const shown = (this.bars = { values: Array.from(data), label, name: (i) => `${prefix}${i}` });
    fitted(byId("tensor-bars"), (width) => bars({ ...shown, width }));
  }
}
