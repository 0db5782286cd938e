/** The bodies of the tensor tab's requests. */

import { knobs, TARGETS } from "../text/requests.js";
import { asMask, toWire } from "./arrays.js";

export const EXAMPLE = `{
 "query": [[1, 0, 0.5], [0, 1, 0.5], [1, 1, 0], [0.2, -1, 1]],
 "key": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]],
 "value": [[1, 2], [3, 4], [5, 6], [7, 8]]
}`;

/** Weights that are asked for whole, over all heads. */
const MOST_WHOLE = 300_000;

/** `entropy;guided?sigma=0.2` @param {string} written @returns {Map<string, Record<string, string>>} */
export function readLosses(written) {
  const chosen = new Map();
  for (const part of written.split(";").filter(Boolean)) {
    const [name, query = ""] = part.split("?");
    chosen.set(name, Object.fromEntries(new URLSearchParams(query)));
  }
  return chosen;
}

/** @param {Map<string, Record<string, string>>} chosen */
export const writeLosses = (chosen) =>
  [...chosen].map(([name, params]) => {
    const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== "")).toString();
    return query ? `${name}?${query}` : name;
  }).join(";");

/** Shape of a tensor that is a nested list or base64; as far as it can be told. @returns {number[]} */
export function shapeOf(tensor) {
  if (Array.isArray(tensor?.shape)) return tensor.shape;
  const shape = [];
  for (let at = tensor; Array.isArray(at); at = at[0]) shape.push(at.length);
  return shape;
}

export const needsTarget = (spec) => spec.parameters.some((one) => one.name === "target" && (one.required || spec.name === "cross_entropy"));
export const needsOther = (spec) => spec.needs.includes("other");

/** @param {any} spec @param {Record<string, string>} params @param {Record<string, any>} given fields that go into losses */
function entry(spec, params, given, n, m) {
  const made = { name: spec.name };
  for (const knob of [...knobs(spec), ...spec.parameters.filter((one) => ["compat", "kind"].includes(one.name))]) {
    const value = params[knob.name];
    if (value) made[knob.name] = knob.kind === "number" ? Number(value) : value;
  }
  if (needsTarget(spec) && !(spec.name === "cross_entropy" && given.probability)) {
    made.target = given.target ?? (TARGETS[params.target] ?? TARGETS.self)(n).map((key) => Math.min(key, m - 1));
  }
  if (needsOther(spec) && given.other) made.other = given.other;
  return made;
}

/**
 * @param {Record<string, any>} json a body of POST /loss or /attention, as pasted
 * @param {Map<string, import("./arrays.js").Tensor>} roles field → array of a file; they take the place of what is pasted
 * @param {{losses: Map<string, Record<string, string>>, causal: string, grad: boolean, scale: string, dtype: string}} options
 *   causal, scale and dtype are empty where what is pasted decides
 * @param {any[]} specs of GET /losses
 */
export function tensorBody(json, roles, options, specs) {
  const fields = { ...json };
  delete fields.return;
  delete fields.encoding;
  const given = { probability: fields.probability };
  for (const [role, tensor] of roles) {
    if (role === "target") given.target = toWire(tensor);
    else if (role.startsWith("other.")) given.other = { ...given.other, [role.slice(6)]: toWire(tensor) };
    else fields[role] = toWire(role === "mask" ? asMask(tensor) : tensor);
  }
  given.probability = fields.probability;
  const [queryShape, keyShape] = [shapeOf(fields.query), shapeOf(fields.key)];
  const [n, m] = [queryShape.at(-2) ?? 0, keyShape.at(-2) ?? 0];
  const named = new Set((fields.losses ?? []).map((one) => one.name));
  const paired = Boolean(given.other?.query && given.other.key);
  const added = specs.filter((spec) => options.losses.has(spec.name) && !named.has(spec.name) && (paired || !needsOther(spec)));
  const losses = [...(fields.losses ?? []), ...added.map((spec) => entry(spec, options.losses.get(spec.name), given, n, m))];
  if (losses.length) fields.losses = losses;
  if (losses.some((one) => one.name !== "cross_entropy") && fields.probability && !losses.some((one) => one.name === "cross_entropy")) {
    delete fields.probability;
  }
  if (options.causal !== "") fields.causal = options.causal === "true";
  if (options.scale !== "" && Number.isFinite(Number(options.scale))) fields.scale = Number(options.scale);
  if (options.dtype !== "") fields.dtype = options.dtype;
  const cells = queryShape.slice(0, -2).reduce((product, size) => product * size, 1) * n * m;
  const whole = cells <= MOST_WHOLE;
  const asked = ["loss", "per_query", "entropy", "received", ...(options.grad ? ["grad"] : []), ...(fields.value ? ["output"] : [])];
  return { body: { ...fields, return: whole ? [...asked, "weights"] : asked, encoding: "base64" }, whole, n, m, lead: queryShape.slice(0, -2) };
}

/** A window of the weights of all heads. */
export function windowBody(body, [q0, q1, k0, k1]) {
  const { losses, reduction, probability, ...fields } = body;
  return { ...fields, return: ["weights"], queries: [q0, q1], keys: [k0, k1], encoding: "base64" };
}
