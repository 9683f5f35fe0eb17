import assert from 'node:assert/strict';
import { test } from 'node:test';

import { JitterBuffer } from '../src/jitter.js';
import { Mixer, MOST_PLAYERS, Player } from '../src/playout.js';
import { exponential, random } from './random.js';

const FRAME = 960;
const QUANTUM = 128;
const RATE = 48_000;

/** @param {number} hz @param {number} index @param {number} [amplitude] */
const tone = (hz, index, amplitude = 0.5) => {
  return Float32Array.from(
    { length: FRAME },
    (_, i) => amplitude * Math.sin((2 * Math.PI * hz * (index * FRAME + i)) / RATE),
  );
};

/** The largest second difference: `amplitude * (2π hz / rate)²` for a tone, more for a click. @param {Float32Array} sound */
function roughest(sound) {
  let most = 0;
  for (let i = 2; i < sound.length; i += 1)
    most = Math.max(most, Math.abs(sound[i] - 2 * sound[i - 1] + sound[i - 2]));
  return most;
}

/** @param {number} hz @param {number} [amplitude] */
const roughnessOfTone = (hz, amplitude = 0.5) => amplitude * ((2 * Math.PI * hz) / RATE) ** 2;

/** The frequency of a tone, by where it rises through zero. @param {Float32Array} sound */
function pitch(sound) {
  /** @type {number[]} */
  const rises = [];
  for (let i = 1; i < sound.length; i += 1) {
    if (sound[i - 1] < 0 && sound[i] >= 0) rises.push(i - sound[i] / (sound[i] - sound[i - 1]));
  }
  // The median: a join between periods may be a hair off.
  const lengths = rises
    .slice(1)
    .map((at, i) => at - rises[i])
    .sort((a, b) => a - b);
  return RATE / lengths[lengths.length >> 1];
}

/** @param {Float32Array} sound */
const level = (sound) =>
  Math.sqrt(sound.reduce((sum, sample) => sum + sample * sample, 0) / sound.length);

/** Renders by the clock, doing at each time what is due. */
class Listening {
  player = new Player();
  /** @type {Float32Array[]} */
  blocks = [];
  now = 0;

  /** @param {number} ms @param {(now: number) => void} [each] */
  hear(ms, each = () => {}) {
    const from = this.blocks.length;
    for (const until = this.now + ms; this.now < until; this.now += (1000 * QUANTUM) / RATE) {
      each(this.now);
      const block = new Float32Array(QUANTUM);
      this.player.render(block);
      this.blocks.push(block);
    }
    return join(this.blocks.slice(from));
  }

  /** Pushes a frame every 20 ms. @param {number} from @param {number} to @param {(index: number) => Float32Array} make */
  speak(from, to, make, skip = (/** @type {number} */ _index) => false) {
    let index = from;
    const began = this.now;
    return this.hear((to - from) * 20, (now) => {
      for (; index < to && began + (index - from) * 20 <= now; index += 1) {
        if (!skip(index)) this.player.push({ sequence: index, pcm: make(index) });
      }
    });
  }
}

/** @param {Float32Array[]} blocks */
function join(blocks) {
  const all = new Float32Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    all.set(block, at);
    at += block.length;
  }
  return all;
}

test('frames that come in time are heard as they are, after the target', () => {
  const listening = new Listening();
  listening.player.setTarget(12);
  let [sum, count] = [0, 0];
  let index = 0;
  const heard = listening.hear(4000, (now) => {
    for (; index * 20 <= now; index += 1)
      listening.player.push({ sequence: index, pcm: tone(440, index) });
    sum += listening.player.stats.bufferedMs;
    count += 1;
  });
  const from = 12 * 48;
  assert.equal(level(heard.slice(0, from)), 0);
  for (let i = 240; i < 150 * FRAME; i += 1)
    assert.equal(heard[from + i], tone(440, Math.floor(i / FRAME))[i % FRAME]);
  const { concealedMs, stretchedMs } = listening.player.stats;
  assert.deepEqual([concealedMs, stretchedMs], [0, 0]);
  assert.ok(sum / count <= 25, `${sum / count} ms wait`);
});

