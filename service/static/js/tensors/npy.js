/** NumPy's .npy: a magic word, a header that is a Python literal, and the bytes; and .npz, a zip of them. */

import { MOST_BYTES, Unreadable, count, rowMajor, swapped, widened } from "./arrays.js";
import { members, unpacked } from "./zip.js";

const MAGIC = "\x93NUMPY";
const KNOWN = { f2: "float16", f4: "float32", f8: "float64", i4: "int32", i8: "int64", b1: "bool" };
const WIDENED = { i1: "int8", u1: "uint8", i2: "int16", u2: "uint16", u4: "uint32", u8: "uint64" };

/** @param {Uint8Array} file @param {string} name for errors @returns {import("./arrays.js").Tensor} */
export function readNpy(file, name = "array") {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const magic = String.fromCharCode(...file.subarray(0, 6));
  if (magic !== MAGIC || file.length < 12) throw new Unreadable("file.no_npy", { name });
  const long = file[6] >= 2;
  const start = long ? 12 : 10;
  const end = start + (long ? view.getUint32(8, true) : view.getUint16(8, true));
  if (end > file.length) throw new Unreadable("file.header_cut", { name });
  const header = new TextDecoder(file[6] >= 3 ? "utf-8" : "latin1").decode(file.subarray(start, end));
  const descr = /'descr'\s*:\s*'([<>|=])(\w+)'/.exec(header);
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(header);
  const dims = /'shape'\s*:\s*\(([\d,\s]*)\)/.exec(header);
  const [, endian, code] = descr ?? [];
  if (!order || !dims || !(code in KNOWN || code in WIDENED)) {
    throw new Unreadable("file.dtype", { name, dtype: code ?? header.slice(0, 80).trim() });
  }
  const shape = dims[1].split(",").map((part) => part.trim()).filter(Boolean).map(Number);
  const width = Number(code.slice(1));
  const size = count(shape) * width;
  if (file.length - end < size) throw new Unreadable("file.cut", { name, has: file.length - end, size });
  let bytes = file.slice(end, end + size);
  if (endian === ">") bytes = swapped(bytes, width);
  if (order[1] === "True" && shape.length > 1) bytes = rowMajor(bytes, shape, width);
  if (code in KNOWN) return { shape, dtype: KNOWN[code], bytes };
  return { shape, dtype: "int64", bytes: widened(WIDENED[code], new DataView(bytes.buffer), name) };
}

/** @param {Uint8Array} file @returns {Promise<import("./arrays.js").Read>} what cannot be read is left out, and told */
export async function readNpz(file) {
  const named = members(file).filter(({ name }) => name.endsWith(".npy"));
  if (!named.length) throw new Unreadable("file.empty_npz");
  const read = { arrays: new Map(), skipped: [] };
  let room = MOST_BYTES;
  for (const member of named) {
    try {
      const bytes = await unpacked(file, member, room);
      room -= bytes.length;
      read.arrays.set(member.name.replace(/\.npy$/, ""), readNpy(bytes, member.name));
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      read.skipped.push(error);
    }
  }
  if (!read.arrays.size) throw read.skipped[0];
  return read;
}
