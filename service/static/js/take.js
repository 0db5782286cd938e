/** What can be taken away: the requests of what is on screen, a link, files. */

import { key } from "./api.js";
import { byId, h, show } from "./dom.js";
import { download, json, save } from "./exports.js";
import { clearFailure, showFailure } from "./failures.js";
import { ofTensors, ofText } from "./figures.js";
import { t } from "./i18n.js";
import { shownOfTensors, shownOfText } from "./shown.js";
import { bodyFile, curlSnippet, inFile, pythonSnippet } from "./snippets.js";
import { link, onChange, state, writeLink } from "./state.js";

export class Take {
  language = "curl";

  /** @param {import("./text/view.js").TextTab} text @param {import("./tensors/view.js").TensorTab} tensors */
  constructor(text, tensors) {
    Object.assign(this, { text, tensors });
    byId("snippet-language").addEventListener("change", (event) => ((this.language = event.target.value), this.draw()));
    byId("take").addEventListener("toggle", () => this.draw());
    byId("copy-snippet").addEventListener("click", () => {
      this.draw();
      this.#copy(byId("snippet").textContent, "take.copied");
    });
    byId("copy-link").addEventListener("click", () => {
      writeLink();
      const address = link();
      const files = state.tab === "tensors" && this.tensors.arrays.size > 0;
      if (address) this.#copy(address, files ? "take.files" : "take.copied");
      else this.#say("take.long");
    });
    onChange(() => this.hush());
    byId("bodies").addEventListener("click", (event) => this.#saveBody(event.target.closest("button")?.dataset.body));
    byId("downloads").addEventListener("click", (event) => {
      const { kind } = event.target.closest("button")?.dataset ?? {};
      if (kind) this.#download(kind);
    });
  }

  /** What was said last is of what was on screen then. */
  hush() {
    byId("take-says").textContent = "";
    clearFailure("take");
  }

  /** @param {string} word @param {Record<string, any>} values */
  #say(word, values = {}) {
    byId("take-says").textContent = t(word, values);
  }

  async #copy(text, word) {
    try {
      await navigator.clipboard.writeText(text);
      show(byId("copied-field"), false);
      this.#say(word);
    } catch {
      byId("copied-text").value = text;
      show(byId("copied-field"), true);
      byId("copied-text").select();
      this.#say(word === "take.files" ? word : "take.copy_by_hand");
    }
  }

  requests() {
    return state.tab === "tensors" ? shownOfTensors(this.tensors) : shownOfText(this.text);
  }

  figures() {
    return state.tab === "tensors" ? ofTensors(this.tensors) : ofText(this.text);
  }

  /** The snippet and the choice of figures, as they are now. */
  draw() {
    if (!byId("take").open) return;
    const origin = new URL(".", location.href).href;
    const keyed = key.get() !== null;
    const write = this.language === "python" ? pythonSnippet : curlSnippet;
    const requests = this.requests();
    byId("snippet").textContent = requests.length ? write(requests, origin, keyed) : t("take.nothing");
    const files = requests.filter(inFile).map(bodyFile);
    show(byId("bodies"), files.length > 0);
    byId("bodies").replaceChildren(h("span", {}, t("take.bodies")), ...files.map((name) => h("button", { type: "button", "data-body": name }, name)));
    const figures = this.figures();
    const chosen = byId("figure").value;
    byId("figure").replaceChildren(...Object.keys(figures).map((name) => h("option", { value: name, selected: name === chosen }, t(`figure.${name}`))));
    for (const button of byId("downloads").querySelectorAll("button")) button.disabled = !Object.keys(figures).length;
  }

  /** @param {string | undefined} name */
  #saveBody(name) {
    const shown = this.requests().find((one) => bodyFile(one) === name);
    if (!shown) return;
    save(json(shown.body), name);
    this.#say("take.saved", { name });
  }

  async #download(kind) {
    const name = byId("figure").value;
    const figure = this.figures()[name];
    if (!figure) return;
    clearFailure("take");
    try {
      await download(kind, figure, `attnloss-${name}`);
      this.#say("take.saved", { name: `attnloss-${name}.${kind}` });
    } catch (error) {
      showFailure("take", error);
    }
  }
}
