/** The grid of layers × heads, coloured by one number each. */

import { h } from "../dom.js";
import { colour, gradient, inkOn } from "../draw/colour.js";
import { number, t } from "../i18n.js";

/** Heads beyond which the cells have no room for their number. */
const MOST_NUMBERED = 12;

/**
 * @param {HTMLElement} host
 * @param {(layer: number, head: number) => void} pick
 */
export function headGrid(host, pick) {
  let cells = [];
  host.addEventListener("click", (event) => {
    const cell = event.target.closest("button");
    if (cell) pick(Number(cell.dataset.layer), Number(cell.dataset.head));
  });
  host.addEventListener("keydown", (event) => {
    const cell = event.target.closest("button");
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!cell || !move) return;
    event.preventDefault();
    const to = cells[Number(cell.dataset.layer) + move[0]]?.[Number(cell.dataset.head) + move[1]];
    if (!to) return;
    cells.flat().forEach((one) => (one.tabIndex = one === to ? 0 : -1));
    to.focus();
  });

  return {
    /** @param {{layer: number, values: number[]}[]} layers @param {{name: string, layer: number, head: number}} chosen */
    show(layers, { name, layer, head }) {
      const all = layers.flatMap((one) => one.values).filter(Number.isFinite);
      const [low, high] = [Math.min(...all), Math.max(...all)];
      const share = (value) => (value - low) / (high - low || 1);
      const count = Math.max(...layers.map((one) => one.values.length));
      cells = layers.map((row) =>
        row.values.map((value, at) => {
          const back = colour("viridis", share(value));
          const chosen = row.layer === layer && at === head;
          const label = t("grid.cell", { layer: row.layer, head: at, name, value: number(value) });
          return h(
            "button",
            {
              type: "button", class: "cell", "data-layer": row.layer, "data-head": at, "aria-pressed": String(chosen), "aria-label": label,
              title: label, tabindex: chosen ? 0 : -1, style: { background: back, color: inkOn(back) },
            },
            count <= MOST_NUMBERED ? number(value, 3) : "",
          );
        }),
      );
      if (!cells.flat().some((one) => one.tabIndex === 0)) cells[0][0].tabIndex = 0;
      host.replaceChildren(
        h(
          "table",
          { class: `heads${count > MOST_NUMBERED ? " dense" : ""}` },
          h("caption", { class: "visually-hidden" }, t("grid.caption", { name })),
          h(
            "thead",
            {},
            h("tr", {}, h("td", {}, ""), Array.from({ length: count }, (_, at) => h("th", { scope: "col", "aria-label": `${t("word.head")} ${at}` }, String(at)))),
          ),
          h(
            "tbody",
            {},
            layers.map((row, i) =>
              h("tr", {}, h("th", { scope: "row", "aria-label": `${t("word.layer")} ${row.layer}` }, String(row.layer)), cells[i].map((cell) => h("td", {}, cell))),
            ),
          ),
        ),
        h(
          "div",
          { class: "scale" },
          h("span", {}, number(low, 3)),
          h("span", { class: "ramp", style: { background: gradient("viridis") }, "aria-hidden": "true" }),
          h("span", {}, number(high, 3)),
        ),
      );
    },

    /** Another cell is chosen; the numbers stay. */
    choose(layer, head) {
      cells.flat().forEach((one) => {
        const chosen = Number(one.dataset.layer) === layer && Number(one.dataset.head) === head;
        one.setAttribute("aria-pressed", String(chosen));
        one.tabIndex = chosen ? 0 : -1;
      });
    },
  };
}
