/** The requests of what is on screen, as somebody would send them. */

import { t } from "./i18n.js";
import { state } from "./state.js";
import { windowBody } from "./tensors/requests.js";
import { alternatives, comparing, layerWeights, ordering, place, scoring, weights } from "./text/requests.js";

/** @typedef {{name: string, title: string, path: string, body: Record<string, any>}} Shown `name` is that of a file of its body */

/** Cells of a map that are here: all of a whole one, of a windowed one those in view. @param {import("./draw/heatmap.js").HeatMap} map */
export function inView(map) {
  const { source } = map.shown;
  if (source.data) return [0, source.rows, 0, source.columns];
  const [high, wide] = map.room;
  return [map.top, Math.min(source.rows, map.top + high), map.left, Math.min(source.columns, map.left + wide)];
}

/** Answers in plain numbers, which can be read. @returns {Shown} */
function plain(name, title, { path, body: { encoding, ...body } }) {
  return { name, title, path, body };
}

const windowOf = (map) => (map.shown.source.data ? null : inView(map));

/** @param {import("./text/view.js").TextTab} text @returns {Shown[]} */
export function shownOfText(text) {
  const { read, result, asked, map, measure, order, alignment, compare } = text;
  if (!result) return [];
  const shown = [plain("tokens", t("snippet.tokens"), asked)];
  if (result.alternatives && !asked.body.return.includes("alternatives")) shown.push(plain("alternatives", t("snippet.alternatives"), alternatives(read)));
  if (measure.spec) shown.push(plain("heads", t("snippet.grid", { name: measure.spec.name }), measure.asked()));
  if (map.source) shown.push(plain("map", t("snippet.map", map.which), weights(read, map.which.layer, map.which.head, windowOf(map.map))));
  if (order.found) shown.push(plain("order", t("snippet.order"), ordering(read, state.permutations, state.seed)));
  if (alignment.found) {
    const layer = place(state.layer, read.model.sites.cross.layers);
    shown.push(plain("alignment", t("snippet.alignment", { layer }), layerWeights({ ...read, site: "cross" }, layer)));
  }
  return compare.found ? [...shown, ...shownOfPair(read, compare)] : shown;
}

function shownOfPair(read, { found: { both, apart }, maps }) {
  const [first, second] = both;
  const shown = [];
  if (state.compare !== "heads") shown.push(plain("text-b", t("snippet.text_b"), scoring(second.read)));
  shown.push(plain("map-b", t("snippet.map_b", second), weights(second.read, second.layer, second.head, windowOf(maps[1]))));
  if (state.compare !== "texts" && !apart.why && first.head === second.head && !read.target) {
    shown.push(plain("kl", t("snippet.kl"), comparing(read, second.read.model, first.layer, second.layer)));
  }
  return shown;
}

/** @param {import("./tensors/view.js").TensorTab} tensors @returns {Shown[]} */
export function shownOfTensors({ answer, asked, results }) {
  if (!answer) return [];
  const shown = [plain("tensors", t("snippet.tensors"), { path: "loss", body: asked.body })];
  const { map } = results;
  if (!map.shown.source.data) shown.push(plain("window", t("snippet.window"), { path: "attention", body: windowBody(asked.body, inView(map)) }));
  return shown;
}
