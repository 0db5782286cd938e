/** The weights of one head as a source of cells: whole where they are few, in windows where they are many. */

import { call, decodeTensor } from "../api.js";
import { Source } from "../draw/source.js";
import { MOST_WHOLE, layerWeights, weights } from "./requests.js";

/**
 * @param {import("./requests.js").Reading} read
 * @param {{layer: number, head: number, rows: number, columns: number}} which
 * @param {{signal?: AbortSignal, waiting?: any}} options
 */
export async function headSource(read, { layer, head, rows, columns }, options) {
  const { causal } = read;
  if (rows * columns > MOST_WHOLE) {
    const { waiting } = options;
    const fetchWindow = async (q0, q1, k0, k1, signal) =>
      decodeTensor(await one(weights(read, layer, head, [q0, q1, k0, k1]), { signal, waiting })).data;
    return new Source(rows, columns, fetchWindow, { causal });
  }
  const body = weights(read, layer, head);
  const { data } = decodeTensor(await one({ ...body, body: { ...body.body, encoding: "base64" } }, options));
  return Source.whole(rows, columns, data);
}

async function one({ path, body }, options) {
  const answer = await call(path, body, options);
  return answer.results[0].layers[0].weights;
}

/** The mean over a layer's heads, for alignment. @returns {Promise<Source | null>} null where it would be too much */
export async function meanSource(read, layer, rows, columns, options) {
  if (rows * columns > MOST_WHOLE) return null;
  const { shape, data } = decodeTensor(await one(layerWeights(read, layer), options));
  const mean = new Float32Array(rows * columns);
  for (let i = 0; i < data.length; i += 1) mean[i % mean.length] += data[i] / shape[0];
  return Source.whole(rows, columns, mean);
}

/** Of the largest value, what a value is that is worth telling. */
const LEAST_OF_LARGEST = 0.01;

/** The n largest of a row or a column, however small all of them are. @param {ArrayLike<number>} values @returns {{at: number, value: number}[]} */
export function strongest(values, most = 5) {
  const sorted = Array.from(values, (value, at) => ({ at, value })).sort((a, b) => b.value - a.value || a.at - b.at);
  return sorted.slice(0, most).filter(({ value }) => value > 0 && value >= LEAST_OF_LARGEST * sorted[0].value);
}

/**
 * KL(p‖r) and Jensen-Shannon of each query, in nats.
 * @param {ArrayLike<number>} p rows × columns @param {ArrayLike<number>} r
 */
export function divergences(p, r, rows, columns) {
  const kl = new Float64Array(rows);
  const js = new Float64Array(rows);
  const part = (a, b) => (a > 0 ? a * Math.log(a / b) : 0);
  for (let i = 0; i < rows; i += 1) {
    for (let at = i * columns; at < (i + 1) * columns; at += 1) {
      kl[i] += part(p[at], r[at]);
      js[i] += (part(p[at], (p[at] + r[at]) / 2) + part(r[at], (p[at] + r[at]) / 2)) / 2;
    }
  }
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / rows;
  return { kl, js, meanKl: mean(kl), meanJs: mean(js) };
}
