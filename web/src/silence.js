/**
 * Whether anything plays at all, in a browser that says nothing of it. In Firefox a sound context goes on into nothing when
 * its sound server has ended: its clock runs, speakers stay listed, and what else it could be asked waits for the sound's
 * thread. An audio element ends with an error there, so one plays silence as long as sound is wanted.
 */

import { optional } from './optional.js';

/** One that has failed is tried again so often. */
const RETRY_MS = 2000;
/** An element that has begun where there is no speaker fails within a second. */
const LASTS_MS = 2500;
/** What Firefox reports of an element whose speaker cannot be opened, or has ended. */
const MEDIA_ERR_DECODE = 3;
const RATE = 8000;
const SAMPLES = 4 * RATE;
const HEADER = 44;

/** Browsers that tell it in another way need no element. */
const isNeeded = () => / Gecko\//.test(globalThis.navigator?.userAgent ?? '');

/** Four seconds of silence. */
function wav() {
  const view = new DataView(new ArrayBuffer(HEADER + 2 * SAMPLES));
  const words = (/** @type {number} */ at, /** @type {string} */ text) => {
    for (let index = 0; index < text.length; index += 1)
      view.setUint8(at + index, text.charCodeAt(index));
  };
  words(0, 'RIFF');
  view.setUint32(4, view.byteLength - 8, true);
  words(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  // PCM, one channel.
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, RATE, true);
  view.setUint32(28, 2 * RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  words(36, 'data');
  view.setUint32(40, 2 * SAMPLES, true);
  return view.buffer;
}

export class Silence {
  /** @type {HTMLAudioElement | null} */
  #audio = null;
  #url = '';
  /** Failures in a row: one alone is a hiccup. */
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => void} changed whether it `fails` */
  constructor(changed) {
    this.changed = changed;
  }

  /** Nothing plays. */
  get fails() {
    return this.#failures > 1;
  }

  /** Within a click, at first: else a browser may not let it play. */
  begin() {
    if (this.#audio || !isNeeded()) return;
    this.#url ||= optional(() => URL.createObjectURL(new Blob([wav()], { type: 'audio/wav' })), '');
    const audio = optional(() => new Audio(this.#url), null);
    if (!audio || !this.#url) return;
    this.#audio = audio;
    audio.loop = true;
    audio.onerror = () => {
      // Another error, such as that the browser refuses the element, says nothing of the speaker.
      if (audio === this.#audio && audio.error?.code === MEDIA_ERR_DECODE) this.#failed();
    };
    audio.onplaying = () => {
      if (audio === this.#audio) this.#later(() => this.#plays(), LASTS_MS);
    };
    // Where it may not play before a click, it is begun anew with the next.
    const play = async () => audio.play();
    play().catch(({ name }) => {
      if (name === 'NotAllowedError' && audio === this.#audio) this.#drop();
    });
  }

  end() {
    this.#failures = 0;
    this.#drop();
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#audio?.pause();
    this.#audio = null;
  }

  #failed() {
    this.#failures += 1;
    this.#drop();
    this.#later(() => this.begin(), this.fails ? RETRY_MS : 0);
    if (this.#failures === 2) this.changed();
  }

  #plays() {
    const failed = this.fails;
    this.#failures = 0;
    if (failed) this.changed();
  }

  /** @param {() => void} act @param {number} ms */
  #later(act, ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, ms);
  }
}
