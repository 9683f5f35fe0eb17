/**
 * What one person hears and says in this page: the microphone, the speaker, and how both are set.
 *
 * @typedef {import('./state.js').MicrophoneState} MicrophoneState
 */

import { Capture } from './capture.js';
import { isMicrophoneBlocked, mediaDevices, onDeviceChange, soundDevices } from './optional.js';
import { CaptureContext, Output, contextAtItsRate } from './output.js';
import { Playback } from './playback.js';
import { ownStatus } from './snapshot.js';
import { Volumes } from './volumes.js';

/**
 * @typedef {object} SoundEvents
 * @property {(encoded: import('./capture.js').Encoded) => void} encoded a frame of what the microphone hears
 * @property {(now: number) => void} ticked by the audio thread, in ms of the page's clock
 * @property {() => void} changed what there is to show
 * @property {(kind: string, text: string) => void} notice
 */

export class Sound {
  /** @type {MicrophoneState} */
  microphone = 'none';
  deafened = false;
  output = new Output(() => this.#outputChanged());
  /** @type {Capture | null} made at the first need */
  capture = null;
  /** @type {Playback | null} made at the first need */
  playback = null;
  /** @type {CaptureContext | null} */ #captureContext = null;
  #overall = 1;
  #inputId = '';
  #wantsMicrophone = false;
  /** Counts what was asked of the microphone: an answer to an earlier question changes nothing any more. */
  #asked = 0;

  /** @param {() => number} clock in ms @param {import('./optional.js').Store} storage @param {SoundEvents} events */
  constructor(clock, storage, events) {
    this.clock = clock;
    this.events = events;
    this.volumes = new Volumes(storage);
    this.controls = {
      muted: false,
      activation: /** @type {'voice' | 'push-to-talk' | 'always'} */ ('voice'),
      processing: { echo: true, noise: true, gain: true },
      channel: 0,
    };
    onDeviceChange(() => this.#devicesChanged());
  }

  /** The status of this page that the others see. */
  get status() {
    return ownStatus(
      this.isHeard,
      this.controls.muted,
      this.deafened || this.output.state === 'none',
    );
  }

  /** Whether the others can hear this page, or may soon. */
  get isHeard() {
    return (this.microphone === 'on' && !this.cannotEncode) || this.microphone === 'asking';
  }

  /** Whether the browser's encoder refuses what one says, or gives nothing back. */
  get cannotEncode() {
    return this.microphone === 'on' && (this.capture?.encoder.fails ?? false);
  }

  // --- how it is set ------------------------------------------------------------------------------

  /** @param {boolean} muted */
  setMuted(muted) {
    this.controls.muted = muted;
    if (this.capture) this.capture.muted = muted;
    this.events.changed();
  }

  /** @param {number} volume overall, 0 to 2 */
  setOverallVolume(volume) {
    this.#overall = volume;
    if (this.playback) this.playback.overall.gain.value = volume;
  }

  /** @param {boolean} deafened */
  setDeafened(deafened) {
    this.deafened = deafened;
    this.playback?.setDeafened(deafened);
    this.events.changed();
  }

  /** @param {'voice' | 'push-to-talk' | 'always'} activation */
  setActivation(activation) {
    this.controls.activation = activation;
    if (this.capture) this.capture.activation = activation;
    this.events.changed();
  }

  /** @param {boolean} talking */
  setTalking(talking) {
    this.capture?.setTalking(talking);
    this.events.changed();
  }

  /** @param {string} id @param {number} volume */
  setVolume(id, volume) {
    this.#setPerson(id, { volume: Math.min(Math.max(volume, 0), 2) });
  }

  /** @param {string} id @param {boolean} muted */
  setPersonMuted(id, muted) {
    this.#setPerson(id, { muted });
  }

  /** @param {{echo: boolean, noise: boolean, gain: boolean}} processing */
  setProcessing(processing) {
    this.controls.processing = { ...processing };
    if (this.capture) this.capture.processing = this.controls.processing;
    // What is being asked for has the former processing.
    if (this.capture?.isOpen || this.microphone === 'asking') void this.openMicrophone();
    this.events.changed();
  }

  /** The microphone's channel that is heard, counted from 1; 0: automatic. @param {number} channel */
  setChannel(channel) {
    this.controls.channel = channel;
    if (this.capture) this.capture.channel = channel;
    this.events.changed();
  }

  /** Whether one hears one's own microphone. @param {boolean} on */
  setMonitored(on) {
    this.capture?.monitor(on);
    this.events.changed();
  }

  devices() {
    return soundDevices();
  }

  /** @param {string} id */
  async setInput(id) {
    this.#inputId = id;
    this.#wantsMicrophone = true;
    await this.openMicrophone();
  }

  /** Which microphone is opened when one is. @param {string} id */
  preferInput(id) {
    this.#inputId = id;
  }

  /** @param {string} id */
  async setOutput(id) {
    await this.output.choose(id);
  }

  resumePlayback() {
    this.output.resume();
  }

  levels() {
    const people = new Map(
      [...(this.playback?.remotes ?? [])].map(([id, remote]) => [
        id,
        this.output.plays ? remote.level : 0,
      ]),
    );
    return { own: this.capture?.level ?? 0, people };
  }

  // --- its life -----------------------------------------------------------------------------------

  /** What microphone and speaker need, made at the first need. */
  async open() {
    const context = await this.output.open();
    if (this.playback) return;
    this.playback = new Playback(context, this.clock, (now) => {
      this.output.ticked();
      this.events.ticked(now);
    });
    this.playback.setDeafened(this.deafened);
    this.setOverallVolume(this.#overall);
    const events = {
      /** @param {import('./capture.js').Encoded} encoded */
      encoded: (encoded) => this.events.encoded(encoded),
      changed: () => this.events.changed(),
      lost: () => this.#microphoneLost(),
      /** @param {number} now */
      ticked: (now) => this.events.ticked(now),
    };
    this.capture = new Capture(context, this.clock, events, contextAtItsRate);
    Object.assign(this.capture, this.controls);
    this.#captureContext = new CaptureContext(this.output, this.capture);
    this.#outputChanged();
  }

  /** A room is entered, with or without a microphone. @param {boolean} microphone */
  begin(microphone) {
    this.#wantsMicrophone = microphone;
    if (microphone && !this.capture?.isOpen) void this.openMicrophone();
    else if (!microphone) this.closeMicrophone('none');
  }

  /** The room is left. */
  end() {
    this.closeMicrophone('none');
    this.playback?.end();
    this.capture?.end();
    this.#captureContext?.end();
    this.output.suspend();
  }

  /** @param {import('./session.js').Heard} heard */
  hear(heard) {
    if (!this.playback) return;
    const isNew = !this.playback.remotes.has(heard.peer);
    this.playback.receive(this.clock(), heard);
    if (isNew) this.#applyVolume(heard.peer);
  }

  /** @returns {Promise<void>} */
  async openMicrophone() {
    if (!mediaDevices()) return this.closeMicrophone('unavailable');
    this.#asked += 1;
    const asked = this.#asked;
    if (this.microphone !== 'on') this.microphone = 'asking';
    this.events.changed();
    try {
      await this.open();
      if (asked !== this.#asked) return undefined;
      await this.capture?.open(this.#inputId);
      if (asked !== this.#asked) return undefined;
      if (this.capture?.isOpen) this.microphone = 'on';
    } catch (error) {
      if (asked !== this.#asked) return undefined;
      const name = error instanceof DOMException ? error.name : '';
      if (name === 'OverconstrainedError' && this.#inputId !== '') {
        // The one chosen is gone: the default will do.
        this.#inputId = '';
        return this.openMicrophone();
      }
      this.closeMicrophone(microphoneFault(name));
    }
    this.events.changed();
    return undefined;
  }

  /** @param {MicrophoneState} state */
  closeMicrophone(state) {
    this.#asked += 1;
    this.capture?.close();
    this.microphone = state;
    this.events.changed();
  }

  // --- what happens to it -------------------------------------------------------------------------

  #outputChanged() {
    this.events.changed();
    // A microphone may have gone with the speaker.
    if (this.#captureContext?.follow()) void this.#devicesChanged();
  }

  #microphoneLost() {
    this.microphone = 'lost';
    const text = 'The microphone is gone. Plug it in again, or choose another.';
    this.events.notice('microphone-lost', text);
    this.events.changed();
    this.#devicesChanged();
  }

  async #devicesChanged() {
    this.events.changed();
    void this.output.devicesChanged();
    if (!this.#wantsMicrophone || !['lost', 'missing'].includes(this.microphone)) return;
    const { inputs } = await this.devices();
    if (inputs.length === 0 || !['lost', 'missing'].includes(this.microphone)) return;
    await this.openMicrophone();
    if (/** @type {string} */ (this.microphone) === 'on')
      this.events.notice('microphone-back', 'The microphone works again.');
  }

  /** @param {string} id @param {Partial<{volume: number, muted: boolean}>} change */
  #setPerson(id, change) {
    this.volumes.set(id, change);
    this.#applyVolume(id);
    this.events.changed();
  }

  /** @param {string} id */
  #applyVolume(id) {
    this.playback?.setGain(id, this.volumes.gain(id));
  }
}

/** Why a microphone does not open. @param {string} name of the browser's error @returns {MicrophoneState} */
function microphoneFault(name) {
  if (name === 'NotAllowedError' || name === 'SecurityError')
    return isMicrophoneBlocked() ? 'blocked' : 'denied';
  return ['NotFoundError', 'OverconstrainedError'].includes(name) ? 'missing' : 'failed';
}
