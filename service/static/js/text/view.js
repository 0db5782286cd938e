/** The text tab: what is typed goes to the service, and what comes back to each part of the page. */

import { Latest, call } from "../api.js";
import { byId, debounced, h, show } from "../dom.js";
import { clearFailure, showFailure, waitingLine } from "../failures.js";
import { t } from "../i18n.js";
import { onChange, set, state } from "../state.js";
import { Alignment } from "./alignment.js";
import { Alternatives } from "./alternatives.js";
import { codePoints, tokenAt, wellFormed } from "./codepoints.js";
import { Comparison } from "./compare.js";
import { HeadMap } from "./map.js";
import { Measure } from "./measure.js";
import { WordOrder } from "./order.js";
import { place, reading, scoring } from "./requests.js";
import { metrics, tokenStrip } from "./tokens.js";

const TYPING_MS = 250;
const LOADING_MS = 1000;
const PARTS = ["text", "grid", "map", "compare", "order", "alignment"];

export class TextTab {
  state = state;
  set = set;
  /** @type {any[]} */
  models = [];
  /** @type {any} */
  result = null;
  #latest = new Latest();

  constructor() {
    this.map = new HeadMap(this);
    this.measure = new Measure(this);
    this.compare = new Comparison(this);
    this.order = new WordOrder(this);
    this.alignment = new Alignment(this);
    this.alternatives = new Alternatives(this);
    const on = { pick: (at) => this.pin(at), hover: (at) => this.map.hover(at === null ? null : { side: "query", at }) };
    this.strip = tokenStrip(byId("tokens"), on);
    const side = { pick: (at) => this.map.hover({ side: "key", at }), hover: (at) => this.map.hover(at === null ? null : { side: "key", at }) };
    this.sourceStrip = tokenStrip(byId("source-tokens"), side);
    this.waiting = (failure, seconds) => this.status(waitingLine(failure, seconds), true);
    this.scoreSoon = debounced(() => this.score(), TYPING_MS);
    this.#listen();
    onChange((changed) => this.follow(changed));
  }

