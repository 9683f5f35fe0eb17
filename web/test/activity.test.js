import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Activity, levelDb } from '../src/activity.js';

const FRAME = 960;

/** A voice of tests/speech in frames. @param {string} name */
function voice(name) {
  const bytes = readFileSync(new URL(`../../tests/speech/${name}.wav`, import.meta.url));
  const data = bytes.indexOf('data', 12, 'latin1') + 8;
  const samples = new Float32Array(Math.floor((bytes.length - data) / 2));
  for (let at = 0; at < samples.length; at++)
    samples[at] = bytes.readInt16LE(data + 2 * at) / 32_768;
  return Array.from({ length: Math.floor(samples.length / FRAME) }, (_, n) =>
    samples.subarray(n * FRAME, (n + 1) * FRAME),
  );
}

/** @param {number} db @param {number} count */
function noise(db, count) {
  let state = 1;
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
  const scale = 10 ** (db / 20) * Math.sqrt(3);
  return Array.from({ length: count }, () =>
    Float32Array.from({ length: FRAME }, () => random() * scale),
  );
}

/** The numbers of the frames that are sent. @param {Float32Array[]} frames @param {Activity} [activity] */
function sent(frames, activity = new Activity()) {
  return frames.flatMap((pcm, n) => activity.push({ pcm, n })).map(({ n }) => n);
}

test('speech is sent whole, and with the moment before it', (t) => {
  for (const name of ['announcer', 'cards', 'numbers', 'reader', 'synthetic']) {
    const silence = noise(-75, 100);
    const spoken = voice(name);
    const loud = spoken.flatMap((pcm, n) => (levelDb(pcm) > -45 ? [n + 100] : []));
    const out = new Set(sent([...silence, ...spoken]));
    const missing = loud.filter((n) => !out.has(n));
    t.diagnostic(`${name}: ${missing.length} of ${loud.length} loud frames not sent`);
    assert.ok(missing.length <= loud.length * 0.01, `${name}: ${missing}`);
    assert.ok(Math.min(...out) >= 90, 'silence is not');
  }
});

test('speech goes on being sent when it lasts', () => {
  const reader = voice('reader');
  const spoken = [...reader, ...reader, ...reader, ...reader];
  const loud = spoken.flatMap((pcm, n) => (levelDb(pcm) > -45 ? [n] : []));
  const out = new Set(sent(spoken));
  assert.ok(loud.filter((n) => !out.has(n)).length <= loud.length * 0.01);
});

test('steady noise is not sent for long', () => {
  for (const db of [-70, -50, -40, -30]) {
    const out = sent(noise(db, 1000));
    assert.ok(out.filter((n) => n > 250).length <= 10, `${db} dB: ${out.length}`);
  }
});

test('digital silence is never sent', () => {
  assert.deepEqual(sent(Array.from({ length: 200 }, () => new Float32Array(FRAME))), []);
});

test('frames leave in order and each once', () => {
  const out = sent([...noise(-70, 50), ...voice('numbers'), ...noise(-70, 50)]);
  assert.deepEqual(
    out,
    [...new Set(out)].sort((a, b) => a - b),
  );
});

test('what was said while muted is not sent afterwards', () => {
  const activity = new Activity();
  sent(noise(-70, 50), activity);
  activity.reset();
  const [first] = voice('reader').filter((pcm) => levelDb(pcm) > -25);
  assert.ok(activity.push({ pcm: first }).length <= 1);
});