test('speech made faster or slower keeps its pitch and does not click', (t) => {
  for (const hz of [100, 233, 440, 997]) {
    for (const [before, after] of [
      [15, 200],
      [200, 15],
    ]) {
      const listening = new Listening();
      listening.player.setTarget(before);
      listening.speak(0, 100, (index) => tone(hz, index));
      listening.player.setTarget(after);
      const changing = listening.speak(100, 250, (index) => tone(hz, index));
      const { stretchedMs, delayMs, concealedMs } = listening.player.stats;
      t.diagnostic(
        `${hz} Hz, ${before} to ${after} ms: ${stretchedMs.toFixed(0)} ms stretched, delay ${delayMs.toFixed(0)} ms`,
      );
      assert.equal(concealedMs, 0);
      assert.ok(stretchedMs > 120 && Math.abs(delayMs - after) < 30, `${stretchedMs} ${delayMs}`);
      assert.ok(Math.abs(pitch(changing) / hz - 1) < 0.003, `${pitch(changing)} Hz`);
      const limit = roughnessOfTone(hz) * 1.15 + 5e-4;
      assert.ok(roughest(changing) < limit, `${hz} Hz: ${roughest(changing)} of ${limit}`);
      for (let i = 0; i + 2400 < changing.length; i += 2400) {
        assert.ok(level(changing.slice(i, i + 2400)) > 0.3, 'no hole');
      }
    }
  }
});

test('pauses are changed rather than words', () => {
  const listening = new Listening();
  listening.player.setTarget(15);
  // 300 ms of tone, 100 ms of nearly nothing.
  const speech = (/** @type {number} */ index) => tone(200, index, index % 20 < 15 ? 0.3 : 0.0005);
  listening.speak(0, 40, speech);
  listening.player.setTarget(40);
  const heard = listening.speak(40, 140, speech);
  assert.ok(listening.player.stats.stretchedMs > 15);
  let loud = 0;
  for (let i = 0; i < heard.length; i += 48)
    loud += Number(level(heard.slice(i, i + 48 * 5)) > 0.1);
  assert.ok(Math.abs(loud - 100 * 15) < 40, `${loud} ms of words`);
});

test('a lost frame of a tone is concealed so well that the tone goes on', () => {
  for (const hz of [110, 300, 700]) {
    const listening = new Listening();
    listening.player.setTarget(30);
    let index = 0;
    const heard = listening
      .hear(1000, (now) => {
        for (; index * 20 <= now; index += 1) {
          if (index % 10 === 7) listening.player.lost({ sequence: index, frameMs: 20 });
          else listening.player.push({ sequence: index, pcm: tone(hz, index) });
          // All come in time: each waits as long as the player thinks the fastest do, but for a quantum.
          const { bufferedMs, delayMs } = listening.player.stats;
          assert.ok(
            Math.abs(bufferedMs - 20 - delayMs) < 3.2,
            `${bufferedMs - 20} of ${delayMs} at ${index}`,
          );
        }
      })
      .slice(60 * 48);
    assert.ok(Math.abs(listening.player.stats.concealedMs - 100) <= 1);
    assert.ok(
      roughest(heard) < roughnessOfTone(hz) * 1.3 + 1e-3,
      `${hz}: ${roughest(heard)} of ${roughnessOfTone(hz)}`,
    );
    for (let i = 0; i + 960 < heard.length; i += 240)
      assert.ok(level(heard.slice(i, i + 960)) > 0.3, `at ${i}`);
    assert.ok(Math.abs(pitch(heard) / hz - 1) < 0.003);
  }
});

