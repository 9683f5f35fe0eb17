/**
 * Whether a link carries what it is given: voice is acknowledged, and silence is probed (PROTOCOL.md, section 9). Pure: told
 * the time in ms. The same as `Health` of the Rust session; both run the cases of tests/vectors/links.json.
 *
 * @typedef {{sequence: number, frames: number}} SpeechPacket a packet that was sent: the number of its newest frame, and how
 *   many it carries for the first time, this one and those right before it
 */

const UNACKED_PACKETS = 64;
const STALL_AFTER_MS = 300;
/** Unacknowledged voice of this age, beyond a round trip, is asked after. */
const ASK_AFTER_MS = 150;
/** It is asked after this often at first, and half as often after each question that is not answered. */
const ASK_INTERVAL_MS = 100;
const IDLE_PROBE_MS = 8000;
/** Links take turns, so that their probes do not fill a narrow uplink at once. */
const TURN_MS = 113;
const TURNS = 16;
/** A new link is asked this often for so long, so that its round trip is known. */
const FIRST_PROBES_MS = 1000;
const IS_NEW_FOR_MS = 3500;
const REPEAT_PROBE_MS = 1000;
const STALLED_PROBE_MS = 250;
const SILENT_AFTER_MS = 4000;
const ANSWERS_TO_RECOVER = 3;
const REPLACE_AFTER_MS = 2000;
const FIRST_ROUND_TRIP_MS = 100;
const PROBES = 8;

export class Health {
  /** @type {(SpeechPacket & {at: number})[]} */
  #unacked = [];
  /** @type {{token: number, at: number}[]} */
  #probes = [];
  #nextToken = 1;
  #lastProbeAt = -Infinity;
  #madeAt;
  #turnMs;
  /** When the first probe was sent since something last came. @type {number | null} */
  #askedSince = null;
  /** When something sent was last found to have arrived: a full queue delays acknowledgements but does not stop them. */
  #progressedAt;
  /** @type {{since: number, answers: number, replaceAt: number, congested: boolean} | null} */
  #stall = null;
  /** @type {number | null} smoothed */
  roundTripMs = null;

  /** @param {number} now @param {number} turn links with different ones are not all probed at the same moment */
  constructor(now, turn = 0) {
    this.#madeAt = this.#progressedAt = this.heardAt = now;
    this.#turnMs = TURN_MS * (turn % TURNS);
  }

  get stalled() {
    return this.#stall !== null;
  }

  /** Since when the link is stalled, unless congestion is the reason: more packets would make that worse. */
  get deadSince() {
    return this.#stall && !this.#stall.congested ? this.#stall.since : null;
  }

  /** A stall is congestion, by the estimate of the uplink. Holds until the link is sound again. */
  setCongested() {
    if (this.#stall) this.#stall.congested = true;
  }

  /** Takes the link for stalled until it answers. @param {number} now */
  doubt(now) {
    this.#stall ??= { since: now, answers: 0, replaceAt: now + REPLACE_AFTER_MS, congested: false };
    this.#lastProbeAt = -Infinity;
  }

  /** Anything came from the other end. @param {number} now */
  heard(now) {
    this.heardAt = now;
    this.#askedSince = null;
  }

  /**
   * @param {number} now
   * @param {number} sequence
   * @param {number} frames
   */
  sent(now, sequence, frames = 1) {
    if (this.#unacked.length === UNACKED_PACKETS) this.#unacked.shift();
    this.#unacked.push({ sequence, frames, at: now });
  }

  /**
   * What is missing before the newest that came was lost on the way, which is no stall.
   * @param {number} now
   * @param {number} newest
   */
  acknowledged(now, newest) {
    const index = this.#unacked.findLastIndex((sent) => sent.sequence === newest);
    if (index < 0) return;
    this.#measured(now - this.#unacked[index].at);
    this.#unacked.splice(0, index + 1);
    this.#progressedAt = now;
  }

  /**
   * An answer shows that the link carried everything before the question as far as it ever will.
   * @param {number} now
   * @param {number} token
   * @returns {number | undefined} the round trip, in ms
   */
  answered(now, token) {
    const index = this.#probes.findIndex((probe) => probe.token === token);
    if (index < 0) return undefined;
    const askedAt = this.#probes[index].at;
    this.#probes.splice(0, index + 1);
    this.#measured(now - askedAt);
    this.#unacked = this.#unacked.filter((sent) => sent.at > askedAt);
    this.#progressedAt = now;
    if (this.#stall && ++this.#stall.answers >= ANSWERS_TO_RECOVER) this.#stall = null;
    return now - askedAt;
  }

  /** The packets that were never acknowledged; they are no longer waited for. @returns {SpeechPacket[]} */
  takeUnacknowledged() {
    return this.#unacked.splice(0).map(({ sequence, frames }) => ({ sequence, frames }));
  }

  /**
   * @param {number} now
   * @returns {{probe: number | null, stalledNow: boolean, replace: boolean}}
   */
  update(now) {
    const care = { probe: /** @type {number | null} */ (null), stalledNow: false, replace: false };
    const oldestMs = this.#unacked.length > 0 ? now - this.#unacked[0].at : 0;
    const thresholdMs = Math.max(STALL_AFTER_MS, 3 * (this.roundTripMs ?? FIRST_ROUND_TRIP_MS));
    const askedInVain = this.#askedSince !== null && now > this.#askedSince + SILENT_AFTER_MS;
    const isStuck = oldestMs > thresholdMs && now > this.#progressedAt + thresholdMs;
    if (!this.#stall && (isStuck || askedInVain)) {
      this.#stall = { since: now, answers: 0, replaceAt: now + REPLACE_AFTER_MS, congested: false };
      care.stalledNow = true;
    }
    if (this.#stall) {
      if (this.#probes.length > 0 && now > this.#probes[0].at + SILENT_AFTER_MS)
        this.#stall.answers = 0;
      if (now >= this.#stall.replaceAt) {
        this.#stall.replaceAt = now + REPLACE_AFTER_MS;
        care.replace = true;
      }
    }
    if (now >= this.#lastProbeAt + this.#probeIntervalMs(now, oldestMs))
      care.probe = this.#nextProbe(now);
    return care;
  }

  /** @param {number} now @param {number} oldestMs */
  #probeIntervalMs(now, oldestMs) {
    if (this.#stall) return STALLED_PROBE_MS * (1 + Math.min(this.#probes.length, 2));
    if (oldestMs > ASK_AFTER_MS + (this.roundTripMs ?? 0))
      return ASK_INTERVAL_MS * 2 ** Math.min(this.#probes.length, 4);
    if (now < this.#madeAt + IS_NEW_FOR_MS) return FIRST_PROBES_MS;
    return this.#askedSince === null ? IDLE_PROBE_MS + this.#turnMs : REPEAT_PROBE_MS;
  }

  /** @param {number} now */
  #nextProbe(now) {
    const token = this.#nextToken;
    this.#nextToken = (token + 1) >>> 0;
    this.#lastProbeAt = now;
    this.#askedSince ??= now;
    if (this.#probes.length === PROBES) this.#probes.shift();
    this.#probes.push({ token, at: now });
    return token;
  }

  /** @param {number} sampleMs */
  #measured(sampleMs) {
    this.roundTripMs = this.roundTripMs === null ? sampleMs : (7 * this.roundTripMs + sampleMs) / 8;
  }
}
