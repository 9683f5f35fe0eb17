/**
 * Which way speech goes to one peer, and what a link is worth (PROTOCOL.md, section 9). Pure: told the time in ms.
 *
 * @typedef {'none' | 'relayed' | 'direct'} Route
 * @typedef {{route: Route, leaving: {route: Route, until: number} | null, both: boolean, arrives: boolean}} RouteState
 * `both`: a stalled link is used beside the relay. `arrives`: whether what is sent is known to arrive.
 * @typedef {{relay: boolean, serverAnswers: boolean, both: boolean, link: 'unbound' | 'sound' | 'stalled'}} Means
 */

/** A planned move sends on both routes for so long; duplicates play once. */
export const OVERLAP_MS = 200;

/** @type {RouteState} */
export const NO_ROUTE = Object.freeze({ route: 'none', leaving: null, both: false, arrives: false });

/**
 * Direct when the link is sound, else relayed, else whatever the link still does.
 * @param {RouteState} state
 * @param {number} now
 * @param {Means} means
 * @returns {RouteState}
 */
export function nextRoute(state, now, means) {
  /** @type {Route} */
  let route = means.relay ? 'relayed' : 'none';
  if (means.link === 'sound' || (means.link === 'stalled' && !means.relay)) route = 'direct';
  const leaving = route === state.route ? state.leaving : { route: state.route, until: now + OVERLAP_MS };
  const usable = leaving !== null && leaving.until > now
    && ((leaving.route === 'relayed' && means.relay) || (leaving.route === 'direct' && means.link === 'sound'));
  const both = means.both && means.link === 'stalled';
  const arrives = route === 'relayed' ? means.serverAnswers : route === 'direct' && means.link === 'sound';
  const isSame = route === state.route && both === state.both && arrives === state.arrives;
  if (isSame && (usable || state.leaving === null)) return state;
  return { route, leaving: usable ? leaving : null, both, arrives };
}

/** The route to show: none while nothing is known to arrive. @param {RouteState} state */
export const shown = (state) => (state.arrives ? state.route : 'none');

/**
 * @param {RouteState} state
 * @param {Route} route
 */
export const uses = (state, route) =>
  state.route === route || state.leaving?.route === route || (state.both && route === 'direct');

const UNACKED_FRAMES = 64;
const STALL_AFTER_MS = 300;
const ASK_AFTER_MS = 100;
const IDLE_PROBE_MS = 1000;
const STALLED_PROBE_MS = 250;
const SILENT_AFTER_MS = 4000;
const ANSWERS_TO_RECOVER = 3;
const REPLACE_AFTER_MS = 2000;
const FIRST_ROUND_TRIP_MS = 100;
const PROBES = 8;

/** Whether a link carries what it is given: voice is acknowledged, and silence is probed. */
export class Health {
  /** @type {{sequence: number, at: number}[]} */
  #unacked = [];
  /** @type {{token: number, at: number}[]} */
  #probes = [];
  #nextToken = 1;
  #lastProbeAt = -Infinity;
  /** @type {{since: number, answers: number, replaceAt: number} | null} */
  #stall = null;
  /** @type {number | null} smoothed */
  roundTripMs = null;

  /** @param {number} now */
  constructor(now) {
    this.heardAt = now;
  }

  get stalled() {
    return this.#stall !== null;
  }

  /** Since when the link is stalled. */
  get stalledSince() {
    return this.#stall?.since ?? null;
  }

  /** Takes the link for stalled until it answers. @param {number} now */
  doubt(now) {
    this.#stall ??= { since: now, answers: 0, replaceAt: now + REPLACE_AFTER_MS };
    this.#lastProbeAt = -Infinity;
  }