test('what concealment is shorter or longer than the frame it stands for is counted as delay', () => {
  const listening = new Listening();
  listening.player.setTarget(30);
  const sound = new Float32Array(200 * FRAME).map(
    (_, i) => 0.5 * Math.sin((2 * Math.PI * 110 * i) / RATE),
  );
  let [index, from] = [0, 0];
  const heard = listening
    .hear(2000, (now) => {
      for (; index * 20 <= now; index += 1) {
        // After a loss the tone goes on elsewhere in its period: a little earlier each time.
        from += index % 5 === 4 ? FRAME - 60 : FRAME;
        if (index % 5 === 4) listening.player.lost({ sequence: index, frameMs: 20 });
        else listening.player.push({ sequence: index, pcm: sound.slice(from, from + FRAME) });
        const { bufferedMs, delayMs } = listening.player.stats;
        assert.ok(
          Math.abs(bufferedMs - 20 - delayMs) < 3.2,
          `${bufferedMs - 20} of ${delayMs} at ${index}`,
        );
      }
    })
    .slice(60 * 48);
  assert.ok(roughest(heard) < roughnessOfTone(110) * 1.3 + 1e-3);
});

test('a late frame is waited for with concealment, and goes on without a step', () => {
  const listening = new Listening();
  listening.player.setTarget(15);
  listening.speak(0, 50, (index) => tone(220, index));
  const waiting = listening.hear(45);
  const after = listening.speak(50, 100, (index) => tone(220, index));
  const heard = join([waiting, after]);
  assert.ok(level(waiting.slice(-960)) > 0.3, 'the concealment is heard');
  assert.ok(roughest(heard) < roughnessOfTone(220) * 1.3 + 1e-3);
  assert.ok(listening.player.stats.concealedMs > 10);
  assert.ok(level(heard.slice(0, 48 * 500)) > 0.33);
});

test('concealment fades to silence, and what comes then is begun anew', () => {
  const listening = new Listening();
  listening.player.setTarget(20);
  listening.speak(0, 50, (index) => tone(220, index));
  const fading = listening.hear(400);
  assert.ok(level(fading.slice(48 * 40, 48 * 60)) > 0.3);
  assert.equal(level(fading.slice(48 * 150)), 0);
  assert.ok(roughest(fading) < roughnessOfTone(220) * 1.3 + 1e-3);
  assert.equal(listening.player.isPlaying, false);
  const again = listening.speak(50, 100, (index) => tone(220, index));
  assert.equal(level(again.slice(0, 20 * 48)), 0);
  assert.ok(level(again.slice(25 * 48, 40 * 48)) > 0.33);
});

test('what is lost while nothing is here takes the time that was already concealed', () => {
  const listening = new Listening();
  listening.player.setTarget(20);
  listening.speak(0, 50, (index) => tone(220, index));
  const { delayMs: before } = listening.player.stats;
  listening.hear(60);
  listening.player.lost({ sequence: 50, frameMs: 20 });
  listening.player.lost({ sequence: 51, frameMs: 20 });
  listening.player.lost({ sequence: 52, frameMs: 20 });
  listening.speak(53, 100, (index) => tone(220, index));
  assert.ok(
    Math.abs(listening.player.stats.delayMs - before) < 10,
    `${before} to ${listening.player.stats.delayMs}`,
  );
});

test('after a pause nothing is concealed, and the end does not click', () => {
  const listening = new Listening();
  listening.player.setTarget(20);
  const heard = join([
    listening.speak(0, 50, (index) => tone(220, index)),
    (listening.player.pause(), listening.hear(200)),
  ]);
  assert.equal(listening.player.stats.concealedMs, 0);
  assert.equal(listening.player.isPlaying, false);
  assert.ok(roughest(heard) < 0.02);
  assert.equal(level(heard.slice(-48 * 100)), 0);
  // The mark may come when all has been played.
  listening.speak(50, 60, (index) => tone(220, index));
  listening.hear(30);
  listening.player.pause();
  const rest = listening.hear(100);
  assert.equal(level(rest.slice(48 * 10)), 0);
  assert.ok(roughest(rest) < 0.02);
});

