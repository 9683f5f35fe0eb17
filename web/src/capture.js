/**
 * From a microphone to Opus frames: getUserMedia → worklet → activity → encoder (WebCodecs).
 *
 * @typedef {{echo: boolean, noise: boolean, gain: boolean}} Processing
 * @typedef {{pcm: Float32Array, capturedAt: number}} Captured `capturedAt`: when its first sample was, in ms of the page's clock
 * @typedef {{frame: Uint8Array, capturedAt: number, pauseFollows: boolean}} Encoded
 */

import { Activity, levelDb } from './activity.js';
import { openMicrophone, optional } from './optional.js';
import { Trials } from './trials.js';

const FRAME = 960;
const RELEASE_MS = 200;
const MOST_CHANNELS = 8;
/** More than these no browser is known to process. */
const MOST_PROCESSED_CHANNELS = 2;
/** One hears oneself so much later: at once, it would be taken for an echo and removed. */
const MONITOR_DELAY_S = 1;
/** More than the encoder ever has before it; then frames are dropped, and after this time it has stopped. */
const [MOST_ENCODING, STUCK_MS] = [25, 1000];
/** An encoder may fail in the middle of a call without being heard: another goes on. */
const HICCUPS = 1;
/** Steps of the encoder's settings, and the lowest bitrate that sounds good. */
const [BITRATE_STEP, LOSS_STEP, LOWEST_BITRATE, UP_EVERY_MS] = [2000, 5, 16_000, 2000];

export class Encoder {
  /** @type {AudioEncoder | null} */
  #encoder = null;
  /** @type {({capturedAt: number, pauseFollows: boolean} | null)[]} what is being encoded, in order; null: a trial */
  #about = [];
  /** @type {number | null} since when it takes nothing more */
  #fullSince = null;
  /** @type {'late' | 'refused'} why it failed the last time: it gave nothing back, or threw */
  #why = 'refused';
  #timestamp = 0;
  #changedAt = -Infinity;

  /**
   * @param {(encoded: Encoded) => void} encoded
   * @param {() => number} clock ms
   * @param {() => void} changed whether it `fails`
   */
  constructor(encoded, clock, changed) {
    this.encoded = encoded;
    this.clock = clock;
    this.plan = { bitrate: 32_000, loss: 10 };
    this.trials = new Trials(HICCUPS, changed);
  }

  /** Whether this browser encodes nothing of what one says: it refuses, or is late with all of it. */
  get fails() {
    return this.trials.fails && this.#why;
  }

