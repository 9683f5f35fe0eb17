/**
 * Who hears what one says: listeners send a reception report about every second while they hear speech (PROTOCOL.md,
 * section 8). Pure: told the time in ms.
 */

/** A report counts for so long. */
const REPORT_LIFE_MS = 3500;
/** Who hears has reported by the time this much was said since the last report. */
const SPEECH_MS = 3000;
const FRAME_MS = 20;
const MOST_LISTENERS = 1024;

export class Hearers {
  /** @type {Map<string, {at: number, spokenMs: number}>} the last report of each, and how much had been said by then */
  #reports = new Map();
  #spokenMs = 0;
  /** For whom what is said is not meant. @type {Set<string>} */
  #elsewhere = new Set();

  /** A frame was sent. */
  spoke() {
    this.#spokenMs += FRAME_MS;
  }

  /** @param {number} now @param {string} peer */
  reported(now, peer) {
    if (this.#reports.size >= MOST_LISTENERS && !this.#reports.has(peer)) return;
    this.#reports.set(peer, { at: now, spokenMs: this.#spokenMs });
  }

  /** @param {string} peer */
  forget(peer) {
    this.#reports.delete(peer);
    this.#elsewhere.delete(peer);
  }

  /**
   * Whether a peer hears; null while nothing is said, or too little to tell. Only for who reports.
   * @param {number} now @param {string} peer @param {boolean} [isMeant] whether what is said is for this peer
   * @returns {boolean | null}
   */
  hears(now, peer, isMeant = true) {
    // What others were told meanwhile says nothing about one who is spoken to again.
    if (isMeant && this.#elsewhere.delete(peer)) this.#reports.delete(peer);
    const report = this.#reports.get(peer);
    const isRecent = report !== undefined && now < report.at + REPORT_LIFE_MS;
    if (!isMeant) {
      this.#elsewhere.add(peer);
      // A report that still arrives is about what was said before.
      if (isRecent) return false;
    }
    if (isRecent) return true;
    if (!report) {
      // They have just come: what was said before does not count.
      this.#reports.set(peer, { at: -Infinity, spokenMs: this.#spokenMs });
      return null;
    }
    return this.#spokenMs >= report.spokenMs + SPEECH_MS ? false : null;
  }
}
