/** The bodies of the text tab's requests: what is sent is also what the snippets show. */

import { wellFormed } from "./codepoints.js";

/** Up to so many characters a text's alternatives come with its losses; beyond, when a token is clicked. */
const ALTERNATIVES_AT_ONCE = 1200;
export const ALTERNATIVES = 8;
/** Cells of a map that is fetched whole; a larger one comes in windows. */
export const MOST_WHOLE = 300 * 300;

/**
 * @typedef {object} Reading how a model reads what is typed
 * @property {string} text
 * @property {string} target empty without one
 * @property {any} model its entry in GET /models
 * @property {"encoder" | "decoder" | "cross"} site
 * @property {boolean} scores whether there are token losses
 * @property {boolean} causal whether a query sees only keys up to its own place
 */

/** @param {{text: string, target: string, site: string}} asked @param {any} model @returns {Reading} */
export function reading(asked, model) {
  const text = wellFormed(asked.text);
  const both = model.kind === "encoder-decoder";
  const target = both ? wellFormed(asked.target) : "";
  const sites = both ? (target ? ["cross", "decoder", "encoder"] : ["encoder"]) : [model.kind === "encoder" ? "encoder" : "decoder"];
  const site = sites.includes(asked.site) ? asked.site : sites[0];
  return { text, target, model, site, scores: both ? target !== "" : model.kind !== "encoder", causal: site === "decoder" };
}

/** @param {Reading} read */
const base = (read) => ({
  text: read.text,
  model: read.model.name,
  ...(read.target && { target_text: read.target }),
  ...(read.model.kind === "encoder-decoder" && { site: read.site }),
  truncate: true,
});

/** @typedef {{path: "attention" | "loss", body: Record<string, any>}} Asked */

/** Tokens, and their losses where the model has any. @param {Reading} read @returns {Asked} */
export function scoring(read) {
  if (!read.scores) return { path: "attention", body: { ...base(read), layers: [0], heads: [0], return: ["entropy"] } };
  const atOnce = read.text.length + read.target.length <= ALTERNATIVES_AT_ONCE;
  return atOnce ? alternatives(read) : { path: "loss", body: { ...base(read), return: ["loss"] } };
}

/** @param {Reading} read @returns {Asked} */
export const alternatives = (read) => ({
  path: "loss",
  body: { ...base(read), return: ["loss", "alternatives"], top_k: ALTERNATIVES },
});

/** One number for each head. @param {Reading} read @param {Record<string, any>} loss @returns {Asked} */
export const measuring = (read, loss) => ({
  path: "loss",
  body: { ...base(read), return: [], losses: [loss], reduction: "mean" },
});

/** The map of one head, or a window of it. @returns {Asked} */
export function weights(read, layer, head, window = null) {
  const cut = window ? { queries: window.slice(0, 2), keys: window.slice(2), encoding: "base64" } : {};
  return { path: "attention", body: { ...base(read), layers: [layer], heads: [head], return: ["weights"], ...cut } };
}

/** The mean map of a layer needs all its heads. @returns {Asked} */
export const layerWeights = (read, layer) => ({
  path: "attention",
  body: { ...base(read), layers: [layer], return: ["weights"], encoding: "base64" },
});

/** @returns {Asked} */
export const ordering = (read, permutations, seed) => ({
  path: "loss",
  body: { ...base(read), return: [], order: { permutations, unit: "word", seed } },
});

/** KL of two models' maps, or of two layers' maps of one model, head by head. @returns {Asked} */
export const comparing = (read, other, layer, otherLayer) => ({
  path: "loss",
  body: {
    text: read.text, teacher: read.model.name, student: other.name, layers: [[layer, otherLayer]], truncate: true,
    losses: [{ name: "kl" }, { name: "js" }], reduction: "none", return: [],
  },
});

/** A layer or head as it is chosen, where −1 is the last. @param {number} chosen @param {number} count */
export const place = (chosen, count) => Math.max(0, Math.min(count - 1, chosen < 0 ? count + chosen : chosen));

/** Names of a map's rows and columns. @param {Reading} read @param {any} result */
export function sides(read, result) {
  const own = { tokens: result.tokens, offsets: result.offsets };
  if (read.site === "encoder" || read.model.kind !== "encoder-decoder") return { rows: own, columns: own, same: true };
  const target = { tokens: result.target_tokens, offsets: result.target_offsets };
  if (read.site === "cross") return { rows: target, columns: own, same: false };
  const keys = result.key_tokens ?? result.target_tokens;
  const shifted = [[0, 0], ...target.offsets.slice(0, -1)];
  return { rows: target, columns: { tokens: keys, offsets: result.key_tokens ? shifted : target.offsets }, same: false };
}

const TENSOR_KINDS = new Set(["target", "index", "positions"]);

/** Losses that text has, as `GET /losses` tells them; those of two maps are in the comparison. */
export const measures = (specs) =>
  specs.filter((spec) => !spec.needs.includes("other") && !spec.parameters.some((one) => one.required && !TENSOR_KINDS.has(one.kind) && one.kind !== "number"));

/** What a loss needs from the person: numbers and choices, and a target where it cannot do without. */
export const knobs = (spec) =>
  spec.parameters.filter((one) => ["number", "choice"].includes(one.kind) && one.name !== "compat" && one.name !== "kind");
export const wantsTarget = (spec) =>
  spec.name === "cross_entropy" || spec.parameters.some((one) => one.required && TENSOR_KINDS.has(one.kind));

/** Targets that can be said in a word: for each query the key that it should look at. */
export const TARGETS = {
  previous: (n) => Array.from({ length: n }, (_, i) => Math.max(0, i - 1)),
  self: (n) => Array.from({ length: n }, (_, i) => i),
  first: (n) => Array.from({ length: n }, () => 0),
};

/** Where each query needs a key of its own, that of the same place is the only one of these. */
export const targetNames = (spec) =>
  spec.parameters.some((one) => ["index", "positions"].includes(one.kind) && one.required) ? ["self"] : Object.keys(TARGETS);

/** The key of each query, in one of these words or as they are listed. @param {any} spec @param {Record<string, string>} params */
export function targetKeys(spec, { target, keys }, rows, columns) {
  if (target === "list" && keys) return keys.split(/[\s,;[\]]+/).filter(Boolean).map(Number);
  const [first, ...others] = targetNames(spec);
  return TARGETS[others.includes(target) ? target : first](rows).map((key) => Math.min(key, columns - 1));
}

/** @param {any} spec @param {Record<string, string>} params @param {number} rows @param {number} columns */
export function lossEntry(spec, params, rows, columns) {
  const entry = { name: spec.name };
  for (const knob of knobs(spec)) {
    const given = params[knob.name];
    if (given === undefined || given === "") continue;
    entry[knob.name] = knob.kind === "number" ? Number(given) : given;
  }
  if (wantsTarget(spec)) entry.target = targetKeys(spec, params, rows, columns);
  return entry;
}
