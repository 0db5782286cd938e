/** NumPy's .npy: a magic word, a header that is a Python literal, and the bytes; and .npz, a zip of them. */

import { Unreadable, count, rowMajor, swapped, widened } from "./arrays.js";

const MAGIC = "\x93NUMPY";
const KNOWN = { f2: "float16", f4: "float32", f8: "float64", i4: "int32", i8: "int64", b1: "bool" };
const WIDENED = { i1: "int8", u1: "uint8", i2: "int16", u2: "uint16", u4: "uint32", u8: "uint64" };

/** @param {Uint8Array} file @param {string} name for errors @returns {import("./arrays.js").Tensor} */
export function readNpy(file, name = "array") {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const magic = String.fromCharCode(...file.subarray(0, 6));
  if (magic !== MAGIC || file.length < 10) throw new Unreadable(`${name} is no .npy file`);
  const long = file[6] >= 2;
  const start = long ? 12 : 10;
  const end = start + (long ? view.getUint32(8, true) : view.getUint16(8, true));
  if (end > file.length) throw new Unreadable(`${name} ends within its header`);
  const header = new TextDecoder(file[6] >= 3 ? "utf-8" : "latin1").decode(file.subarray(start, end));
  const descr = /'descr'\s*:\s*'([<>|=])(\w+)'/.exec(header);
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(header);
  const dims = /'shape'\s*:\s*\(([\d,\s]*)\)/.exec(header);
  if (!descr || !order || !dims) throw new Unreadable(`${name} has a dtype that is no plain number: ${header.slice(0, 80).trim()}`);
  const [, endian, code] = descr;
  if (!(code in KNOWN) && !(code in WIDENED)) throw new Unreadable(`${name} has dtype ${code}; floats, integers and booleans can be read`);
  const shape = dims[1].split(",").map((part) => part.trim()).filter(Boolean).map(Number);
  const width = Number(code.slice(1));
  const size = count(shape) * width;
  if (file.length - end < size) throw new Unreadable(`${name} is cut off: ${file.length - end} of ${size} bytes`);
  let bytes = file.slice(end, end + size);
  if (endian === ">") bytes = swapped(bytes, width);
  if (order[1] === "True" && shape.length > 1) bytes = rowMajor(bytes, shape, width);
  if (code in KNOWN) return { shape, dtype: KNOWN[code], bytes };
  return { shape, dtype: "int64", bytes: widened(WIDENED[code], new DataView(bytes.buffer)) };
}

/** @param {Uint8Array} file @returns {Promise<Map<string, import("./arrays.js").Tensor>>} */
export async function readNpz(file) {
  const { unzipSync } = await import("../../vendor/fflate/esm/browser.js");
  let members;
  try {
    members = unzipSync(file);
  } catch (error) {
    throw new Unreadable(`the zip archive cannot be read: ${error.message}`);
  }
  const named = Object.entries(members).filter(([name]) => name.endsWith(".npy"));
  if (!named.length) throw new Unreadable("there is no .npy in the archive");
  return new Map(named.map(([name, bytes]) => [name.replace(/\.npy$/, ""), readNpy(bytes, name)]));
}
