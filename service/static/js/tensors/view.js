/** The tensor tab: JSON or files in, losses, weights and gradients out. */

import { Latest, call } from "../api.js";
import { byId, debounced, h, show } from "../dom.js";
import { clearFailure, showFailure, waitingLine } from "../failures.js";
import { t } from "../i18n.js";
import { onChange, set, state } from "../state.js";
import { ROLES, guessRoles, readFile } from "./files.js";
import { LossList } from "./losses.js";
import { EXAMPLE, shapeOf, tensorBody } from "./requests.js";
import { TensorResults } from "./results.js";

const TYPING_MS = 350;

/** Controls of the request: the name of each in the link, and where it keeps its value. */
const OPTIONS = {
  "tensor-causal": ["causal", "checked"],
  "tensor-grad": ["grad", "checked"],
  "tensor-scale": ["scores", "value"],
  "tensor-dtype": ["dtype", "value"],
};
const AT_ONCE = ["losses", ...Object.values(OPTIONS).map(([name]) => name)];

const written = (value) => JSON.stringify(value, null, 1).replace(/\[\s+([^[\]]*?)\s+\]/g, (_, inner) => `[${inner.replace(/\s+/g, " ")}]`);

export class TensorTab {
  /** @type {Map<string, import("./arrays.js").Tensor>} arrays of the files that were given */
  arrays = new Map();
  /** @type {Map<string, string>} role → name */
  roles = new Map();
  #latest = new Latest();
  /** @type {any} */
  answer = null;

  constructor() {
    this.losses = new LossList();
    this.results = new TensorResults((error) => showFailure("tensor", error, () => this.results.draw()));
    this.soon = debounced(() => this.compute(), TYPING_MS);
    byId("tensor-json").addEventListener("input", (event) => set({ tensors: event.target.value }));
    byId("tensor-example").addEventListener("click", () => (this.#forget(), set({ tensors: written(EXAMPLE) })));
    byId("tensor-file").addEventListener("change", (event) => this.open([...event.target.files]));
    byId("tensor-forget").addEventListener("click", () => (this.#forget(), this.soon.now()));
    for (const [id, [name, value]] of Object.entries(OPTIONS)) byId(id).addEventListener("input", (event) => set({ [name]: event.target[value] }));
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
    this.losses.draw();
  }

  follow(changed) {
    const atOnce = AT_ONCE.some((name) => changed.has(name));
    if (atOnce || changed.has("tensors")) {
      this.controls();
      if (state.tab === "tensors") atOnce ? this.soon.now() : this.soon();
    } else if (changed.has("tab") && state.tab === "tensors" && !this.answer) this.compute();
  }

  controls() {
    const text = state.tensors || written(EXAMPLE);
    if (byId("tensor-json").value !== text) byId("tensor-json").value = text;
    for (const [id, [name, value]] of Object.entries(OPTIONS)) if (byId(id)[value] !== state[name]) byId(id)[value] = state[name];
    this.losses.draw(this.roles.has("other.query") && this.roles.has("other.key"));
  }

  /** @param {File[]} files */
  async open(files) {
    clearFailure("tensor");
    try {
      for (const file of files) {
        const read = await readFile(file);
        if ("json" in read) {
          this.#forget();
          set({ tensors: read.json });
        } else for (const [name, tensor] of read.arrays) this.arrays.set(name, tensor);
      }
    } catch (error) {
      return this.#fail(t("tensor.unreadable"), error.message);
    } finally {
      byId("tensor-file").value = "";
    }
    this.roles = guessRoles(this.arrays.keys());
    this.#showFiles();
    if (this.arrays.size) this.compute();
  }

  #forget() {
    this.arrays.clear();
    this.roles.clear();
    this.#showFiles();
  }

  #showFiles() {
    show(byId("tensor-files"), this.arrays.size > 0);
    show(byId("tensor-json-field"), this.arrays.size === 0);
    const role = (name) => [...this.roles].find(([, one]) => one === name)?.[0] ?? "";
    byId("tensor-roles").replaceChildren(
      ...[...this.arrays].map(([name, { shape, dtype }]) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, name),
          h("td", {}, `${dtype} [${shape.join(", ")}]`),
          h(
            "td",
            {},
            h(
              "select",
              { name, "aria-label": t("tensor.role", { name }) },
              h("option", { value: "" }, t("tensor.unused")),
              ROLES.map((one) => h("option", { value: one, selected: one === role(name) }, one)),
            ),
          ),
        ),
      ),
    );
    this.losses.draw(this.roles.has("other.query") && this.roles.has("other.key"));
  }

  #assign(name, role) {
    for (const [known, one] of this.roles) if (one === name) this.roles.delete(known);
    if (role) this.roles.set(role, name);
    this.#showFiles();
    this.compute();
  }

  /** The request as the controls have it, or null with the reason shown. */
  made() {
    let json = {};
    if (this.arrays.size === 0) {
      try {
        json = JSON.parse(byId("tensor-json").value);
      } catch (error) {
        this.#fail(t("tensor.not_json"), error.message);
        return null;
      }
      if (typeof json !== "object" || json === null || Array.isArray(json)) {
        this.#fail(t("tensor.not_json"), t("tensor.object"));
        return null;
      }
    }
    const roles = new Map([...this.roles].map(([role, name]) => [role, this.arrays.get(name)]));
    const given = (role) => role in json || roles.has(role);
    if (!given("query") || !given("key")) return this.#fail(t("tensor.no_query"), t("tensor.no_query_advice")) ?? null;
    const options = { losses: this.losses.chosen, causal: state.causal, grad: state.grad, scale: state.scores, dtype: state.dtype };
    return tensorBody(json, roles, options, this.losses.specs);
  }

  async compute() {
    clearFailure("tensor");
    const made = this.made();
    if (!made) return;
    const began = performance.now();
    this.#status(t("status.working"), true);
    try {
      const waiting = (failure, seconds) => this.#status(waitingLine(failure, seconds), true);
      const answer = await this.#latest.run((signal) => call("loss", made.body, { signal, waiting }));
      if (!answer) return;
      Object.assign(this, { answer, asked: made });
      this.results.show(answer, made);
      const words = { ms: Math.round(performance.now() - began), backend: answer.backend, device: answer.device };
      this.#status(`${t("status.done", words)} · query [${shapeOf(made.body.query).join(", ")}] · key [${shapeOf(made.body.key).join(", ")}]`, false);
    } catch (error) {
      this.#hide();
      showFailure("tensor", error, () => this.compute());
    }
  }

  #hide() {
    this.#latest.stop();
    this.answer = null;
    this.#status("", false);
    show(byId("tensor-results"), false);
  }

  #fail(title, detail) {
    this.#hide();
    byId("tensor-failure").replaceChildren(h("div", { class: "failure" }, h("strong", {}, title), h("p", {}, detail)));
  }

  #status(text, busy) {
    byId("tensor-status").textContent = text;
    byId("tensor-status").classList.toggle("busy", busy);
  }
}
