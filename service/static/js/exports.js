/** Files that the person keeps: PNG, SVG, JSON, CSV, all made here. */

import { h } from "./dom.js";

/**
 * @param {(string | number | boolean | null | undefined)[][]} rows
 * @returns {string} RFC 4180; a text that a spreadsheet would compute has a ' before it
 */
export function csv(rows) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : typeof value === "string" ? value.replace(/^[=+\-@\t\r]/, "'$&") : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

/** @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const anchor = /** @type {HTMLAnchorElement} */ (h("a", { href: url, download: name, hidden: true }));
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Characters that XML cannot carry, not even escaped. */
const NOT_XML = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

/** A picture that looks the same outside of the page: its own ground and ink. @param {SVGElement} figure */
export function standalone(figure) {
  const copy = /** @type {SVGElement} */ (figure.cloneNode(true));
  const dark = document.documentElement.dataset.shade === "dark";
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["width", "100%"], ["height", "100%"], ["fill", dark ? "#14181f" : "#ffffff"]]) ground.setAttribute(name, value);
  copy.prepend(ground);
  copy.setAttribute("color", dark ? "#e8ecf1" : "#1a1f27");
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return new XMLSerializer().serializeToString(copy).replace(NOT_XML, "\ufffd");
}

/** @param {SVGElement} figure @returns {Promise<Blob>} at twice the size, for dense screens */
export async function png(figure) {
  const image = new Image();
  const url = URL.createObjectURL(new Blob([standalone(figure)], { type: "image/svg+xml" }));
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = () => reject(new Error("the picture could not be drawn"));
      image.src = url;
    });
    const canvas = new OffscreenCanvas(2 * image.width, 2 * image.height);
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await canvas.convertToBlob({ type: "image/png" });
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** @param {any} value */
export const json = (value, indent = 0) => new Blob([JSON.stringify(value, null, indent)], { type: "application/json" });

/** A spreadsheet takes a file for UTF-8 only by the mark at its beginning. */
const BOM = "\ufeff";

/** @param {"png" | "svg" | "json" | "csv"} kind @param {import("./figures.js").Figure} what */
export async function download(kind, what, name) {
  if (kind === "png") save(await png(what.figure()), `${name}.png`);
  else if (kind === "svg") save(new Blob([standalone(what.figure())], { type: "image/svg+xml" }), `${name}.svg`);
  else if (kind === "csv") save(new Blob([BOM, csv(what.rows())], { type: "text/csv;charset=utf-8" }), `${name}.csv`);
  else save(json(what.answer(), 1), `${name}.json`);
}
