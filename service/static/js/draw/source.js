/** Where the cells of a heat map come from: a whole array, or windows of it that are fetched when they are looked at. */

export const TILE = 256;

/** @typedef {(q0: number, q1: number, k0: number, k1: number) => Promise<ArrayLike<number>>} FetchWindow row-major */

export class Source {
  /** @type {Map<string, ArrayLike<number> | "coming">} */
  #tiles = new Map();

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
    return source;
  }

  /** @returns {number | undefined} undefined while it is not here */
  get(q, k) {
    if (this.data) return this.data[q * this.columns + k];
    if (this.causal && k > q) return 0;
    const tile = this.#tiles.get(`${Math.floor(q / TILE)},${Math.floor(k / TILE)}`);
    if (!tile || tile === "coming") return undefined;
    const width = Math.min(TILE, this.columns - Math.floor(k / TILE) * TILE);
    return tile[(q % TILE) * width + (k % TILE)];
  }

  /** Fetch what is missing of these cells, in one request. @returns {Promise<boolean>} whether anything came */
  async want(q0, q1, k0, k1) {
    if (this.data) return false;
    const missing = [];
    for (let i = Math.floor(q0 / TILE); i * TILE < q1; i += 1) {
      for (let j = Math.floor(k0 / TILE); j * TILE < k1; j += 1) {
        const above = this.causal && j * TILE > Math.min((i + 1) * TILE, this.rows) - 1;
        if (!above && !this.#tiles.has(`${i},${j}`)) missing.push([i, j]);
      }
    }
    if (!missing.length) return false;
    const [is, js] = [missing.map(([i]) => i), missing.map(([, j]) => j)];
    const from = [Math.min(...is) * TILE, Math.min(...js) * TILE];
    const to = [Math.min((Math.max(...is) + 1) * TILE, this.rows), Math.min((Math.max(...js) + 1) * TILE, this.columns)];
    for (const [i, j] of missing) this.#tiles.set(`${i},${j}`, "coming");
    try {
      const cells = await this.fetchWindow(from[0], to[0], from[1], to[1]);
      for (const [i, j] of missing) this.#tiles.set(`${i},${j}`, this.#cut(cells, i, j, from, to));
    } catch (error) {
      for (const [i, j] of missing) this.#tiles.delete(`${i},${j}`);
      throw error;
    }
    return true;
  }

  #cut(cells, i, j, from, to) {
    const height = Math.min(TILE, this.rows - i * TILE);
    const width = Math.min(TILE, this.columns - j * TILE);
    const tile = new Float32Array(height * width);
    for (let row = 0; row < height; row += 1) {
      const start = (i * TILE + row - from[0]) * (to[1] - from[1]) + j * TILE - from[1];
      for (let k = 0; k < width; k += 1) tile[row * width + k] = cells[start + k];
    }
    return tile;
  }

  /** What one query gives each key. @returns {Promise<ArrayLike<number>>} */
  async row(q) {
    if (this.data) return Array.from({ length: this.columns }, (_, k) => this.data[q * this.columns + k]);
    return this.fetchWindow(q, q + 1, 0, this.columns);
  }

  /** What one key gets of each query. @returns {Promise<ArrayLike<number>>} */
  async column(k) {
    if (this.data) return Array.from({ length: this.rows }, (_, q) => this.data[q * this.columns + k]);
    return this.fetchWindow(0, this.rows, k, k + 1);
  }
}
