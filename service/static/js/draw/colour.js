/** Colour maps that people of any colour vision can order: viridis and cividis by lightness, blue to red around zero. */

const STOPS = {
  viridis: "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
  cividis: "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838",
  balance: "2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b",
};
const STEPS = 256;

/** @typedef {"viridis" | "cividis" | "balance"} MapName */

/** @param {string} stops @returns {Uint8Array} 256 × red, green, blue */
function table(stops) {
  const colours = stops.split(" ").map((hex) => [0, 2, 4].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)));
  const out = new Uint8Array(3 * STEPS);
  for (let i = 0; i < STEPS; i += 1) {
    const place = (i / (STEPS - 1)) * (colours.length - 1);
    const low = Math.min(Math.floor(place), colours.length - 2);
    for (let c = 0; c < 3; c += 1) {
      out[3 * i + c] = Math.round(colours[low][c] + (place - low) * (colours[low + 1][c] - colours[low][c]));
    }
  }
  return out;
}

/** @type {Record<MapName, Uint8Array>} */
export const TABLES = Object.fromEntries(Object.entries(STOPS).map(([name, stops]) => [name, table(stops)]));

/** @param {number} share 0 to 1; beyond is cut @returns {number} place in a table */
export const step = (share) => Math.round(Math.min(1, Math.max(0, share || 0)) * (STEPS - 1));

/** @param {MapName} name @param {number} share */
export function colour(name, share) {
  const at = 3 * step(share);
  return `#${[...TABLES[name].subarray(at, at + 3)].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** Black or white, whichever is read better on this colour: always at least 4.5 : 1. @param {string} hex */
export function inkOn(hex) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return luminance > 0.179 ? "#000000" : "#ffffff";
}

/** A colour map as a CSS background. @param {MapName} name */
export const gradient = (name) =>
  `linear-gradient(to right, ${Array.from({ length: 12 }, (_, i) => colour(name, i / 11)).join(", ")})`;
