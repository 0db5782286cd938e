/** What there is to download, each with how it is drawn and written. */

import { byId } from "./dom.js";
import { bars } from "./draw/plots.js";
import { gridStill, mapStill, tokensStill } from "./draw/stills.js";
import { number } from "./i18n.js";
import { inView } from "./shown.js";

/** @typedef {{figure: () => SVGElement, rows: () => any[][], answer: () => any}} Figure */

/** @param {import("./text/view.js").TextTab} text @returns {Record<string, Figure>} */
export function ofText(text) {
  const { result, answer, map, measure, order, alignment, compare } = text;
  if (!result) return {};
  const [tokens, offsets] = [result.target_tokens ?? result.tokens, result.target_offsets ?? result.offsets];
  const found = {
    tokens: {
      figure: () => tokensStill([...byId("tokens").querySelectorAll("[role=option]")]),
      rows: () => [["index", "token", "start", "stop", "log_prob"], ...tokens.map((token, i) => [i, token, ...offsets[i], result.log_probs?.[i]])],
      answer: () => answer,
    },
  };
  if (measure.layers) {
    found.heads = {
      figure: () => gridStill(measure.layers, (value) => number(value, 3)),
      rows: () => [["layer", "head", measure.spec.name], ...measure.layers.flatMap((row) => row.values.map((value, head) => [row.layer, head, value]))],
      answer: () => measure.layers.map((row) => ({ layer: row.layer, losses: { [measure.spec.name]: row.values } })),
    };
  }
  if (map.source) {
    const cells = ofMap(map.map, (i) => map.rowLabels[i].text, (i) => map.columnLabels[i].text);
    const about = { ...map.which, model: text.read.model.name, site: text.read.site };
    found.map = { figure: () => mapStill(map.map), rows: cells, answer: () => ({ ...about, ...asMatrix(map.map) }) };
    found.headview = { figure: () => map.figure(), rows: cells, answer: found.map.answer };
  }
  if (order.found && order.found.of > 1) {
    const { given, shuffles } = order.found;
    found.order = {
      figure: () => order.figure(),
      rows: () => [["text", "nats", "given"], [text.read.text, given, true], ...shuffles.map((one) => [one.text, one.nats, false])],
      answer: () => order.found,
    };
  }
  if (alignment.found) {
    const { target, source } = alignment.names;
    found.alignment = {
      figure: () => alignment.figure(),
      rows: () => [["target", "source", "weight"], ...alignment.found.map(({ at, weight }, q) => [target[q], source[at], weight])],
      answer: () => alignment.found.map(({ at, weight }, q) => ({ target: q, source: at, weight })),
    };
  }
  if (compare.found && !compare.found.apart.why) {
    const { kl, js, meanKl, meanJs } = compare.found.apart;
    const list = Array.from(kl);
    found.kl = {
      figure: () => bars({ values: list, label: "KL", name: (i) => tokens[i] ?? String(i) }),
      rows: () => [["query", "kl", "js"], ...list.map((value, i) => [i, value, js[i]])],
      answer: () => ({ kl: list, js: Array.from(js), mean_kl: meanKl, mean_js: meanJs }),
    };
  }
  return found;
}

/** @param {import("./tensors/view.js").TensorTab} tensors @returns {Record<string, Figure>} */
export function ofTensors({ answer, results }) {
  if (!answer) return {};
  const { map } = results;
  const cells = ofMap(map, map.shown.rowName, map.shown.columnName);
  return {
    map: { figure: () => mapStill(map), rows: cells, answer: () => answer },
    bars: {
      figure: () => byId("tensor-bars").querySelector("svg"),
      rows: () => [["place", results.bars.label], ...results.bars.values.map((value, i) => [results.bars.name(i), value])],
      answer: () => answer,
    },
  };
}

/** Cells on a side of the blocks that are written: those of the screen, where not all cells are here. */
const blockOf = (map) => (map.shown.source.data ? 1 : map.block);

const ofMap = (map, rowText, columnText) => () => {
  const [q0, q1, k0, k1] = inView(map);
  const block = blockOf(map);
  const rows = [["query", "key", "query_token", "key_token", "value"]];
  for (let q = q0; q < q1; q += block) {
    for (let k = k0; k < k1; k += block) rows.push([q, k, rowText(q), columnText(k), map.shown.source.peak(block, q, k)]);
  }
  return rows;
};

function asMatrix(map) {
  const [q0, q1, k0, k1] = inView(map);
  const block = blockOf(map);
  const line = (q) => Array.from({ length: Math.ceil((k1 - k0) / block) }, (_, i) => map.shown.source.peak(block, q, k0 + i * block) ?? null);
  const weights = Array.from({ length: Math.ceil((q1 - q0) / block) }, (_, i) => line(q0 + i * block));
  return { queries: [q0, q1], keys: [k0, k1], ...(block > 1 && { largest_of_block: block }), weights };
}
