/**
 * Decoded sound of each speaker, kept for as long as it should wait, and the sum of all: the playback worklet's work.
 *
 * The delay is how long the fastest frames of late wait until they are heard. It changes by cutting or repeating whole
 * pitch periods, in pauses first; what is missing is concealed by repeating the last ones. 48 kHz mono; lengths are in
 * samples unless a name says otherwise. `render` allocates nothing while all goes well.
 */

const MS = 48;
/** What was played stays for so long, to be repeated; so much waits at most. */
const HISTORY = 40 * MS;
const MOST_WAITING = 1000 * MS;
const LONGEST_FRAME = 120 * MS;

/** A piece cut or repeated: pitches of 400 to 67 Hz (higher ones match at a multiple). */
const SHORTEST = 2.5 * MS;
const LONGEST = 15 * MS;
/** Over how much pieces fade into one another, and how much is compared to find them. */
const OVERLAP = 5 * MS;
const WINDOW = 10 * MS;

/** Concealment is full for so long, then fades to nothing. It repeats at least so much: single periods buzz. */
const CONCEALMENT_FULL = 60 * MS;
const CONCEALMENT_END = 100 * MS;
const CYCLE = 10 * MS;

/** So much too little or too much delay is changed in a pause, in running speech, and in haste. */
const TOO_LITTLE = 2 * MS;
const TOO_MUCH = 2.5 * MS;
const TOO_MUCH_IN_SPEECH = 17 * MS;
const URGENT = 50 * MS;
/** How often speech is changed at most, and how alike the pieces must be. */
const CALM = { interval: 50 * MS, likeness: 0.8 };
const HASTE = { interval: 20 * MS, likeness: 0.4 };
/** Of what the latest frames waited at least, so much stays; how many these are, and what each tells of the longest wait. */
const KEPT = 5 * MS;
const LATEST = 8;
const WEIGHT = 0.006;

/** A pause is below −50 dBFS, or 25 dB below the last words. */
const PAUSE = 0.00316;
const PAUSE_BELOW_SPEECH = 0.056;
const LOUDNESS_KEPT = 0.9885;
/** What Opus hands out late. */
const CODEC_DELAY = 6.5 * MS;

/** One speaker. */
export class Player {
  isPlaying = false;
  #concealed = 0;
  #stretched = 0;
  #pcm = new Float32Array(HISTORY + MOST_WAITING + 3 * LONGEST_FRAME);
  #start = HISTORY;
  #end = HISTORY;
  /** Where each frame begins, and what is none. @type {{at: number, sequence: number | null}[]} */
  #marks = [];
  #newest = -Infinity;
  #hasEnded = true;
  /** What there is at the end. @type {'silence' | 'speech' | 'concealment'} */
  #tail = 'silence';

  #target = 20 * MS;
  /** How long frames lately waited at most and at least, less what was added to the delay since. */
  #longest = 0;
  #shortest = Infinity;
  #shortestBefore = Infinity;
  #arrived = 0;
  #added = 0;
  /** Concealed while nothing was here, perhaps in place of something lost. */
  #waited = 0;
  #rendered = 0;
  #changeAt = 0;
  #loudness = 0;

  #concealment = new Float32Array(2 * CYCLE);
  #cycle = CYCLE;
  /** 0: it has no pitch. */
  #period = 0;
  #phase = 0;
  #age = CONCEALMENT_END;
  #jump = 0;

  /** How far behind the fastest frames speech should be. @param {number} ms */
  setTarget(ms) {
    if (ms >= 0) this.#target = Math.round(Math.min(ms, 500) * MS);
  }