  /**
   * @param {number} now
   * @param {number} sequence
   */
  sent(now, sequence) {
    if (this.#unacked.length === UNACKED_FRAMES) this.#unacked.shift();
    this.#unacked.push({ sequence, at: now });
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
  }

  /**
   * @param {number} now
   * @param {number} token
   */
  answered(now, token) {
    const index = this.#probes.findIndex((probe) => probe.token === token);
    if (index < 0) return;
    const askedAt = this.#probes[index].at;
    this.#probes.splice(0, index + 1);
    this.#measured(now - askedAt);
    this.#unacked = this.#unacked.filter((sent) => sent.at > askedAt);
    if (this.#stall && ++this.#stall.answers >= ANSWERS_TO_RECOVER) this.#stall = null;
  }

  /** The frames that were never acknowledged; they are no longer waited for. */
  takeUnacknowledged() {
    return this.#unacked.splice(0).map((sent) => sent.sequence);
  }

  /**
   * @param {number} now
   * @returns {{probe: number | null, stalledNow: boolean, replace: boolean}}
   */
  update(now) {
    const care = { probe: /** @type {number | null} */ (null), stalledNow: false, replace: false };
    const oldestMs = this.#unacked.length > 0 ? now - this.#unacked[0].at : 0;
    const thresholdMs = Math.max(STALL_AFTER_MS, 3 * (this.roundTripMs ?? FIRST_ROUND_TRIP_MS));
    const askedInVain = this.#probes.length > 0 && now > this.heardAt + SILENT_AFTER_MS;
    if (!this.#stall && (oldestMs > thresholdMs || askedInVain)) {
      this.#stall = { since: now, answers: 0, replaceAt: now + REPLACE_AFTER_MS };
      care.stalledNow = true;
    }
    if (this.#stall) {
      if (this.#probes.length > 0 && now > this.#probes[0].at + SILENT_AFTER_MS) this.#stall.answers = 0;
      if (now >= this.#stall.replaceAt) {
        this.#stall.replaceAt = now + REPLACE_AFTER_MS;
        care.replace = true;
      }
    }
    const interval = this.#stall ? STALLED_PROBE_MS : oldestMs > ASK_AFTER_MS ? ASK_AFTER_MS : IDLE_PROBE_MS;
    if (now >= this.#lastProbeAt + interval) {
      care.probe = this.#nextToken;
      this.#nextToken = (this.#nextToken + 1) >>> 0;
      this.#lastProbeAt = now;
      if (this.#probes.length === PROBES) this.#probes.shift();
      this.#probes.push({ token: care.probe, at: now });
    }
    return care;
  }

  /** @param {number} sampleMs */
  #measured(sampleMs) {
    this.roundTripMs = this.roundTripMs === null ? sampleMs : (7 * this.roundTripMs + sampleMs) / 8;
  }
}

const ACK_FRAMES = 3;
const ACK_DELAY_MS = 40;

/** What has been received on a link and is still to be acknowledged. */
export class AckDue {
  /** @type {number | null} */
  #newest = null;
  #earlier = 0;
  #waiting = 0;
  #waitingSince = 0;

  /**
   * @param {number} now
   * @param {number} sequence
   */
  received(now, sequence) {
    const ahead = this.#newest === null ? 0 : ((sequence - this.#newest) << 16) >> 16;
    if (this.#newest === null) {
      this.#newest = sequence;
    } else if (ahead > 0) {
      if (ahead > 32) this.#earlier = 0;
      else this.#earlier = ((ahead === 32 ? 0 : this.#earlier << ahead) | (1 << (ahead - 1))) >>> 0;
      this.#newest = sequence;
    } else if (ahead < 0 && ahead >= -32) {
      this.#earlier = (this.#earlier | (1 << (-ahead - 1))) >>> 0;
    }
    if (this.#waiting++ === 0) this.#waitingSince = now;
  }

  /**
   * @param {number} now
   * @returns {{newest: number, earlier: number} | null} when it is time to send them
   */
  take(now) {
    const due = this.#waiting >= ACK_FRAMES || (this.#waiting > 0 && now >= this.#waitingSince + ACK_DELAY_MS);
    if (!due || this.#newest === null) return null;
    this.#waiting = 0;
    return { newest: this.#newest, earlier: this.#earlier };
  }
}
