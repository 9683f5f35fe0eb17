/**
 * How many links open at the same time, as `crates/link/src/openings.rs` has it. Signals, checks and handshakes of many links at
 * once fill a narrow uplink, which then loses what would have opened them, and speech with it. Links therefore take turns: one
 * at first in each role, one more with each that opens in good time, and one less with each that does not. An answer never
 * waits for an offer, so that two peers never wait for each other in a circle. A remote whose links did not open lately waits
 * for those whose did. Where the uplink is followed, a turn begins when the Rust code's pace has room for it beside speech.
 */

const MOST = 16;
/** A link that is not open by then makes way for the next; it may still open. */
const LONGEST_TURN_MS = 1500;
/** For how long a turn that was missed counts, and of how many remotes that is remembered. */
const MISSED_COUNTS_MS = 60_000;
const REMEMBERED = 1024;

/** @typedef {'offer' | 'answer'} Role */
/** @typedef {{begun: Promise<void>, end: (opened: boolean) => void}} Turn `end`: the link is open, or gone; only the first counts */
/** @typedef {Pick<import('./uplink.js').Uplink, 'openingBegins' | 'openingEnded'>} Pace */
/** @typedef {{now: () => number, after: (ms: number, act: () => void) => () => void}} Time `after`: gives what calls it off */

export class Openings {
  /** @param {Time} time @param {() => Pace | null | undefined} pace */
  constructor(time, pace = () => null) {
    this.turns = { offer: new Turns(time, pace), answer: new Turns(time, pace) };
  }

  /** A turn for a link to a remote, as soon as there is one. @param {Role} role @param {string} remote @returns {Turn} */
  turn(role, remote) {
    return this.turns[role].request(remote);
  }
}

class Turns {
  #limit = 1;
  #taken = 0;
  /** @type {{remote: string, begin: () => void}[]} in the order of their coming */
  #waiting = [];
  /** @type {Map<string, {turns: number, last: number}>} remotes whose links did not open in time */
  #missed = new Map();

  /** @param {Time} time @param {() => Pace | null | undefined} pace */
  constructor(time, pace) {
    this.time = time;
    this.pace = pace;
  }

  /** @param {string} remote @returns {Turn} */
  request(remote) {
    /** @type {'waiting' | 'running' | 'late' | 'over'} */
    let phase = 'waiting';
    /** The pace's number of this opening; below zero while it waits for room. */
    let number = 0;
    let callOff = () => {};
    /** @type {() => void} */
    let resolve = () => {};
    /** @type {Promise<void>} */
    const begun = new Promise((done) => {
      resolve = done;
    });
    const waiting = {
      remote,
      begin: () => {
        phase = 'running';
        number = this.pace()?.openingBegins(this.time.now()) ?? 0;
        if (number < 0) {
          callOff = this.time.after(-number, waiting.begin);
          return;
        }
        callOff = this.time.after(LONGEST_TURN_MS, () => {
          phase = 'late';
          // Only the first one of a remote says something about this side's uplink.
          if (this.#miss(remote)) this.#limit = Math.max(this.#limit - 1, 1);
          this.#free();
        });
        resolve();
      },
    };
    this.#waiting.push(waiting);
    this.#serve();
    return {
      begun,
      end: (opened) => {
        const was = phase;
        phase = 'over';
        if (was === 'waiting') this.#waiting = this.#waiting.filter((other) => other !== waiting);
        if (number > 0) this.pace()?.openingEnded(this.time.now(), number);
        if (was !== 'running') return;
        callOff();
        if (opened) {
          this.#missed.delete(remote);
          this.#limit = Math.min(this.#limit + 1, MOST);
        } else if (number >= 0) {
          this.#miss(remote);
        }
        this.#free();
      },
    };
  }

  #free() {
    this.#taken -= 1;
    this.#serve();
  }

  #serve() {
    while (this.#taken < this.#limit && this.#waiting.length > 0) {
      const missed = this.#waiting.map(({ remote }) => this.#missedBy(remote));
      const at = missed.indexOf(Math.min(...missed));
      this.#taken += 1;
      this.#waiting.splice(at, 1)[0].begin();
    }
  }

  /** @param {string} remote */
  #missedBy(remote) {
    const missed = this.#missed.get(remote);
    return missed && this.time.now() < missed.last + MISSED_COUNTS_MS ? missed.turns : 0;
  }

  /** True if it is the first one of this remote lately. @param {string} remote */
  #miss(remote) {
    const now = this.time.now();
    const before = this.#missedBy(remote);
    for (const [other, { last }] of this.#missed)
      if (now >= last + MISSED_COUNTS_MS) this.#missed.delete(other);
    if (this.#missed.size < REMEMBERED) this.#missed.set(remote, { turns: before + 1, last: now });
    return before === 0;
  }
}
