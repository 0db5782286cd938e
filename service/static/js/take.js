/** What can be taken away: the requests of what is on screen, a link, files. */

import { key } from "./api.js";
import { byId, h, show } from "./dom.js";
import { bars } from "./draw/plots.js";
import { gridStill, mapStill, tokensStill } from "./draw/stills.js";
import { download } from "./exports.js";
import { showFailure } from "./failures.js";
import { number, t } from "./i18n.js";
import { curlSnippet, pythonSnippet } from "./snippets.js";
import { link, state, writeLink } from "./state.js";
import { comparing, ordering, weights } from "./text/requests.js";

export class Take {
  language = "curl";

  /** @param {import("./text/view.js").TextTab} text @param {import("./tensors/view.js").TensorTab} tensors */
  constructor(text, tensors) {
    Object.assign(this, { text, tensors });
    byId("snippet-language").addEventListener("change", (event) => ((this.language = event.target.value), this.draw()));
    byId("take").addEventListener("toggle", () => this.draw());
    byId("copy-snippet").addEventListener("click", () => this.#copy(byId("snippet").textContent));
    byId("copy-link").addEventListener("click", () => {
      writeLink();
      const address = link();
      if (address) this.#copy(address);
      else byId("take-says").textContent = t("take.long");
    });
    byId("downloads").addEventListener("click", (event) => {
      const { kind } = event.target.closest("button")?.dataset ?? {};
      if (kind) this.#download(kind);
    });
  }

  async #copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      byId("take-says").textContent = t("take.copied");
    } catch {
      byId("copied-text").value = text;
      show(byId("copied-field"), true);
      byId("copied-text").select();
      byId("take-says").textContent = t("take.copy_by_hand");
    }
  }

  /** @returns {import("./snippets.js").Shown[]} */
  requests() {
    if (state.tab === "tensors") {
      const made = this.tensors.asked;
      const { encoding, ...body } = made?.body ?? {};
      return made ? [{ title: t("snippet.tensors"), path: "loss", body }] : [];
    }
    const { read, result, asked, map, compare } = this.text;
    if (!result) return [];
    const shown = [{ title: t("snippet.tokens"), ...asked }];
    if (this.text.measure.spec) shown.push({ title: t("snippet.grid", { name: this.text.measure.spec.name }), ...this.text.measure.asked() });
    if (map.source) {
      const window = map.source.data ? null : [0, Math.min(256, map.source.rows), 0, Math.min(256, map.source.columns)];
      const { path, body } = weights(read, map.which.layer, map.which.head, window);
      shown.push({ title: t("snippet.map", map.which), path, body });
    }
    if (this.text.order.found) shown.push({ title: t("snippet.order"), ...ordering(read, state.permutations, state.seed) });
    const pair = compare.found?.both;
    if (pair && state.compare !== "texts" && !compare.found.apart.why && pair[0].head === pair[1].head && !read.target) {
      shown.push({ title: t("snippet.kl"), ...comparing(read, pair[1].read.model, pair[0].layer, pair[1].layer) });
    }
    return shown;
  }

  /** The snippet and the choice of figures, as they are now. */
  draw() {
    if (!byId("take").open) return;
    const origin = new URL(".", location.href).href;
    const keyed = key.get() !== null;
    const write = this.language === "python" ? pythonSnippet : curlSnippet;
    const requests = this.requests();
    byId("snippet").textContent = requests.length ? write(requests, origin, keyed) : t("take.nothing");
    const figures = this.figures();
    const chosen = byId("figure").value;
    byId("figure").replaceChildren(...Object.keys(figures).map((name) => h("option", { value: name, selected: name === chosen }, t(`figure.${name}`))));
    for (const button of byId("downloads").querySelectorAll("button")) button.disabled = !Object.keys(figures).length;
  }

  async #download(kind) {
    const name = byId("figure").value;
    const figure = this.figures()[name];
    if (!figure) return;
    try {
      await download(kind, figure, `attnloss-${name}`);
      byId("take-says").textContent = t("take.saved", { name: `attnloss-${name}.${kind}` });
    } catch (error) {
      showFailure("take", error);
    }
  }

  /** What there is to download, each with how it is drawn and written. */
  figures() {
    return state.tab === "tensors" ? this.#ofTensors() : this.#ofText();
  }

  #ofText() {
    const { result, answer, map, measure, order, alignment, compare } = this.text;
    if (!result) return {};
    const [tokens, offsets] = [result.target_tokens ?? result.tokens, result.target_offsets ?? result.offsets];
    const found = {
      tokens: {
        figure: () => tokensStill([...byId("tokens").querySelectorAll("[role=option]")]),
        rows: () => [["index", "token", "start", "stop", "log_prob"], ...tokens.map((token, i) => [i, token, ...offsets[i], result.log_probs?.[i]])],
        answer: () => answer,
      },
    };
    if (measure.layers) {
      found.heads = {
        figure: () => gridStill(measure.layers, (value) => number(value, 3)),
        rows: () => [["layer", "head", measure.spec.name], ...measure.layers.flatMap((row) => row.values.map((value, head) => [row.layer, head, value]))],
        answer: () => measure.layers.map((row) => ({ layer: row.layer, losses: { [measure.spec.name]: row.values } })),
      };
    }
    if (map.source) {
      const cells = ofMap(map.map, (i) => map.rowLabels[i].text, (i) => map.columnLabels[i].text);
      const about = { ...map.which, model: this.text.read.model.name, site: this.text.read.site };
      found.map = { figure: () => mapStill(map.map), rows: cells, answer: () => ({ ...about, ...asMatrix(map.map) }) };
      found.headview = { figure: () => map.figure(), rows: cells, answer: found.map.answer };
    }
    if (order.found && order.found.of > 1) {
      const { given, shuffles } = order.found;
      found.order = {
        figure: () => order.figure(),
        rows: () => [["text", "nats", "given"], [this.text.read.text, given, true], ...shuffles.map((one) => [one.text, one.nats, false])],
        answer: () => order.found,
      };
    }
    if (alignment.found) {
      const { target, source } = alignment.names;
      found.alignment = {
        figure: () => alignment.figure(),
        rows: () => [["target", "source", "weight"], ...alignment.found.map(({ at, weight }, q) => [target[q], source[at], weight])],
        answer: () => alignment.found.map(({ at, weight }, q) => ({ target: q, source: at, weight })),
      };
    }
    if (compare.found && !compare.found.apart.why) {
      const { kl, js, meanKl, meanJs } = compare.found.apart;
      const list = Array.from(kl);
      found.kl = {
        figure: () => bars({ values: list, label: "KL", name: (i) => tokens[i] ?? String(i) }),
        rows: () => [["query", "kl", "js"], ...list.map((value, i) => [i, value, js[i]])],
        answer: () => ({ kl: list, js: Array.from(js), mean_kl: meanKl, mean_js: meanJs }),
      };
    }
    return found;
  }

  #ofTensors() {
    const { answer, results } = this.tensors;
    if (!answer) return {};
    const { map } = results;
    const cells = ofMap(map, map.shown.rowName, map.shown.columnName);
    return {
      map: { figure: () => mapStill(map), rows: cells, answer: () => answer },
      bars: {
        figure: () => byId("tensor-bars").querySelector("svg"),
        rows: () => [["loss", "value"], ["total", answer.loss], ...Object.entries(answer.losses ?? {})],
        answer: () => answer,
      },
    };
  }
}

/** Cells of a map that are here: all of a whole one, of a windowed one those in view. */
function inView(map) {
  const { source } = map.shown;
  if (source.data) return [0, source.rows, 0, source.columns];
  const [high, wide] = map.room;
  return [map.top, Math.min(source.rows, map.top + high), map.left, Math.min(source.columns, map.left + wide)];
}

const ofMap = (map, rowText, columnText) => () => {
  const [q0, q1, k0, k1] = inView(map);
  const rows = [["query", "key", "query_token", "key_token", "value"]];
  for (let q = q0; q < q1; q += 1) for (let k = k0; k < k1; k += 1) rows.push([q, k, rowText(q), columnText(k), map.shown.source.get(q, k)]);
  return rows;
};

function asMatrix(map) {
  const [q0, q1, k0, k1] = inView(map);
  const line = (q) => Array.from({ length: k1 - k0 }, (_, i) => map.shown.source.get(q, k0 + i) ?? null);
  return { queries: [q0, q1], keys: [k0, k1], weights: Array.from({ length: q1 - q0 }, (_, i) => line(q0 + i)) };
}
