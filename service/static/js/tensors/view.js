/** The tensor tab: JSON or files in, losses, weights and gradients out. */

import { Latest, call } from "../api.js";
import { byId, debounced, h, show } from "../dom.js";
import { Refusal, clearFailure, showFailure, waitingLine } from "../failures.js";
import { t } from "../i18n.js";
import { onChange, set, state } from "../state.js";
import { ROLES, guessRoles, nameOf, readFile } from "./files.js";
import { LossList } from "./losses.js";
import { EXAMPLE, shapeOf, tensorBody } from "./requests.js";
import { TensorResults, VIEW } from "./results.js";

const TYPING_MS = 350;
const OPTIONS = ["causal", "grad", "scores", "dtype"];

export class TensorTab {
  /** @type {Map<string, import("./arrays.js").Tensor & {file: string}>} arrays of the files that were given */
  arrays = new Map();
  /** @type {Map<string, string>} role → name */
  roles = new Map();
  /** @type {{file: string, error: import("./arrays.js").Unreadable}[]} what was in the files and cannot be read */
  #skipped = [];
  /** What is pasted, as far as it was read. @type {Record<string, any>} */
  #json = {};
  #latest = new Latest();
  /** Whether what was answered is of other inputs than those of now. */
  #stale = true;
  #took = 0;
  /** @type {any} */
  answer = null;

  constructor() {
    this.losses = new LossList();
    this.results = new TensorResults((error) => showFailure("tensor", error, () => this.results.draw()));
    this.soon = debounced(() => this.compute(), TYPING_MS);
    const chosen = (id, change) => byId(id).addEventListener("input", (event) => set(change(event.target)));
    chosen("tensor-json", ({ value }) => ({ tensors: value }));
    chosen("tensor-causal", ({ checked }) => ({ causal: String(checked) }));
    chosen("tensor-grad", ({ checked }) => ({ grad: checked }));
    chosen("tensor-scale", ({ value }) => ({ scores: value }));
    chosen("tensor-dtype", ({ value }) => ({ dtype: value }));
    byId("tensor-example").addEventListener("click", () => this.#paste(EXAMPLE));
    byId("tensor-file").addEventListener("change", (event) => this.open([...event.target.files]));
    byId("tensor-forget").addEventListener("click", () => this.#paste(state.tensors));
    byId("tensor-roles").addEventListener("change", (event) => this.#assign(event.target.name, event.target.value));
    this.#drops();
    onChange((changed) => this.follow(changed));
  }

  #drops() {
    const zone = byId("tensor-drop");
    const over = (event) => (event.preventDefault(), zone.classList.add("over"));
    zone.addEventListener("dragenter", over);
    zone.addEventListener("dragover", over);
    zone.addEventListener("dragleave", () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      this.open([...event.dataTransfer.files]);
    });
  }

  setSpecs(specs) {
    this.losses.specs = specs;
    this.#stale = true;
    this.#drawLosses();
  }

  /** @param {Set<string>} changed */
  follow(changed) {
    const any = (...names) => names.some((name) => changed.has(name));
    const atOnce = any("losses", ...OPTIONS);
    if (atOnce || any("tensors")) {
      this.#stale = true;
      this.#latest.stop();
      this.controls();
      if (state.tab === "tensors") return atOnce ? this.soon.now() : this.soon();
    }
    if (any("tab") && state.tab === "tensors" && this.#stale) this.compute();
    else if (any(...VIEW)) this.results.render();
    return undefined;
  }

  /** What the screen shows of the state. */
  controls() {
    if (byId("tensor-json").value !== state.tensors) byId("tensor-json").value = state.tensors;
    this.#drawOptions();
    this.#drawLosses();
  }

  /** What nobody chose is as the JSON has it. */
  #drawOptions() {
    const given = this.arrays.size ? {} : this.#json;
    const put = (id, value) => byId(id).value !== value && (byId(id).value = value);
    put("tensor-scale", state.scores);
    put("tensor-dtype", state.dtype || (given.dtype ?? "float32"));
    byId("tensor-scale").placeholder = typeof given.scale === "number" ? given.scale : "1/√d";
    byId("tensor-causal").checked = state.causal === "" ? given.causal === true : state.causal === "true";
    byId("tensor-grad").checked = state.grad;
  }

  #drawLosses() {
    this.losses.draw(this.roles.has("other.query") && this.roles.has("other.key"));
  }

