/** Word order: the text as given among other orders of its words. */

import { Latest, call } from "../api.js";
import { byId, h, show } from "../dom.js";
import { stripPlot } from "../draw/plots.js";
import { number, t } from "../i18n.js";
import { ordering } from "./requests.js";

const MOST_AT_ONCE = 400;
const BEST_SHOWN = 8;

export class WordOrder {
  #latest = new Latest();
  /** @type {any} */
  found = null;

  constructor(page) {
    this.page = page;
    byId("order-run").addEventListener("click", () => this.run());
    byId("order-count").addEventListener("change", (event) => page.set({ permutations: Number(event.target.value) }));
    byId("order-again").addEventListener("click", () => page.set({ seed: page.state.seed + 1 }));
  }

  /** At once for a short text, else when asked for. */
  load() {
    const { read } = this.page;
    const words = read.text.split(/\s+/u).filter(Boolean).length;
    const fits = read.model.kind === "causal";
    this.#latest.stop();
    this.found = null;
    byId("order-plot").replaceChildren();
    byId("order-best").replaceChildren();
    show(byId("order-controls"), fits && words > 1);
    const many = read.text.length > MOST_AT_ONCE;
    show(byId("order-run"), many);
    const why = !fits ? "order.causal" : words < 2 ? "order.one" : many ? "order.long" : "order.working";
    byId("order-says").textContent = t(why);
    return fits && words > 1 && !many ? this.run() : undefined;
  }

  async run() {
    const { state, read } = this.page;
    const { path, body } = ordering(read, state.permutations, state.seed);
    byId("order-says").textContent = t("order.working");
    try {
      const answer = await this.#latest.run((signal) => call(path, body, { signal, waiting: this.page.waiting }));
      if (!answer) return;
      this.found = answer.results[0].order;
      this.draw();
    } catch (error) {
      byId("order-says").textContent = "";
      this.page.fail("order", error, () => this.run());
    }
  }

  figure(hover) {
    const { given, shuffles } = this.found;
    const others = shuffles.map((one) => ({ text: one.text, value: one.nats }));
    return stripPlot(
      { given, others, givenName: t("order.given", { nats: number(given) }), unit: t("unit.nats"), label: byId("order-says").textContent },
      hover,
    );
  }

  draw() {
    if (!this.found) return;
    const { given, rank, of, shuffles } = this.found;
    const says = byId("order-says");
    says.textContent = of === 1 ? t("order.same") : t(rank === 1 ? "order.first" : "order.rank", { rank, of });
    if (of === 1) return;
    const tell = (i) => (byId("order-readout").textContent = i < 0 ? "" : `${shuffles[i].text} · ${number(shuffles[i].nats)} ${t("unit.nats")}`);
    byId("order-plot").replaceChildren(this.figure(tell));
    byId("order-readout").textContent = t("order.hint");
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
