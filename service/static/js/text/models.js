/** The models of the service: which there are, which is chosen, and waiting while that one is loading. */

import { call } from "../api.js";
import { byId, h } from "../dom.js";
import { t } from "../i18n.js";
import { state } from "../state.js";

const LOADING_MS = 1000;

export class Models {
  /** @type {any[]} entries of GET /models */
  all = [];
  #polling = false;

  constructor(page) {
    this.page = page;
  }

  get chosen() {
    return this.all.find((one) => one.name === state.model) ?? this.all[0];
  }

  get known() {
    return this.all.length > 0 && this.chosen.state !== "loading";
  }

  /** Until the chosen one is no longer loading. @returns {Promise<boolean>} false where another call waits for that already */
  async load() {
    if (this.#polling) return false;
    this.#polling = true;
    try {
      for (;;) {
        this.all = (await call("models", null, { waiting: this.page.waiting })).models;
        this.options();
        if (this.chosen?.state !== "loading") return true;
        this.page.status(t("status.loading", { model: this.chosen.name }), true);
        await new Promise((resolve) => setTimeout(resolve, LOADING_MS));
      }
    } finally {
      this.#polling = false;
    }
  }

  options() {
    const option = (one) =>
      h(
        "option",
        { value: one.name, selected: one === this.chosen, disabled: one.state === "failed", title: one.why },
        one.state === "ready" ? one.name : `${one.name} (${t(`state.${one.state}`)})`,
      );
    byId("model").replaceChildren(...this.all.map(option));
  }
}
