// The jitter buffer of one speaker: frames in as the network brings them, frames out to the decoder in order.
//
// What is in order goes out at once; the player keeps the delay. A hole is held open until the frame in it would have to
// be decoded to be heard in time: it may come late, or as a copy in a later packet. Times are the caller's, in ms.

/** Frames that wait at most; the oldest go. */
export const CAPACITY = 64;
/** From a frame's release until it can be heard: decoding, and the steps in which sound is played. */
const DECODING_MS = 8;
/** After so much that is lost in a row there is silence; what else is missing takes no time. */
const LONGEST_LOSS_MS = 120;
/** Later than this after the last packet, whatever comes is new and continues the stream (PROTOCOL §8). */
const FORGET_MS = 2000;
const MOST_BYTES = 1275;

/**
 * A frame that arrived: `sequence` is its own, extended; `frame` one Opus packet, empty if nothing is said; `behind` tells
 * how many frames later the packet was that a copy came in; nothing is missing between a pause and the next frame.
 * @typedef {{sequence: number, frame: Uint8Array, behind?: number, talkspurt?: number, pauseFollows?: boolean, frameMs?: number}} Packet
 * @typedef {Required<Omit<Packet, 'behind'>> & {at: number, isCopy: boolean}} Arrival
 *
 * `heldMs`: since it arrived; the player counts the delay from then.
 * @typedef {{kind: 'frame', sequence: number, frame: Uint8Array, frameMs: number, heldMs: number}
 *   | {kind: 'lost', sequence: number, frameMs: number}
 *   | {kind: 'pause', sequence: number}} Release
 */

export class JitterBuffer {
  #frameMs;
  #now = 0;
  /** @type {Map<number, Arrival>} */
  #waiting = new Map();
  /** The frame that is due; NaN before the first. */
  #next = NaN;
  #lastAt = -Infinity;
  #newestTalkspurt = 0;
  /** Whether what is due is missing if it is not here, and of which talkspurt it is. */
  #isTalking = false;
  #talkspurt = 0;
  #lostMs = 0;
  #isPauseDue = false;
  #log = new Log();
  #reported = { expected: 0, lost: 0, unrepaired: 0, runs: 0 };
  #counts = { received: 0, fromCopies: 0, late: 0, duplicates: 0, overflow: 0 };

  /** @param {{frameMs?: number}} [options] */
  constructor({ frameMs = 20 } = {}) {
    this.#frameMs = frameMs;
  }

  /** How far behind the fastest frames playback should be. */
  get targetMs() {
    return this.#log.waitMs + DECODING_MS;
  }

  get stats() {
    const { jitterMs, total } = this.#log;
    return {
      ...this.#counts,
      ...total,
      lossRun: total.lost / Math.max(1, total.runs),
      jitterMs,
      waiting: this.#waiting.size,
    };
  }

