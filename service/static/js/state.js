/** What is on screen, and the link that restores it. */

import { EXAMPLE } from "./tensors/requests.js";

export const DEFAULTS = Object.freeze({
  tab: "text",
  text: "I love programming",
  target: "",
  model: "",
  site: "",
  measure: "entropy",
  params: "",
  layer: -1,
  head: 0,
  token: -1,
  scale: "sqrt",
  compare: "",
  layer2: -1,
  head2: 1,
  text2: "",
  model2: "",
  permutations: 16,
  seed: 0,
  tensors: EXAMPLE,
  losses: "",
  causal: "",
  grad: true,
  scores: "",
  dtype: "",
  shown: "weights",
  perQuery: "",
  batch: 0,
  queryHead: 0,
});

/** What some of it can be; anything else in a link counts as the default. */
const CHOICES = {
  tab: ["text", "tensors"],
  site: ["", "cross", "decoder", "encoder"],
  scale: ["sqrt", "linear"],
  compare: ["", "heads", "texts", "models"],
  permutations: [16, 64, 256],
  causal: ["", "true", "false"],
  dtype: ["", "float32", "float64", "bfloat16", "float16"],
};

/** @typedef {{-readonly [Name in keyof typeof DEFAULTS]: (typeof DEFAULTS)[Name]}} State */

/** A link longer than this is refused by some browsers and most chat programs. */
export const MOST_LINK = 30_000;

/** @param {State} state @returns {string} only what differs from the defaults, without `#` */
export function toHash(state) {
  const changed = Object.entries(state).filter(([name, value]) => value !== DEFAULTS[name]);
  return new URLSearchParams(changed.map(([name, value]) => [name, String(value)])).toString();
}

/** @param {string} hash @returns {State} unknown names and broken numbers are left out: an old link still opens */
export function fromHash(hash) {
  const state = { ...DEFAULTS };
  for (const [name, given] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (!Object.hasOwn(DEFAULTS, name)) continue;
    const kind = typeof DEFAULTS[name];
    if (kind === "number") {
      const number = Number(given);
      if (given !== "" && Number.isInteger(number) && Math.abs(number) < 2 ** 31) state[name] = number;
    } else if (kind === "boolean") state[name] = given === "true";
    else state[name] = given;
  }
  for (const [name, choices] of Object.entries(CHOICES)) if (!choices.includes(state[name])) state[name] = DEFAULTS[name];
  for (const name of ["seed", "batch", "queryHead"]) state[name] = Math.max(0, state[name]);
  return state;
}

/** @type {State} */
export const state = { ...DEFAULTS };

/** @type {Set<(changed: Set<string>) => void>} */
const listeners = new Set();
export const onChange = (listener) => listeners.add(listener);

let timer = 0;

/** Change some of it: the link follows, and who listens hears what changed. @param {Partial<State>} change */
export function set(change, { quiet = false } = {}) {
  const changed = new Set(Object.keys(change).filter((name) => state[name] !== change[name]));
  if (!changed.size) return;
  Object.assign(state, change);
  clearTimeout(timer);
  timer = window.setTimeout(writeLink, 150);
  if (!quiet) for (const listener of listeners) listener(changed);
}

/** Browsers limit how often the address may change, so it is written after a pause. */
export function writeLink() {
  clearTimeout(timer);
  const hash = toHash(state);
  const whole = hash.length > MOST_LINK ? toHash({ ...state, text: DEFAULTS.text, target: "", tensors: DEFAULTS.tensors, text2: "" }) : hash;
  if (`#${whole}` !== location.hash) history.replaceState(null, "", whole ? `#${whole}` : location.pathname + location.search);
}

/** @returns {string | null} null where the screen is too much for a link */
export function link() {
  const hash = toHash(state);
  if (hash.length > MOST_LINK) return null;
  return `${location.origin}${location.pathname}${location.search}${hash ? `#${hash}` : ""}`;
}

/** Take over what the address says. */
export function readLink() {
  const read = fromHash(location.hash);
  const changed = new Set(Object.keys(read).filter((name) => state[name] !== read[name]));
  Object.assign(state, read);
  return changed;
}
