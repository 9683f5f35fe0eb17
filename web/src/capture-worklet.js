/** The microphone's end in the audio thread: hands over whole frames of 20 ms with the time at which each began. */

const FRAME = 960;

class Capture extends AudioWorkletProcessor {
  #frame = new Float32Array(FRAME);
  #filled = 0;

  /** @param {Float32Array[][]} inputs */
  process([channels]) {
    const input = channels[0];
    const length = input?.length ?? 128;
    let at = 0;
    while (at < length) {
      const count = Math.min(length - at, FRAME - this.#filled);
      if (input) this.#frame.set(input.subarray(at, at + count), this.#filled);
      else this.#frame.fill(0, this.#filled, this.#filled + count);
      this.#filled += count;
      at += count;
      if (this.#filled === FRAME) {
        const pcm = this.#frame.slice();
        const began = currentTime + (at - FRAME) / sampleRate;
        this.port.postMessage({ pcm, began }, [pcm.buffer]);
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor('voicemesh-capture', Capture);
