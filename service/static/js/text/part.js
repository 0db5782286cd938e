/** What the parts of the text tab share: the newest of their requests counts, a card that is busy, a box for failures. */

import { Latest } from "../api.js";
import { busy, byId } from "../dom.js";
import { clearFailure } from "../failures.js";

export class Part {
  #latest = new Latest();

  /** @param {any} page the text tab @param {string} name of its failure box @param {HTMLElement} card what is dimmed meanwhile */
  constructor(page, name, card = byId(`${name}-card`)) {
    Object.assign(this, { page, name, card });
  }

  /**
   * @template T
   * @param {(options: {signal: AbortSignal, waiting: any}) => Promise<T>} ask for what is to be shown; undefined if nothing is
   * @param {(came: T) => void} draw
   * @param {() => void} [again] what the button of the failure does
   * @returns {Promise<boolean | undefined>} whether it is drawn; undefined if it was overtaken
   */
  async run(ask, draw, again = () => this.run(ask, draw)) {
    clearFailure(this.name);
    busy(this.card, true);
    try {
      const came = await this.#latest.run(async (signal) => ({ answer: await ask({ signal, waiting: this.page.waiting }) }));
      if (!came) return undefined;
      busy(this.card, false);
      draw(came.answer);
      return true;
    } catch (error) {
      busy(this.card, false);
      this.page.fail(this.name, error, again);
      return false;
    }
  }

  /** Nothing is to be shown any more. */
  stop() {
    this.#latest.stop();
    clearFailure(this.name);
    busy(this.card, false);
  }
}
