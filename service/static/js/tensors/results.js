/** What the service answered about tensors: losses, maps, per query, gradients. */

import { call, decodeTensor } from "../api.js";
import { byId, h, show } from "../dom.js";
import { HeatMap } from "../draw/heatmap.js";
import { bars, fitted } from "../draw/plots.js";
import { Source } from "../draw/source.js";
import { number, t } from "../i18n.js";
import { windowBody } from "./requests.js";

/** @param {any} tensor base64 or a plain number or list */
const decoded = (tensor) => (tensor?.base64 !== undefined ? decodeTensor(tensor) : { shape: [], data: [tensor].flat() });

export class TensorResults {
  /** @type {any} */
  answer = null;
  batch = 0;
  head = 0;
  /** @type {Map<string, Promise<any>>} windows of all heads */
  #windows = new Map();

  /** @param {(error: unknown) => void} failed */
  constructor(failed) {
    this.map = new HeatMap(byId("tensor-map"), { label: t("map.title"), words: t, failed });
    byId("tensor-shown").addEventListener("change", () => this.draw());
    byId("tensor-per-query").addEventListener("change", () => this.#perQuery());
    byId("tensor-batch").addEventListener("change", (event) => ((this.batch = Number(event.target.value)), this.draw()));
    byId("tensor-head").addEventListener("change", (event) => ((this.head = Number(event.target.value)), this.draw()));
  }

  /** @param {any} answer @param {ReturnType<import("./requests.js").tensorBody>} made */
  show(answer, made) {
    Object.assign(this, { answer, made, batch: 0, head: 0 });
    this.#windows.clear();
    const one = (name, value) => h("div", { class: "metric", "data-metric": name }, h("dt", {}, name), h("dd", {}, value));
    const losses = Object.entries(answer.losses ?? {}).filter(([, value]) => typeof value === "number");
    const metric = (value) => (typeof value === "number" ? number(value, 6) : "…");
    byId("tensor-metrics").replaceChildren(
      one(t("tensor.total"), metric(answer.loss)),
      ...losses.map(([name, value]) => one(name, metric(value))),
    );
    const maps = [["weights", "tensor.weights"], ...(answer.output ? [["output", "tensor.output"]] : [])];
    for (const name of Object.keys(answer.grad ?? {})) maps.push([`grad.${name}`, `tensor.grad_${name}`]);
    const before = byId("tensor-shown").value;
    byId("tensor-shown").replaceChildren(...maps.map(([value, word]) => h("option", { value, selected: value === before }, t(word))));
    const numbers = [...Object.keys(answer.per_query ?? {}).map((name) => [`per_query.${name}`, name]), ["entropy", t("tensor.entropy")], ["received", t("tensor.received")]];
    const chosen = byId("tensor-per-query").value;
    byId("tensor-per-query").replaceChildren(...numbers.map(([value, name]) => h("option", { value, selected: value === chosen }, name)));
    const { lead } = made;
    const [batches, heads] = [lead[0] ?? 1, lead[1] ?? 1];
    const options = (count) => Array.from({ length: count }, (_, i) => h("option", { value: i }, String(i)));
    byId("tensor-batch").replaceChildren(...options(batches));
    byId("tensor-head").replaceChildren(...options(heads));
    show(byId("tensor-batch-field"), batches > 1);
    show(byId("tensor-head-field"), heads > 1);
    show(byId("tensor-results"), true);
    this.draw();
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

  draw() {
    if (!this.answer) return;
    const what = byId("tensor-shown").value || "weights";
    const plain = (prefix) => (i) => `${prefix}${i}`;
    const describe = (a, b) => (q, k, value) => t("tensor.cell", { row: `${a}${q}`, column: `${b}${k}`, value: value === undefined ? "…" : number(value, 6) });
    if (what === "weights") {
      const source = this.#source();
      this.map.show({ source, rowName: plain("q"), columnName: plain("k"), colours: "viridis", share: Math.sqrt, describe: describe("q", "k") });
    } else {
      const tensor = what === "output" ? this.answer.output : this.answer.grad[what.slice(5)];
      const { shape, data } = this.#part(tensor, 2);
      const most = data.reduce((max, value) => Math.max(max, Math.abs(value)), 0) || 1;
      const row = what === "grad.key" || what === "grad.value" ? "k" : "q";
      this.map.show({
        source: Source.whole(shape[0], shape[1], data), rowName: plain(row), columnName: plain("d"), colours: "balance",
        share: (value) => 0.5 + value / (2 * most), describe: describe(row, "d"),
      });
    }
    this.map.canvas.setAttribute("aria-label", byId("tensor-shown").selectedOptions[0]?.textContent ?? "");
    this.map.readout.textContent = t(what === "weights" ? "map.hint" : "map.hint_tensor");
    this.#perQuery();
  }

  #perQuery() {
    const what = byId("tensor-per-query").value;
    const tensor = what.startsWith("per_query.") ? this.answer.per_query[what.slice(10)] : this.answer[what];
    if (!tensor) return;
    const whole = decoded(tensor);
    const each = whole.shape.length === this.made.lead.length + 1;
    const { data } = each ? this.#part(tensor, 1) : whole;
    const prefix = what === "received" ? "k" : each ? "q" : "";
    const label = byId("tensor-per-query").selectedOptions[0]?.textContent ?? what;
    fitted(byId("tensor-bars"), (width) => bars({ values: data, label, name: (i) => `${prefix}${i}`, width }));
  }
}
