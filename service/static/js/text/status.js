/** The line that tells what the text tab is doing; while a request waits to be sent again, that it waits. */

import { debounced } from "../dom.js";
import { waitingLine } from "../failures.js";

/** A countdown that is not told on for so long is over, or nobody waits for it any more. */
const OVER_MS = 1500;

export class StatusLine {
  #said = ["", false];
  #over = debounced(() => this.#write(...this.#said), OVER_MS);

  constructor(element) {
    this.element = element;
  }

  /** @param {string} text @param {boolean} busy */
  say(text, busy) {
    this.#said = [text, busy];
    this.#over.now();
  }

  /** @param {import("../api.js").Failure} failure @param {number} seconds until the request is sent again */
  waiting(failure, seconds) {
    if (seconds === 0) return this.#over.now();
    this.#write(waitingLine(failure, seconds), true);
    return this.#over();
  }

  #write(text, busy) {
    this.element.textContent = text;
    this.element.classList.toggle("busy", busy);
  }
}
