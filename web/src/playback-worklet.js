/** Plays what it is sent and tells how that goes. Its messages are the page's timer, too: they come in hidden tabs. */

import { Mixer } from './playout.js';

/** Quanta from one message to the next: 10.7 ms while anybody is heard, 21.3 ms else. */
const TICK = 4;
const IDLE_TICK = 8;

class Playback extends AudioWorkletProcessor {
  #mixer = new Mixer();
  #quanta = 0;
  #isAnybodyHeard = false;
  /** Used again: what is sent is a copy. @type {Record<string, any>[]} */
  #reports = [];
  #tick = { type: 'tick', people: /** @type {Record<string, any>[]} */ ([]), time: 0 };

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.#take(data);
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, [channels]) {
    if (channels.length > 0) this.#mixer.render(channels[0]);
    for (let i = 1; i < channels.length; i += 1) channels[i].set(channels[0]);
    this.#quanta += 1;
    if (this.#quanta >= (this.#isAnybodyHeard ? TICK : IDLE_TICK)) this.#report();
    return true;
  }

  /** @param {any} message */
  #take(message) {
    const { type, id } = message;
    if (type === 'frame') this.#mixer.player(id)?.push(message);
    else if (type === 'lost') this.#mixer.player(id)?.lost(message);
    else if (type === 'pause') this.#mixer.player(id)?.pause();
    else if (type === 'target') this.#mixer.player(id)?.setTarget(message.ms);
    else if (type === 'gain') this.#mixer.setGain(id, message.gain);
    else if (type === 'remove') this.#mixer.remove(id);
    else if (type === 'deafen') this.#mixer.isDeafened = message.on;
  }

  #report() {
    const { people } = this.#tick;
    const samples = this.#quanta * 128;
    people.length = 0;
    this.#isAnybodyHeard = false;
    for (const voice of this.#mixer.voices) {
      const { id, player, power, silent } = voice;
      this.#isAnybodyHeard ||= player.isPlaying;
      // Once more after the last that was heard, to say that it is over.
      if (!player.isPlaying && silent > 2 * samples) continue;
      const { playingOffset, ...stats } = player.stats;
      const report = (this.#reports[people.length] ??= {});
      people.push(
        Object.assign(report, stats, {
          id,
          level: Math.min(1, Math.sqrt(power / samples)),
          playingOffsetMs: playingOffset,
        }),
      );
      voice.power = 0;
    }
    this.#quanta = 0;
    this.#tick.time = currentTime;
    this.port.postMessage(this.#tick);
  }
}

registerProcessor('voicemesh-playback', Playback);
