/** BertViz's head view: queries on the left, keys on the right, a curve for each weight. */

import { s } from "../dom.js";

const ROW = 24;
const SIDE = 150;
const GAP = 190;
const LEAST_SHOWN = 0.02;

/**
 * @typedef {object} HeadViewData
 * @property {string[]} queries labels in view
 * @property {string[]} keys
 * @property {(q: number, k: number) => number} weight of places in view
 * @property {{side: "query" | "key", at: number} | null} focus place in view, or outside of it
 * @property {string} label text alternative
 * @property {string} colour of the curves
 */

/**
 * @param {HeadViewData} data
 * @param {(side: "query" | "key", at: number) => void} [hover]
 * @returns {SVGElement} self-contained, so that it can be saved as it is
 */
export function headView(data, hover, pick) {
  const { queries, keys, focus } = data;
  const height = Math.max(queries.length, keys.length) * ROW + 12;
  const width = 2 * SIDE + GAP;
  const middle = (i) => 6 + (i + 0.5) * ROW;
  const lit = (q, k) => !focus || (focus.side === "query" ? focus.at === q : focus.at === k);
  const curves = [];
  for (let q = 0; q < queries.length; q += 1) {
    for (let k = 0; k < keys.length; k += 1) {
      const weight = data.weight(q, k);
      if (!(weight >= LEAST_SHOWN) || !lit(q, k)) continue;
      const [x0, x1] = [SIDE + 4, SIDE + GAP - 4];
      const path = `M${x0},${middle(q)} C${x0 + GAP / 2},${middle(q)} ${x1 - GAP / 2},${middle(k)} ${x1},${middle(k)}`;
      curves.push(
        s("path", {
          d: path,
          fill: "none",
          stroke: data.colour,
          "stroke-width": (1 + 3.5 * weight).toFixed(2),
          "stroke-opacity": Math.min(1, 0.12 + 0.88 * weight).toFixed(3),
          "stroke-linecap": "round",
        }),
      );
    }
  }
  const share = (side, i) => {
    if (!focus) return 0;
    if (focus.side === side) return focus.at === i ? 1 : 0;
    const weight = side === "key" ? data.weight(focus.at, i) : data.weight(i, focus.at);
    return weight >= 0 ? weight : 0;
  };
  const column = (names, side, x, anchor) =>
    names.map((name, i) => {
      const at = anchor === "end" ? x - SIDE + 2 : x - 6;
      const group = s(
        "g",
        { class: "headview-token", "data-side": side, "data-at": i },
        s("rect", {
          x: at, y: middle(i) - ROW / 2 + 1, width: SIDE + 4, height: ROW - 2, rx: 4,
          fill: data.colour, "fill-opacity": (0.45 * share(side, i)).toFixed(3),
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
    s("g", {}, curves),
    column(queries, "query", SIDE - 4, "end"),
    column(keys, "key", SIDE + GAP + 4, "start"),
  );
}
