/**
 * From packets to the speaker: jitter buffer → decoder (WebCodecs) → worklet, one of each for each speaker.
 *
 * @typedef {import('./session.js').Heard} Heard
 * @typedef {{sequence: number, offsetMs: number, frameMs: number}} Playing
 * @typedef {{kind: 'frame' | 'lost' | 'pause', sequence: number, frameMs: number, heldMs: number, pcm: Float32Array | null}} Entry
 */

import { JitterBuffer } from './jitter.js';
import { optional } from './optional.js';
import { Trials } from './trials.js';

const MOST_REMOTES = 64;
/** Frames before a decoder at most; beyond, it has stopped and is made anew. */
const MOST_DECODING = 64;
/** So many failures in a row may be broken frames, and one decoder that stops may have been a page that was busy. */
const [HICCUPS, STOP_COUNTS] = [9, 5];
const SPEAKS_FOR_MS = 250;
const REPORT_EVERY_MS = 1000;
/** The first report that says that speech comes late (PROTOCOL.md, section 8). */
const FIRST_LATE_REPORT_MS = 200;
const LATE_MS = 250;
/** Relayed speech that goes on and of which nothing has come for this long has stopped … */
const STALLED_MS = 200;
/** … until its speaker may be gone. */
const SILENT_MS = 2000;
/** Speech that stopped in the middle for so long met an outage: what queued meanwhile makes frames wait for this long. */
const CATCHES_UP_MS = 4000;
const PAUSES = 8;
const LOSS_SMOOTHING = 0.2;
/** Frames after which a loss is shown: two seconds of speech. */
const ENOUGH_FRAMES = 100;

/** How long an Opus packet lasts, in ms (RFC 6716, section 3.1). @param {Uint8Array} packet */
export function opusMs(packet) {
  const [toc, second = 0] = packet;
  const config = toc >> 3;
  const one =
    config < 12
      ? [10, 20, 40, 60][config & 3]
      : config < 16
        ? [10, 20][config & 1]
        : [2.5, 5, 10, 20][config & 3];
  return one * ([1, 2, 2][toc & 3] ?? second & 0x3f);
}

/** One speaker's way to the worklet. */
export class RemoteAudio {
  #jitter = new JitterBuffer({ frameMs: 20 });
  /** @type {AudioDecoder | null} */
  #decoder = null;
  /** @type {Entry[]} in order; what is being decoded holds up what comes after */
  #entries = [];
  /** @type {number[]} frames after which there was a pause */
  #pauses = [];
  #talkspurt = 0;
  #targetMs = 0;
  #reportedAt = 0;
  #reportedLate = false;
  #newest = -1;
  #goesOnRelayed = false;
  #catchesUpUntil = -Infinity;
  heardAt = -Infinity;
  /** The listener's wish, and the speaker's. */
  gain = 1;
  volume = 1;
  frameMs = 20;
  level = 0;
  bufferedMs = 0;
  concealedMs = 0;
  /** @type {number | null} 0 to 1, smoothed; null until there is enough to tell */
  loss = null;
  #first = { lost: 0, expected: 0 };
  /** @type {Playing | null} */
  playing = null;
  #trials = new Trials(HICCUPS, () => {});
  #now = 0;

  /** @param {string} id @param {(message: object, transfer?: Transferable[]) => void} post to the worklet */
  constructor(id, post) {
    this.id = id;
    this.post = post;
  }

  /** Whether this browser decodes nothing of what they say. */
  get fails() {
    return this.#trials.fails;
  }

  /** @param {number} now */
  speaks(now) {
    return now < this.heardAt + SPEAKS_FOR_MS;
  }

  get stats() {
    return this.#jitter.stats;
  }

  /** @param {number} now @param {Heard} heard */
  receive(now, { sequence, talkspurt, behind, pauseFollows, frame, goesOnRelayed = false }) {
    if (behind === 0 && sequence >= this.#newest) {
      this.#newest = sequence;
      this.#goesOnRelayed = goesOnRelayed && (frame.length > 0 || this.#goesOnRelayed);
    }
    if (behind === 0 && frame.length > 0) {
      this.frameMs = opusMs(frame);
      // -Infinity after a pause that was announced.
      const outage = Number.isFinite(this.heardAt) && now >= this.heardAt + SILENT_MS;
      if (outage) this.#catchesUpUntil = now + CATCHES_UP_MS;
      this.heardAt = pauseFollows ? -Infinity : now;
      if (pauseFollows && !this.#pauses.includes(sequence)) {
        this.#pauses.push(sequence);
        if (this.#pauses.length > PAUSES) {
          this.#pauses.shift();
          this.#talkspurt += 1;
        }
      }
    }
    const { frameMs } = this;
    if (frameMs >= 10 && frameMs <= 120)
      this.#jitter.insert(now, { sequence, talkspurt, behind, pauseFollows, frame, frameMs });
    this.tick(now);
  }

