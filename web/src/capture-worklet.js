/** The microphone's end in the audio thread: hands over whole frames of 20 ms, as mono, with the time at which each began. */

import { Downmix } from './downmix.js';

const FRAME = 960;

class Capture extends AudioWorkletProcessor {
  #frame = new Float32Array(FRAME);
  #filled = 0;
  #downmix = new Downmix();
  #mono = new Float32Array(128);

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
    let at = 0;
    while (at < length) {
      const count = Math.min(length - at, FRAME - this.#filled);
      this.#frame.set(this.#mono.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled === FRAME) {
        const pcm = this.#frame.slice();
        const began = currentTime + (at - FRAME) / sampleRate;
        const { count: channelCount, mix } = this.#downmix;
        this.port.postMessage({ pcm, began, channelCount, mix }, [pcm.buffer]);
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor('voicemesh-capture', Capture);
