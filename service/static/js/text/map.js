/** The map of one head: heat map, head view, and what a token attends to and is attended by. */

import { Latest } from "../api.js";
import { byId, debounced, h, show } from "../dom.js";
import { clearFailure } from "../failures.js";
import { HeatMap } from "../draw/heatmap.js";
import { headView, headViewSize } from "../draw/headview.js";
import { number, t } from "../i18n.js";
import { labels, short } from "./codepoints.js";
import { Part } from "./part.js";
import { place, sides } from "./requests.js";
import { percent } from "./tokens.js";
import { headSource, strongest } from "./weights.js";

/** Tokens that the head view has room for. */
const IN_VIEW = 36;
/** Curves of every token, and of the one in focus those from it and those to it. */
const COLOURS = {
  light: { all: "#1c5fb8", out: "#e8590c", in: "#1c7ed6" },
  dark: { all: "#7db4ff", out: "#ff922b", in: "#74c0fc" },
};

/** @typedef {{side: "query" | "key", at: number}} Focus */

export class HeadMap {
  /** @type {import("../draw/source.js").Source | null} */
  source = null;
  /** @type {Focus | null} what the pointer is at */
  hovered = null;
  /** @type {number} the row that was clicked, −1 for none */
  pinned = -1;
  #focused = new Latest();
  #drawn = new Latest();

  /** @param {any} page what the text tab shares: state, failures, strips */
  constructor(page) {
    this.page = page;
    this.part = new Part(page, "map");
    this.map = new HeatMap(byId("map"), {
      label: t("map.title"),
      words: t,
      hover: (q) => this.hover(q === null ? null : { side: "query", at: q }),
      pick: (q) => page.pinRow(q),
      failed: (error) => page.fail("map", error, () => this.map.draw()),
    });
    byId("headview").addEventListener("pointerleave", (event) => event.pointerType !== "touch" && this.hover(null));
    this.#followWidth(byId("headview"));
    this.askLater = debounced(() => this.#askFocus(), 140);
    this.fetchLater = debounced(() => this.#fetchHeadView(), 60);
  }

  #followWidth(host) {
    let drawn = 0;
    new ResizeObserver(() => {
      if (this.source && host.clientWidth && host.clientWidth !== drawn) this.drawHeadView();
      drawn = host.clientWidth;
    }).observe(host);
  }

  /** Load the chosen head and draw it. */
  load() {
    const { state, read, result } = this.page;
    const { rows, columns, same } = sides(read, result);
    const shape = read.model.sites[read.site];
    const which = { layer: place(state.layer, shape.layers), head: place(state.head, shape.heads), rows: rows.tokens.length, columns: columns.tokens.length };
    const draw = (source) => {
      Object.assign(this, { source, read, which, same });
      this.rowLabels = labels(rows.tokens, rows.offsets);
      this.columnLabels = labels(columns.tokens, columns.offsets);
      this.hovered = null;
      byId("map-name").textContent = t("map.name", which);
      this.map.canvas.setAttribute("aria-label", t("map.label", { ...which, queries: which.rows, keys: which.columns }));
      this.colour();
      this.map.readout.textContent = t("map.hint");
      this.#drawFocus();
    };
    return this.part.run((options) => headSource(read, which, options), draw, () => this.load());
  }

  /** Draw with the chosen scale. */
  colour({ keep = false } = {}) {
    const share = this.page.state.scale === "sqrt" ? Math.sqrt : (value) => value;
    const row = (q) => short(this.rowLabels[q]);
    const column = (k) => short(this.columnLabels[k]);
    const describe = (q, k, value) =>
      t("map.cell", { query: row(q), key: column(k), value: value === undefined ? "…" : percent(value), q, k });
    this.map.show({ source: this.source, rowName: row, columnName: column, colours: "viridis", share, describe }, { keep });
  }

  /** @param {Focus | null} focus */
  hover(focus) {
    if (focus?.side === this.hovered?.side && focus?.at === this.hovered?.at) return;
    this.hovered = focus;
    if (this.source) this.#drawFocus();
  }

  /** @param {number} at the row that stays in focus */
  pin(at) {
    this.pinned = at;
    this.hovered = null;
    if (!this.source) return;
    if (at >= 0 && at < this.source.rows && !this.source.data) this.map.centre(at, Math.min(at, this.source.columns - 1));
    this.#drawFocus();
  }

  get focus() {
    const pinned = this.pinned >= 0 && this.pinned < (this.source?.rows ?? 0) ? { side: "query", at: this.pinned } : null;
    return this.hovered ?? pinned;
  }

  #drawFocus() {
    this.#focused.stop();
    this.drawHeadView();
    if (!this.focus) {
      this.page.mark(null, null);
      byId("focus-lists").replaceChildren(h("p", { class: "note" }, t("focus.none")));
    } else if (this.source.data) this.#askFocus();
    else this.askLater();
  }

