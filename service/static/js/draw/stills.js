/** Still pictures of what the page draws otherwise with elements or a canvas: SVG that stands on its own. */

import { s } from "../dom.js";
import { colour, inkOn } from "./colour.js";

const FONT = "ui-sans-serif, system-ui, sans-serif";
/** Rectangles that an SVG may have before the map is put into it as a picture. */
const MOST_RECTANGLES = 4096;

const svg = (width, height, ...children) =>
  s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "font-family": FONT, "font-size": 14 }, ...children);

/** Tokens in lines, coloured as on the page. @param {HTMLElement[]} chips */
export function tokensStill(chips, wide = 900) {
  const pen = new OffscreenCanvas(1, 1).getContext("2d");
  pen.font = `16px ${FONT}`;
  let [x, y] = [10, 10];
  const drawn = chips.map((chip) => {
    const text = chip.textContent;
    const width = pen.measureText(text).width + 12;
    if (x + width > wide - 10) [x, y] = [10, y + 32];
    const back = chip.style.background || "none";
    const ink = chip.style.color || "currentColor";
    const group = s(
      "g",
      {},
      s("rect", { x, y, width, height: 28, rx: 4, fill: back, stroke: back === "none" ? "currentColor" : "none", "stroke-opacity": 0.5 }),
      s("text", { x: x + 6, y: y + 19, fill: ink, "font-size": 16 }, text),
    );
    x += width + 3;
    return group;
  });
  return svg(wide, y + 40, drawn);
}

/** @param {{layer: number, values: number[]}[]} layers @param {(value: number) => string} write */
export function gridStill(layers, write) {
  const all = layers.flatMap((row) => row.values);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const [side, edge] = [54, 40];
  const heads = Math.max(...layers.map((row) => row.values.length));
  const label = (x, y, text) => s("text", { x, y, "text-anchor": "middle", "dominant-baseline": "central", fill: "currentColor" }, String(text));
  return svg(
    edge + heads * side + 10,
    edge + layers.length * side + 10,
    Array.from({ length: heads }, (_, head) => label(edge + (head + 0.5) * side, edge / 2, head)),
    layers.map((row, i) => [
      label(edge / 2, edge + (i + 0.5) * side, row.layer),
      row.values.map((value, head) => {
        const fill = colour("viridis", (value - low) / (high - low || 1));
        const at = [edge + head * side, edge + i * side];
        return [
          s("rect", { x: at[0], y: at[1], width: side - 3, height: side - 3, rx: 4, fill }),
          s("text", { x: at[0] + side / 2, y: at[1] + side / 2, "text-anchor": "middle", "dominant-baseline": "central", fill: inkOn(fill), "font-size": 12 }, write(value)),
        ];
      }),
    ]),
  );
}

/** A heat map: its cells where they are few, else the picture on the screen. @param {import("./heatmap.js").HeatMap} map */
export function mapStill(map) {
  const { source, rowName, columnName, colours, share } = map.shown;
  if (!source.data || source.rows * source.columns > MOST_RECTANGLES) {
    const { clientWidth, clientHeight } = map.canvas;
    return svg(clientWidth, clientHeight, s("image", { href: map.canvas.toDataURL("image/png"), width: clientWidth, height: clientHeight }));
  }
  const [cell, edge] = [26, 120];
  const cells = [];
  for (let q = 0; q < source.rows; q += 1) {
    for (let k = 0; k < source.columns; k += 1) {
      cells.push(s("rect", { x: edge + k * cell, y: edge + q * cell, width: cell, height: cell, fill: colour(colours, share(source.get(q, k))) }));
    }
  }
  const place = (i) => edge + (i + 0.5) * cell;
  return svg(
    edge + source.columns * cell + 10,
    edge + source.rows * cell + 10,
    cells,
    Array.from({ length: source.rows }, (_, q) =>
      s("text", { x: edge - 8, y: place(q), "text-anchor": "end", "dominant-baseline": "central", fill: "currentColor" }, rowName(q)),
    ),
    Array.from({ length: source.columns }, (_, k) =>
      s("text", { transform: `translate(${place(k)} ${edge - 8}) rotate(-90)`, "dominant-baseline": "central", fill: "currentColor" }, columnName(k)),
    ),
  );
}