  /**
   * Follows how speech is to be sent. Configuring the encoder anew can be heard, so that small steps are left out, and the
   * way up goes in steps of two seconds.
   * @param {number} now ms @param {{bitrate: number, expectedLossPercent: number}} plan
   */
  follow(now, { bitrate, expectedLossPercent }) {
    const next = {
      bitrate: Math.max(Math.floor(bitrate / BITRATE_STEP) * BITRATE_STEP, LOWEST_BITRATE),
      loss: Math.min(Math.ceil(expectedLossPercent / LOSS_STEP) * LOSS_STEP, 100),
    };
    const isSame = next.bitrate === this.plan.bitrate && next.loss === this.plan.loss;
    if (isSame || (next.bitrate >= this.plan.bitrate && now < this.#changedAt + UP_EVERY_MS))
      return;
    this.plan = next;
    this.#changedAt = now;
    const encoder = this.#encoder;
    if (encoder?.state === 'configured')
      this.#attempt(encoder, () => encoder.configure(config(next)));
  }

  /** A microphone is open: an encoder that does not work is noticed before one speaks, and another is tried. */
  keepTrying() {
    if (this.#encoder?.state === 'configured' || !this.trials.isDue(this.clock())) return;
    if (this.#start()) this.#give(new Float32Array(FRAME), null);
  }

  /** @param {Float32Array} pcm @param {number} capturedAt @param {boolean} pauseFollows */
  encode(pcm, capturedAt, pauseFollows) {
    if (this.#about.length >= MOST_ENCODING && !this.#isStuck()) return;
    if (this.#encoder?.state !== 'configured') {
      if (!this.trials.isDue(this.clock()) || !this.#start()) return;
    }
    this.#give(pcm, { capturedAt, pauseFollows });
  }

  close() {
    const encoder = this.#encoder;
    this.#encoder = null;
    this.#about.length = 0;
    this.#fullSince = null;
    if (encoder && encoder.state !== 'closed') optional(() => encoder.close(), undefined);
  }

  /** Whether the encoder has given back nothing for too long: then it is dropped. */
  #isStuck() {
    const now = this.clock();
    this.#fullSince ??= now;
    if (now < this.#fullSince + STUCK_MS) return false;
    this.#failed(this.#encoder, 'late');
    return true;
  }

  /** @param {AudioEncoder | null} encoder @param {'late' | 'refused'} why */
  #failed(encoder, why = 'refused') {
    if (this.#encoder !== encoder) return;
    this.close();
    this.#why = why;
    this.trials.failed(this.clock());
  }

  /** @param {AudioEncoder | null} encoder @param {() => void} act @returns {boolean} whether it did not throw */
  #attempt(encoder, act) {
    try {
      act();
      return true;
    } catch {
      this.#failed(encoder);
      return false;
    }
  }

  /** @param {Float32Array} pcm @param {{capturedAt: number, pauseFollows: boolean} | null} about */
  #give(pcm, about) {
    const encoder = this.#encoder;
    this.#attempt(encoder, () => {
      const data = new AudioData({
        format: 'f32-planar',
        sampleRate: 48_000,
        numberOfFrames: FRAME,
        numberOfChannels: 1,
        timestamp: this.#timestamp,
        data: /** @type {Float32Array<ArrayBuffer>} */ (pcm),
      });
      this.#timestamp += 20_000;
      try {
        encoder?.encode(data);
        this.#about.push(about);
      } finally {
        data.close();
      }
    });
  }

  #start() {
    this.close();
    return this.#attempt(null, () => {
      const encoder = new AudioEncoder({
        output: (chunk) => {
          if (this.#encoder !== encoder) return;
          const about = this.#about.shift();
          this.#fullSince = null;
          this.trials.succeeded();
          if (!about) return;
          const frame = new Uint8Array(chunk.byteLength);
          chunk.copyTo(frame);
          this.encoded({ frame, ...about });
        },
        // The next frame begins with a new one.
        error: () => this.#failed(encoder),
      });
      encoder.configure(config(this.plan));
      this.#encoder = encoder;
    });
  }
}

/** @param {{bitrate: number, loss: number}} plan @returns {AudioEncoderConfig} */
function config({ bitrate, loss }) {
  // `application` is newer than the types; in-band repair needs it.
  const opus = {
    application: 'voip',
    signal: 'voice',
    frameDuration: 20_000,
    complexity: 5,
    packetlossperc: loss,
    useinbandfec: true,
  };
  return { codec: 'opus', sampleRate: 48_000, numberOfChannels: 1, bitrate, opus };
}

export class Capture {
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  /** @type {Map<AudioContext, AudioWorkletNode>} */
  #nodes = new Map();
  /** @type {AudioContext | null} for a microphone that the browser does not give at 48 kHz, as long as it is open */
  #atItsRate = null;
  #activity = new Activity();
  #talkedAt = -Infinity;
  #opening = 0;
  #sending = false;
  level = 0;
  muted = false;
  talking = false;
  /** @type {'voice' | 'push-to-talk' | 'always'} */
  activation = 'voice';
  /** The microphone's channels, and which of them is heard: 0 is the mean of all, else counted from 1. */
  channels = { count: 1, heard: 0 };
  #channel = 0;
  /** @type {DelayNode | null} plays the microphone to its own speaker */
  #monitor = null;
  /** @type {Processing} */
  processing = { echo: true, noise: true, gain: true };