  /** What goes from the token in focus and what comes to it. */
  async #askFocus() {
    const { focus, source } = this;
    if (!focus || !source) return;
    const asksRow = this.same || focus.side === "query";
    const asksColumn = this.same || focus.side === "key";
    try {
      const came = await this.#focused.run((signal) =>
        Promise.all([asksRow ? source.row(focus.at, signal) : null, asksColumn ? source.column(focus.at, signal) : null]),
      );
      if (!came) return;
      const [out, back] = came;
      clearFailure("map");
      this.page.mark(out, back);
      byId("focus-lists").replaceChildren(this.#list("out", out, this.columnLabels), this.#list("in", back, this.rowLabels));
      byId("focus-lists").parentElement.classList.add("filled");
    } catch (error) {
      this.page.fail("map", error, () => this.#askFocus());
    }
  }

  #list(direction, values, names) {
    if (!values) return "";
    const found = strongest(values);
    const total = Array.from(values).reduce((sum, value) => sum + value, 0);
    return h(
      "table",
      { class: `bars ${direction}` },
      h("caption", {}, t(`focus.${direction}`), direction === "in" && h("small", {}, ` ${t("focus.received", { total: number(total, 3) })}`)),
      h(
        "tbody",
        {},
        found.map(({ at, value }) =>
          h(
            "tr",
            {},
            h("th", { scope: "row", dir: "auto" }, short(names[at]), h("small", {}, ` ${at}`)),
            h("td", {}, h("span", { class: "bar", style: { width: `${Math.max(1, 60 * value)}%` } }), h("span", {}, percent(value))),
          ),
        ),
        !found.length && h("tr", {}, h("td", {}, t("focus.nothing"))),
      ),
    );
  }

  /** The tokens that the head view shows: all, or those around the focus. */
  #window() {
    const { rows, columns } = this.source;
    const at = this.focus?.at ?? 0;
    const range = (count, middle) => {
      const start = Math.max(0, Math.min(count - IN_VIEW, middle - Math.floor(IN_VIEW / 2)));
      return [start, Math.min(count, start + IN_VIEW)];
    };
    const wide = (count) => Math.round((at * count) / (this.focus?.side === "key" ? columns : rows));
    return { q: range(rows, this.focus?.side === "key" ? wide(rows) : at), k: range(columns, this.focus?.side === "key" ? at : wide(columns)) };
  }

  /** @returns {SVGElement} */
  figure(interactive = false) {
    const { q, k } = this.#window();
    const { source } = this;
    const colours = COLOURS[document.documentElement.dataset.shade] ?? COLOURS.light;
    const placed = this.#placed(q, k);
    const { width, characters } = headViewSize(interactive ? byId("headview").clientWidth : undefined);
    const data = {
      width,
      queries: this.rowLabels.slice(...q).map((label) => short(label, characters)),
      keys: this.columnLabels.slice(...k).map((label) => short(label, characters)),
      weight: (i, j) => source.get(q[0] + i, k[0] + j) ?? 0,
      focus: placed,
      label: t("headview.label", this.which),
      colour: placed ? colours.out : colours.all,
      back: colours.in,
    };
    if (!interactive) return headView(data);
    const real = (side, at) => at + (side === "query" ? q : k)[0];
    return headView(
      data,
      (side, at) => this.hover({ side, at: real(side, at) }),
      (side, at) => (side === "query" || this.same) && this.page.pinRow(real(side, at)),
    );
  }

  /** The focus by places in view; where rows and columns are the same tokens, a token is in focus as both. */
  #placed(q, k) {
    const { focus, same } = this;
    if (!focus) return null;
    const inside = ([start, stop], side) => ((same || focus.side === side) && focus.at >= start && focus.at < stop ? focus.at - start : -1);
    const placed = { query: inside(q, "query"), key: inside(k, "key") };
    return placed.query < 0 && placed.key < 0 ? null : placed;
  }

  drawHeadView() {
    const { source } = this;
    const { q, k } = this.#window();
    const windowed = q[1] - q[0] < source.rows || k[1] - k[0] < source.columns;
    show(byId("headview-part"), windowed);
    if (windowed) byId("headview-part").textContent = t("headview.part", { q0: q[0], q1: q[1] - 1, of: source.rows });
    byId("headview").replaceChildren(this.figure(true));
    if (!source.data) this.fetchLater();
  }

  /** What the head view shows of a map that comes in windows. */
  async #fetchHeadView() {
    const { q, k } = this.#window();
    try {
      const came = await this.#drawn.run((signal) => this.source.want(q[0], q[1], k[0], k[1], { signal }));
      if (came) byId("headview").replaceChildren(this.figure(true));
    } catch (error) {
      this.page.fail("map", error, () => this.#fetchHeadView());
    }
  }
}
