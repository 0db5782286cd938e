/** A heat map on a canvas: hover, pick, drag, zoom, all of it by keyboard too; only cells in view are drawn. */

import { debounced, h, show } from "../dom.js";
import { listen } from "./mapinput.js";
import { paint } from "./mappaint.js";

const LEAST_LABELLED = 13;
const MOST_CELL = 64;
const GUTTERS = [30, 84];
const NAMES_LOOKED_AT = 200;
/** Queries of one request; a view of more is drawn as they come. */
const QUERIES_AT_ONCE = 1024;

/**
 * @typedef {object} Shown
 * @property {import("./source.js").Source} source
 * @property {(q: number) => string} rowName
 * @property {(k: number) => string} columnName
 * @property {import("./colour.js").MapName} colours
 * @property {(value: number) => number} share value → 0 to 1
 * @property {(q: number, k: number, value: number | undefined) => string} describe
 */

export class HeatMap {
  /** @type {Shown | null} */
  shown = null;
  /** Pixels of a cell. */
  cell = 1;
  top = 0;
  left = 0;
  cursor = [0, 0];
  margin = GUTTERS[1];
  /** How the map follows the room it has, until it is zoomed. @type {"open" | "fit" | null} */
  #follows = "open";
  #width = 0;
  #fetching = { source: null, view: "", going: false, controller: new AbortController() };

