/** Arrays as the service takes them: shape, dtype, little-endian bytes in row-major order. */

import { toBase64 } from "../api.js";
import { Refusal } from "../failures.js";

/** Bytes that a file may have, and the arrays of an archive together. */
export const MOST_BYTES = 64 * 2 ** 20;

/**
 * @typedef {object} Tensor
 * @property {number[]} shape
 * @property {"float32" | "float64" | "float16" | "bfloat16" | "int64" | "int32" | "bool"} dtype
 * @property {Uint8Array} bytes
 */

/** @typedef {{arrays: Map<string, Tensor>, skipped: Unreadable[]}} Read */

/** A file, or an array of one, that cannot be read. */
export class Unreadable extends Refusal {
  /** @param {string} detail the name of a word @param {Record<string, any>} values */
  constructor(detail, values) {
    super("tensor.unreadable", detail, values);
  }
}

export const WIDTHS = { float32: 4, float64: 8, float16: 2, bfloat16: 2, int64: 8, int32: 4, bool: 1 };

export const count = (shape) => shape.reduce((product, size) => product * size, 1);

/** @param {Tensor} tensor */
export const toWire = ({ shape, dtype, bytes }) => ({ shape, dtype, base64: toBase64(bytes) });

/** Integers that are all 0 or 1 as the booleans that a mask has; others stay. @param {Tensor} tensor @returns {Tensor} */
export function asMask(tensor) {
  const width = { int64: 8, int32: 4 }[tensor.dtype];
  if (!width) return tensor;
  const { shape, bytes } = tensor;
  const fits = bytes.every((byte, i) => byte === 0 || (byte === 1 && i % width === 0));
  return fits ? { shape, dtype: "bool", bytes: bytes.filter((_, i) => i % width === 0) } : tensor;
}

/**
 * Other integers as those that the service takes.
 * @param {"int8"|"uint8"|"int16"|"uint16"|"uint32"|"uint64"} from @param {DataView} view @param {string} name for errors
 */
export function widened(from, view, name) {
  const signed = from.startsWith("int");
  const width = Number(from.replace(/\D/g, "")) / 8;
  const size = view.byteLength / width;
  const out = new BigInt64Array(size);
  for (let i = 0; i < size; i += 1) {
    if (width === 8) {
      const value = view.getBigUint64(8 * i, true);
      if (value >= 2n ** 63n) throw new Unreadable("file.int64", { name, value });
      out[i] = value;
    } else out[i] = BigInt(view[`get${signed ? "Int" : "Uint"}${8 * width}`](width * i, true));
  }
  return new Uint8Array(out.buffer);
}

/** Bytes of each item the other way round. @param {Uint8Array} bytes @param {number} width */
export function swapped(bytes, width) {
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i += 1) out[i] = bytes[i - (i % width) + width - 1 - (i % width)];
  return out;
}

/** Column-major to row-major. @param {Uint8Array} bytes @param {number[]} shape @param {number} width */
export function rowMajor(bytes, shape, width) {
  const out = new Uint8Array(bytes.length);
  const total = count(shape);
  const index = shape.map(() => 0);
  const strides = shape.map((_, axis) => count(shape.slice(0, axis)));
  for (let item = 0; item < total; item += 1) {
    const from = index.reduce((sum, at, axis) => sum + at * strides[axis], 0) * width;
    out.set(bytes.subarray(from, from + width), item * width);
    for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
      index[axis] += 1;
      if (index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
  return out;
}
