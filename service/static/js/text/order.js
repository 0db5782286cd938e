/** Word order: the text as given among other orders of its words. */

import { call } from "../api.js";
import { byId, h, show } from "../dom.js";
import { fitted, stripPlot } from "../draw/plots.js";
import { number, t } from "../i18n.js";
import { Part } from "./part.js";
import { ordering } from "./requests.js";

const MOST_AT_ONCE = 400;
const BEST_SHOWN = 8;

export class WordOrder {
  /** @type {any} */
  found = null;

  constructor(page) {
    this.page = page;
    this.part = new Part(page, "order");
    byId("order-run").addEventListener("click", () => this.run());
    byId("order-count").addEventListener("change", (event) => page.set({ permutations: Number(event.target.value) }));
    byId("order-again").addEventListener("click", () => page.set({ seed: page.state.seed + 1 }));
    byId("order-plot").addEventListener("pointerleave", () => this.#hint());
  }

  /** A word why there are no other orders to score; null where there are. */
  get #whyNot() {
    const { read } = this.page;
    if (read.model.kind !== "causal") return "order.causal";
    return read.text.split(/\s+/u).filter(Boolean).length < 2 ? "order.one" : null;
  }

  /** At once for a short text, else when asked for. */
  load() {
    const whyNot = this.#whyNot;
    const many = this.page.read.text.length > MOST_AT_ONCE;
    this.part.stop();
    this.#clear();
    show(byId("order-controls"), !whyNot);
    show(byId("order-run"), !whyNot && many);
    byId("order-says").textContent = t(whyNot ?? "order.long");
    return whyNot || many ? undefined : this.run();
  }

  #clear() {
    this.found = null;
    for (const id of ["order-plot", "order-best", "order-readout", "order-says"]) byId(id).replaceChildren();
  }

  async run() {
    if (this.#whyNot) return;
    const { state, read } = this.page;
    const { path, body } = ordering(read, state.permutations, state.seed);
    byId("order-says").textContent = t("order.working");
    const ask = async (options) => (await call(path, body, options)).results[0].order;
    const found = (order) => {
      this.found = order;
      this.draw();
    };
    if ((await this.part.run(ask, found, () => this.run())) === false) this.#clear();
  }

  figure(width, hover) {
    const { given, shuffles } = this.found;
    const others = shuffles.map((one) => ({ text: one.text, value: one.nats }));
    return stripPlot(
      { given, others, givenName: t("order.given", { nats: number(given) }), unit: t("unit.nats"), label: byId("order-says").textContent, width },
      hover,
    );
  }

  #hint() {
    byId("order-readout").textContent = this.found && this.found.of > 1 ? t("order.hint") : "";
  }

  draw() {
    const { given, rank, of, shuffles } = this.found;
    byId("order-says").textContent = of === 1 ? t("order.same") : t(rank === 1 ? "order.first" : "order.rank", { rank, of });
    this.#hint();
    if (of === 1) return;
    const tell = (i) => (byId("order-readout").textContent = `${shuffles[i].text} · ${number(shuffles[i].nats)} ${t("unit.nats")}`);
    fitted(byId("order-plot"), (width) => this.figure(width, tell));
    const all = [{ text: this.page.read.text, nats: given, own: true }, ...shuffles].sort((a, b) => a.nats - b.nats);
    byId("order-best").replaceChildren(
      h("summary", {}, t("order.list", { count: Math.min(BEST_SHOWN, all.length) })),
      h(
        "ol",
        {},
        all.slice(0, BEST_SHOWN).map((one) => h("li", { class: one.own ? "given" : null, dir: "auto" }, one.text, h("small", {}, ` ${number(one.nats)} ${t("unit.nats")}`))),
      ),
    );
  }
}
