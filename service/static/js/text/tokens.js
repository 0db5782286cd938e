/** The strip of tokens, coloured by surprisal; the numbers of the whole text; the alternatives of one token. */

import { byId, h } from "../dom.js";
import { colour, gradient, inkOn } from "../draw/colour.js";
import { number, t } from "../i18n.js";
import { labels, short } from "./codepoints.js";

/** Nats at which the colour is full, at least. */
const FULL_NATS = 12;
/** Weights that are marked: these, and where all of a token are small, those of a tenth of its largest. */
const LEAST_MARKED = 0.01;
const LEAST_OF_LARGEST = 0.1;

/**
 * @typedef {object} Strip
 * @property {(result: any, read: import("./requests.js").Reading) => void} show
 * @property {(at: number) => void} select
 * @property {(out: ArrayLike<number> | null, back: ArrayLike<number> | null) => void} mark
 */

/**
 * @param {HTMLElement} host
 * @param {{pick: (at: number) => void, hover: (at: number | null) => void}} on
 * @returns {Strip}
 */
export function tokenStrip(host, on) {
  /** @type {HTMLElement[]} */
  let chips = [];
  /** @type {Set<HTMLElement>} */
  const marked = new Set();
  let selected = -1;

  const focusable = (at) => {
    chips.forEach((chip, i) => chip.tabIndex !== (i === at ? 0 : -1) && (chip.tabIndex = i === at ? 0 : -1));
  };
  const indexOf = (event) => chips.indexOf(event.target.closest?.("[role=option]"));

  host.addEventListener("click", (event) => indexOf(event) >= 0 && on.pick(indexOf(event)));
  host.addEventListener("pointerover", (event) => indexOf(event) >= 0 && on.hover(indexOf(event)));
  host.addEventListener("pointerleave", () => on.hover(null));
  host.addEventListener("keydown", (event) => {
    const at = indexOf(event);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: chips.length - 1 }[event.key];
    if (at >= 0 && (event.key === "Enter" || event.key === " ")) on.pick(at);
    else if (to === undefined || !chips[to]) return;
    else {
      focusable(to);
      chips[to].focus();
      on.hover(to);
    }
    event.preventDefault();
  });

  return {
    show({ tokens, offsets, log_probs: logProbs }) {
      const names = labels(tokens, offsets);
      const full = Math.max(FULL_NATS, ...(logProbs ?? []).map((value) => -(value ?? 0)));
      chips = names.map((name, i) => {
        const nats = logProbs?.[i] == null ? null : -logProbs[i];
        const back = nats === null ? null : colour("cividis", nats / full);
        const described = nats === null ? t("token.unscored") : t("token.nats", { nats: number(nats) });
        return h(
          "span",
          {
            role: "option", class: `token${name.special ? " special" : ""}`, tabindex: i === Math.max(0, selected) ? 0 : -1,
            "aria-selected": String(i === selected), "aria-label": `${short(name, 40)}: ${described}`, title: described,
            dir: "auto", style: back && { background: back, color: inkOn(back) },
          },
          name.text,
          name.of > 1 && h("sub", {}, `${name.piece}/${name.of}`),
        );
      });
      marked.clear();
      const rows = [];
      names.forEach((name, i) => {
        rows.push(chips[i]);
        if (name.text.endsWith("⏎") && name.piece === name.of) rows.push(h("span", { class: "break", role: "presentation" }));
      });
      host.replaceChildren(...rows);
      const scale = byId("token-scale");
      scale.hidden = !logProbs;
      scale.replaceChildren(
        h("span", {}, `0 ${t("unit.nats")}`),
        h("span", { class: "ramp", style: { background: gradient("cividis") }, "aria-hidden": "true" }),
        h("span", {}, `${number(full, 3)} ${t("unit.nats")}`),
      );
    },

    select(at) {
      chips[selected]?.setAttribute("aria-selected", "false");
      selected = at;
      chips[at]?.setAttribute("aria-selected", "true");
      focusable(Math.max(0, Math.min(at, chips.length - 1)));
    },

    mark(out, back) {
      for (const chip of marked) chip.style.boxShadow = "";
      marked.clear();
      const marks = [[heights(out), -1, "--out"], [heights(back), 1, "--in"]];
      chips.forEach((chip, i) => {
        const shadows = marks.filter(([height]) => height(i)).map(([height, sign, colour]) => `inset 0 ${sign * height(i)}px 0 var(${colour})`);
        if (!shadows.length) return;
        chip.style.boxShadow = shadows.join(", ");
        marked.add(chip);
      });
    },
  };
}

/** How high each token's mark is: what it has of the largest. @param {ArrayLike<number> | null} weights */
function heights(weights) {
  const largest = Array.from(weights ?? []).reduce((most, value) => Math.max(most, value), 0);
  const least = Math.min(LEAST_MARKED, LEAST_OF_LARGEST * largest);
  return (i) => (largest && weights[i] >= least ? Math.ceil(1 + (7 * weights[i]) / largest) : 0);
}

/** Loss, perplexity, bits per byte, how many tokens. @param {any} result */
export function metrics(result, read) {
  const one = (name, value, unit) =>
    h("div", { class: "metric", "data-metric": name }, h("dt", {}, t(`metric.${name}`)), h("dd", {}, value, unit && h("small", {}, ` ${unit}`)));
  const count = one("tokens", number((result.target_tokens ?? result.tokens).length));
  if (!read.scores) return [count, h("p", { class: "note" }, t(read.model.kind === "encoder" ? "metric.encoder" : "metric.target"))];
  return [
    one("loss", number(result.loss), t("unit.nats")),
    one("perplexity", perplexity(result)),
    one("bits", number(result.bits_per_byte)),
    count,
  ];
}

/** The service gives none where nothing is scored, and none beyond what a float can be. */
export const perplexity = ({ loss, perplexity: given }) => (given !== null ? number(given) : loss === null ? t("token.unscored") : "∞");

/** @param {number} share */
export function percent(share) {
  if (share === 0) return "0 %";
  if (share < 0.0001) return "<0.01 %";
  return `${share >= 0.1 ? (100 * share).toFixed(0) : (100 * share).toPrecision(2)} %`;
}
