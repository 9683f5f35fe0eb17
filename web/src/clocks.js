/**
 * How long speech takes from a peer's microphone to one's own ear, measured: four times of a question and its answer (RFC
 * 5905, section 8) tell how far the clocks are apart, and the answer when one frame was captured. Pure.
 *
 * @typedef {{sequence: number, talkspurt: number}} Place `talkspurt`: speech between two pauses
 */

const SAMPLES = 40;
const SAMPLE_LIFE_MS = 20_000;
const ASK_SOON_MS = 200;
const ENOUGH_SAMPLES = 4;
const ASK_AGAIN_MS = 500;
const SMOOTHING = 0.05;
const LONGEST_DELAY_MS = 10_000;
/** Observations of the playout after which a delay is shown: about two seconds of speech. */
const ENOUGH_LOOKS = 100;

export class Clock {
  /** @type {{at: number, offsetMs: number, roundTripMs: number}[]} */
  #samples = [];
  #offsetMs = 0;
  #askedAt = -Infinity;
  #answered = true;
  /** @type {{place: Place, atMs: number, toldAt: number} | null} by their clock */
  #captured = null;
  #looks = 0;
  /** @type {number | null} */
  delayMs = null;

  /** The delay, once one late burst at the beginning no longer makes it. @type {number | null} */
  get settledMs() {
    return this.#looks < ENOUGH_LOOKS ? null : this.delayMs;
  }

  /**
   * Whether to ask now, while they are heard at `place`. Counts as asked.
   * @param {number} now ms
   * @param {Place} place
   * @returns {number | null} the question's time, in µs
   */
  pollProbe(now, place) {
    const captured = this.#captured;
    const knows =
      captured !== null &&
      captured.place.talkspurt === place.talkspurt &&
      now < captured.toldAt + ASK_AGAIN_MS;
    if ((knows && this.#samples.length >= ENOUGH_SAMPLES) || now < this.#askedAt + ASK_SOON_MS)
      return null;
    this.#askedAt = now;
    this.#answered = false;
    return Math.round(now * 1000);
  }

  /**
   * @param {number} now
   * @param {import('./wire.js').ClockEcho} echo
   * @param {(sequence: number) => Place | null} place
   */
  handleEcho(now, { askedUs, receivedUs, sentUs, captured }, place) {
    if (this.#answered || askedUs !== Math.round(this.#askedAt * 1000)) return;
    this.#answered = true;
    const roundTripMs = now - this.#askedAt - (sentUs - receivedUs) / 1000;
    if (roundTripMs < 0) return;
    const offsetMs = (receivedUs / 1000 - this.#askedAt + (sentUs / 1000 - now)) / 2;
    this.#samples = this.#samples
      .filter((sample) => now < sample.at + SAMPLE_LIFE_MS)
      .slice(1 - SAMPLES);
    this.#samples.push({ at: now, offsetMs, roundTripMs });
    // What delayed those least is most alike there and back.
    const best = [...this.#samples]
      .sort((a, b) => a.roundTripMs - b.roundTripMs)
      .slice(0, Math.ceil(this.#samples.length / 4));
    this.#offsetMs = best.reduce((sum, sample) => sum + sample.offsetMs, 0) / best.length;
    const at = captured && place(captured.sequence);
    this.#captured = at ? { place: at, atMs: (sentUs - captured.agoUs) / 1000, toldAt: now } : null;
  }

  /**
   * What lies `offsetMs` into the frame at `place` is heard at `playsAt`.
   * @param {number} playsAt
   * @param {Place} place
   * @param {number} offsetMs
   * @param {number} frameMs
   */
  observePlayout(playsAt, place, offsetMs, frameMs) {
    const captured = this.#captured;
    if (!captured || captured.place.talkspurt !== place.talkspurt || this.#samples.length === 0)
      return;
    const saidAt =
      captured.atMs +
      (place.sequence - captured.place.sequence) * frameMs +
      offsetMs -
      this.#offsetMs;
    const delayMs = playsAt - saidAt;
    if (delayMs < 0 || delayMs > LONGEST_DELAY_MS) return;
    this.#looks += 1;
    this.delayMs =
      this.delayMs === null ? delayMs : this.delayMs + SMOOTHING * (delayMs - this.delayMs);
  }
}

/** Questions after the time that are answered in a second: enough for a full room, and too few for a flood. */
const ANSWERS_PER_SECOND = 200;
/** Of an uplink that is known to be narrow, answers take at most this part. */
const ANSWERS_SHARE = 25;
/** An answer on the wire, with its acknowledgement. */
const ANSWER_BITS = 1600;
const ASKERS = 64;
/** A frame older than this is not told of: its number may have wrapped. */
const CAPTURED_LIFE_MS = 60_000;

/** Answers others' questions. */
export class Answers {
  #second = 0;
  #given = 0;
  /** Who was answered, the last one last. @type {string[]} */
  #answered = [];
  /** The frame sent last, and when it was captured. @type {{sequence: number, at: number} | null} */
  captured = null;

  /**
   * What a ClockEcho says, or null where enough has been answered: listeners take turns on a narrow uplink.
   * @param {number} now ms @param {number} askedUs @param {{peer: string, listeners: number, estimate: number | null}} asked
   *   `estimate`: what the uplink carries, in bit/s
   */
  tell(now, askedUs, { peer, listeners, estimate }) {
    const second = Math.floor(now / 1000);
    if (this.#second !== second) [this.#second, this.#given] = [second, 0];
    const affordable =
      estimate === null ? ANSWERS_PER_SECOND : Math.floor(estimate / ANSWERS_SHARE / ANSWER_BITS);
    const most = Math.min(Math.max(affordable, 1), ANSWERS_PER_SECOND);
    const turns = Math.max(Math.min(listeners, ASKERS) - most, 0);
    const wasLately = turns > 0 && this.#answered.slice(-turns).includes(peer);
    if (wasLately || this.#given >= most) return null;
    this.#given += 1;
    this.#answered = [...this.#answered, peer].slice(-ASKERS);
    const nowUs = Math.round(now * 1000);
    const last = this.captured;
    const captured =
      last && now < last.at + CAPTURED_LIFE_MS
        ? { sequence: last.sequence, agoUs: Math.round((now - last.at) * 1000) }
        : null;
    return { askedUs, receivedUs: nowUs, sentUs: nowUs, captured };
  }
}
