/** A heat map on a canvas: hover, pick, drag, zoom, all of it by keyboard too; only cells in view are drawn. */

import { debounced, h } from "../dom.js";
import { TABLES, step } from "./colour.js";
import { listen } from "./mapinput.js";

const LEAST_LABELLED = 13;
const MOST_CELL = 64;
const GUTTERS = [30, 84];
const NAMES_LOOKED_AT = 200;

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
  cell = 1;
  top = 0;
  left = 0;
  cursor = [0, 0];
  margin = GUTTERS[1];

  /**
   * @param {HTMLElement} host
   * @param {{label: string, hover?: (q: number, k: number) => void, pick?: (q: number, k: number) => void,
   *   failed?: (error: unknown) => void, words?: (name: string) => string}} options
   */
  constructor(host, options) {
    this.options = options;
    const word = options.words ?? ((name) => name);
    this.canvas = /** @type {HTMLCanvasElement} */ (h("canvas", { tabindex: 0, role: "img", "aria-label": options.label }));
    this.readout = h("output", { class: "readout", "aria-live": "polite" });
    const zoom = (name, text, action) =>
      h("button", { type: "button", class: "icon", "aria-label": word(name), title: word(name), onclick: action }, text);
    this.tools = h(
      "div",
      { class: "map-tools" },
      zoom("map.in", "+", () => this.zoom(1.6)),
      zoom("map.out", "−", () => this.zoom(1 / 1.6)),
      zoom("map.fit", "⤢", () => this.fit()),
    );
    host.replaceChildren(h("div", { class: "map-frame" }, this.canvas, this.tools), this.readout);
    this.fetchSoon = debounced(() => this.#fetch(), 60);
    new ResizeObserver(() => this.shown && this.#resize()).observe(host);
    listen(this);
  }

  /** @param {Shown} shown @param {{keep?: boolean}} options keep the place, as when only colours change */
  show(shown, { keep = false } = {}) {
    this.shown = shown;
    this.margin = this.#marginFor(shown);
    this.canvas.removeAttribute("data-complete");
    if (keep) this.draw();
    else this.fit();
  }

  /** Room beside the map for its names. */
  get gutter() {
    return this.cell >= LEAST_LABELLED ? this.margin : 0;
  }

  #marginFor({ source, rowName, columnName }) {
    const count = (size) => Array.from({ length: Math.min(size, NAMES_LOOKED_AT) }, (_, i) => i);
    const names = [...count(source.rows).map(rowName), ...count(source.columns).map(columnName)];
    const paint = this.canvas.getContext("2d");
    paint.font = `15px ${getComputedStyle(this.canvas).fontFamily}`;
    const longest = Math.max(...names.map((name) => paint.measureText(name).width));
    return Math.min(GUTTERS[1], Math.max(GUTTERS[0], Math.ceil(longest) + 16));
  }

  /** Cells that have room. */
  get room() {
    const at = (side) => Math.max(1, Math.floor((side - this.gutter) / this.cell));
    return [at(this.canvas.clientHeight), at(this.canvas.clientWidth)];
  }

  fit() {
    const { rows, columns } = this.shown.source;
    const width = this.canvas.parentElement.clientWidth;
    const most = Math.min(width, Math.max(320, window.innerHeight * 0.75));
    const sized = (gutter) => Math.min((width - gutter) / columns, (most - gutter) / rows, MOST_CELL);
    const labelled = sized(this.margin);
    this.cell = Math.max(1, labelled >= LEAST_LABELLED ? labelled : Math.min(sized(0), LEAST_LABELLED - 0.01));
    [this.top, this.left, this.cursor] = [0, 0, [0, 0]];
    this.#resize();
  }

  #resize() {
    const { rows, columns } = this.shown.source;
    const width = this.canvas.parentElement.clientWidth;
    const most = Math.max(320, window.innerHeight * 0.75);
    this.canvas.style.width = `${Math.min(width, this.gutter + Math.ceil(columns * this.cell))}px`;
    this.canvas.style.height = `${Math.min(most, this.gutter + Math.ceil(rows * this.cell))}px`;
    this.clamp();
    this.draw();
  }

  zoom(factor) {
    if (!this.shown) return;
    const [q, k] = this.cursor;
    this.cell = Math.min(MOST_CELL, Math.max(1, this.cell * factor));
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
    this.top = Math.max(0, Math.min(Math.round(this.top), rows - high));
    this.left = Math.max(0, Math.min(Math.round(this.left), columns - wide));
  }

  draw() {
    const { source, colours, share } = this.shown;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width || !height) return;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const paint = this.canvas.getContext("2d");
    const [high, wide] = this.room.map((room, axis) => Math.min(room + 1, (axis ? source.columns - this.left : source.rows - this.top)));
    const image = new ImageData(wide, high);
    const table = TABLES[colours];
    let missing = 0;
    for (let row = 0, at = 0; row < high; row += 1) {
      for (let column = 0; column < wide; column += 1, at += 4) {
        const value = source.get(this.top + row, this.left + column);
        if (value === undefined) {
          missing += 1;
          image.data.set([128, 128, 128, 70], at);
        } else {
          const from = 3 * step(share(value));
          image.data[at] = table[from];
          image.data[at + 1] = table[from + 1];
          image.data[at + 2] = table[from + 2];
          image.data[at + 3] = 255;
        }
      }
    }
    const cells = new OffscreenCanvas(wide, high);
    cells.getContext("2d").putImageData(image, 0, 0);
    paint.scale(ratio, ratio);
    paint.imageSmoothingEnabled = false;
    paint.drawImage(cells, this.gutter, this.gutter, wide * this.cell, high * this.cell);
    if (this.gutter) this.#labels(paint, high, wide);
    this.#outline(paint);
    this.canvas.toggleAttribute("data-complete", missing === 0);
    if (missing) this.fetchSoon();
  }

  #labels(paint, high, wide) {
    const style = getComputedStyle(this.canvas);
    paint.fillStyle = style.color;
    paint.font = `${Math.min(15, this.cell * 0.72)}px ${style.fontFamily}`;
    paint.textBaseline = "middle";
    paint.textAlign = "right";
    const room = this.gutter - 10;
    const clip = (text) => {
      const characters = [...text];
      while (characters.length > 1 && paint.measureText(characters.join("")).width > room) characters.splice(-2, 2, "…");
      return characters.join("");
    };
    for (let row = 0; row < high; row += 1) {
      paint.fillText(clip(this.shown.rowName(this.top + row)), this.gutter - 6, this.gutter + (row + 0.5) * this.cell);
    }
    paint.textAlign = "left";
    for (let column = 0; column < wide; column += 1) {
      paint.save();
      paint.translate(this.gutter + (column + 0.5) * this.cell, this.gutter - 6);
      paint.rotate(-Math.PI / 2);
      paint.fillText(clip(this.shown.columnName(this.left + column)), 0, 0);
      paint.restore();
    }
  }

  #outline(paint) {
    const [q, k] = this.cursor;
    const size = Math.max(this.cell, 3);
    const [x, y] = [this.gutter + (k - this.left) * this.cell, this.gutter + (q - this.top) * this.cell];
    if (x < this.gutter || y < this.gutter) return;
    paint.strokeStyle = "#ffffff";
    paint.lineWidth = 3;
    paint.strokeRect(x, y, size, size);
    paint.strokeStyle = "#d6336c";
    paint.lineWidth = 1.5;
    paint.strokeRect(x, y, size, size);
  }

  async #fetch() {
    const { source } = this.shown;
    const [high, wide] = this.room;
    try {
      const came = await source.want(
        this.top,
        Math.min(source.rows, this.top + high + 1),
        this.left,
        Math.min(source.columns, this.left + wide + 1),
      );
      if (came && this.shown.source === source) this.draw();
    } catch (error) {
      if (this.shown.source === source) this.options.failed?.(error);
    }
  }

  /** Look at a cell: say what it is. */
  point(q, k) {
    this.cursor = [q, k];
    this.draw();
    this.readout.textContent = this.shown.describe(q, k, this.shown.source.get(q, k));
    this.options.hover?.(q, k);
  }
}