  /** Takes a frame, in any order and any number of times. @param {number} nowMs @param {Packet} packet */
  insert(
    nowMs,
    { sequence, frame, behind = 0, talkspurt = 0, pauseFollows = false, frameMs = this.#frameMs },
  ) {
    if (
      !Number.isSafeInteger(sequence) ||
      !(frame instanceof Uint8Array) ||
      frame.length > MOST_BYTES
    )
      return;
    if (!Number.isFinite(talkspurt) || !(frameMs >= 2.5 && frameMs <= 120)) return;
    const at = this.#advance(nowMs);
    const isCopy = behind !== 0;
    if (at - this.#lastAt > FORGET_MS) {
      this.#newestTalkspurt = talkspurt;
      if (!(sequence >= this.#next)) this.#restart(sequence);
    }
    this.#lastAt = at;
    // Older, by the shorter way around.
    if ((((talkspurt - this.#newestTalkspurt) % 128) + 128) % 128 > 63) {
      this.#counts.late += Number(!isCopy);
      return;
    }
    this.#newestTalkspurt = talkspurt;
    const arrival = { sequence, frame, frameMs, talkspurt, pauseFollows, at, isCopy };
    const isAgain = this.#log.note(arrival);
    const here = this.#waiting.get(sequence);
    if (here) {
      here.isCopy &&= isCopy;
      here.pauseFollows ||= pauseFollows;
    } else if (sequence >= this.#next) {
      this.#waiting.set(sequence, arrival);
      this.#counts.received += 1;
      if (this.#waiting.size > CAPACITY) this.#overflow();
    } else {
      // An original after its copy may know that a pause follows.
      if (pauseFollows && sequence === this.#next - 1 && this.#isTalking) this.#isPauseDue = true;
      if (!isCopy && !isAgain && !this.#log.wasPlayed(sequence)) this.#counts.late += 1;
    }
    if (isAgain && !isCopy) this.#counts.duplicates += 1;
  }

  /**
   * What the decoder should have now, in order. To be called when all that a packet brought is inserted, and at `nextAt`.
   * @param {number} nowMs
   */
  take(nowMs) {
    const now = this.#advance(nowMs);
    this.#log.judge(now);
    /** @type {Release[]} */
    const out = [];
    if (this.#isPauseDue) this.#pause(out);
    while (this.#waiting.size > 0) {
      const due = this.#waiting.get(this.#next);
      if (due) {
        this.#release(due, out);
      } else {
        const head = this.#head();
        if (now < this.#deadline(head)) break;
        this.#giveUp(head, out);
      }
    }
    return out;
  }

  /** When `take` may give something although nothing arrives; null if it will not. */
  nextAt() {
    if (this.#isPauseDue || this.#waiting.has(this.#next)) return this.#now;
    return this.#waiting.size > 0 ? this.#deadline(this.#head()) : null;
  }

  /** How originals fared since this was last asked: for a ReceptionReport. */
  takeReport() {
    const { total, jitterMs } = this.#log;
    const before = this.#reported;
    this.#reported = { ...total };
    const lost = total.lost - before.lost;
    return {
      expected: total.expected - before.expected,
      lost,
      unrepaired: Math.min(total.unrepaired - before.unrepaired, lost),
      lossRunSixteenths: Math.round((16 * lost) / Math.max(1, total.runs - before.runs)),
      jitterMs,
    };
  }

  /** A clock that goes backwards, or is none, stands still. @param {number} nowMs */
  #advance(nowMs) {
    if (nowMs > this.#now && nowMs < Number.MAX_SAFE_INTEGER) this.#now = nowMs;
    return this.#now;
  }

  /** @param {number} sequence */
  #restart(sequence) {
    this.#waiting.clear();
    this.#next = sequence;
    this.#isTalking = this.#isPauseDue = false;
    this.#log.restart();
  }

  /** The first in line; only if there is one. */
  #head() {
    return /** @type {Arrival} */ (this.#waiting.get(Math.min(...this.#waiting.keys())));
  }

  #overflow() {
    const { sequence } = this.#head();
    this.#waiting.delete(sequence);
    this.#next = sequence + 1;
    this.#counts.overflow += 1;
  }

  /** When what is due is given up. It was due before `head`. @param {Arrival} head */
  #deadline(head) {
    const due = this.#isTalking ? this.#log.fastestAt(this.#next) : Infinity;
    return Math.min(due, head.at) + this.#log.waitMs;
  }

  /** @param {Arrival} due @param {Release[]} out */
  #release({ sequence, frame, frameMs, talkspurt, at, isCopy, pauseFollows }, out) {
    if (this.#isTalking && talkspurt !== this.#talkspurt) this.#pause(out);
    this.#waiting.delete(sequence);
    this.#next = sequence + 1;
    this.#talkspurt = talkspurt;
    this.#isTalking = true;
    this.#lostMs = 0;
    this.#log.notePlayed(sequence);
    this.#counts.fromCopies += Number(isCopy);
    if (frame.length > 0)
      out.push({ kind: 'frame', sequence, frame, frameMs, heldMs: this.#now - at });
    if (frame.length === 0 || pauseFollows) this.#pause(out);
  }

  /** @param {Arrival} head @param {Release[]} out */
  #giveUp({ sequence, talkspurt, frameMs }, out) {
    if (this.#isTalking && talkspurt === this.#talkspurt && this.#lostMs < LONGEST_LOSS_MS) {
      out.push({ kind: 'lost', sequence: this.#next, frameMs });
      this.#lostMs += frameMs;
      this.#next += 1;
    } else {
      if (this.#isTalking) this.#pause(out);
      this.#next = sequence;
    }
  }

  /** @param {Release[]} out */
  #pause(out) {
    this.#isPauseDue = this.#isTalking = false;
    this.#lostMs = 0;
    out.push({ kind: 'pause', sequence: this.#next - 1 });
  }
}

/** Frames remembered. */
const LOG = 512;
/** The fastest frame is looked for among those of one to two such times: that sees a stall, and soon forgets a route. */
const FASTEST_WITHIN_MS = 1000;
/** A frame so much faster than the fastest came by another route, as did so many in a row that are as much slower. */
const OTHER_ROUTE_MS = 60;
const ON_ANOTHER_ROUTE = 10;
/** A frame so soon after another is the rest of a stall, which counts as one event. */
const TOGETHER_MS = 4;
/** An original is lost when later ones of so much speech came, or after so long with none. */
const PATIENCE_MS = 320;
const PATIENCE_AT_THE_END_MS = 600;
/** A larger hole is no loss: the speaker talked to others. */
const LARGEST_LOSS = 500;
/** After so long without a packet the speaker must have paused, although the mark was lost. */
const UNMARKED_PAUSE_MS = 500;
/** Frames within which it shows that the network is better now, and how much better that must be. */
const RECENT = 50;
const MUCH_BETTER = 0.5;
/** The histogram: what comes later than its last bin (280 ms) is not waited for. */
const BIN_MS = 2;
const BINS = 140;
/** Delay that it is worth to have all late frames in time, and all lost ones: they come as copies or not at all. */
const ALL_LATE_MS = 850;
const ALL_LOST_MS = 6000;
/** Rarer losses are not waited for. */
const LOSS_WORTH_WAITING_FOR = 0.012;
/** Observations fade over this time; losses are rarer and come in rows, so they are remembered for longer. */
const LATE_MEMORY_MS = 2000;
const LOSS_MEMORY_MS = 8000;
/** The assumption at the start: so many frames that come up to 4 ms late. */
const PRIOR = 12;
const PRIOR_BIN = 1;
const WEIGH_EVERY_MS = 60;

/**
 * How late each frame's original came, behind the fastest of its time, and how late a copy of it. So to wait for jitter
 * and to wait for copies is one question: how many more frames would be there? What that is worth is held against the
 * delay. Times are compared within a *stretch*: no pause, one talkspurt, one duration.
 */
class Log {
  waitMs = (PRIOR_BIN + 1) * BIN_MS;
  jitterMs = 0;
  total = { expected: 0, lost: 0, unrepaired: 0, runs: 0 };
  /** Those that should have come. @type {Map<number, {late: number, copyLate: number, isCounted: boolean, isPlayed: boolean}>} */
  #frames = new Map();
  #highest = -Infinity;
  #judged = 0;
  #isInRun = false;
  /** The stretch's first frame, and the one its times are counted from. */
  #first = 0;
  #base = 0;
  #baseAt = 0;
  #talkspurt = 0;
  #frameMs = 20;
  #pausedAfter = -Infinity;
  #fastest = 0;
  #fastestLately = 0;
  #latelyFrom = 0;
  #slower = 0;
  #lastTransit = NaN;
  #lastAt = 0;
  #weighedAt = -Infinity;
  #won = new Float64Array(BINS);
  #lost = new Float64Array(BINS);

  /** Learns from an arrival; tells whether that original had come before. @param {Arrival} arrival */
  note(arrival) {
    const { sequence, at, isCopy } = arrival;
    this.#reach(arrival);
    if (arrival.pauseFollows) this.#pausedAfter = Math.max(this.#pausedAfter, sequence);
    const frame = this.#frames.get(sequence);
    const isAgain = frame !== undefined && frame.late !== Infinity;
    const transit = at - this.#nominal(sequence);
    if (frame && sequence >= this.#first) {
      if (isCopy) frame.copyLate = Math.min(frame.copyLate, Math.max(0, transit - this.#fastest));
      else if (!isAgain) this.#noteOriginal(arrival, frame, transit);
    } else if (frame && !isCopy && !isAgain) {
      // Of a stretch that is over: it came, and that is all.
      Object.assign(frame, { late: 0, isCounted: false });
    }
    this.#lastAt = at;
    this.judge(at);
    if (at - this.#weighedAt >= WEIGH_EVERY_MS) this.#weigh(at);
    return isAgain;
  }

  /** When a frame would have come had it been as fast as the fastest. @param {number} sequence */
  fastestAt(sequence) {
    return this.#nominal(sequence) + this.#fastest;
  }

  /** @param {number} sequence */
  notePlayed(sequence) {
    const frame = this.#frames.get(sequence);
    if (frame) frame.isPlayed = true;
  }

  /** @param {number} sequence */
  wasPlayed(sequence) {
    return this.#frames.get(sequence)?.isPlayed === true;
  }

  /** Judges which originals are lost by now. @param {number} now */
  judge(now) {
    const isOver = now - this.#lastAt >= PATIENCE_AT_THE_END_MS;
    this.#judgeTo(
      this.#highest - (isOver ? 0 : Math.max(6, Math.floor(PATIENCE_MS / this.#frameMs))),
      isOver,
    );
  }

  /** Numbers begin anew. */
  restart() {
    this.#judgeTo(this.#highest, true);
    this.#highest = this.#pausedAfter = -Infinity;
  }

  /** @param {number} sequence */
  #nominal(sequence) {
    return this.#baseAt + (sequence - this.#base) * this.#frameMs;
  }

  /** Continues the log up to a frame, in a new stretch if need be. @param {Arrival} arrival */
  #reach({ sequence, talkspurt, frameMs, at }) {
    const ahead = sequence - this.#highest;
    if (ahead <= 0) return;
    const isFar = ahead > LARGEST_LOSS;
    const isOther = isFar || talkspurt !== this.#talkspurt;
    const hasPaused = this.#pausedAfter >= this.#first || at - this.#lastAt >= UNMARKED_PAUSE_MS;
    const isNew =
      isOther || frameMs !== this.#frameMs || (hasPaused && sequence > this.#pausedAfter);
    const missingFrom = isOther ? sequence : this.#highest + 1;
    if (isNew) this.#judgeTo(this.#highest, true);
    if (isFar) this.#frames.clear();
    if (isOther) this.#judged = sequence - 1;
    for (let each = isFar ? sequence : this.#highest + 1; each <= sequence; each += 1) {
      this.#frames.delete(each - LOG);
      if (each >= missingFrom)
        this.#frames.set(each, {
          late: Infinity,
          copyLate: Infinity,
          isCounted: true,
          isPlayed: false,
        });
    }
    this.#highest = sequence;
    if (!isNew) return;
    this.#first = missingFrom;
    [this.#base, this.#baseAt, this.#talkspurt, this.#frameMs] = [sequence, at, talkspurt, frameMs];
    this.#lastTransit = NaN;
    this.#setFastest(at, 0);
  }

  /** @param {Arrival} arrival @param {{late: number, isCounted: boolean}} frame @param {number} transit */
  #noteOriginal({ at }, frame, transit) {
    frame.isCounted = at - this.#lastAt >= TOGETHER_MS || !(transit <= this.#lastTransit);
    frame.late = Math.max(0, transit - this.#fastest);
    this.jitterMs += ((Math.abs(transit - this.#lastTransit) || 0) - this.jitterMs) / 16;
    this.#lastTransit = transit;
    this.#slower = transit > this.#fastest + OTHER_ROUTE_MS ? this.#slower + 1 : 0;
    if (this.#slower >= ON_ANOTHER_ROUTE || transit < this.#fastest - OTHER_ROUTE_MS) {
      // So what seemed late was not.
      for (let each = this.#highest; each > this.#highest - 2 * ON_ANOTHER_ROUTE; each -= 1) {
        const its = this.#frames.get(each);
        if (its && its.late > OTHER_ROUTE_MS && its.late !== Infinity) its.isCounted = false;
      }
      this.#setFastest(at, transit);
    }
    if (at - this.#latelyFrom > FASTEST_WITHIN_MS) {
      [this.#fastest, this.#fastestLately, this.#latelyFrom] = [this.#fastestLately, transit, at];
    }
    this.#fastestLately = Math.min(this.#fastestLately, transit);
    this.#fastest = Math.min(this.#fastest, this.#fastestLately);
  }

  /** @param {number} at @param {number} transit */
  #setFastest(at, transit) {
    this.#fastest = this.#fastestLately = transit;
    this.#latelyFrom = at;
    this.#slower = 0;
  }

  /** Finds the delay of which the most remains after paying for it. @param {number} now */
  #weigh(now) {
    this.#weighedAt = now;
    this.#lost.fill(0);
    const all = this.#count(LOG);
    const lateMs = best(this.#won);
    this.waitMs = best(this.#won, this.#lost);
    // Losses come in rows: that there was none for a while means nothing; that none was late does.
    const recent = this.#count(RECENT);
    if (all.seen > RECENT && recent.latest < MUCH_BETTER * lateMs)
      this.waitMs = best(this.#won, this.#lost);
  }

  /** Fills the histograms from the latest frames: losses only from all. @param {number} most */
  #count(most) {
    const lateKept = 1 - Math.min(this.#frameMs / LATE_MEMORY_MS, 0.5);
    const lossKept = 1 - Math.min(this.#frameMs / LOSS_MEMORY_MS, 0.5);
    let [late, loss, lateTotal, lossTotal, lost, latest, seen] = [1, 1, PRIOR, PRIOR, 0, 0, 0];
    this.#won.fill(0);
    this.#won[PRIOR_BIN] = PRIOR * ALL_LATE_MS;
    for (let behind = 0; behind < LOG && seen < most; behind += 1) {
      const frame = this.#frames.get(this.#highest - behind);
      const isLost = frame?.late === Infinity;
      if (!frame?.isCounted || (isLost && behind * this.#frameMs < PATIENCE_MS / 2)) continue;
      const first = Math.min(frame.late, frame.copyLate);
      const bin = Math.floor(first / BIN_MS);
      if (isLost) lost += loss;
      else latest = Math.max(latest, first);
      if (bin < BINS && !isLost) this.#won[bin] += late * ALL_LATE_MS;
      if (bin < BINS && isLost && most === LOG) this.#lost[bin] += loss * ALL_LOST_MS;
      [late, loss, lateTotal, lossTotal, seen] = [
        late * lateKept,
        loss * lossKept,
        lateTotal + late,
        lossTotal + loss,
        seen + 1,
      ];
    }
    const isWorthWaiting = lost / lossTotal > LOSS_WORTH_WAITING_FOR;
    for (let bin = 0; bin < BINS; bin += 1) {
      this.#won[bin] /= lateTotal;
      if (most === LOG) this.#lost[bin] *= isWorthWaiting ? 1 / lossTotal : 0;
    }
    return { latest, seen };
  }

  /** @param {number} last @param {boolean} isForced whether what is here may yet be played */
  #judgeTo(last, isForced) {
    while (this.#judged < last) {
      this.#judged += 1;
      const frame = this.#frames.get(this.#judged);
      if (!frame) continue;
      const isLost = frame.late === Infinity;
      const isHere = isForced && (!isLost || frame.copyLate !== Infinity);
      this.total.expected += 1;
      this.total.lost += Number(isLost);
      this.total.unrepaired += Number(!frame.isPlayed && !isHere);
      this.total.runs += Number(isLost && !this.#isInRun);
      this.#isInRun = isLost;
    }
  }
}

/** The delay that is worth the most. @param {Float64Array[]} gains of each step of waiting */
function best(...gains) {
  let [won, most, bestMs] = [0, -Infinity, BIN_MS];
  for (let bin = 0; bin < BINS; bin += 1) {
    for (const gain of gains) won += gain[bin];
    const left = won - (bin + 1) * BIN_MS;
    if (left > most) [most, bestMs] = [left, (bin + 1) * BIN_MS];
  }
  return bestMs;
}
