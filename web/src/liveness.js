/**
 * Whether the server answers on the connection in use (PROTOCOL.md, section 3). Pure: told the time in ms.
 */

const QUIET_IN_USE_MS = 500;
const QUIET_MS = 6000;
const IN_USE_MS = 2000;
const ANSWER_LIMIT_MS = 1500;
const BESIDE_AFTER_MS = 2000;
const ASK_INTERVAL_MS = 100;
const ASK_AGAIN_MS = 1000;
const ASK_IN_USE_MS = 2000;
const PINGS = 16;

export class Liveness {
  /** @type {{token: number, at: number}[]} questions without an answer, oldest first */
  #pings = [];
  #nextToken = 0;
  #askedAt = -Infinity;
  #inUseUntil = -Infinity;
  /** Nothing is known to reach the server. */
  silent = false;
  /** The browser says that there is no network. */
  lost = false;
  /** The server does not know the question. */
  unsupported = false;

  /** @param {number} now when the join was answered */
  constructor(now) {
    this.heardAt = now;
    /** When the newest question was sent that has been answered. */
    this.answered = now;
    this.roundTripMs = 0;
  }

  /** @param {number} now */
  heard(now) {
    this.heardAt = now;
  }

  /** The relay carries speech, one way or the other. @param {number} now */
  used(now) {
    this.#inUseUntil = now + IN_USE_MS;
  }

  /** @param {number} now @returns {number | null} the token of a question to send */
  ask(now) {
    if (this.unsupported || (this.#pings.length > 0 && now < this.#askedAt + ASK_INTERVAL_MS))
      return null;
    const token = this.#nextToken;
    this.#nextToken = (token + 1) >>> 0;
    this.#askedAt = now;
    if (this.#pings.length === PINGS) this.#pings.shift();
    this.#pings.push({ token, at: now });
    return token;
  }

  /** @param {number} now @param {number} token @returns {number | null} when the answered question was sent */
  answer(now, token) {
    const index = this.#pings.findIndex((ping) => ping.token === token);
    if (index < 0) return null;
    const { at } = this.#pings[index];
    this.#pings.splice(0, index + 1);
    this.silent = this.lost = false;
    this.answered = at;
    this.roundTripMs = this.roundTripMs === 0 ? now - at : (7 * this.roundTripMs + now - at) / 8;
    return at;
  }

  /** The server answered, but not the question. False if it was not asked any. */
  refused() {
    const asked = this.#pings.splice(0).length > 0;
    this.unsupported ||= asked;
    return asked;
  }

  /**
   * @param {number} now
   * @returns {{ask: boolean, beside: boolean}} whether to ask, and whether another connection is wanted
   */
  update(now) {
    const first = this.#pings[0];
    // What else comes is no answer: only one direction may work.
    const unansweredMs = first ? now - first.at : 0;
    this.silent = this.lost || unansweredMs >= ANSWER_LIMIT_MS;
    const inUse = now < this.#inUseUntil;
    const quietMs = inUse ? QUIET_IN_USE_MS : QUIET_MS;
    const due = now >= this.heardAt + quietMs || (inUse && now >= this.#askedAt + ASK_IN_USE_MS);
    const ask = first ? now >= this.#askedAt + ASK_AGAIN_MS : due;
    // Nothing at all has come for as long.
    const isMute = now >= this.heardAt + BESIDE_AFTER_MS;
    return { ask, beside: unansweredMs >= (isMute ? ANSWER_LIMIT_MS : BESIDE_AFTER_MS) };
  }
}
