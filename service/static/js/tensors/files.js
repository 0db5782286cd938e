/** Files dropped or chosen: what arrays are in them, and which is query, key, value, … */

import { MOST_BYTES, Unreadable } from "./arrays.js";
import { readNpy, readNpz } from "./npy.js";
import { readSafetensors } from "./safetensors.js";

/** @param {File} file @returns {Promise<import("./arrays.js").Read & {file: string, json?: string}>} */
export async function readFile(file) {
  const nothing = { file: file.name, arrays: new Map(), skipped: [] };
  try {
    return { ...nothing, ...(await parsed(file)) };
  } catch (error) {
    if (error instanceof Unreadable) return { ...nothing, skipped: [error] };
    if (error instanceof DOMException) return { ...nothing, skipped: [new Unreadable("file.browser", { name: file.name, why: error.message })] };
    throw error;
  }
}

async function parsed(file) {
  const { name, size } = file;
  if (size > MOST_BYTES) throw new Unreadable("file.too_large", { name, size, most: MOST_BYTES });
  const bytes = new Uint8Array(await file.arrayBuffer());
  const kind = /\.(\w+)$/.exec(name)?.[1]?.toLowerCase();
  if (kind === "npz") return readNpz(bytes);
  if (kind === "npy") return { arrays: new Map([[stem(name), readNpy(bytes, name)]]), skipped: [] };
  if (kind === "safetensors") return readSafetensors(bytes);
  if (kind === "json") return { json: new TextDecoder().decode(bytes) };
  throw new Unreadable("file.kind", { name });
}

const stem = (file) => file.replace(/\.\w+$/, "");

/** An array's name, with that of its file before it where another file has one of the same. @param {(name: string) => boolean} taken */
export function nameOf(array, file, taken) {
  let name = array;
  for (const before of [stem(file), file]) if (taken(name)) name = `${before}.${array}`;
  return name;
}

/** Fields that an array of a file can fill. */
export const ROLES = ["query", "key", "value", "mask", "probability", "target", "other.query", "other.key"];
const CALLED = {
  query: /^(q|query|queries)$/i, key: /^(k|key|keys)$/i, value: /^(v|value|values)$/i, mask: /^(attn_?)?mask$/i,
  probability: /^(p|prob|probability)$/i, target: /^targets?$/i, "other.query": /^(other|teacher|r)[._]?(q|query)$/i, "other.key": /^(other|teacher|r)[._]?(k|key)$/i,
};

/**
 * The roles that names tell, by the whole of them or their last part.
 * @param {Iterable<string>} names @param {Map<string, string>} given role → name, which stay
 * @returns {Map<string, string>}
 */
export function guessRoles(names, given = new Map()) {
  const roles = new Map(given);
  const all = [...names];
  for (const role of ROLES.filter((one) => !roles.has(one))) {
    const fits = (name) => CALLED[role].test(name) || CALLED[role].test(name.split(/[./]/).at(-1) ?? "");
    const found = all.find((name) => fits(name) && ![...roles.values()].includes(name));
    if (found !== undefined) roles.set(role, found);
  }
  return roles;
}
