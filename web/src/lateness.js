/**
 * Whether this device is too busy for the page: its ticks, due every 20 ms, come late again and again. Measurements of the
 * network are unreliable meanwhile. Pure: takes the time in ms.
 */

const SECOND_MS = 1000;
/** Between two ticks; beyond it frames that were captured meanwhile have waited for longer than others' playout allows. */
const LATE_MS = 80;
const WITHIN_SECONDS = 10;
/** Seconds with a late tick among those; one alone may be a page that was built, or a sleep. */
const ENOUGH_SECONDS = 3;

export class Lateness {
  #tickedAt = Infinity;
  /** @type {number[]} the seconds in which a tick was late */
  #late = [];

  /** @param {number} now @param {boolean} counts false where browsers hold ticks back, as in hidden pages */
  ticked(now, counts) {
    const gap = now - this.#tickedAt;
    // A gap that began while ticks were held back tells nothing.
    this.#tickedAt = counts ? now : Infinity;
    if (!counts || gap < LATE_MS) return;
    const second = Math.floor(now / SECOND_MS);
    if (this.#late.at(-1) !== second) this.#late.push(second);
    this.#late = this.#late.filter((late) => late > second - WITHIN_SECONDS);
  }

  /** @param {number} now */
  isBusy(now) {
    const second = Math.floor(now / SECOND_MS);
    return this.#late.filter((late) => late > second - WITHIN_SECONDS).length >= ENOUGH_SECONDS;
  }
}