  /** @param {File[]} files */
  async open(files) {
    clearFailure("tensor");
    const reads = await Promise.all(files.map(readFile));
    byId("tensor-file").value = "";
    const json = reads.findLast((read) => read.json !== undefined);
    if (json) return this.#paste(json.json);
    const skipped = reads.flatMap(({ file, skipped: errors }) => errors.map((error) => ({ file, error })));
    if (!reads.some(({ arrays }) => arrays.size)) return skipped.length && showFailure("tensor", skipped[0].error);
    const names = reads.flatMap(({ file, arrays }) => [...arrays].map(([array, tensor]) => this.#take(array, tensor, file)));
    this.#skipped = [...this.#skipped.filter((before) => !reads.some(({ file }) => file === before.file)), ...skipped];
    this.roles = guessRoles(names, this.roles);
    this.#showFiles();
    return this.soon.now();
  }

  /** Keep an array; the same one of the same file takes its own place again. @returns {string} what it is called */
  #take(array, tensor, file) {
    const name = nameOf(array, file, (one) => this.arrays.has(one) && this.arrays.get(one).file !== file);
    this.arrays.set(name, { ...tensor, file });
    return name;
  }

  /** JSON in the place of the files. @param {string} text */
  #paste(text) {
    this.forget();
    set({ tensors: text });
    this.soon.now();
  }

  /** Without the files. */
  forget() {
    this.arrays.clear();
    this.roles.clear();
    this.#skipped = [];
    this.#stale = true;
    this.#showFiles();
  }

  #showFiles() {
    show(byId("tensor-files"), this.arrays.size > 0);
    show(byId("tensor-json-field"), this.arrays.size === 0);
    const role = (name) => [...this.roles].find(([, one]) => one === name)?.[0] ?? "";
    const choice = (name) =>
      h(
        "select",
        { name, "aria-label": t("tensor.role", { name }) },
        h("option", { value: "" }, t("tensor.unused")),
        ROLES.map((one) => h("option", { value: one, selected: one === role(name) }, one)),
      );
    byId("tensor-roles").replaceChildren(
      ...[...this.arrays].map(([name, { shape, dtype }]) =>
        h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, `${dtype} [${shape.join(", ")}]`), h("td", {}, choice(name))),
      ),
    );
    show(byId("tensor-skipped"), this.#skipped.length > 0);
    byId("tensor-skipped").textContent = this.#skipped.map(({ file, error }) => t("tensor.skipped", { file, why: error.says })).join(" ");
    this.#drawLosses();
  }

  #assign(name, role) {
    for (const [known, one] of this.roles) if (one === name) this.roles.delete(known);
    if (role) this.roles.set(role, name);
    this.#showFiles();
    this.soon.now();
  }

  /** The request as the controls have it. @throws {Refusal} */
  made() {
    const json = this.arrays.size ? {} : this.#read();
    this.#drawOptions();
    const roles = new Map([...this.roles].map(([role, name]) => [role, this.arrays.get(name)]));
    const given = (role) => Object.hasOwn(json, role) || roles.has(role);
    if (!given("query") || !given("key")) throw new Refusal("tensor.no_query", this.arrays.size ? "tensor.no_query_advice" : "tensor.object");
    const options = { losses: this.losses.chosen, causal: state.causal, grad: state.grad, scale: state.scores, dtype: state.dtype };
    return tensorBody(json, roles, options, this.losses.specs);
  }

  #read() {
    this.#json = {};
    if (state.tensors.trim() === "") throw new Refusal("tensor.no_query", "tensor.empty");
    let json;
    try {
      json = JSON.parse(state.tensors);
    } catch (error) {
      throw new Refusal("tensor.not_json", "tensor.not_json_detail", { why: error.message });
    }
    if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Refusal("tensor.not_json", "tensor.object");
    return (this.#json = json);
  }

  async compute() {
    clearFailure("tensor");
    const began = performance.now();
    try {
      const made = this.made();
      this.#status(t("status.working"), true);
      const waiting = (failure, seconds) => this.#status(waitingLine(failure, seconds), true);
      const answer = await this.#latest.run((signal) => call("loss", made.body, { signal, waiting }));
      if (!answer) return;
      Object.assign(this, { answer, asked: made });
      this.#stale = false;
      this.#took = performance.now() - began;
      this.results.show(answer, made);
      this.#done();
    } catch (error) {
      this.#hide();
      showFailure("tensor", error, error instanceof Refusal ? undefined : () => this.compute());
    }
  }

  /** All that was written, in the language of now. */
  retell() {
    this.#showFiles();
    this.controls();
    if (!this.answer) return;
    this.results.render();
    this.#done();
  }

  #done() {
    const { answer, asked } = this;
    const words = { ms: Math.round(this.#took), backend: answer.backend, device: answer.device };
    this.#status(`${t("status.done", words)} · query [${shapeOf(asked.body.query).join(", ")}] · key [${shapeOf(asked.body.key).join(", ")}]`, false);
  }

  #hide() {
    this.#latest.stop();
    this.answer = null;
    this.#status("", false);
    show(byId("tensor-results"), false);
  }

  #status(text, busy) {
    byId("tensor-status").textContent = text;
    byId("tensor-status").classList.toggle("busy", busy);
  }
}
