/**
 * What listeners report, and how speech is sent to them for it: copies of earlier frames, and the bitrate that pays for them.
 * Only where there is no WebAssembly: elsewhere `uplink.js` decides. Pure.
 */

const COPIES_FROM = 0.03;
const COPIES_UNTIL = 0.015;
const TWO_COPIES_FROM = 0.15;
const BURSTS_FROM = 1.6;
const ATTACK = 0.6;
const RELEASE = 0.12;
const FULL_REPORT_FRAMES = 50;
const BITRATE = 32_000;
/** What is left of it with none, one and two copies: they are paid for by half. */
const SHARES = [1, 0.75, 0.6];
const REPORT_LIFE_MS = 5000;
const MOST_LISTENERS = 1024;

export class Feedback {
  /** @type {Map<string, {at: number, loss: number, run: number, copies: number[]}>} */
  #listeners = new Map();

  /** @param {number} now @param {string} peer @param {import('./wire.js').Report} report */
  told(now, peer, { expected, lost, lossRunSixteenths }) {
    if (expected === 0 || (this.#listeners.size >= MOST_LISTENERS && !this.#listeners.has(peer)))
      return;
    const known = this.#listeners.get(peer) ?? { at: now, loss: 0, run: 1, copies: [] };
    const loss = lost / expected;
    const weight = Math.min(expected / FULL_REPORT_FRAMES, 1);
    known.loss += (loss > known.loss ? ATTACK : RELEASE) * weight * (loss - known.loss);
    if (lost > 0) known.run += 0.2 * Math.min(lost / 5, 1) * (lossRunSixteenths / 16 - known.run);
    known.at = now;
    const wanted =
      known.loss >= COPIES_FROM || (known.copies.length > 0 && known.loss >= COPIES_UNTIL);
    known.copies = !wanted
      ? []
      : known.loss >= TWO_COPIES_FROM
        ? [2, 4]
        : known.run >= BURSTS_FROM
          ? [4]
          : [3];
    this.#listeners.set(peer, known);
  }

  /** @param {string} peer */
  copiesFor(peer) {
    return this.#listeners.get(peer)?.copies ?? [];
  }

  /** @param {string} peer */
  forget(peer) {
    this.#listeners.delete(peer);
  }

  /** @param {number} now */
  plan(now) {
    let most = 0;
    for (const [peer, { at, copies }] of this.#listeners) {
      if (now > at + REPORT_LIFE_MS) this.#listeners.delete(peer);
      else most = Math.max(most, copies.length);
    }
    return { bitrate: BITRATE * SHARES[most], expectedLossPercent: 10 };
  }
}
