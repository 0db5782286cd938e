/** The service counts Unicode code points, JavaScript UTF-16 units; these go between the two. */

/** A text that JSON can carry: half a surrogate pair becomes U+FFFD, one code point for one. @param {string} text */
export const wellFormed = (text) => text.replace(/\p{Surrogate}/gu, "\uFFFD");

/** @param {string} text */
export function codePoints(text) {
  /** @type {number[]} UTF-16 place of each code point, and the end */
  const places = [];
  let at = 0;
  for (const character of text) {
    places.push(at);
    at += character.length;
  }
  places.push(at);
  return {
    length: places.length - 1,

    /** @param {number} point @returns {number} UTF-16 place */
    toUtf16: (point) => places[Math.max(0, Math.min(point, places.length - 1))],

    /** @param {number} unit @returns {number} the code point that this UTF-16 place lies in */
    fromUtf16(unit) {
      let [low, high] = [0, places.length - 1];
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (places[middle] <= unit) low = middle;
        else high = middle - 1;
      }
      return low;
    },

    /** @param {number} start @param {number} stop code points */
    slice: (start, stop) => text.slice(places[start], places[stop]),
  };
}

/** The token under a caret. @param {[number, number][]} offsets @param {number} point code point @returns {number} −1 if none */
export function tokenAt(offsets, point) {
  const inside = offsets.findIndex(([start, stop]) => stop > start && start <= point && point < stop);
  if (inside >= 0) return inside;
  return offsets.findLastIndex(([start, stop]) => stop > start && stop === point);
}

/**
 * What to call each token: blanks made visible, the pieces of one character numbered.
 * @param {string[]} tokens @param {[number, number][]} offsets
 * @returns {{text: string, piece: number, of: number, special: boolean}[]}
 */
export function labels(tokens, offsets) {
  const named = tokens.map((token, i) => ({ text: visible(token), piece: 1, of: 1, special: isSpecial(offsets[i]) }));
  for (let start = 0; start < tokens.length; ) {
    let stop = start + 1;
    while (stop < tokens.length && !named[start].special && sameOffsets(offsets[start], offsets[stop])) stop += 1;
    for (let i = start; i < stop; i += 1) Object.assign(named[i], { piece: i - start + 1, of: stop - start });
    start = stop;
  }
  return named;
}

const sameOffsets = (a, b) => a && b && a[0] === b[0] && a[1] === b[1];
const isSpecial = (offset) => !offset || offset[0] === offset[1];

/** @param {string} token */
export function visible(token) {
  const shown = token.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/\r/g, "␍").replace(/ /g, "·");
  return shown.replace(/\p{Cc}/gu, "␣").replace(/^[\u200B-\u200F\u2060\uFE0F]+$/u, "∅") || "∅";
}

/** The label as one short string. @param {{text: string, piece: number, of: number}} label */
export const short = (label, most = 14) => {
  const characters = [...label.text];
  const cut = characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : label.text;
  return label.of > 1 ? `${cut}${subscript(label.piece)}` : cut;
};

const subscript = (number) => [...String(number)].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[Number(digit)]).join("");
