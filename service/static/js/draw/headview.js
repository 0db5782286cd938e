/** BertViz's head view: queries on the left, keys on the right, a curve for each weight. */

import { s } from "../dom.js";

const ROW = 24;
const WIDTHS = [240, 490];
/** Of the width, what the names of one side have. */
const SIDE_SHARE = 0.3;
const CHARACTER = 8.5;
/** Weights that have a curve: these, and where all of a query are small, those of a tenth of its largest. */
const LEAST_SHOWN = 0.02;
const LEAST_OF_LARGEST = 0.1;

/**
 * @typedef {object} HeadViewData
 * @property {string[]} queries labels in view
 * @property {string[]} keys
 * @property {(q: number, k: number) => number} weight of places in view
 * @property {{query: number, key: number} | null} focus the query whose curves are shown, and the key, by place in view; −1 is none
 * @property {string} label text alternative
 * @property {string} colour of the curves
 * @property {string} [back] of the curves to the key in focus
 * @property {number} [width]
 */

/** What it makes of the room it has: its width, and how many characters names can have. @param {number | undefined} room */
export function headViewSize(room = WIDTHS[1]) {
  const width = Math.max(WIDTHS[0], Math.min(WIDTHS[1], room));
  const side = Math.round(SIDE_SHARE * width);
  return { width, side, gap: width - 2 * side, characters: Math.floor(side / CHARACTER) };
}

/**
 * @param {HeadViewData} data
 * @param {(side: "query" | "key", at: number) => void} [hover]
 * @param {(side: "query" | "key", at: number) => void} [pick]
 * @returns {SVGElement} self-contained, so that it can be saved as it is
 */
export function headView(data, hover, pick) {
  const { queries, keys, focus } = data;
  const height = Math.max(queries.length, keys.length) * ROW + 12;
  const { width, side: names, gap } = headViewSize(data.width);
  const share = (side, i) => {
    if (!focus) return 0;
    if (focus[side] === i) return 1;
    const weight = side === "key" ? focus.query >= 0 && data.weight(focus.query, i) : focus.key >= 0 && data.weight(i, focus.key);
    return weight > 0 ? weight : 0;
  };
  const column = (list, side, x, anchor) =>
    list.map((name, i) => {
      const at = anchor === "end" ? x - names + 2 : x - 6;
      const group = s(
        "g",
        { class: "headview-token", "data-side": side, "data-at": i },
        s("rect", {
          x: at, y: middle(i) - ROW / 2 + 1, width: names + 4, height: ROW - 2, rx: 4,
          fill: (side === "query" && focus?.query !== i && data.back) || data.colour, "fill-opacity": (0.45 * share(side, i)).toFixed(3),
        }),
        s(
          "text",
          { x, y: middle(i), "text-anchor": anchor, "dominant-baseline": "central", fill: "currentColor", "font-size": 14 },
          name,
        ),
      );
      if (hover) group.addEventListener("pointerenter", () => hover(side, i));
      if (pick) group.addEventListener("click", () => pick(side, i));
      return group;
    });
  return s(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": data.label, class: "headview",
      "font-family": "ui-sans-serif, system-ui, sans-serif",
    },
    s("g", {}, curves(data, [names + 4, names + gap - 4])),
    column(queries, "query", names - 4, "end"),
    column(keys, "key", names + gap + 4, "start"),
  );
}

const middle = (i) => 6 + (i + 0.5) * ROW;

/** All of them; with a token in focus those from it and those to it, strong where its largest is. */
function curves({ queries, keys, weight, focus, colour, back }, ends) {
  const places = (list) => list.map((_, i) => i);
  const row = (q) => places(keys).map((k) => ({ q, k, weight: weight(q, k) }));
  const column = (k) => places(queries).map((q) => ({ q, k, weight: weight(q, k) }));
  if (!focus) return places(queries).flatMap((q) => shown(row(q)).map((one) => curve(one, ends, one.weight, colour)));
  const lit = (cells, ink) => shown(cells).map((one) => curve(one, ends, one.weight / largest(cells), ink));
  return [focus.key >= 0 ? lit(column(focus.key), back ?? colour) : [], focus.query >= 0 ? lit(row(focus.query), colour) : []];
}

const largest = (cells) => Math.max(...cells.map((one) => one.weight));

function shown(cells) {
  const least = Math.min(LEAST_SHOWN, LEAST_OF_LARGEST * largest(cells));
  return cells.filter((one) => one.weight > 0 && one.weight >= least);
}

function curve({ q, k, weight }, [x0, x1], opacity, stroke) {
  const middleX = (x0 + x1) / 2;
  return s("path", {
    d: `M${x0},${middle(q)} C${middleX},${middle(q)} ${middleX},${middle(k)} ${x1},${middle(k)}`,
    fill: "none",
    stroke,
    "stroke-width": (1 + 3.5 * weight).toFixed(2),
    "stroke-opacity": Math.min(1, 0.12 + 0.88 * opacity).toFixed(3),
    "stroke-linecap": "round",
  });
}
