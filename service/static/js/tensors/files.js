/** Files dropped or chosen: what arrays are in them, and which is query, key, value, … */

import { Unreadable } from "./arrays.js";
import { readNpy, readNpz } from "./npy.js";
import { readSafetensors } from "./safetensors.js";

export const MOST_BYTES = 64 * 2 ** 20;

/** @param {File} file @returns {Promise<{json: string} | {arrays: Map<string, import("./arrays.js").Tensor>}>} */
export async function readFile(file) {
  if (file.size > MOST_BYTES) throw new Unreadable(`${file.name} takes ${file.size} bytes, the limit is ${MOST_BYTES}`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const kind = /\.(\w+)$/.exec(file.name)?.[1]?.toLowerCase();
  if (kind === "npz") return { arrays: await readNpz(bytes) };
  if (kind === "npy") return { arrays: new Map([[file.name.replace(/\.npy$/i, ""), readNpy(bytes, file.name)]]) };
  if (kind === "safetensors") return { arrays: readSafetensors(bytes) };
  if (kind === "json") return { json: new TextDecoder().decode(bytes) };
  throw new Unreadable(`${file.name}: expected .npz, .npy, .safetensors or .json`);
}

/** Fields that an array of a file can fill. */
export const ROLES = ["query", "key", "value", "mask", "probability", "target", "other.query", "other.key"];
const CALLED = {
  query: /^(q|query|queries)$/i, key: /^(k|key|keys)$/i, value: /^(v|value|values)$/i, mask: /^(attn_?)?mask$/i,
  probability: /^(p|prob|probability)$/i, target: /^targets?$/i, "other.query": /^(other|teacher|r)[._]?(q|query)$/i, "other.key": /^(other|teacher|r)[._]?(k|key)$/i,
};

/** The role that a name tells, by the whole of it or its last part. @param {Iterable<string>} names @returns {Map<string, string>} role → name */
export function guessRoles(names) {
  const roles = new Map();
  const given = [...names];
  for (const role of ROLES) {
    const fits = (name) => CALLED[role].test(name) || CALLED[role].test(name.split(/[./]/).at(-1) ?? "");
    const found = given.find((name) => fits(name) && ![...roles.values()].includes(name));
    if (found !== undefined) roles.set(role, found);
  }
  return roles;
}
