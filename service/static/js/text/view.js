/** The text tab: what is typed goes to the service, and what comes back to each part of the page. */

import { Latest, call } from "../api.js";
import { busy, byId, debounced, show } from "../dom.js";
import { clearFailure, showFailure } from "../failures.js";
import { t } from "../i18n.js";
import { onChange, set, state } from "../state.js";
import { Alignment } from "./alignment.js";
import { Alternatives } from "./alternatives.js";
import { codePoints, tokenAt, wellFormed } from "./codepoints.js";
import { Comparison } from "./compare.js";
import { HeadMap } from "./map.js";
import { Measure } from "./measure.js";
import { Models } from "./models.js";
import { WordOrder } from "./order.js";
import { place, reading, scoring } from "./requests.js";
import { StatusLine } from "./status.js";
import { metrics, tokenStrip } from "./tokens.js";

const TYPING_MS = 250;

export class TextTab {
  state = state;
  set = set;
  models = new Models(this);
  /** @type {any} */
  result = null;
  /** The row of an encoder's map that was clicked where the scored tokens are the target's; −1 for none. */
  sourceToken = -1;
  #latest = new Latest();
  #line = new StatusLine(byId("text-status"));

  constructor() {
    this.map = new HeadMap(this);
    this.measure = new Measure(this);
    this.compare = new Comparison(this);
    this.order = new WordOrder(this);
    this.alignment = new Alignment(this);
    this.alternatives = new Alternatives(this);
    const hover = (side) => (at) => this.map.hover(at === null || !side() ? null : { side: side(), at });
    this.strip = tokenStrip(byId("tokens"), { pick: (at) => this.pin(at), hover: hover(() => this.rowsAreScored && "query") });
    const side = () => ({ encoder: "query", cross: "key" })[this.read.site];
    this.sourceStrip = tokenStrip(byId("source-tokens"), {
      pick: (at) => (this.rowsAreScored ? hover(side)(at) : this.pinRow(at)),
      hover: hover(side),
    });
    this.waiting = (failure, seconds) => this.#line.waiting(failure, seconds);
    this.scoreSoon = debounced(() => this.score(), TYPING_MS);
    this.status(t("status.starting"), true);
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

  get model() {
    return this.models.chosen;
  }

  /** Whether the rows of the map are the tokens that are scored; beside a target those of the encoder are not. */
  get rowsAreScored() {
    return !this.result?.target_tokens || this.read.site !== "encoder";
  }

  /** What the screen shows of the state, wherever that came from. */
  controls() {
    for (const [id, name] of [["text", "text"], ["target", "target"]]) if (byId(id).value !== state[name]) byId(id).value = state[name];
    byId("map-scale").value = state.scale;
    byId("order-count").value = String(state.permutations);
    if (!this.model) return;
    this.models.options();
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
      busy(byId("text-results"), true);
      return any("model", "site") ? this.scoreSoon.now() : this.scoreSoon();
    }
    if (!this.result) return;
    if (any("measure", "params")) this.measure.load();
    if (any("layer", "head")) {
      const { layers, heads } = this.read.model.sites[this.read.site];
      this.measure.grid.choose(place(state.layer, layers), place(state.head, heads));
      this.map.load();
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
    clearFailure("text");
    try {
      if (!this.models.known && !(await this.models.load())) return undefined;
      if (!this.model) return this.#empty(t("status.no_models"));
      if (this.model.state === "failed") return this.#empty(t("status.failed", { model: this.model.name, why: this.model.why ?? "" }));
      this.controls();
      const read = reading(state, this.model);
      if (read.text === "") return this.#empty(t("status.empty"));
      this.status(t("status.working"), true);
      const asked = scoring(read);
      const began = performance.now();
      const answer = await this.#latest.run((signal) => call(asked.path, asked.body, { signal, waiting: this.waiting }));
      if (!answer) return undefined;
      Object.assign(this, { read, result: answer.results[0], answer, asked });
      this.#show(answer, performance.now() - began);
      this.measure.controls();
      busy(byId("text-results"), false);
      return await this.#loadParts();
    } catch (error) {
      this.#empty("");
      return this.fail("text", error, () => this.score());
    }
  }

  #empty(says) {
    this.#latest.stop();
    this.result = null;
    busy(byId("text-results"), false);
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
    this.sourceToken = -1;
    this.#pinned();
  }

  #loadParts() {
    return Promise.all([this.measure, this.map, this.compare, this.order, this.alignment].map((part) => part.load()));
  }

  fail(part, error, again) {
    if (part === "text") this.status("", false);
    showFailure(part, error, again);
  }

  /** @param {string} text @param {boolean} working */
  status(text, working) {
    this.#line.say(text, working);
  }

  /** @param {number} at the token to keep in focus; again lets it go */
  pin(at) {
    set({ token: at === state.token ? -1 : at });
  }

  /** @param {number} q the row of the map to keep in focus; again lets it go */
  pinRow(q) {
    if (this.rowsAreScored) return this.pin(q);
    this.sourceToken = q === this.sourceToken ? -1 : q;
    return this.#pinned();
  }

  #pinned() {
    this.strip.select(state.token);
    this.sourceStrip.select(this.sourceToken);
    this.map.pin(this.rowsAreScored ? state.token : this.sourceToken);
    this.alternatives.show();
  }

  /** Show in the strips what goes from and to the token in focus. */
  mark(out, back) {
    const { result, read } = this;
    if (!result?.target_tokens) return this.strip.mark(out, back);
    if (read.site === "encoder") return this.sourceStrip.mark(out, back);
    if (read.site === "cross") {
      this.strip.mark(null, back);
      return this.sourceStrip.mark(out, null);
    }
    return this.strip.mark(out && result.key_tokens ? Array.from(out).slice(1) : out, null);
  }
}
