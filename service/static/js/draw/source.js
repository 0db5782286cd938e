/** Where the cells of a heat map come from: a whole array, or windows of it that are fetched when they are looked at. */

export const TILE = 256;

/**
 * @typedef {(q0: number, q1: number, k0: number, k1: number, signal?: AbortSignal) => Promise<ArrayLike<number>>} FetchWindow
 *   row-major
 */

/** A request under way, given up once nobody waits for it any more. */
class Coming {
  #waiting = 0;
  #controller = new AbortController();

  /** @param {(signal: AbortSignal) => Promise<void>} ask @param {() => void} givenUp */
  constructor(ask, givenUp) {
    this.#controller.signal.addEventListener("abort", givenUp);
    this.done = ask(this.#controller.signal);
  }

  /** @param {AbortSignal | undefined} signal of who waits */
  until(signal) {
    this.#waiting += 1;
    const leave = () => {
      this.#waiting -= 1;
      if (!this.#waiting) this.#controller.abort(signal.reason);
    };
    signal?.addEventListener("abort", leave, { once: true });
    return this.done;
  }
}

/**
 * The cell of each size × size block that is furthest from zero.
 * @param {ArrayLike<number>} cells row-major @param {number} rows @param {number} columns @param {number} size
 */
export function pooled(cells, rows, columns, size) {
  const across = Math.ceil(columns / size);
  const out = new Float32Array(Math.ceil(rows / size) * across);
  for (let q = 0, at = 0; q < rows; q += 1) {
    const start = Math.floor(q / size) * across;
    for (let k = 0; k < columns; k += 1, at += 1) {
      const block = start + Math.floor(k / size);
      if (Math.abs(cells[at]) > Math.abs(out[block])) out[block] = cells[at];
    }
  }
  return out;
}

export class Source {
  /** @type {Map<number, ArrayLike<number> | Coming>} */
  #tiles = new Map();
  /** @type {Map<number, Float32Array>} tiles in blocks of `#poolSize` */
  #pools = new Map();
  #poolSize = 1;
  #side = TILE;

  /**
   * @param {number} rows @param {number} columns @param {FetchWindow} fetchWindow
   * @param {{causal?: boolean}} options causal: cells above the diagonal are 0 and never asked for
   */
  constructor(rows, columns, fetchWindow, { causal = false } = {}) {
    Object.assign(this, { rows, columns, fetchWindow, causal });
  }

  /** @param {number} rows @param {number} columns @param {ArrayLike<number>} data */
  static whole(rows, columns, data) {
    const source = new Source(rows, columns, async () => data);
    source.data = data;
    source.#side = Math.max(rows, columns);
    source.#tiles.set(0, data);
    return source;
  }

  /** @param {number} i @param {number} j place of a tile */
  #name(i, j) {
    return i * Math.ceil(this.columns / this.#side) + j;
  }

  /** Whether all of a tile lies above the diagonal. */
  #above(i, j) {
    return this.causal && j * this.#side > Math.min((i + 1) * this.#side, this.rows) - 1;
  }

  #width(j) {
    return Math.min(this.#side, this.columns - j * this.#side);
  }

  /** @returns {number | undefined} undefined while it is not here */
  get(q, k) {
    if (this.causal && k > q) return 0;
    const side = this.#side;
    const j = Math.floor(k / side);
    const tile = this.#tiles.get(this.#name(Math.floor(q / side), j));
    return !tile || tile instanceof Coming ? undefined : tile[(q % side) * this.#width(j) + (k % side)];
  }

  /**
   * The cell furthest from zero of a block, so that none is lost where a pixel stands for many.
   * @param {number} size of a block; a power of two, so that no block lies in two tiles
   * @param {number} q in the block @param {number} k @returns {number | undefined} undefined while it is not here
   */
  peak(size, q, k) {
    if (size === 1) return this.get(q, k);
    const side = this.#side;
    const [i, j] = [Math.floor(q / side), Math.floor(k / side)];
    if (this.#above(i, j)) return 0;
    const name = this.#name(i, j);
    const tile = this.#tiles.get(name);
    if (!tile || tile instanceof Coming) return undefined;
    if (size !== this.#poolSize) {
      this.#poolSize = size;
      this.#pools.clear();
    }
    const width = this.#width(j);
    if (!this.#pools.has(name)) this.#pools.set(name, pooled(tile, Math.min(side, this.rows - i * side), width, size));
    return this.#pools.get(name)[Math.floor((q % side) / size) * Math.ceil(width / size) + Math.floor((k % side) / size)];
  }

  /**
   * Fetch what is missing of these cells, in one request, and wait for what others have asked for already.
   * @param {{signal?: AbortSignal}} options a request that nobody waits for any more is given up
   * @returns {Promise<boolean>} whether anything came
   */
  async want(q0, q1, k0, k1, { signal } = {}) {
    if (this.data) return false;
    const wanted = [];
    for (let i = Math.floor(q0 / TILE); i * TILE < q1; i += 1) {
      for (let j = Math.floor(k0 / TILE); j * TILE < k1; j += 1) if (!this.#above(i, j)) wanted.push([i, j]);
    }
    const missing = wanted.filter(([i, j]) => !this.#tiles.has(this.#name(i, j)));
    if (missing.length) this.#ask(missing);
    const coming = new Set(wanted.map(([i, j]) => this.#tiles.get(this.#name(i, j))).filter((tile) => tile instanceof Coming));
    await Promise.all([...coming].map((one) => one.until(signal)));
    return coming.size > 0;
  }

  #ask(missing) {
    const [is, js] = [missing.map(([i]) => i), missing.map(([, j]) => j)];
    const from = [Math.min(...is) * TILE, Math.min(...js) * TILE];
    const to = [Math.min((Math.max(...is) + 1) * TILE, this.rows), Math.min((Math.max(...js) + 1) * TILE, this.columns)];
    const names = missing.map((place) => this.#name(...place));
    const forget = () => {
      for (const name of names) if (this.#tiles.get(name) instanceof Coming) this.#tiles.delete(name);
    };
    const fetched = async (signal) => {
      try {
        const cells = await this.fetchWindow(from[0], to[0], from[1], to[1], signal);
        for (const [i, j] of missing) this.#tiles.set(this.#name(i, j), this.#cut(cells, i, j, from, to));
      } catch (error) {
        if (!signal.aborted) forget();
        throw error;
      }
    };
    const coming = new Coming(fetched, forget);
    for (const name of names) this.#tiles.set(name, coming);
  }

  #cut(cells, i, j, from, to) {
    const height = Math.min(TILE, this.rows - i * TILE);
    const width = this.#width(j);
    const tile = new Float32Array(height * width);
    for (let row = 0; row < height; row += 1) {
      const start = (i * TILE + row - from[0]) * (to[1] - from[1]) + j * TILE - from[1];
      for (let k = 0; k < width; k += 1) tile[row * width + k] = cells[start + k];
    }
    return tile;
  }

  /** What one query gives each key. @returns {Promise<ArrayLike<number>>} */
  async row(q, signal) {
    if (this.data) return Array.from({ length: this.columns }, (_, k) => this.data[q * this.columns + k]);
    return this.fetchWindow(q, q + 1, 0, this.columns, signal);
  }

  /** What one key gets of each query. @returns {Promise<ArrayLike<number>>} */
  async column(k, signal) {
    if (this.data) return Array.from({ length: this.rows }, (_, q) => this.data[q * this.columns + k]);
    return this.fetchWindow(0, this.rows, k, k + 1, signal);
  }
}
