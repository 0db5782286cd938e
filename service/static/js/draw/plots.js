/** Small plots in SVG: a strip plot of some numbers, and bars of one number per place. */

import { s } from "../dom.js";

const WIDTH = 720;
const LEAST_WIDTH = 240;
/** Room of a number at an axis. */
const MARK = 110;
const MOST_BAR = 64;
const FONT = "ui-sans-serif, system-ui, sans-serif";

/**
 * A plot as wide as its place, drawn again when that changes.
 * @param {HTMLElement} host @param {(width: number) => SVGElement} draw
 */
export function fitted(host, draw) {
  let [shown, drawn] = [null, 0];
  const fit = (width) => {
    if (width === drawn) return;
    shown = draw(Math.max(LEAST_WIDTH, width));
    drawn = width;
    host.replaceChildren(shown);
  };
  const observer = new ResizeObserver(() => {
    if (shown.parentElement !== host) observer.disconnect();
    else if (host.clientWidth) fit(host.clientWidth);
  });
  fit(host.clientWidth || WIDTH);
  observer.observe(host);
}

/** Round numbers that cut a range into a few parts. @param {number} low @param {number} high */
export function ticks(low, high, about = 6) {
  const span = high - low || 1;
  const raw = span / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const stepSize = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw) ?? raw;
  const found = [];
  for (let at = Math.ceil(low / stepSize) * stepSize; at <= high + 1e-9 * span; at += stepSize) {
    found.push(Number(at.toPrecision(10)));
  }
  return found;
}

/**
 * The given order among its shuffles: a dot for each, the given one larger and named.
 * @param {{given: number, others: {text: string, value: number}[], givenName: string, unit: string, label: string, width?: number}} data
 * @param {(index: number) => void} [hover] −1 is the given order
 */
export function stripPlot({ given, others, givenName, unit, label, width = WIDTH }, hover) {
  const values = [given, ...others.map((other) => other.value)];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = (high - low || 1) * 0.06;
  const x = (value) => 30 + ((value - low + pad) / (high - low + 2 * pad)) * (width - 60);
  const lanes = [0, 1, -1, 2, -2, 3, -3];
  /** @type {number[][]} */
  const taken = lanes.map(() => []);
  const y = (at) => {
    let lane = taken.findIndex((used) => used.every((other) => Math.abs(other - at) > 11));
    if (lane < 0) lane = lanes.length - 1;
    taken[lane].push(at);
    return 78 + 11 * lanes[lane];
  };
  const dots = others.map((other, i) => {
    const at = x(other.value);
    const dot = s(
      "circle",
      { cx: at.toFixed(1), cy: y(at), r: 5, fill: "#3b6fb6", "fill-opacity": 0.65, stroke: "#3b6fb6", class: "dot" },
      s("title", {}, `${other.text}: ${other.value.toFixed(2)} ${unit}`),
    );
    if (hover) dot.addEventListener("pointerenter", () => hover(i));
    return dot;
  });
  const at = x(given);
  const axis = 126;
  const marks = ticks(low - pad, high + pad, width / MARK).filter((value) => x(value) > 20 && x(value) < width - 20);
  const anchor = at < 120 ? "start" : at > width - 120 ? "end" : "middle";
  return s(
    "svg",
    { viewBox: `0 0 ${width} 160`, width, height: 160, role: "img", "aria-label": label, class: "plot", "font-family": FONT },
    s("line", { x1: 20, x2: width - 20, y1: axis, y2: axis, stroke: "currentColor", "stroke-opacity": 0.4 }),
    marks.map((value) => [
      s("line", { x1: x(value), x2: x(value), y1: axis, y2: axis + 5, stroke: "currentColor", "stroke-opacity": 0.6 }),
      s("text", { x: x(value), y: axis + 20, "text-anchor": "middle", "font-size": 13, fill: "currentColor" }, String(value)),
    ]),
    s("text", { x: width - 20, y: axis - 8, "text-anchor": "end", "font-size": 13, fill: "currentColor" }, unit),
    dots,
    s("line", { x1: at, x2: at, y1: 26, y2: axis, stroke: "#d9480f", "stroke-width": 2 }),
    s("circle", { cx: at, cy: 78, r: 8, fill: "#d9480f" }),
    s("text", { x: at, y: 18, "text-anchor": anchor, "font-size": 14, "font-weight": 600, fill: "currentColor" }, givenName),
  );
}

/**
 * One bar for each place, up from zero or down from it.
 * @param {{values: ArrayLike<number | null>, label: string, name: (i: number) => string, unit?: string, width?: number}} data
 * @param {(index: number) => void} [hover]
 */
export function bars({ values, label, name, unit = "", width = WIDTH }, hover) {
  const list = Array.from(values);
  const finite = list.filter((value) => Number.isFinite(value));
  const [low, high] = [Math.min(0, ...finite), Math.max(0, ...finite)];
  const span = high - low || 1;
  const [left, top, height] = [52, 10, 110];
  const each = Math.min(MOST_BAR, (width - left - 8) / Math.max(1, list.length));
  const y = (value) => top + ((high - value) / span) * height;
  const drawn = list.map((value, i) => {
    if (!Number.isFinite(value)) return null;
    const bar = s(
      "rect",
      {
        x: (left + i * each + each * 0.08).toFixed(2), width: Math.max(0.5, each * 0.84).toFixed(2),
        y: Math.min(y(0), y(value)).toFixed(2), height: Math.max(1, Math.abs(y(value) - y(0))).toFixed(2), fill: "#3b6fb6",
      },
      list.length <= 512 && s("title", {}, `${name(i)}: ${value.toPrecision(4)} ${unit}`),
    );
    if (hover) bar.addEventListener("pointerenter", () => hover(i));
    return bar;
  });
  const named = each >= 26;
  return s(
    "svg",
    { viewBox: `0 0 ${width} 150`, width, height: 150, role: "img", "aria-label": label, class: "plot", "font-family": FONT },
    ticks(low, high, 3).map((value) => [
      s("line", { x1: left, x2: width - 4, y1: y(value), y2: y(value), stroke: "currentColor", "stroke-opacity": 0.18 }),
      s("text", { x: left - 6, y: y(value), "text-anchor": "end", "dominant-baseline": "central", "font-size": 12, fill: "currentColor" }, String(value)),
    ]),
    drawn,
    named &&
      list.map((_, i) =>
        s("text", { x: left + (i + 0.5) * each, y: 138, "text-anchor": "middle", "font-size": 12, fill: "currentColor" }, [...name(i)].slice(0, 6).join("")),
      ),
  );
}
