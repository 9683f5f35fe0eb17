import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Resampler } from '../src/resample.js';

/** @param {number} hz @param {number} rate @param {number} length */
const tone = (hz, rate, length) =>
  Float32Array.from({ length }, (_, at) => Math.sin((2 * Math.PI * hz * at) / rate));

/** As the audio thread gives it. @param {number} rate @param {Float32Array} samples @param {number} size */
function converted(rate, samples, size = 128) {
  const resampler = new Resampler(rate);
  /** @type {number[]} */
  const made = [];
  for (let at = 0; at < samples.length; at += size)
    made.push(...resampler.push(samples.subarray(at, at + size)));
  return { made, delay: resampler.delay };
}

const power = (/** @type {number[]} */ samples) =>
  samples.reduce((sum, one) => sum + one * one, 0) / samples.length;
const dB = (/** @type {number} */ ratio) => 10 * Math.log10(ratio);

test('a tone at any rate is the same tone at 48 kHz', () => {
  for (const rate of [8000, 16_000, 32_000, 44_100, 44_101, 88_200, 96_000, 192_000]) {
    const hz = Math.min(3000, rate / 4);
    const { made } = converted(rate, tone(hz, rate, rate));
    // The first samples begin out of silence.
    const from = 4800;
    const difference = made
      .slice(from)
      .map((one, at) => one - Math.sin((2 * Math.PI * hz * (from + at)) / 48_000));
    assert.ok(dB(power(difference) / 0.5) < -70, `${rate} Hz: ${dB(power(difference) / 0.5)} dB`);
  }
});

test('nothing is lost or added, however it is cut, and the delay is what is said', () => {
  for (const rate of [16_000, 44_100, 96_000]) {
    const samples = tone(440, rate, 2 * rate);
    const { made, delay } = converted(rate, samples);
    assert.ok(Math.abs(96_000 - made.length - delay * 48_000) <= 1, `${rate} Hz: ${made.length}`);
    assert.ok(delay < 0.003, `${delay} s`);
    for (const size of [1, 441, 1000])
      assert.deepEqual(
        converted(rate, samples, size).made,
        made,
        `${rate} Hz in pieces of ${size}`,
      );
  }
});

test('what 48 kHz cannot carry is not mirrored into what is heard', () => {
  for (const hz of [26_000, 30_000, 40_000]) {
    const { made } = converted(96_000, tone(hz, 96_000, 96_000));
    assert.ok(dB(power(made.slice(4800)) / 0.5) < -60, `${hz} Hz`);
  }
  // What voices are made of stays.
  const { made } = converted(44_100, tone(15_000, 44_100, 44_100));
  assert.ok(Math.abs(dB(power(made.slice(4800)) / 0.5)) < 0.1);
});