  /**
   * @param {AudioContext} context with the worklet loaded
   * @param {() => number} clock ms
   * @param {{encoded: (encoded: Encoded) => void, changed: () => void, lost: () => void, ticked: (now: number) => void}} events
   *   `changed`: whether what one says can be encoded. `ticked`: every 20 ms while a microphone is open, in hidden pages too
   * @param {() => Promise<AudioContext>} contextAtItsRate one at the sound card's rate, with the worklets loaded
   */
  constructor(context, clock, events, contextAtItsRate) {
    this.clock = clock;
    this.events = events;
    this.contextAtItsRate = contextAtItsRate;
    this.encoder = new Encoder(events.encoded, clock, events.changed);
    /** The context of 48 kHz. */
    this.base = context;
    this.context = context;
    this.node = this.#nodeIn(context);
  }

  /** Takes the microphone's samples in another context, which has the worklet loaded. @param {AudioContext} context */
  moveTo(context) {
    if (context === this.base) return;
    this.base = context;
    if (this.#atItsRate) return;
    this.#enter(context);
    if (this.#stream) this.#connect(this.#stream).catch(() => this.#lost());
  }

  /** @param {AudioContext} context */
  #enter(context) {
    this.monitor(false);
    this.#source?.disconnect();
    this.#source = null;
    this.context = context;
    this.node = this.#nodeIn(context);
  }

  /** @param {AudioContext} context */
  #nodeIn(context) {
    const known = this.#nodes.get(context);
    if (known) return known;
    // One for good, as browsers keep some of each; without a microphone it hears silence, which goes nowhere.
    const name = context === this.#atItsRate ? 'voicemesh-capture-rate' : 'voicemesh-capture';
    const node = new AudioWorkletNode(context, name, {
      numberOfInputs: 1,
      numberOfOutputs: 0,
      channelCountMode: 'max',
    });
    node.port.postMessage({ channel: this.#channel });
    this.#nodes.set(context, node);
    node.port.onmessage = ({ data }) => {
      if (!this.isOpen || context !== this.context) return;
      this.channels = { count: data.channelCount, heard: data.mix };
      this.#frame(data.pcm, data.began);
      this.events.ticked(this.clock());
    };
    return node;
  }

  /**
   * Older versions of Firefox give a microphone at the rate of the system's speaker, and to contexts of this rate only.
   * @param {MediaStream} stream
   */
  async #connect(stream) {
    if (this.#attach(stream)) return;
    const context = await this.contextAtItsRate();
    // Another microphone, or another way to this one, was faster.
    if (stream !== this.#stream || this.#atItsRate) return void context.close();
    this.#atItsRate = context;
    this.#enter(context);
    if (!this.#attach(stream)) throw new DOMException('', 'NotSupportedError');
  }

  /** @param {MediaStream} stream @returns {boolean} whether the rates agree */
  #attach(stream) {
    try {
      this.#source = this.context.createMediaStreamSource(stream);
    } catch (error) {
      if (error instanceof DOMException && error.name === 'NotSupportedError') return false;
      throw error;
    }
    this.#source.connect(this.node);
    return true;
  }

  /** Which channel is heard, counted from 1; 0: the one that is best. @param {number} channel */
  set channel(channel) {
    this.#channel = channel;
    for (const node of this.#nodes.values()) node.port.postMessage({ channel });
  }

  get isMonitored() {
    return this.#monitor !== null;
  }

  /** Whether one hears oneself, a second later. @param {boolean} on */
  monitor(on) {
    if (this.#monitor) {
      // From its source as well, which would keep it.
      this.#source?.disconnect(this.#monitor);
      this.#monitor.disconnect();
    }
    this.#monitor = null;
    if (!on || !this.#source) return;
    this.#monitor = new DelayNode(this.context, {
      delayTime: MONITOR_DELAY_S,
      maxDelayTime: MONITOR_DELAY_S,
    });
    this.#source.connect(this.#monitor).connect(this.context.destination);
  }

  get isOpen() {
    return this.#stream !== null;
  }

  /** Whether what one says goes out. */
  get sending() {
    return this.#sending && !this.encoder.fails;
  }

  get label() {
    return this.#stream?.getAudioTracks()[0]?.label ?? '';
  }

  /**
   * Opens a microphone in place of the one before.
   * @param {string} deviceId '' for the default
   * @throws {DOMException} as getUserMedia does
   */
  async open(deviceId) {
    const opening = ++this.#opening;
    const { echo, noise, gain } = this.processing;
    const stream = await openMicrophone({
      audio: {
        ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
        // All its channels: which of them is heard, the worklet decides.
        echoCancellation: echo,
        noiseSuppression: noise,
        autoGainControl: gain,
        channelCount: { ideal: echo || noise || gain ? MOST_PROCESSED_CHANNELS : MOST_CHANNELS },
      },
    });
    if (opening !== this.#opening) {
      stop(stream);
      return;
    }
    this.#release();
    this.#stream = stream;
    stream.getAudioTracks()[0].onended = () => {
      if (this.#stream === stream) this.#lost();
    };
    await this.#connect(stream);
    this.encoder.keepTrying();
  }

  #lost() {
    this.close();
    this.events.lost();
  }

  /** Closes the microphone; what was being said ends as before a pause. */
  close() {
    this.#opening += 1;
    this.#pause(this.clock());
    this.#release();
    this.level = 0;
  }

  /** The room is left. */
  end() {
    this.close();
    this.encoder.close();
  }

  /** @param {boolean} talking push-to-talk */
  setTalking(talking) {
    if (this.talking && !talking) this.#talkedAt = this.clock();
    this.talking = talking;
  }

  #release() {
    this.monitor(false);
    this.#source?.disconnect();
    if (this.#stream) stop(this.#stream);
    this.#source = this.#stream = null;
    if (this.#atItsRate) {
      this.#nodes.delete(this.#atItsRate);
      this.#atItsRate.close().catch(() => {});
      this.#atItsRate = null;
      this.#enter(this.base);
    }
    this.#activity.reset();
  }

  /** @param {Float32Array} pcm @param {number} began in seconds of the context */
  #frame(pcm, began) {
    const now = this.clock();
    const ageMs = (this.context.currentTime - began) * 1000;
    const capturedAt = now - Math.min(Math.max(ageMs, 20), 200);
    const db = levelDb(pcm);
    this.level = this.muted
      ? 0
      : Math.max(this.level * 0.8, Math.min(Math.max((db + 60) / 50, 0), 1));
    this.encoder.keepTrying();
    for (const frame of this.#wanted({ pcm, capturedAt }, now)) {
      this.#sending = true;
      this.encoder.encode(frame.pcm, frame.capturedAt, false);
    }
  }

  /** What of this frame and those before it is to be sent now. @param {Captured} frame @param {number} now @returns {Captured[]} */
  #wanted(frame, now) {
    if (this.muted) {
      this.#activity.reset();
      return this.#pause(frame.capturedAt);
    }
    if (this.activation === 'always') return [frame];
    if (this.activation === 'push-to-talk') {
      return this.talking || now < this.#talkedAt + RELEASE_MS
        ? [frame]
        : this.#pause(frame.capturedAt);
    }
    const frames = this.#activity.push(frame);
    return frames.length > 0 ? frames : this.#pause(frame.capturedAt);
  }

  /** One silent frame that says so ends what was being sent. @param {number} capturedAt @returns {Captured[]} */
  #pause(capturedAt) {
    if (this.#sending) this.encoder.encode(new Float32Array(FRAME), capturedAt, true);
    this.#sending = false;
    return [];
  }
}

/** @param {MediaStream} stream */
function stop(stream) {
  for (const track of stream.getTracks()) {
    track.onended = null;
    track.stop();
  }
}
