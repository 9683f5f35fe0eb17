/**
 * Mono from the channels of a microphone, as `crates/device/src/downmix.rs` does it: the mean where they carry the same voice,
 * else the loudest. The mean of a voice on one of eight channels would be 18 dB too quiet, and opposite phases would cancel.
 * Decided over 1 s of speech, changed only for 6 dB more that last another second, cross-faded over 20 ms. Pure.
 */

const RATE_HZ = 48_000;
const BLOCK = RATE_HZ / 100;
/** Speech until the first choice, which may still be wrong, and that a choice is made over; in samples. */
const [FIRST_CHOICE, CHOICE] = [RATE_HZ / 10, RATE_HZ];
/** A block is speech if its loudest channel is above -50 dBFS and 10 dB above the noise floor. */
const [LEAST_SPEECH, ABOVE_FLOOR] = [1e-5, 10];
/** The floor rises by 1 dB/s and falls at once, from -70 dBFS and never below: from exact zeros it would not rise again. */
const [FLOOR_RISE_DB, FIRST_FLOOR] = [1 / RATE_HZ, 1e-7];
/** The largest ratio of powers among channels that agree (6 dB), and what another choice must gain. */
const SAME_LEVEL = 4;
const CORRELATED = 0.7;
const FADE = RATE_HZ / 50;

/** Sums of squares: of each channel, and of their mean. */
class Powers {
  ofMean = 0;
  samples = 0;

  /** @param {number} count */
  constructor(count) {
    this.ofChannels = new Float64Array(count);
  }

  clear() {
    this.ofChannels.fill(0);
    this.ofMean = this.samples = 0;
  }

  /** @param {Powers} other */
  add(other) {
    other.ofChannels.forEach((power, at) => {
      this.ofChannels[at] += power;
    });
    this.ofMean += other.ofMean;
    this.samples += other.samples;
  }

  /** @param {number} mix */
  of(mix) {
    return mix === 0 ? this.ofMean : this.ofChannels[mix - 1];
  }

  get loudest() {
    return Math.max(...this.ofChannels);
  }

  /** The mean over all pairs of channels, weighted by their levels. */
  get correlation() {
    const count = this.ofChannels.length;
    const powers = this.ofChannels.reduce((sum, power) => sum + power, 0);
    const amplitudes = this.ofChannels.reduce((sum, power) => sum + Math.sqrt(power), 0);
    const most = amplitudes * amplitudes - powers;
    return most <= 0 ? 0 : (this.ofMean * count * count - powers) / most;
  }

  /** 0: the mean, else a channel counted from 1. */
  best() {
    const { loudest } = this;
    const quietest = Math.min(...this.ofChannels);
    if (loudest <= quietest * SAME_LEVEL && this.correlation > CORRELATED) return 0;
    return this.ofChannels.indexOf(loudest) + 1;
  }
}

export class Downmix {
  /** What is heard: 0 is the mean, else a channel counted from 1. */
  mix = 0;
  #fixed = 0;
  /** The choice is made here. */
  #isFree = true;
  #before = 0;
  #fadeLeft = 0;
  #block = new Powers(1);
  #window = new Powers(1);
  #floor = FIRST_FLOOR;
  #choices = 0;
  #count = 1;

  get count() {
    return this.#count;
  }

  /** @param {number} channel counted from 1; 0: it is chosen here */
  choose(channel) {
    this.#fixed = channel;
    this.#begin(this.#count);
  }

  /** One block of each channel as mono. @param {readonly Float32Array[]} channels @param {Float32Array} mono takes the outcome */
  take(channels, mono) {
    if (channels.length !== this.#count) this.#begin(channels.length);
    if (this.#count > 1 && this.#isFree) this.#measure(channels);
    for (let at = 0; at < mono.length; at++) {
      mono[at] = sample(channels, this.mix, at);
      if (this.#fadeLeft === 0) continue;
      mono[at] += (sample(channels, this.#before, at) - mono[at]) * (this.#fadeLeft / (FADE + 1));
      this.#fadeLeft -= 1;
    }
  }

  /** @param {number} count */
  #begin(count) {
    this.#count = count;
    [this.#block, this.#window] = [new Powers(count), new Powers(count)];
    [this.#floor, this.#choices, this.#fadeLeft] = [FIRST_FLOOR, 0, 0];
    this.#isFree = this.#fixed === 0 || this.#fixed > count;
    this.mix = this.#isFree ? 0 : this.#fixed;
  }

  /** @param {readonly Float32Array[]} channels */
  #measure(channels) {
    const block = this.#block;
    const { length } = channels[0];
    for (let at = 0; at < length; at++) {
      let sum = 0;
      for (let channel = 0; channel < channels.length; channel++) {
        const value = channels[channel][at];
        block.ofChannels[channel] += value * value;
        sum += value;
      }
      block.ofMean += (sum / channels.length) ** 2;
    }
    block.samples += length;
    if (block.samples >= BLOCK) this.#endBlock();
  }

  #endBlock() {
    const block = this.#block;
    const level = block.loudest / block.samples;
    this.#floor = Math.min(
      this.#floor * 10 ** ((FLOOR_RISE_DB * block.samples) / 10),
      Math.max(level, FIRST_FLOOR),
    );
    if (level > LEAST_SPEECH && level > this.#floor * ABOVE_FLOOR) {
      this.#window.add(block);
      this.#decide();
    }
    block.clear();
  }

  #decide() {
    const window = this.#window;
    const first = this.#choices === 0;
    if (first && window.samples >= FIRST_CHOICE && window.samples < FIRST_CHOICE + BLOCK * 2)
      this.#changeTo(window.best());
    if (window.samples < CHOICE) return;
    const best = window.best();
    if (first || window.of(best) > window.of(this.mix) * SAME_LEVEL) this.#changeTo(best);
    this.#choices += 1;
    window.clear();
  }

  /** @param {number} mix */
  #changeTo(mix) {
    if (mix === this.mix) return;
    [this.#before, this.#fadeLeft, this.mix] = [this.mix, FADE, mix];
  }
}

/** @param {readonly Float32Array[]} channels @param {number} mix @param {number} at */
function sample(channels, mix, at) {
  if (mix > 0) return channels[mix - 1][at];
  let sum = 0;
  for (let channel = 0; channel < channels.length; channel++) sum += channels[channel][at];
  return sum / channels.length;
}