test('a frame that the decoder swallowed is concealed too', () => {
  const listening = new Listening();
  listening.player.setTarget(30);
  const heard = listening
    .speak(
      0,
      50,
      (index) => tone(300, index),
      (index) => index === 30,
    )
    .slice(48 * 40);
  assert.ok(listening.player.stats.concealedMs >= 19);
  assert.ok(roughest(heard) < roughnessOfTone(300) * 1.3 + 1e-3);
});

test("it tells which of the speaker's frames is heard", () => {
  const listening = new Listening();
  listening.player.setTarget(20);
  assert.equal(listening.player.stats.playingSequence, null);
  let index = 7000;
  let told = 0;
  for (const target of [20, 120, 20]) {
    listening.player.setTarget(target);
    listening.hear(1980, (now) => {
      for (; (index - 7000) * 20 <= now; index += 1)
        listening.player.push({ sequence: index, pcm: tone(220, index) });
      const { playingSequence, playingOffset, bufferedMs } = listening.player.stats;
      if (playingSequence === null) return;
      told += 1;
      // What is heard, what waits and the codec's delay add up to what was pushed.
      const behind = (index - playingSequence) * 20 - playingOffset;
      assert.ok(
        Math.abs(behind - bufferedMs - 6.5) < 0.1,
        `${behind} ms behind, ${bufferedMs} ms wait`,
      );
    });
  }
  assert.ok(told > 2000 && listening.player.stats.stretchedMs > 150);
});

test('at most a second waits; the oldest goes', () => {
  const player = new Player();
  for (let index = 0; index < 200; index += 1) {
    player.push({ sequence: index, pcm: tone(220, index) });
    assert.ok(player.stats.bufferedMs <= 1001, `${player.stats.bufferedMs}`);
  }
  assert.ok(player.stats.bufferedMs > 900);
  const out = new Float32Array(QUANTUM);
  for (let i = 0; i < 20; i += 1) assert.ok(player.render(out));
  assert.ok((player.stats.playingSequence ?? 0) >= 148);
});

test('whatever is put in, it stays bounded and does not throw', () => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const next = random(seed);
    const player = new Player();
    const odd = [NaN, Infinity, -Infinity, -5, 0, 1e9, 2 ** 53];
    const pick = (/** @type {number} */ usual) =>
      next() < 0.03 ? odd[Math.floor(next() * odd.length)] : usual;
    const lengths = [960, 480, 1920, 2880, 5760, 1, 7, 0, 9000];
    let sequence = 0;
    for (let step = 0; step < 2000; step += 1) {
      const kind = next();
      sequence += next() < 0.9 ? 1 : Math.floor((next() - 0.4) * 10);
      if (kind < 0.35) {
        const loud = next() < 0.05 ? 1e30 : next() < 0.05 ? NaN : 0.5;
        const pcm = Float32Array.from(
          { length: lengths[Math.floor(next() ** 3 * lengths.length)] },
          () => (next() - 0.5) * loud,
        );
        player.push({ sequence: pick(sequence), pcm, heldMs: pick(next() * 30) });
      } else if (kind < 0.42) player.lost({ sequence: pick(sequence), frameMs: pick(20) });
      else if (kind < 0.45) player.pause();
      else if (kind < 0.5) player.setTarget(pick(next() * 300));
      const out = new Float32Array(next() < 0.1 ? Math.floor(next() * 2000) : QUANTUM);
      for (let i = 0; i < next() * 8; i += 1) {
        player.render(out);
        for (const sample of out) assert.ok(Math.abs(sample) <= 8, `seed ${seed}: ${sample}`);
      }
      const { bufferedMs, playingOffset } = player.stats;
      assert.ok(bufferedMs >= 0 && bufferedMs <= 1100, `seed ${seed}: ${bufferedMs}`);
      assert.ok(Number.isFinite(playingOffset));
    }
  }
});

