/** Requests to the service: errors as it tells them, time limits, the API key, and waiting where it says to wait. */

const LIMIT_MS = 65_000;
const MOST_TRIES = 8;
const MOST_WAIT_S = 30;
const KEY = "attnloss-key";

/** What went wrong, in the words of the service; status 0 is a network that does not answer. */
export class Failure extends Error {
  /** @param {number} status @param {string} title @param {string} detail @param {number | null} retryAfter seconds */
  constructor(status, title, detail, retryAfter = null, errors = []) {
    super(detail || title);
    Object.assign(this, { status, title, detail, retryAfter, errors });
  }
}

/** What a header can carry: visible ASCII. @param {string} value */
export const isKey = (value) => /^[\x21-\x7e]+$/.test(value);

/** Storage can be forbidden; the key is then forgotten with the page. */
function stored(action) {
  try {
    return action(sessionStorage);
  } catch {
    return null;
  }
}

/** @type {string | null} */
let held = stored((storage) => storage.getItem(KEY));
if (held !== null && !isKey(held)) held = null;

/** The key of this browser tab; it is forgotten when the tab closes. */
export const key = {
  get: () => held,
  /** @param {string} value one that `isKey` */
  set(value) {
    held = value;
    stored((storage) => storage.setItem(KEY, value));
  },
};

/** Asks the person for a key; `main.js` sets it. @type {(wrong: boolean) => Promise<string | null>} */
let askForKey = async () => null;
export const onKeyWanted = (ask) => (askForKey = ask);

/** @type {Promise<string | null> | null} one dialog, however many requests were refused */
let asking = null;

/**
 * @param {string} path relative, so that the page works below any prefix
 * @param {object | null} body
 * @param {{signal?: AbortSignal, waiting?: (failure: Failure, seconds: number) => void}} options
 *   `waiting` is told before the request is sent again
 */
export async function call(path, body = null, { signal, waiting } = {}) {
  for (let tries = 1; ; tries += 1) {
    const sent = key.get();
    try {
      return await once(path, body, sent, signal);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error.status === 401) {
        if (key.get() === sent) {
          asking ??= askForKey(sent !== null).finally(() => (asking = null));
          const given = await asking;
          if (!given) throw error;
          key.set(given);
        }
        continue;
      }
      const unanswered = error.status === 0 && error.title === "network";
      const wait = unanswered ? 2 ** tries : error.retryAfter;
      if (wait === null || tries >= (unanswered ? 3 : MOST_TRIES)) throw error;
      await pause(Math.min(wait, MOST_WAIT_S), error, waiting, signal);
    }
  }
}

async function once(path, body, sent, signal) {
  const limit = AbortSignal.timeout(LIMIT_MS);
  const headers = { accept: "application/json" };
  if (sent) headers.authorization = `Bearer ${sent}`;
  if (body) headers["content-type"] = "application/json";
  let response;
  let text;
  try {
    response = await fetch(path, {
      method: body ? "POST" : "GET",
      body: body ? JSON.stringify(body) : undefined,
      headers,
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      credentials: "same-origin",
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure(0, limit.aborted ? "timeout" : "network", "");
  }
  if (!response.ok) throw refusal(response, text);
  try {
    return JSON.parse(text);
  } catch {
    throw new Failure(502, "Not JSON", text.slice(0, 200));
  }
}

/** @param {Response} response @param {string} text */
function refusal(response, text) {
  const after = response.headers.get("retry-after");
  const seconds = after !== null && Number.isFinite(Number(after)) ? Math.max(1, Number(after)) : null;
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    problem = { detail: text.slice(0, 200) };
  }
  const title = typeof problem.title === "string" ? problem.title : response.statusText || `HTTP ${response.status}`;
  return new Failure(response.status, title, String(problem.detail ?? ""), seconds, problem.errors ?? []);
}

/** Count the seconds down, telling each. */
async function pause(seconds, failure, waiting, signal) {
  for (let left = Math.ceil(seconds); left > 0; left -= 1) {
    waiting?.(failure, left);
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, 1000);
      signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
    });
  }
  waiting?.(failure, 0);
}

/** Of several requests for one thing only the last counts: starting one cancels the one before. */
export class Latest {
  #controller = new AbortController();

  /** @template T @param {(signal: AbortSignal) => Promise<T>} work @returns {Promise<T | undefined>} undefined if overtaken */
  async run(work) {
    this.#controller.abort();
    const { signal } = (this.#controller = new AbortController());
    try {
      const done = await work(signal);
      return signal.aborted ? undefined : done;
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  stop() {
    this.#controller.abort();
  }
}

/** @param {{shape: number[], dtype: string, base64: string}} tensor @returns {{shape: number[], data: Float32Array | Float64Array}} */
export function decodeTensor({ shape, dtype, base64 }) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  const Kind = dtype === "float64" ? Float64Array : Float32Array;
  return { shape, data: new Kind(bytes.buffer) };
}

/** @param {ArrayBufferView} array @returns {string} base64 of its bytes, in pieces that the call stack can hold */
export function toBase64(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const parts = [];
  for (let at = 0; at < bytes.length; at += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(at, at + 0x8000)));
  return btoa(parts.join(""));
}
