/** The microphone's end in the audio thread: hands over whole frames of 20 ms, as mono, with the time at which each began. */

import { Downmix } from './downmix.js';

const [FRAME, RATE_HZ] = [960, 48_000];

export class Capture extends AudioWorkletProcessor {
  #frame = new Float32Array(FRAME);
  #filled = 0;
  #downmix = new Downmix();
  #mono = new Float32Array(128);
  /** How much older what is converted is, in seconds. */
  delay = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.#downmix.choose(data.channel);
  }

  /** @param {Float32Array[][]} inputs */
  process([channels]) {
    const length = channels[0]?.length ?? 128;
    if (this.#mono.length !== length) this.#mono = new Float32Array(length);
    if (channels.length > 0) this.#downmix.take(channels, this.#mono);
    else this.#mono.fill(0);
    this.#give(this.convert(this.#mono));
    return true;
  }

  /** To 48 kHz. @param {Float32Array} mono at the context's rate @returns {Float32Array} */
  convert(mono) {
    return mono;
  }

  /** @param {Float32Array} samples */
  #give(samples) {
    let at = 0;
    while (at < samples.length) {
      const count = Math.min(samples.length - at, FRAME - this.#filled);
      this.#frame.set(samples.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled === FRAME) {
        const pcm = this.#frame.slice();
        const began = currentTime - this.delay + (at - FRAME) / RATE_HZ;
        const { count: channelCount, mix } = this.#downmix;
        this.port.postMessage({ pcm, began, channelCount, mix }, [pcm.buffer]);
        this.#filled = 0;
      }
    }
  }
}

registerProcessor('voicemesh-capture', Capture);