  /**
   * @param {HTMLElement} host
   * @param {{label: string, hover?: (q: number | null, k?: number) => void, pick?: (q: number, k: number) => void,
   *   failed?: (error: unknown) => void, words?: (name: string, values?: Record<string, any>) => string}} options
   *   hover is told null when the pointer has left
   */
  constructor(host, options) {
    this.options = options;
    this.word = options.words ?? ((name) => name);
    this.canvas = /** @type {HTMLCanvasElement} */ (h("canvas", { tabindex: 0, role: "application", "aria-label": options.label }));
    this.readout = h("output", { class: "readout", "aria-live": "polite" });
    this.note = h("p", { class: "note", hidden: true });
    const zoom = (name, text, action) =>
      h(
        "button",
        { type: "button", class: "icon", "aria-label": this.word(name), title: this.word(name), "data-i18n-aria-label": name, "data-i18n-title": name, onclick: action },
        text,
      );
    this.tools = h(
      "div",
      { class: "map-tools" },
      zoom("map.in", "+", () => this.zoom(1.6)),
      zoom("map.out", "−", () => this.zoom(1 / 1.6)),
      zoom("map.fit", "⤢", () => this.fit()),
    );
    host.replaceChildren(h("div", { class: "map-frame" }, this.canvas, this.tools), this.note, this.readout);
    this.fetchSoon = debounced(() => this.#fetch(), 60);
    new ResizeObserver(() => this.#follow()).observe(host);
    listen(this);
  }

  /** @param {Shown} shown @param {{keep?: boolean}} options keep the place, as when only colours change */
  show(shown, { keep = false } = {}) {
    this.shown = shown;
    if (shown.source !== this.#fetching.source) this.#fetching.controller.abort();
    this.margin = this.#marginFor(shown);
    this.canvas.removeAttribute("data-complete");
    if (keep) return this.draw();
    this.readout.textContent = "";
    this.#follows = "open";
    [this.top, this.left, this.cursor] = [0, 0, [0, 0]];
    return this.#scale();
  }

  /** The whole map, however many cells a pixel stands for. */
  fit() {
    if (!this.shown) return;
    this.#follows = "fit";
    [this.top, this.left, this.cursor] = [0, 0, [0, 0]];
    this.#scale();
  }

  /** Room beside the map for its names. */
  get gutter() {
    return this.cell >= LEAST_LABELLED ? this.margin : 0;
  }

  /** Where cells are smaller than a pixel: cells on a side of the block that is drawn as one. A power of two, as tiles are cut. */
  get block() {
    return this.cell < 1 ? 2 ** Math.ceil(-Math.log2(this.cell)) : 1;
  }

  #marginFor({ source, rowName, columnName }) {
    const count = (size) => Array.from({ length: Math.min(size, NAMES_LOOKED_AT) }, (_, i) => i);
    const names = [...count(source.rows).map(rowName), ...count(source.columns).map(columnName)];
    const pen = this.canvas.getContext("2d");
    pen.font = `15px ${getComputedStyle(this.canvas).fontFamily}`;
    const longest = Math.max(...names.map((name) => pen.measureText(name).width));
    return Math.min(GUTTERS[1], Math.max(GUTTERS[0], Math.ceil(longest) + 16));
  }

  /** Cells that have room. */
  get room() {
    const at = (side) => Math.max(1, Math.floor((side - this.gutter) / this.cell));
    return [at(this.canvas.clientHeight), at(this.canvas.clientWidth)];
  }

  /** Cells in view, those cut at the edge among them. @returns {[number, number, number, number]} */
  get view() {
    const { rows, columns } = this.shown.source;
    const [high, wide] = this.room;
    return [this.top, Math.min(rows, this.top + high + 1), this.left, Math.min(columns, this.left + wide + 1)];
  }

  /** Pixels that a cell has where the whole map is in view. */
  #whole() {
    const { rows, columns } = this.shown.source;
    const width = this.canvas.parentElement.clientWidth;
    const most = Math.min(width, tallest());
    const sized = (gutter) => Math.min((width - gutter) / columns, (most - gutter) / rows, MOST_CELL);
    const labelled = sized(this.margin);
    return labelled >= LEAST_LABELLED ? labelled : Math.min(sized(0), LEAST_LABELLED - 0.01);
  }

  /** Once there is room, or another width of it. */
  #follow() {
    if (!this.shown || this.canvas.parentElement.clientWidth === this.#width) return;
    if (this.#follows) this.#scale();
    else this.#resize();
  }

  /** A map that is hidden is drawn when it is shown. */
  #scale() {
    if (this.canvas.parentElement.clientWidth) {
      const whole = this.#whole();
      this.cell = this.#follows === "fit" ? whole : Math.max(1, whole);
    }
    this.#resize();
  }

  #resize() {
    const { rows, columns } = this.shown.source;
    this.#width = this.canvas.parentElement.clientWidth;
    if (!this.#width) return;
    this.canvas.style.width = `${Math.min(this.#width, this.gutter + Math.ceil(columns * this.cell))}px`;
    this.canvas.style.height = `${Math.min(tallest(), this.gutter + Math.ceil(rows * this.cell))}px`;
    this.clamp();
    this.draw();
  }

  zoom(factor) {
    if (!this.shown) return;
    const [q, k] = this.cursor;
    const least = Math.min(1, this.#whole());
    if (this.cell > 1 || (this.cell === 1 && factor > 1)) this.cell = Math.min(MOST_CELL, Math.max(1, this.cell * factor));
    else this.cell = Math.max(least, factor > 1 ? Math.min(1, 2 * this.cell) : this.cell / 2);
    this.#follows = null;
    this.#resize();
    this.centre(q, k);
  }

  /** Bring a cell into the middle. */
  centre(q, k) {
    const [high, wide] = this.room;
    this.top = q - Math.floor(high / 2);
    this.left = k - Math.floor(wide / 2);
    this.cursor = [q, k];
    this.clamp();
    this.draw();
  }

  clamp() {
    const { rows, columns } = this.shown.source;
    const [high, wide] = this.room;
    const start = (at, most) => Math.round(Math.max(0, Math.min(at, most)) / this.block) * this.block;
    this.top = start(this.top, rows - high);
    this.left = start(this.left, columns - wide);
  }

  draw() {
    if (!this.canvas.clientWidth || !this.canvas.clientHeight) return;
    const complete = paint(this);
    this.canvas.toggleAttribute("data-complete", complete);
    show(this.note, this.block > 1);
    if (this.block > 1) this.note.textContent = this.word("map.blocks", { size: this.block });
    if (complete) this.#fetching.controller.abort();
    else this.fetchSoon();
  }

  /** Ask for what is in view; what was in view before and is not any more is given up. */
  async #fetch() {
    const { source } = this.shown;
    const [q0, q1, k0, k1] = this.view;
    const view = `${this.view}`;
    const before = this.#fetching;
    if (before.source === source && before.view === view && before.going) return;
    const own = (this.#fetching = { source, view, going: true, controller: new AbortController() });
    const { signal } = own.controller;
    try {
      for (let q = q0; q < q1 && !signal.aborted; q += QUERIES_AT_ONCE) {
        const wanted = source.want(q, Math.min(q + QUERIES_AT_ONCE, q1), k0, k1, { signal });
        before.controller.abort();
        if ((await wanted) && this.shown.source === source) this.draw();
      }
    } catch (error) {
      if (!signal.aborted && this.shown.source === source) this.options.failed?.(error);
    } finally {
      own.going = false;
    }
  }

  /** Look at a cell: say what it is. */
  point(q, k) {
    this.cursor = [q, k];
    this.draw();
    this.readout.textContent = this.shown.describe(q, k, this.shown.source.get(q, k));
    this.options.hover?.(q, k);
  }

  /** Look away. */
  leave() {
    this.readout.textContent = "";
    this.options.hover?.(null);
  }
}

const tallest = () => Math.max(320, window.innerHeight * 0.75);
