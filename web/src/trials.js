/**
 * A part of the browser that may refuse or fail, such as its Opus encoder, and is made anew after each failure: at once as
 * long as it may have been a hiccup, then less often. Pure: told the time in ms.
 */

const RETRY_MS = 1000;

export class Trials {
  #failures = 0;
  #retryAt = -Infinity;

  /** @param {number} hiccups so many failures in a row say nothing yet @param {() => void} changed whether it `fails` */
  constructor(hiccups, changed) {
    this.hiccups = hiccups;
    this.changed = changed;
  }

  /** Whether it does not work, as far as is known. */
  get fails() {
    return this.#failures > this.hiccups;
  }

  /** Whether another may be made. @param {number} now */
  isDue(now) {
    return now >= this.#retryAt;
  }

  /** @param {number} now @param {number} [failures] as how many this one counts */
  failed(now, failures = 1) {
    const before = this.fails;
    this.#failures += failures;
    if (this.fails) this.#retryAt = now + RETRY_MS;
    if (this.fails !== before) this.changed();
  }

  succeeded() {
    const before = this.fails;
    this.#failures = 0;
    this.#retryAt = -Infinity;
    if (before) this.changed();
  }
}