test('the mixer adds up, and moves gains without a step', () => {
  const mixer = new Mixer();
  const out = new Float32Array(QUANTUM);
  for (const [id, hz] of /** @type {const} */ ([
    ['a', 220],
    ['b', 330],
  ])) {
    for (let index = 0; index < 20; index += 1)
      mixer.player(id)?.push({ sequence: index, pcm: tone(hz, index, 0.3) });
  }
  /** @type {Float32Array[]} */
  const blocks = [];
  const hear = (/** @type {number} */ count) => {
    const from = blocks.length;
    for (let i = 0; i < count; i += 1) blocks.push((mixer.render(out), out.slice()));
    return join(blocks.slice(from));
  };
  const both = hear(40).slice(48 * 30);
  assert.ok(Math.abs(level(both) - 0.3) < 0.05, `${level(both)}`);
  mixer.setGain('b', 0);
  const fading = hear(8);
  assert.ok(roughest(fading) < 0.01);
  assert.ok(Math.abs(pitch(hear(20)) - 220) < 2);
  mixer.isDeafened = true;
  hear(4);
  assert.equal(level(hear(4)), 0);
  mixer.isDeafened = false;
  hear(4);
  assert.ok(level(hear(8)) > 0.15);
  mixer.remove('a');
  mixer.remove('b');
  assert.equal(level(hear(2)), 0);
});

test('ten shouting at once stay below full scale', () => {
  const mixer = new Mixer();
  const out = new Float32Array(QUANTUM);
  for (let id = 0; id < 10; id += 1) {
    for (let index = 0; index < 30; index += 1)
      mixer.player(id)?.push({ sequence: index, pcm: tone(200, index, 1) });
  }
  let peak = 0;
  for (let i = 0; i < 200; i += 1) {
    mixer.render(out);
    peak = out.reduce((most, sample) => Math.max(most, Math.abs(sample)), peak);
  }
  assert.ok(peak > 0.85 && peak < 1, `${peak}`);
});

test('one more speaker than there is room for replaces who was silent for ten seconds', () => {
  const mixer = new Mixer();
  for (let id = 0; id < MOST_PLAYERS; id += 1) assert.ok(mixer.player(id));
  mixer.setGain(0, 0.5);
  assert.equal(mixer.player('more'), undefined);
  const out = new Float32Array(QUANTUM);
  for (let i = 0; i < (11 * RATE) / QUANTUM; i += 1) mixer.render(out);
  assert.ok(mixer.player('more'));
  assert.equal(mixer.voices.length, MOST_PLAYERS);
  assert.ok(mixer.voices.some(({ id }) => id === 'more'));
});

test('the worklet plays what it is sent and ticks at all times', async () => {
  /** @type {any} */
  const scope = globalThis;
  /** @type {any} */
  let Processor;
  /** @type {any[]} */
  const told = [];
  scope.AudioWorkletProcessor = class {
    port = {
      onmessage: (/** @type {any} */ _event) => {},
      postMessage: (/** @type {any} */ data) => told.push(structuredClone(data)),
    };
  };
  scope.registerProcessor = (/** @type {string} */ name, /** @type {any} */ made) => {
    assert.equal(name, 'voicemesh-playback');
    Processor = made;
  };
  scope.currentTime = 0;
  await import(new URL('../src/playback-worklet.js', import.meta.url).href);
  const processor = new Processor();
  const send = (/** @type {any} */ data) => processor.port.onmessage({ data });
  const run = (/** @type {number} */ quanta) => {
    const heard = [];
    for (let i = 0; i < quanta; i += 1) {
      const outputs = [[new Float32Array(QUANTUM), new Float32Array(QUANTUM)]];
      assert.equal(processor.process([], outputs), true);
      assert.deepEqual(outputs[0][0], outputs[0][1]);
      heard.push(outputs[0][0]);
      scope.currentTime += QUANTUM / RATE;
    }
    return join(heard);
  };
  run(80);
  assert.equal(told.length, 10, 'every 21 ms');
  assert.deepEqual(told[9].people, []);
  send({ type: 'target', id: 5, ms: 20 });
  send({ type: 'gain', id: 5, gain: 0.5 });
  for (let sequence = 0; sequence < 10; sequence += 1)
    send({ type: 'frame', id: 5, sequence, pcm: tone(220, sequence), frameMs: 20 });
  send({ type: 'lost', id: 5, sequence: 10, frameMs: 20 });
  send({ type: 'pause', id: 5, sequence: 10 });
  for (const bad of [
    {},
    { type: 'frame', id: 6 },
    { type: 'frame', id: 6, sequence: 1, pcm: 'x' },
    { type: 'lost', id: 7 },
  ])
    send(bad);
  const heard = run(40);
  assert.ok(level(heard.slice(48 * 40)) > 0.1 && level(heard.slice(48 * 40)) < 0.25);
  const last = told[told.length - 1];
  assert.equal(last.type, 'tick');
  const [report] = last.people;
  assert.equal(report.id, 5);
  assert.ok(report.level > 0.25 && report.level < 0.5);
  assert.ok(report.bufferedMs > 0 && report.playingSequence > 0 && report.playingOffsetMs >= 0);
  assert.ok(last.time > 0);
  run(400);
  assert.deepEqual(told[told.length - 1].people, []);
  const over = told.filter(({ people }) => people.length > 0).pop().people[0];
  assert.equal(over.bufferedMs, 0);
});

