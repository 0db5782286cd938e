/** The list of losses to tick, each with its parameters. */

import { byId, h } from "../dom.js";
import { t } from "../i18n.js";
import { set, state } from "../state.js";
import { TARGETS, knobs } from "../text/requests.js";
import { needsOther, needsTarget, readLosses, writeLosses } from "./requests.js";

export class LossList {
  /** @type {any[]} */
  specs = [];

  constructor() {
    byId("tensor-losses").addEventListener("change", (event) => {
      const chosen = this.chosen;
      const { name, type, checked, value } = event.target;
      const loss = event.target.closest("[data-loss]").dataset.loss;
      if (type === "checkbox") checked ? chosen.set(loss, {}) : chosen.delete(loss);
      else chosen.set(loss, { ...chosen.get(loss), [name]: value });
      set({ losses: writeLosses(chosen) });
    });
  }

  get chosen() {
    return readLosses(state.losses);
  }

  /** @param {boolean} other whether a second map was given */
  draw(other = false) {
    const chosen = this.chosen;
    const focused = document.activeElement?.id;
    byId("tensor-losses").replaceChildren(
      ...this.specs.map((spec) => {
        const on = chosen.has(spec.name);
        const lacks = needsOther(spec) && !other;
        const box = h("input", { type: "checkbox", id: `loss-${spec.name}`, checked: on, disabled: lacks && !on });
        return h(
          "div",
          { class: "loss", "data-loss": spec.name },
          h("label", { for: `loss-${spec.name}`, title: lacks ? t("tensor.needs_other") : `${spec.summary} ${spec.formula}` }, box, h("span", {}, spec.name)),
          on && lacks && h("p", { class: "note" }, t("tensor.needs_other")),
          on && this.#params(spec, chosen.get(spec.name)),
        );
      }),
    );
    if (focused) document.getElementById(focused)?.focus();
  }

  #params(spec, params) {
    const fields = knobs(spec).map((knob) => {
      const id = `param-${spec.name}-${knob.name}`;
      const value = params[knob.name] ?? "";
      const field =
        knob.kind === "choice"
          ? h("select", { id, name: knob.name }, h("option", { value: "" }, "–"), knob.choices.map((one) => h("option", { selected: one === value }, one)))
          : h("input", { id, type: "number", step: "any", name: knob.name, value, placeholder: knob.default ?? "", min: knob.minimum, max: knob.maximum });
      return h("label", { for: id, title: knob.help }, knob.name, field);
    });
    if (needsTarget(spec)) {
      const id = `param-${spec.name}-target`;
      const options = Object.keys(TARGETS).map((name) => h("option", { value: name, selected: name === (params.target ?? "self") }, t(`target.${name}`)));
      fields.push(h("label", { for: id }, t("target.label"), h("select", { id, name: "target" }, options)));
    }
    return fields;
  }
}