  /** @param {number} now */
  tick(now) {
    this.#now = now;
    for (const release of this.#jitter.take(now)) this.#take(release);
    const targetMs = Math.round(this.#jitter.targetMs);
    if (targetMs !== this.#targetMs) {
      this.#targetMs = targetMs;
      this.post({ type: 'target', id: this.id, ms: targetMs });
    }
  }

  /** For how long relayed speech has stopped in the middle. @param {number} now */
  #stalledMs(now) {
    const silentMs = now - this.heardAt;
    const mayStall = this.#goesOnRelayed && !this.#catchesUp(now);
    return mayStall && silentMs >= STALLED_MS && silentMs < SILENT_MS ? silentMs : 0;
  }

  /** After an outage, what waits to be played says nothing of the way. @param {number} now */
  #catchesUp(now) {
    return now < this.#catchesUpUntil;
  }

  /**
   * How well they are received, about every second while they are heard, and at once when their speech begins to come late:
   * a report that waited for the next frame would say so when it is over.
   * @param {number} now
   */
  report(now) {
    const stalledMs = this.#stalledMs(now);
    const lateMs = this.#catchesUp(now) ? 0 : Math.max(this.bufferedMs, stalledMs);
    const isLate = now < this.heardAt + SILENT_MS && lateMs >= LATE_MS;
    const every = isLate && !this.#reportedLate ? FIRST_LATE_REPORT_MS : REPORT_EVERY_MS;
    if (now < this.#reportedAt + every) return null;
    this.#reportedAt = now;
    this.#reportedLate = isLate;
    const report = this.#jitter.takeReport();
    const bufferMs = Math.round(Math.min(lateMs, 65_535));
    if (report.expected > 0) this.#tellLoss(report);
    else if (stalledMs > 0) report.expected = 1;
    else return null;
    return { ...report, bufferMs };
  }

  /** Of the first frames, a few that are lost say nothing of the way. @param {{lost: number, expected: number}} report */
  #tellLoss({ lost, expected }) {
    if (this.loss !== null) {
      this.loss += LOSS_SMOOTHING * (lost / expected - this.loss);
      return;
    }
    this.#first.lost += lost;
    this.#first.expected += expected;
    if (this.#first.expected >= ENOUGH_FRAMES) this.loss = this.#first.lost / this.#first.expected;
  }

  /** @param {number} sequence @returns {import('./clocks.js').Place} */
  place(sequence) {
    return {
      sequence,
      talkspurt: this.#talkspurt + this.#pauses.filter((pause) => pause < sequence).length,
    };
  }

  close() {
    this.#stop();
    this.post({ type: 'remove', id: this.id });
  }

  /** @param {import('./jitter.js').Release} release */
  #take(release) {
    const { kind, sequence } = release;
    if (this.#entries.length >= MOST_DECODING) this.#failed(STOP_COUNTS);
    const isSpeech = kind === 'frame' && release.frame.length > 0;
    const isDecoded = isSpeech && this.#hasDecoder();
    if (!isDecoded) {
      const frameMs = 'frameMs' in release ? release.frameMs : this.frameMs;
      this.#entries.push({
        kind: isSpeech ? 'lost' : kind === 'frame' ? 'pause' : kind,
        sequence,
        frameMs,
        heldMs: 0,
        pcm: null,
      });
      this.#flush();
      return;
    }
    this.#entries.push({
      kind,
      sequence,
      frameMs: release.frameMs,
      heldMs: release.heldMs,
      pcm: null,
    });
    const data = /** @type {Uint8Array<ArrayBuffer>} */ (release.frame);
    try {
      this.#decoder?.decode(
        new EncodedAudioChunk({ type: 'key', timestamp: sequence * 20_000, data }),
      );
    } catch {
      this.#failed();
    }
  }

  /** Whether there is a decoder, made now if there was none. What cannot be decoded is concealed. */
  #hasDecoder() {
    if (this.#decoder?.state === 'configured') return true;
    if (!this.#trials.isDue(this.#now)) return false;
    try {
      const decoder = new AudioDecoder({
        output: (data) => {
          if (this.#decoder === decoder) this.#decoded(data);
          data.close();
        },
        // The next frame begins with a new one.
        error: () => {
          if (this.#decoder === decoder) this.#failed();
        },
      });
      decoder.configure({ codec: 'opus', sampleRate: 48_000, numberOfChannels: 1 });
      this.#decoder = decoder;
      return true;
    } catch {
      this.#trials.failed(this.#now);
      return false;
    }
  }

  /** @param {number} [failures] as how many it counts */
  #failed(failures) {
    this.#trials.failed(this.#now, failures);
    this.#stop();
  }

  #stop() {
    const decoder = this.#decoder;
    this.#decoder = null;
    if (decoder && decoder.state !== 'closed') optional(() => decoder.close(), undefined);
    for (const entry of this.#entries)
      if (entry.kind === 'frame' && !entry.pcm) entry.kind = 'lost';
    this.#flush();
  }

  /** @param {AudioData} data */
  #decoded(data) {
    const entry = this.#entries.find((waiting) => waiting.kind === 'frame' && !waiting.pcm);
    if (!entry) return;
    const pcm = new Float32Array(data.numberOfFrames);
    try {
      data.copyTo(pcm, { planeIndex: 0, format: 'f32-planar' });
    } catch {
      return this.#failed();
    }
    this.#trials.succeeded();
    entry.pcm = pcm;
    this.#flush();
  }

  #flush() {
    while (this.#entries.length > 0) {
      const { kind, sequence, frameMs, heldMs, pcm } = this.#entries[0];
      if (kind === 'frame' && !pcm) return;
      this.#entries.shift();
      this.post(
        { type: kind, id: this.id, sequence, frameMs, heldMs, pcm },
        pcm ? [pcm.buffer] : [],
      );
    }
  }
}

