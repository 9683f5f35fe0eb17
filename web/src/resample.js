/**
 * Mono from any sample rate to 48 kHz, by a sinc in a Kaiser window. For browsers that give a microphone at the rate of the
 * sound card only. Pure.
 */

const RATE_HZ = 48_000;
/** Of the kernel: zero crossings on each side, places between two samples that are tabulated, and the window's form. */
const [CROSSINGS, PHASES, BETA] = [16, 256, 8];
/** Below the lower of both rates' half, so that nothing is mirrored into what is heard. */
const BAND = 0.94;

export class Resampler {
  #hz;
  /** Samples on each side of a place that count for it. */
  #half;
  /** `PHASES + 1` rows of `2 * half` weights. */
  #weights;
  /** What was given and still counts. */
  #known;
  /** The next place to be computed, in 1/48,000 of the distance of two samples after the first that is known. */
  #next;

  /** @param {number} hz of what is given */
  constructor(hz) {
    const band = BAND * Math.min(1, RATE_HZ / hz);
    this.#hz = hz;
    this.#half = Math.ceil(CROSSINGS / band);
    this.#weights = weights(this.#half, band);
    // As if silence had come before.
    this.#known = new Float32Array(this.#half - 1);
    this.#next = (this.#half - 1) * RATE_HZ;
  }

  /** By how much what is given out is older than what was given last, in seconds. */
  get delay() {
    return this.#half / this.#hz;
  }

  /** @param {Float32Array} samples @returns {Float32Array} as many as can be computed of what has been given */
  push(samples) {
    const known = new Float32Array(this.#known.length + samples.length);
    known.set(this.#known);
    known.set(samples, this.#known.length);
    const end = (known.length - this.#half) * RATE_HZ;
    const count = Math.max(0, Math.ceil((end - this.#next) / this.#hz));
    const made = new Float32Array(count);
    for (let at = 0; at < count; at++) made[at] = this.#sampleAt(known, this.#next + at * this.#hz);
    this.#next += count * this.#hz;
    const done = Math.floor(this.#next / RATE_HZ) - (this.#half - 1);
    this.#known = known.slice(done);
    this.#next -= done * RATE_HZ;
    return made;
  }

  /** @param {Float32Array} known @param {number} place */
  #sampleAt(known, place) {
    const whole = Math.floor(place / RATE_HZ);
    const phase = ((place - whole * RATE_HZ) / RATE_HZ) * PHASES;
    const row = Math.floor(phase);
    const length = 2 * this.#half;
    const [below, above] = [row * length, (row + 1) * length];
    const first = whole - (this.#half - 1);
    let [sum, next] = [0, 0];
    for (let at = 0; at < length; at++) {
      sum += known[first + at] * this.#weights[below + at];
      next += known[first + at] * this.#weights[above + at];
    }
    return sum + (next - sum) * (phase - row);
  }
}

/** @param {number} half @param {number} band of what the given rate can carry */
function weights(half, band) {
  const length = 2 * half;
  const table = new Float64Array((PHASES + 1) * length);
  for (let row = 0; row <= PHASES; row++) {
    for (let at = 0; at < length; at++) {
      const distance = at - (half - 1) - row / PHASES;
      const angle = Math.PI * band * distance;
      const sinc = angle === 0 ? 1 : Math.sin(angle) / angle;
      const along = Math.max(0, 1 - (distance / half) ** 2);
      table[row * length + at] = (band * sinc * bessel(BETA * Math.sqrt(along))) / bessel(BETA);
    }
  }
  return table;
}

/** The modified Bessel function of the first kind and order 0, by its series. @param {number} x */
function bessel(x) {
  let [sum, term] = [1, 1];
  for (let k = 1; term > sum * 1e-12; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
