/** Hugging Face's .safetensors: the length of a JSON header, the header, the bytes. */

import { Unreadable, WIDTHS, count, widened } from "./arrays.js";

const KNOWN = { F64: "float64", F32: "float32", F16: "float16", BF16: "bfloat16", I64: "int64", I32: "int32", BOOL: "bool" };
const WIDENED = { I8: "int8", U8: "uint8", I16: "int16", U16: "uint16", U32: "uint32", U64: "uint64" };

const isSize = (value) => Number.isSafeInteger(value) && value >= 0;
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {Uint8Array} file @returns {import("./arrays.js").Read} arrays of other dtypes are left out, and told */
export function readSafetensors(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const start = file.length >= 8 ? 8 + Number(view.getBigUint64(0, true)) : Infinity;
  if (start > file.length) throw new Unreadable("file.no_safetensors");
  const data = file.subarray(start);
  const read = { arrays: new Map(), skipped: [] };
  let filled = 0;
  for (const [name, { dtype, shape, offsets }] of entries(file.subarray(8, start))) {
    if (offsets[0] !== filled || offsets[1] > data.length) throw new Unreadable("file.offsets", { name, offsets: offsets.join(", "), filled, size: data.length });
    filled = offsets[1];
    if (!(dtype in KNOWN || dtype in WIDENED)) {
      read.skipped.push(new Unreadable("file.dtype", { name, dtype }));
      continue;
    }
    const bytes = data.slice(...offsets);
    const width = dtype in KNOWN ? WIDTHS[KNOWN[dtype]] : Number(WIDENED[dtype].replace(/\D/g, "")) / 8;
    if (bytes.length !== count(shape) * width) throw new Unreadable("file.bytes", { name, bytes: bytes.length, shape: shape.join(", "), dtype });
    if (dtype in KNOWN) read.arrays.set(name, { shape, dtype: KNOWN[dtype], bytes });
    else read.arrays.set(name, { shape, dtype: "int64", bytes: widened(WIDENED[dtype], new DataView(bytes.buffer), name) });
  }
  if (!read.arrays.size) throw read.skipped[0] ?? new Unreadable("file.empty");
  return read;
}

/** What the header tells of each array, in the order of their bytes, which leave no gap. @param {Uint8Array} bytes */
function entries(bytes) {
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Unreadable("file.no_safetensors");
  }
  if (!isObject(header)) throw new Unreadable("file.no_safetensors");
  const found = Object.entries(header).filter(([name]) => name !== "__metadata__");
  return found
    .map(([name, entry]) => {
      const { dtype, shape, data_offsets: offsets } = isObject(entry) ? entry : {};
      const told = typeof dtype === "string" && Array.isArray(shape) && shape.every(isSize);
      if (!told || !Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize) || offsets[0] > offsets[1]) {
        throw new Unreadable("file.entry", { name, entry: JSON.stringify(entry).slice(0, 120) });
      }
      return /** @type {const} */ ([name, { dtype, shape, offsets }]);
    })
    .sort(([, a], [, b]) => a.offsets[0] - b.offsets[0] || a.offsets[1] - b.offsets[1]);
}