/** Whether the browser knows its output's latency without asking the sound system, which Firefox does. */
const answersAtOnce = () => !/ Gecko\//.test(globalThis.navigator?.userAgent ?? '');

export class Playback {
  /** @type {Map<string, RemoteAudio>} */
  remotes = new Map();
  /** From a sample leaving the worklet until it is heard, in ms, as far as the browser tells. */
  outputLatencyMs = 0;

  /**
   * @param {import('./output.js').Context} context with the worklet loaded
   * @param {() => number} clock ms
   * @param {(now: number) => void} ticked every 10 to 20 ms, in hidden pages too
   */
  constructor(context, clock, ticked) {
    this.context = context;
    this.clock = clock;
    this.node = new AudioWorkletNode(context, 'voicemesh-playback', {
      numberOfInputs: 0,
      numberOfOutputs: 1,
      outputChannelCount: [1],
    });
    this.node.port.onmessage = ({ data }) => {
      if (data.type !== 'tick') return;
      this.#played(data.people);
      ticked(this.clock());
    };
    /** The overall volume. */
    this.overall = new GainNode(context);
    this.node.connect(this.overall);
    this.overall.connect(context.destination);
    for (const event of ['statechange', 'sinkchange'])
      context.addEventListener(event, () => this.measureLatency());
    this.measureLatency();
  }

  /** @param {number} now @param {Heard} heard */
  receive(now, heard) {
    let remote = this.remotes.get(heard.peer);
    if (!remote) {
      if (this.remotes.size >= MOST_REMOTES) this.#makeRoom(now);
      if (this.remotes.size >= MOST_REMOTES) return;
      remote = new RemoteAudio(heard.peer, (message, transfer = []) =>
        this.#post(message, transfer),
      );
      this.remotes.set(heard.peer, remote);
      this.measureLatency();
    }
    if (remote.volume !== heard.volume) {
      remote.volume = heard.volume;
      this.#setGain(heard.peer);
    }
    remote.receive(now, heard);
  }

  /** What is to be played while nothing plays would wait there without end, and come late. @param {any} message @param {Transferable[]} transfer */
  #post(message, transfer) {
    if ('frameMs' in message && this.context.state !== 'running') return;
    this.node.port.postMessage(message, transfer);
  }

  /** @param {number} now */
  tick(now) {
    for (const remote of this.remotes.values()) remote.tick(now);
  }

  /** How loud one peer shall be heard here. @param {string} id @param {number} gain */
  setGain(id, gain) {
    const remote = this.remotes.get(id);
    if (!remote) return;
    remote.gain = gain;
    this.#setGain(id);
  }

  /** That, and how loud the speaker wants to be heard. @param {string} id */
  #setGain(id) {
    const remote = this.remotes.get(id);
    if (remote) this.node.port.postMessage({ type: 'gain', id, gain: remote.gain * remote.volume });
  }

  /** @param {boolean} on */
  setDeafened(on) {
    this.node.port.postMessage({ type: 'deafen', on });
  }

  /**
   * Asks the browser for `outputLatencyMs` again: when the output starts or changes, or another person is heard. Never in
   * Firefox: its answer waits for the thread of the sound, which may be waiting for the page's.
   */
  measureLatency() {
    const { baseLatency = 0 } = this.context;
    this.outputLatencyMs =
      1000 * (baseLatency + (answersAtOnce() ? this.context.outputLatency || 0 : 0));
  }

  /** @param {string} id */
  remove(id) {
    this.remotes.get(id)?.close();
    this.remotes.delete(id);
  }

  /** The room is left. */
  end() {
    for (const id of [...this.remotes.keys()]) this.remove(id);
  }

  /** Removes the one that has been silent longest, unless it speaks. @param {number} now */
  #makeRoom(now) {
    const [oldest] = [...this.remotes.values()].sort((a, b) => a.heardAt - b.heardAt);
    if (!oldest.speaks(now)) this.remove(oldest.id);
  }

  /** @param {{id: string, level: number, bufferedMs: number, playingSequence: number | null, playingOffsetMs: number, concealedMs: number}[]} people */
  #played(people) {
    for (const remote of this.remotes.values()) remote.level *= 0.85;
    for (const person of people) {
      const remote = this.remotes.get(person.id);
      if (!remote) continue;
      remote.level = Math.max(remote.level, person.level);
      remote.bufferedMs = person.bufferedMs;
      remote.concealedMs = person.concealedMs;
      const sequence = person.playingSequence;
      remote.playing =
        typeof sequence === 'number' && sequence >= 0
          ? { sequence, offsetMs: person.playingOffsetMs, frameMs: remote.frameMs }
          : null;
    }
  }
}
