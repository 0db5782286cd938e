/** The members of a zip archive, each checked against its CRC-32; zip64 too. */

import { Unreadable } from "./arrays.js";

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const MOST_COMMENT = 0xffff;
const IN_ZIP64 = 0xffffffff;
const [STORED, DEFLATED] = [0, 8];

const CRCS = Uint32Array.from({ length: 256 }, (_, at) => {
  let crc = at;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** @param {Uint8Array} bytes */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i += 1) crc = CRCS[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** @typedef {{name: string, method: number, crc: number, packed: number, size: number, at: number}} Member */

/** @param {Uint8Array} file @returns {Member[]} as the directory at the end lists them */
export function members(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const long = (at) => Number(view.getBigUint64(at, true));
  try {
    let end = file.length - 22;
    while (view.getUint32(end, true) !== END) if ((end -= 1) < Math.max(0, file.length - 22 - MOST_COMMENT)) throw new RangeError("no end");
    let [count, at] = [view.getUint16(end + 10, true), view.getUint32(end + 16, true)];
    if (end >= 20 && view.getUint32(end - 20, true) === LOCATOR64) {
      const end64 = long(end - 12);
      if (view.getUint32(end64, true) !== END64) throw new RangeError("no zip64 end");
      [count, at] = [long(end64 + 32), long(end64 + 48)];
    }
    const found = [];
    for (let i = 0; i < count; i += 1) {
      if (view.getUint32(at, true) !== ENTRY) throw new RangeError("no entry");
      const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
      const name = new TextDecoder().decode(file.subarray(at + 46, at + 46 + nameLength));
      const [size, packed, start] = zip64([24, 20, 42].map((offset) => view.getUint32(at + offset, true)), view, at + 46 + nameLength, extraLength);
      found.push({ name, method: view.getUint16(at + 10, true), crc: view.getUint32(at + 16, true), packed, size, at: start });
      at += 46 + nameLength + extraLength + commentLength;
    }
    return found;
  } catch (error) {
    if (error instanceof RangeError) throw new Unreadable("file.no_zip");
    throw error;
  }
}

/** Numbers that have no room in 32 bits stand, in this order, in the extra field 1. */
function zip64(short, view, at, length) {
  let from = at;
  while (from + 4 <= at + length && view.getUint16(from, true) !== 1) from += 4 + view.getUint16(from + 2, true);
  from += 4;
  return short.map((value) => {
    if (value !== IN_ZIP64 || from + 8 > at + length) return value;
    from += 8;
    return Number(view.getBigUint64(from - 8, true));
  });
}

/** @param {Uint8Array} file @param {Member} member @param {number} most bytes that it may have @returns {Promise<Uint8Array>} */
export async function unpacked(file, { name, method, crc, packed, size, at }, most) {
  if (size > most) throw new Unreadable("file.too_large", { name, size, most });
  if (method !== STORED && method !== DEFLATED) throw new Unreadable("file.method", { name, method });
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (at + 30 > file.length || view.getUint32(at, true) !== LOCAL) throw new Unreadable("file.damaged", { name });
  const start = at + 30 + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
  const raw = file.subarray(start, start + packed);
  const bytes = method === STORED ? raw : await inflated(raw, name, size);
  if (bytes.length !== size || crc32(bytes) !== crc) throw new Unreadable("file.damaged", { name });
  return bytes;
}

/** No further than the size that was told, lest a small file fill the memory. */
async function inflated(raw, name, size) {
  const bytes = new Uint8Array(size);
  const reader = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  let at = 0;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      bytes.set(part.value, at);
      at += part.value.length;
    }
  } catch {
    reader.cancel().catch(() => {});
    throw new Unreadable("file.damaged", { name });
  }
  return bytes.subarray(0, at);
}