/** Words of voiced sound with pauses between. @param {number} seconds */
function makeSpeech(seconds) {
  const sound = new Float32Array(seconds * RATE);
  let phase = 0;
  for (let i = 0; i < sound.length; i += 1) {
    const at = i / RATE;
    phase += (2 * Math.PI * (120 + 20 * Math.sin(at * 3))) / RATE;
    const within = at % 0.8;
    const loudness = Math.max(0, Math.min(1, within / 0.03, (0.55 - within) / 0.05));
    if (loudness > 0)
      for (let n = 1; n < 12; n += 1) sound[i] += (0.15 * loudness * Math.sin(phase * n + n)) / n;
  }
  return sound;
}

const SECONDS = 40;
const speech = makeSpeech(SECONDS);
const next = random(9);
let isBad = false;

/** @type {{name: string, trip?: (at: number) => number, isLost?: () => boolean, copies?: number[], ppm?: number, quanta?: number, most: [number, number]}[]} */
const networks = [
  { name: 'perfect', most: [35, 5] },
  { name: 'in steps of 10 ms', quanta: 4, most: [45, 10] },
  { name: 'jitter 5 ms', trip: () => exponential(next, 5), most: [55, 15] },
  { name: 'jitter 15 ms', trip: () => exponential(next, 15), most: [85, 40] },
  { name: 'loss 10 %, copies', isLost: () => next() < 0.1, copies: [3], most: [90, 30] },
  { name: 'loss 20 %, copies', isLost: () => next() < 0.2, copies: [3], most: [90, 75] },
  { name: 'loss 20 %, two copies', isLost: () => next() < 0.2, copies: [2, 4], most: [110, 30] },
  {
    name: 'losses in rows, copies',
    isLost: () => (isBad = next() < (isBad ? 0.5 : 0.04)) && next() < 0.8,
    copies: [4],
    most: [110, 40],
  },
  {
    name: 'loss 10 % and jitter 15 ms',
    trip: () => exponential(next, 15),
    isLost: () => next() < 0.1,
    copies: [3],
    most: [145, 50],
  },
  { name: 'drift 200 ppm', ppm: 200, most: [35, 8] },
  { name: 'drift −200 ppm', ppm: -200, most: [35, 8] },
  { name: '200 ms longer from 20 s on', trip: (at) => (at < 20_000 ? 0 : 200), most: [40, 10] },
  { name: '200 ms shorter from 20 s on', trip: (at) => (at < 20_000 ? 200 : 0), most: [40, 10] },
];

