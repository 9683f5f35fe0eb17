/** The same where the browser gives the microphone at another rate than 48 kHz. */

import { Capture } from './capture-worklet.js';
import { Resampler } from './resample.js';

class CaptureAtRate extends Capture {
  #resampler = new Resampler(sampleRate);

  constructor() {
    super();
    this.delay = this.#resampler.delay;
  }

  /** @override @param {Float32Array} mono */
  convert(mono) {
    return this.#resampler.push(mono);
  }
}

registerProcessor('voicemesh-capture-rate', CaptureAtRate);
