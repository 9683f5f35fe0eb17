/**
 * Voice detection: the level of each frame against the noise floor, with hangover, so that words are not cut, and pre-roll, so
 * that the first syllable is whole. Pure.
 */

const HANG_OVER_FRAMES = 15;
const LOOK_BACK_FRAMES = 5;
/** A frame is speech when it is so far above the floor, twice in a row, and not almost inaudible. */
const ABOVE_FLOOR_DB = 8;
const FAR_ABOVE_FLOOR_DB = 15;
const LEAST_DB = -58;
/** The floor is the least level of some seconds, since even quick speech has dips, and noise has none as deep. */
const WINDOW_FRAMES = 25;
const WINDOWS = 8;
/** Of steady noise the quietest frames are about so much below its mean. */
const LEAST_TO_MEAN_DB = 2;

/** The level of a frame above about 150 Hz, in dB of full scale. @param {Float32Array} pcm */
export function levelDb(pcm) {
  let energy = 0;
  let low = pcm[0] ?? 0;
  for (const sample of pcm) {
    low += 0.02 * (sample - low);
    energy += (sample - low) ** 2;
  }
  return 10 * Math.log10(energy / Math.max(pcm.length, 1) + 1e-10);
}

export class Activity {
  /** The least level of each of the last windows, the current one last. */
  #least = [Infinity];
  #inWindow = 0;
  #run = 0;
  #hangOver = 0;
  /** @type {any[]} frames before speech began */
  #before = [];

  get speaks() {
    return this.#hangOver > 0;
  }

  /**
   * Takes a frame and gives those that are to be sent now, oldest first; none in a pause.
   * @template {{pcm: Float32Array}} T
   * @param {T} frame
   * @returns {T[]}
   */
  push(frame) {
    const db = levelDb(frame.pcm);
    const above = db - this.#floor(db);
    this.#run = above > ABOVE_FLOOR_DB && db > LEAST_DB ? this.#run + 1 : 0;
    const loud = this.#run >= 2 || (this.#run === 1 && above > FAR_ABOVE_FLOOR_DB);
    if (loud) this.#hangOver = HANG_OVER_FRAMES;
    else this.#hangOver = Math.max(this.#hangOver - 1, 0);
    if (this.speaks) return [...this.#before.splice(0), frame];
    this.#before.push(frame);
    if (this.#before.length > LOOK_BACK_FRAMES) this.#before.shift();
    return [];
  }

  /** @param {number} db */
  #floor(db) {
    if (this.#inWindow++ === WINDOW_FRAMES) {
      this.#inWindow = 1;
      this.#least.push(Infinity);
      if (this.#least.length > WINDOWS) this.#least.shift();
    }
    const newest = this.#least.length - 1;
    this.#least[newest] = Math.min(this.#least[newest], db);
    return Math.min(...this.#least) + LEAST_TO_MEAN_DB;
  }

  /** Another way of activation, or a muted microphone: nothing said before counts. */
  reset() {
    this.#run = this.#hangOver = 0;
    this.#before.length = 0;
  }
}