  /** Takes a decoded frame, in order; it arrived `heldMs` ago. @param {{sequence: number, pcm: Float32Array, heldMs?: number}} frame */
  push({ sequence, pcm, heldMs = 0 }) {
    if (
      !Number.isFinite(sequence) ||
      !(pcm instanceof Float32Array && pcm.length > 0 && pcm.length <= LONGEST_FRAME)
    )
      return;
    if (sequence <= this.#newest && sequence > this.#newest - 1000) return;
    // A gap that was not reported.
    if (sequence > this.#newest + 1)
      this.lost({ sequence: sequence - 1, frameMs: pcm.length / MS });
    this.#newest = sequence;
    const held = Math.min(Math.max(heldMs, 0), 1000) * MS || 0;
    const isFirst = this.#hasEnded;
    if (isFirst) this.#begin(held);
    const wait = this.#waiting() + held - this.#added;
    this.#longest = isFirst
      ? wait
      : Math.max(wait, this.#longest + (wait - this.#longest) * WEIGHT);
    this.#arrived += 1;
    if (isFirst || this.#arrived % LATEST === 0)
      [this.#shortestBefore, this.#shortest] = [isFirst ? wait : this.#shortest, wait];
    this.#shortest = Math.min(this.#shortest, wait);
    this.#waited = 0;
    this.#append(sequence, pcm);
    this.#loudness = Math.max(rms(pcm, 0, pcm.length), this.#loudness * LOUDNESS_KEPT);
    if (this.#waiting() > MOST_WAITING) this.#cut(this.#waiting() - MOST_WAITING, 0);
  }

  /** A frame will not come. @param {{sequence: number, frameMs?: number}} frame */
  lost({ sequence, frameMs = 20 }) {
    if (sequence > this.#newest) this.#newest = sequence;
    const samples = Math.round(frameMs * MS);
    if (this.#hasEnded || !(samples > 0 && samples <= LONGEST_FRAME)) return;
    // What was concealed while waiting stands for it, unless the delay should grow: this is the moment.
    const filled = Math.round(
      Math.max(0, Math.min(this.#delay() - this.#target, this.#waited, samples)),
    );
    this.#waited -= filled;
    this.#added -= filled;
    if (this.#waiting() + samples <= MOST_WAITING) this.#extend(samples - filled);
  }

  /** Nothing is missing until the next frame. */
  pause() {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    if (this.#waiting() < OVERLAP) this.#extend(OVERLAP);
    for (let i = 1; i <= OVERLAP; i += 1) this.#pcm[this.#end - i] *= (i - 1) / OVERLAP;
    this.#tail = 'silence';
  }

  /** Writes what is heard next; tells whether anything is. @param {Float32Array} out */
  render(out) {
    let done = 0;
    while (done < out.length && this.isPlaying) {
      this.#keepPace();
      const wanted = Math.min(out.length - done, 128);
      if (this.#waiting() < wanted) this.#starve(wanted - this.#waiting());
      const count = Math.min(wanted, this.#waiting());
      for (let i = 0; i < count; i += 1) out[done + i] = this.#pcm[this.#start + i];
      this.#start += count;
      this.#rendered += count;
      done += count;
      this.isPlaying = count === wanted;
    }
    out.fill(0, done);
    while (this.#marks.length > 1 && this.#marks[1].at < this.#start - HISTORY) this.#marks.shift();
    return done > 0;
  }

  get stats() {
    const at = this.#start - CODEC_DELAY;
    const mark = this.isPlaying ? this.#marks.findLast((each) => each.at <= at) : null;
    return {
      bufferedMs: this.isPlaying ? this.#waiting() / MS : 0,
      delayMs: this.isPlaying ? this.#delay() / MS : 0,
      concealedMs: this.#concealed / MS,
      stretchedMs: this.#stretched / MS,
      /** The frame that is heard, null in pauses and concealment; and how far into it, in ms. */
      playingSequence: mark ? mark.sequence : null,
      playingOffset: mark ? (at - mark.at) / MS : 0,
    };
  }

  #waiting() {
    return this.#end - this.#start;
  }

  #delay() {
    return this.#longest + this.#added;
  }

  /** A talkspurt begins, after as much silence as it should wait. @param {number} held */
  #begin(held) {
    if (!this.isPlaying) {
      this.#end = this.#start;
      this.#pcm.fill(0, this.#start - HISTORY, this.#start);
      this.#marks = [];
    }
    this.isPlaying = true;
    this.#hasEnded = false;
    this.#added = this.#rendered = this.#changeAt = this.#waited = 0;
    this.#tail = 'silence';
    this.#age = CONCEALMENT_END;
    this.#extend(Math.max(0, this.#target - Math.round(held) - this.#waiting()));
    this.#tail = 'silence';
  }

  /** Appends a frame so that it follows smoothly. @param {number} sequence @param {Float32Array} pcm */
  #append(sequence, pcm) {
    const buffer = this.#pcm;
    this.#makeRoom(LONGEST_FRAME);
    let [faded, likeness] = [0, 0];
    if (this.#tail !== 'speech') {
      // The concealment goes over into the frame where it resembles it most.
      faded = Math.min(OVERLAP, pcm.length);
      const [end, concealed, least] = [
        this.#end,
        this.#concealed,
        -Math.min(this.#period >> 1, this.#age, this.#waiting()),
      ];
      const most =
        this.#age < CONCEALMENT_END && faded === OVERLAP ? least + this.#period : -Infinity;
      this.#extend(LONGEST + OVERLAP);
      buffer.set(pcm.subarray(0, faded), this.#end);
      const shift = find(least, most, (at) => alike(buffer, this.#end, end + at, OVERLAP));
      likeness = found.likeness;
      const by = likeness >= HASTE.likeness ? shift : 0;
      this.#end = end + by;
      this.#added += by;
      this.#concealed = concealed + by;
    }
    this.#mark(sequence);
    for (let i = 0; i < pcm.length; i += 1) {
      const sample = Math.abs(pcm[i]) <= 4 ? pcm[i] : 0;
      const at = this.#end + i;
      buffer[at] = i < faded ? fade(buffer[at], sample, (i + 1) / (faded + 1), likeness) : sample;
    }
    this.#end += pcm.length;
    this.#tail = 'speech';
  }

  /** Appends concealment: how the sound probably goes on. @param {number} samples */
  #extend(samples) {
    this.#makeRoom(samples);
    if (this.#tail === 'speech') this.#prepareConcealment();
    if (this.#tail !== 'concealment') this.#mark(null);
    if (this.#age < CONCEALMENT_END) this.#concealed += samples;
    this.#tail = 'concealment';
    for (let i = 0; i < samples; i += 1) {
      const share = Math.max(
        0,
        Math.min(1, (CONCEALMENT_END - this.#age) / (CONCEALMENT_END - CONCEALMENT_FULL)),
      );
      const left = Math.max(0, 1 - this.#age / OVERLAP);
      this.#pcm[this.#end + i] =
        (this.#concealment[this.#phase] + this.#jump * left * left) * share;
      this.#phase = (this.#phase + 1) % this.#cycle;
      this.#age += 1;
    }
    this.#end += samples;
  }

  /** Takes from the last of the speech what to repeat. */
  #prepareConcealment() {
    const [buffer, end] = [this.#pcm, this.#end];
    const here = end - WINDOW;
    const lag = find(SHORTEST, LONGEST, (each) => alike(buffer, here, here - each, WINDOW));
    this.#period = found.likeness > HASTE.likeness ? lag : 0;
    this.#cycle = this.#period > 0 ? lag * Math.ceil(CYCLE / lag) : 2 * CYCLE;
    const from = end - this.#cycle;
    for (let i = 0; i < this.#cycle; i += 1) {
      // Its end goes over into what was before its beginning.
      const share = (i + 1 - this.#cycle + OVERLAP) / (OVERLAP + 1);
      const sample = buffer[from + i];
      this.#concealment[i] =
        share > 0 ? fade(sample, buffer[from + i - this.#cycle], share, found.likeness) : sample;
    }
    this.#jump = buffer[end - 1] - buffer[from - 1];
    this.#phase = this.#age = 0;
  }

  /** Nothing is here: conceal for a while, then be silent. @param {number} missing */
  #starve(missing) {
    if (this.#tail === 'concealment' && this.#age >= CONCEALMENT_END) this.#hasEnded = true;
    if (this.#hasEnded) return;
    this.#extend(missing);
    this.#added += missing;
    this.#waited += missing;
  }

  /** Makes what waits shorter or longer, if the delay should change and it can be done well. */
  #keepPace() {
    if (this.#hasEnded || this.#rendered < this.#changeAt) return;
    const excess = this.#delay() - this.#target;
    const start = this.#start;
    const waiting = this.#waiting();
    if (-excess > TOO_LITTLE && waiting >= OVERLAP) {
      const most = Math.min(LONGEST, Math.max(2 * SHORTEST, Math.ceil(-excess)));
      if (this.#isQuiet(start - LONGEST, start + WINDOW)) this.#cut(-most, 0);
      else this.#changeSpeech(-excess > URGENT ? HASTE : CALM, -1, most);
      return;
    }
    const most = Math.floor(
      Math.min(
        excess,
        waiting - WINDOW,
        Math.min(this.#shortest, this.#shortestBefore) + this.#added - KEPT,
      ),
    );
    if (most > TOO_MUCH && this.#isQuiet(start, start + most + OVERLAP)) this.#cut(most, 0);
    else if (most > TOO_MUCH_IN_SPEECH)
      this.#changeSpeech(most > URGENT ? HASTE : CALM, 1, Math.min(most, LONGEST));
  }

  /** @param {{interval: number, likeness: number}} how @param {1 | -1} way cut or repeat @param {number} most */
  #changeSpeech(how, way, most) {
    const [buffer, start] = [this.#pcm, this.#start];
    const window = Math.min(WINDOW, this.#waiting() - (way > 0 ? most : 0));
    if (window < OVERLAP) return;
    const lag = find(SHORTEST, most, (each) => alike(buffer, start, start + way * each, window));
    const isAlike = found.likeness >= how.likeness;
    if (isAlike) this.#cut(way * lag, found.likeness);
    this.#changeAt = this.#rendered + (isAlike ? how.interval : WINDOW);
  }

  /** @param {number} from @param {number} to */
  #isQuiet(from, to) {
    return (
      rms(this.#pcm, from, Math.min(to, this.#end)) <
      Math.max(PAUSE, this.#loudness * PAUSE_BELOW_SPEECH)
    );
  }

  /** Takes out so much of what comes next; repeats what was last if it is negative. */
  /** @param {number} samples @param {number} likeness */
  #cut(samples, likeness) {
    this.#makeRoom(-samples);
    const [buffer, start, end] = [this.#pcm, this.#start, this.#end];
    const faded = Math.min(OVERLAP, end - start - Math.max(0, samples));
    for (let i = 0; i < faded; i += 1) scratch[i] = buffer[start + i];
    buffer.copyWithin(start + Math.max(0, -samples), start + Math.max(0, samples), end);
    if (samples < 0) buffer.copyWithin(start, start + samples, start);
    for (let i = 0; i < faded; i += 1)
      buffer[start + i] = fade(scratch[i], buffer[start + i], (i + 1) / (faded + 1), likeness);
    this.#end -= samples;
    for (const mark of this.#marks) mark.at -= samples;
    this.#added -= samples;
    this.#stretched += Math.abs(samples);
  }

  /** For this and a frame more. @param {number} samples */
  #makeRoom(samples) {
    if (this.#end + samples + LONGEST_FRAME <= this.#pcm.length) return;
    const by = this.#start - HISTORY;
    this.#pcm.copyWithin(0, by, this.#end);
    this.#start -= by;
    this.#end -= by;
    for (const mark of this.#marks) mark.at -= by;
  }

  /** What is appended now is of this frame. @param {number | null} sequence */
  #mark(sequence) {
    while (this.#marks.length > 0 && this.#marks[this.#marks.length - 1].at >= this.#end)
      this.#marks.pop();
    this.#marks.push({ at: this.#end, sequence });
  }
}

const scratch = new Float32Array(OVERLAP);
const found = { likeness: 0 };

/** Where something is most alike; how much, is in `found`. */
/** @param {number} from @param {number} to @param {(at: number) => number} likenessAt */
function find(from, to, likenessAt) {
  let [best, most] = [from, -1];
  for (let round = 0; round < 2; round += 1) {
    const [low, high] =
      round === 0 ? [from, to] : [Math.max(from, best - 3), Math.min(to, best + 3)];
    for (let at = low; at <= high; at += round === 0 ? 4 : 1) {
      const likeness = likenessAt(at);
      if (likeness > most) [best, most] = [at, likeness];
    }
  }
  found.likeness = most;
  return best;
}

/** The normalised correlation of two pieces; 1 where both are silent. */
/** @param {Float32Array} pcm @param {number} a @param {number} b @param {number} count */
function alike(pcm, a, b, count) {
  let [product, one, other] = [0, 0, 0];
  for (let i = 0; i < count; i += 2) {
    product += pcm[a + i] * pcm[b + i];
    one += pcm[a + i] * pcm[a + i];
    other += pcm[b + i] * pcm[b + i];
  }
  const floor = 5e-9 * count;
  return one < floor && other < floor ? 1 : product / Math.sqrt(one * other + floor * floor);
}

/** From one sample to another: alike sounds keep their amplitude, others their power. */
/** @param {number} from @param {number} to @param {number} share @param {number} likeness */
function fade(from, to, share, likeness) {
  const rest = 1 - share;
  const kept = Math.max(0, Math.min(1, likeness));
  return (
    (from * rest + to * share) / Math.sqrt(rest * rest + share * share + 2 * kept * rest * share)
  );
}

/** @param {Float32Array} pcm @param {number} from @param {number} to */
function rms(pcm, from, to) {
  let power = 0;
  for (let i = from; i < to; i += 1) power += pcm[i] * pcm[i];
  return Math.sqrt(power / Math.max(1, to - from));
}

/** The sum passes unchanged up to −1 dBFS; above, the gain falls within 1 ms and rises 6 dB in about 230 ms. */
const LIMIT = 0.891;
const ATTACK = MS;
const RELEASE = 1.0000616;
/** From no gain to all of it. */
const RAMP = 10 * MS;

/** One more takes the place of who is silent for the longest, but for so long at least. */
export const MOST_PLAYERS = 64;
const FORGET = 10_000 * MS;
const MOST_GAINS = 1024;

/** @typedef {{id: string | number, player: Player, gain: number, silent: number, power: number}} Voice */

/** Adds up all speakers, each as loud as wanted. */
export class Mixer {
  /** `power`: since it was last set to 0. @type {Voice[]} */
  voices = [];
  isDeafened = false;
  /** Kept for those without a player, too. @type {Map<string | number, number>} */
  #gains = new Map();
  #opening = 1;
  #limit = 1;
  #block = new Float32Array(128);

  /** A speaker's player, made if need be; undefined if there are too many. @param {string | number} id */
  player(id) {
    for (const voice of this.voices) if (voice.id === id) return voice.player;
    if (this.voices.length >= MOST_PLAYERS) {
      const quietest = this.voices.reduce((a, b) => (b.silent > a.silent ? b : a));
      if (quietest.silent < FORGET) return undefined;
      this.voices.splice(this.voices.indexOf(quietest), 1);
    }
    const voice = { id, player: new Player(), gain: this.#gains.get(id) ?? 1, silent: 0, power: 0 };
    this.voices.push(voice);
    return voice.player;
  }

  /** @param {string | number} id */
  remove(id) {
    this.voices = this.voices.filter((voice) => voice.id !== id);
    this.#gains.delete(id);
  }

  /** 1: as sent. @param {string | number} id @param {number} gain */
  setGain(id, gain) {
    if (gain >= 0 && (this.#gains.has(id) || this.#gains.size < MOST_GAINS))
      this.#gains.set(id, Math.min(gain, 8));
  }

  /** @param {Float32Array} out */
  render(out) {
    if (this.#block.length !== out.length) this.#block = new Float32Array(out.length);
    const block = this.#block;
    out.fill(0);
    for (let v = 0; v < this.voices.length; v += 1) {
      const voice = this.voices[v];
      const wanted = this.#gains.get(voice.id) ?? 1;
      const isHeard = voice.player.render(block);
      voice.silent = isHeard ? 0 : voice.silent + out.length;
      for (let i = 0; i < out.length; i += 1) {
        voice.gain = isHeard ? toward(voice.gain, wanted) : wanted;
        voice.power += block[i] * block[i];
        out[i] += block[i] * voice.gain;
      }
    }
    this.#limitSum(out);
  }

  /** @param {Float32Array} out */
  #limitSum(out) {
    let peak = 0;
    for (let i = 0; i < out.length; i += 1) peak = Math.max(peak, Math.abs(out[i]));
    const wanted = Math.min(
      1,
      this.#limit * RELEASE ** out.length,
      peak > LIMIT ? LIMIT / peak : 1,
    );
    const ramp = wanted < this.#limit ? Math.min(ATTACK, out.length) : out.length;
    for (let i = 0; i < out.length; i += 1) {
      this.#opening = toward(this.#opening, this.isDeafened ? 0 : 1);
      const gain = this.#limit + (wanted - this.#limit) * Math.min(1, (i + 1) / ramp);
      const sample = out[i] * gain * this.#opening;
      const over = Math.abs(sample) - LIMIT;
      // What overshoots during the attack is bent to stay below full scale.
      out[i] =
        over > 0 ? Math.sign(sample) * (LIMIT + (over * (1 - LIMIT)) / (over + 1 - LIMIT)) : sample;
    }
    this.#limit = wanted;
  }
}

/** @param {number} now @param {number} wanted */
function toward(now, wanted) {
  return now < wanted ? Math.min(wanted, now + 1 / RAMP) : Math.max(wanted, now - 1 / RAMP);
}
