/** How a heat map gets onto its canvas: the cells in view, their names, the cell that is looked at. */

import { TABLES, step } from "./colour.js";

const MISSING = [128, 128, 128, 70];

/** @typedef {import("./heatmap.js").HeatMap} HeatMap */

/** @param {HeatMap} map @returns {boolean} whether every cell in view was there */
export function paint(map) {
  const { canvas, gutter } = map;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const pen = canvas.getContext("2d");
  const { picture, complete } = cells(map);
  pen.scale(ratio, ratio);
  pen.imageSmoothingEnabled = false;
  const size = map.cell * map.block;
  pen.drawImage(picture, gutter, gutter, picture.width * size, picture.height * size);
  if (gutter) names(map, pen);
  outline(map, pen);
  return complete;
}

/** A pixel for each cell in view, or for each block of them. */
function cells(map) {
  const { source, colours, share } = map.shown;
  const [q0, q1, k0, k1] = map.view;
  const { block } = map;
  const image = new ImageData(Math.ceil((k1 - k0) / block), Math.ceil((q1 - q0) / block));
  const table = TABLES[colours];
  let complete = true;
  for (let q = q0, at = 0; q < q1; q += block) {
    for (let k = k0; k < k1; k += block, at += 4) {
      const value = source.peak(block, q, k);
      if (value === undefined) {
        complete = false;
        image.data.set(MISSING, at);
      } else {
        const from = 3 * step(share(value));
        image.data[at] = table[from];
        image.data[at + 1] = table[from + 1];
        image.data[at + 2] = table[from + 2];
        image.data[at + 3] = 255;
      }
    }
  }
  const picture = new OffscreenCanvas(image.width, image.height);
  picture.getContext("2d").putImageData(image, 0, 0);
  return { picture, complete };
}

function names(map, pen) {
  const { rowName, columnName } = map.shown;
  const { cell, gutter } = map;
  const [q0, q1, k0, k1] = map.view;
  const style = getComputedStyle(map.canvas);
  pen.fillStyle = style.color;
  pen.font = `${Math.min(15, cell * 0.72)}px ${style.fontFamily}`;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  const clip = (text) => {
    const characters = [...text];
    while (characters.length > 1 && pen.measureText(characters.join("")).width > gutter - 10) characters.splice(-2, 2, "…");
    return characters.join("");
  };
  for (let q = q0; q < q1; q += 1) pen.fillText(clip(rowName(q)), gutter - 6, gutter + (q - q0 + 0.5) * cell);
  pen.textAlign = "left";
  for (let k = k0; k < k1; k += 1) {
    pen.save();
    pen.translate(gutter + (k - k0 + 0.5) * cell, gutter - 6);
    pen.rotate(-Math.PI / 2);
    pen.fillText(clip(columnName(k)), 0, 0);
    pen.restore();
  }
}

function outline(map, pen) {
  const [q, k] = map.cursor;
  const size = Math.max(map.cell, 3);
  const [x, y] = [map.gutter + (k - map.left) * map.cell, map.gutter + (q - map.top) * map.cell];
  if (x < map.gutter || y < map.gutter) return;
  pen.strokeStyle = "#ffffff";
  pen.lineWidth = 3;
  pen.strokeRect(x, y, size, size);
  pen.strokeStyle = "#d6336c";
  pen.lineWidth = 1.5;
  pen.strokeRect(x, y, size, size);
}
