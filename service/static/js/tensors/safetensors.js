/** Hugging Face's .safetensors: the length of a JSON header, the header, the bytes. */

import { Unreadable, WIDTHS, count, widened } from "./arrays.js";

const KNOWN = { F64: "float64", F32: "float32", F16: "float16", BF16: "bfloat16", I64: "int64", I32: "int32", BOOL: "bool" };
const WIDENED = { I8: "int8", U8: "uint8", I16: "int16", U16: "uint16", U32: "uint32", U64: "uint64" };

/** @param {Uint8Array} file @returns {Map<string, import("./arrays.js").Tensor>} arrays of other dtypes are left out */
export function readSafetensors(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const length = file.length >= 8 ? Number(view.getBigUint64(0, true)) : Infinity;
  if (8 + length > file.length) throw new Unreadable("the file ends within its header, or is no .safetensors");
  let header;
  try {
    header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  } catch {
    throw new Unreadable("the header is not JSON: this is no .safetensors");
  }
  const found = new Map();
  for (const [name, entry] of Object.entries(header)) {
    const { dtype, shape, data_offsets: offsets } = /** @type {any} */ (entry);
    if (name === "__metadata__" || !(dtype in KNOWN || dtype in WIDENED)) continue;
    const bytes = file.slice(8 + length + offsets[0], 8 + length + offsets[1]);
    const width = dtype in KNOWN ? WIDTHS[KNOWN[dtype]] : Number(WIDENED[dtype].replace(/\D/g, "")) / 8;
    if (bytes.length !== count(shape) * width) throw new Unreadable(`${name}: ${bytes.length} bytes for shape [${shape}] of ${dtype}`);
    if (dtype in KNOWN) found.set(name, { shape, dtype: KNOWN[dtype], bytes });
    else found.set(name, { shape, dtype: "int64", bytes: widened(WIDENED[dtype], new DataView(bytes.buffer)) });
  }
  if (!found.size) throw new Unreadable("there are no arrays in the file");
  return found;
}
