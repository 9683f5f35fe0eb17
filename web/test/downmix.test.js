/** Mono from several channels: what is heard of a voice, whichever channels carry it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Downmix } from '../src/downmix.js';

const QUANTUM = 128;
const RATE_HZ = 48_000;

/** Bursts of sound with pauses, as speech has them. @param {number} at sample */
function voice(at) {
  const isSpoken = (at / RATE_HZ) % 0.4 < 0.3;
  return isSpoken ? 0.2 * Math.sin((2 * Math.PI * 200 * at) / RATE_HZ) : 0;
}

/**
 * The level of the last half second in dB, beside that of the voice itself.
 * @param {Downmix} downmix @param {number} seconds @param {(at: number) => number[]} frame @param {number} [begin]
 */
function hear(downmix, seconds, frame, begin = 0) {
  const mono = new Float32Array(QUANTUM);
  let [heard, spoken, step, last] = [0, 0, 0, 0];
  const end = begin + seconds * RATE_HZ;
  for (let start = begin; start < end; start += QUANTUM) {
    const frames = Array.from({ length: QUANTUM }, (_, at) => frame(start + at));
    const channels = frames[0].map((_, channel) =>
      Float32Array.from(frames, (one) => one[channel]),
    );
    downmix.take(channels, mono);
    for (let at = 0; at < QUANTUM; at++) {
      step = Math.max(step, Math.abs(mono[at] - last));
      last = mono[at];
      if (start < end - RATE_HZ / 2) continue;
      heard += mono[at] ** 2;
      spoken += voice(start + at) ** 2;
    }
  }
  return { db: 10 * Math.log10(heard / spoken), step };
}

test('a voice is as loud as it is, whichever channels carry it', () => {
  /** @type {[string, (at: number) => number[], number][]} */
  const cases = [
    ['one channel', (at) => [voice(at)], 0],
    ['both alike', (at) => [voice(at), voice(at)], 0],
    ['the second of two', (at) => [0, voice(at)], 2],
    [
      'the seventh of eight',
      (at) => Array.from({ length: 8 }, (_, channel) => (channel === 6 ? voice(at) : 0)),
      7,
    ],
    ['opposite phases', (at) => [voice(at), -voice(at)], 1],
    ['one 10 dB quieter', (at) => [voice(at) * 0.316, voice(at)], 2],
  ];
  for (const [name, frame, mix] of cases) {
    const downmix = new Downmix();
    const { db } = hear(downmix, 3, frame);
    assert.ok(Math.abs(db) < 0.5, `${name}: ${db.toFixed(1)} dB`);
    assert.equal(downmix.mix, mix, name);
  }
});

test('another channel is taken when it is 6 dB louder for a second, without a click', () => {
  const downmix = new Downmix();
  hear(downmix, 3, (at) => [voice(at), 0]);
  assert.equal(downmix.mix, 1);
  const { db, step } = hear(downmix, 4, (at) => [voice(at) * 0.1, voice(at)], 3 * RATE_HZ);
  assert.equal(downmix.mix, 2);
  assert.ok(Math.abs(db) < 0.5);
  // The voice itself moves by at most 0.006 from one sample to the next; where it begins anew, it begins at zero.
  assert.ok(step < 0.01, `${step}`);
});

test('steady noise after exact zeros is not taken for speech for ever', () => {
  const downmix = new Downmix();
  const noise = (/** @type {number} */ at) => (at % 2 === 0 ? 0.01 : -0.01);
  hear(downmix, 3, (at) => [voice(at), 0]);
  hear(downmix, 1, () => [0, 0]);
  hear(downmix, 25, (at) => [noise(at), noise(at)]);
  hear(downmix, 5, (at) => [0, noise(at)]);
  assert.equal(downmix.mix, 1, 'noise chooses nothing');
});

test('a chosen channel is kept; in place of one that is not there the choice is automatic', () => {
  const downmix = new Downmix();
  downmix.choose(1);
  hear(downmix, 3, (at) => [voice(at) * 0.1, voice(at)]);
  assert.equal(downmix.mix, 1);
  downmix.choose(5);
  hear(downmix, 3, (at) => [0, voice(at)]);
  assert.deepEqual([downmix.mix, downmix.count], [2, 2]);
  downmix.choose(0);
  hear(downmix, 3, (at) => [0, voice(at)]);
  assert.equal(downmix.mix, 2);
});