  #listen() {
    const typed = (id, name) => byId(id).addEventListener("input", (event) => set({ [name]: event.target.value }));
    typed("text", "text");
    typed("target", "target");
    byId("model").addEventListener("change", (event) => set({ model: event.target.value, site: "", layer: -1, head: 0 }));
    byId("site").addEventListener("change", (event) => set({ site: event.target.value }));
    byId("map-scale").addEventListener("change", (event) => set({ scale: event.target.value }));
    byId("examples").addEventListener("change", (event) => {
      if (event.target.value) set({ text: event.target.value, token: -1 });
      event.target.value = "";
    });
    document.addEventListener("selectionchange", () => {
      const box = byId("text");
      if (document.activeElement !== box || !this.result || this.read?.target || box.selectionStart !== box.selectionEnd) return;
      if (wellFormed(box.value) !== this.read.text) return;
      const at = tokenAt(this.result.offsets, codePoints(this.read.text).fromUtf16(box.selectionStart));
      if (at >= 0) this.map.hover({ side: "query", at });
    });
  }

  /** GET /models again and again until the chosen one is ready. */
  async loadModels() {
    const { models } = await call("models", null, { waiting: this.waiting });
    this.models = models;
    this.#modelOptions();
    if (this.model?.state === "loading") {
      this.status(t("status.loading", { model: this.model.name }), true);
      await new Promise((resolve) => setTimeout(resolve, LOADING_MS));
      await this.loadModels();
    }
  }

  get model() {
    return this.models.find((one) => one.name === state.model) ?? this.models[0];
  }

  #modelOptions() {
    const option = (one) =>
      h(
        "option",
        { value: one.name, selected: one === this.model, disabled: one.state === "failed", title: one.why },
        one.state === "ready" ? one.name : `${one.name} (${t(`state.${one.state}`)})`,
      );
    byId("model").replaceChildren(...this.models.map(option));
  }

  /** What the screen shows of the state, wherever that came from. */
  controls() {
    for (const [id, name] of [["text", "text"], ["target", "target"]]) if (byId(id).value !== state[name]) byId(id).value = state[name];
    byId("map-scale").value = state.scale;
    byId("order-count").value = String(state.permutations);
    if (!this.model) return;
    this.#modelOptions();
    const both = this.model.kind === "encoder-decoder";
    show(byId("target-field"), both);
    show(byId("site-field"), both);
    byId("site").value = reading(state, this.model).site;
    for (const option of byId("site").options) option.disabled = option.value !== "encoder" && !state.target;
    this.measure.controls();
  }

  /** @param {Set<string>} changed */
  follow(changed) {
    if (changed.has("tab") && changed.size === 1) return;
    this.controls();
    const any = (...names) => names.some((name) => changed.has(name));
    if (any("text", "target", "model", "site")) {
      this.#latest.stop();
      this.#busy(true);
      return any("model", "site") ? this.scoreSoon.now() : this.scoreSoon();
    }
    if (!this.result) return;
    if (any("measure", "params")) this.measure.load();
    if (any("layer", "head")) {
      const { layers, heads } = this.read.model.sites[this.read.site];
      this.measure.grid.choose(place(state.layer, layers), place(state.head, heads));
      this.#part("map", () => this.map.load());
      if (changed.has("layer")) this.alignment.load();
    }
    if (any("scale")) {
      if (this.map.source) this.map.colour({ keep: true });
      this.compare.draw();
    }
    if (changed.has("compare") || (state.compare && any("layer", "head", "layer2", "head2", "text2", "model2"))) this.#compareSoon();
    if (any("permutations", "seed")) this.order.run();
    if (any("token")) this.#pinned();
  }

  #compareSoon = debounced(() => this.result && this.compare.load(), 200);

  /** Ask for what is typed; the last asked wins. */
  async score() {
    for (const part of PARTS) clearFailure(part);
    if (!this.models.length) return this.#part("text", async () => (await this.loadModels(), this.models.length ? this.score() : this.#none()));
    if (this.model.state === "loading") return this.#part("text", async () => (await this.loadModels(), this.score()));
    if (this.model.state === "failed") return this.#empty(t("status.failed", { model: this.model.name, why: this.model.why ?? "" }));
    this.controls();
    const read = reading(state, this.model);
    if (read.text === "") return this.#empty(t("status.empty"));
    const asked = scoring(read);
    const began = performance.now();
    this.status(t("status.working"), true);
    try {
      const answer = await this.#latest.run((signal) => call(asked.path, asked.body, { signal, waiting: this.waiting }));
      if (!answer) return undefined;
      Object.assign(this, { read, result: answer.results[0], answer, asked });
      this.#show(answer, performance.now() - began);
      const { result } = this;
      await this.#loadParts();
      return this.#busy(this.result !== result);
    } catch (error) {
      this.#empty("");
      return this.fail("text", error, () => this.score());
    }
  }

  /** Whether what is on screen is not yet of what was typed. */
  #busy(is) {
    byId("text-results").setAttribute("aria-busy", String(is));
  }

  #none() {
    this.#empty(t("status.no_models"));
  }

  #empty(says) {
    this.#latest.stop();
    this.result = null;
    this.#busy(false);
    this.status(says, false);
    show(byId("text-results"), false);
  }

  #show(answer, took) {
    const { read, result } = this;
    show(byId("text-results"), true);
    const notes = [t("status.done", { ms: Math.round(took), backend: answer.backend ?? "", device: answer.device })];
    if (result.truncated) notes.push(t("status.truncated", { tokens: result.tokens.length }));
    if (read.text !== state.text) notes.push(t("status.surrogates"));
    this.status(notes.join(" · "), false);
    byId("metrics").replaceChildren(...[metrics(result, read)].flat());
    const target = result.target_tokens;
    this.strip.show(target ? { ...result, tokens: target, offsets: result.target_offsets } : result);
    show(byId("source-part"), Boolean(target));
    if (target) this.sourceStrip.show({ tokens: result.tokens, offsets: result.offsets });
    if (state.token >= (target ?? result.tokens).length) set({ token: -1 }, { quiet: true });
    this.#pinned();
  }

  #loadParts() {
    return Promise.all([
      this.measure.load(),
      this.#part("map", () => this.map.load()),
      this.compare.load(),
      this.order.load(),
      this.alignment.load(),
    ]);
  }

  async #part(name, work) {
    clearFailure(name);
    try {
      await work();
    } catch (error) {
      this.fail(name, error, () => this.#part(name, work));
    }
  }

  fail(part, error, again) {
    this.status("", false);
    if (part === "map") byId("map-card").setAttribute("aria-busy", "false");
    showFailure(part, error, again);
  }

  status(text, busy) {
    byId("text-status").textContent = text;
    byId("text-status").classList.toggle("busy", busy);
  }

  /** @param {number} at the token to keep in focus; again lets it go */
  pin(at) {
    set({ token: at === state.token ? -1 : at });
  }

  #pinned() {
    this.strip.select(state.token);
    this.map.pin(state.token);
    this.alternatives.show();
  }

  /** Show in the strips what goes from and to the token in focus. */
  mark(out, back, same) {
    const target = Boolean(this.result?.target_tokens);
    if (!target) return this.strip.mark(out, back);
    if (this.read.site === "encoder") return this.sourceStrip.mark(out, back);
    this.strip.mark(null, this.read.site === "cross" ? back : null);
    return this.sourceStrip.mark(this.read.site === "cross" ? out : null, null);
  }
}