for (const {
  name,
  trip = () => 0,
  isLost = () => false,
  copies = [],
  ppm = 0,
  quanta = 1,
  most,
} of networks) {
  test(`from the network to the ear: ${name}`, (t) => {
    /** @type {{at: number, sequence: number}[]} */
    const packets = [];
    const sent = (/** @type {number} */ sequence) => 100 + sequence * 20 * (1 + ppm / 1e6);
    for (let sequence = 0; sequence < SECONDS * 50; sequence += 1) {
      if (!isLost()) packets.push({ at: sent(sequence) + trip(sent(sequence)), sequence });
    }
    packets.sort((a, b) => a.at - b.at);
    const jitter = new JitterBuffer();
    const player = new Player();
    /** @type {{at: number, release: import('../src/jitter.js').Release}[]} */
    const decoding = [];
    let decodedAt = 0;
    const decode = (/** @type {number} */ now) => {
      for (const release of jitter.take(now)) {
        decodedAt = Math.max(decodedAt, now + 1 + next());
        decoding.push({ at: decodedAt, release });
      }
    };
    /** @type {number[]} */
    const delays = [];
    /** @type {number[]} */
    const levels = [];
    const out = new Float32Array(QUANTUM);
    /** @type {Float32Array[]} */
    const heard = [];
    let ticks = 0;
    for (let now = 0; now < SECONDS * 1000 - 500; now += (quanta * QUANTUM) / 48) {
      while (packets.length > 0 && packets[0].at <= now) {
        const { at, sequence } = /** @type {{at: number, sequence: number}} */ (packets.shift());
        const frame = Uint8Array.of(1);
        jitter.insert(at, { sequence, frame, behind: 0 });
        for (const behind of copies)
          if (sequence >= behind) jitter.insert(at, { sequence: sequence - behind, frame, behind });
        decode(at);
      }
      ticks += 1;
      if (ticks % 4 === 0 && (jitter.nextAt() ?? Infinity) <= now) decode(now);
      while (decoding.length > 0 && decoding[0].at <= now) {
        const { release } = /** @type {{release: import('../src/jitter.js').Release}} */ (
          decoding.shift()
        );
        player.setTarget(jitter.targetMs);
        if (release.kind === 'frame') {
          player.push({
            ...release,
            pcm: speech.slice(release.sequence * FRAME, (release.sequence + 1) * FRAME),
          });
        } else if (release.kind === 'lost') player.lost(release);
        else player.pause();
      }
      const { playingSequence, playingOffset, bufferedMs } = player.stats;
      if (playingSequence !== null && now > 3000) {
        // The sounds here have no codec's delay.
        delays.push(now - sent(playingSequence) - playingOffset - 6.5);
        levels.push(bufferedMs);
      }
      for (let i = 0; i < quanta; i += 1) {
        player.render(out);
        heard.push(out.slice());
      }
    }
    const mean = (/** @type {number[]} */ values) =>
      values.reduce((sum, value) => sum + value, 0) / values.length;
    const { concealedMs, stretchedMs } = player.stats;
    const base = name.includes('longer') || name.includes('shorter') ? 100 : 0;
    const delay = mean(delays) - base;
    const concealed = concealedMs / SECONDS;
    t.diagnostic(
      `delay ${delay.toFixed(1)} ms, ${mean(levels).toFixed(1)} ms wait, target ${jitter.targetMs.toFixed(0)} ms; ` +
        `a second: ${concealed.toFixed(1)} ms concealed, ${(stretchedMs / SECONDS).toFixed(1)} ms stretched`,
    );
    assert.ok(delay > 0 && delay <= most[0], `delay ${delay}`);
    assert.ok(concealed <= most[1], `concealed ${concealed}`);
    if (name === 'perfect') assert.ok(mean(levels) <= 25 && stretchedMs < 50);
    assert.ok(
      roughest(join(heard)) < 6 * roughest(speech),
      `${roughest(join(heard))} of ${roughest(speech)}`,
    );
  });
}
