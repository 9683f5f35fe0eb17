// A page that speaks over a narrow uplink: a whole room under virtual time, with the module that the page runs.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Uplink } from '../src/uplink.js';
import { Bottleneck, World } from './world.js';

const module = new WebAssembly.Module(
  readFileSync(process.env.UPLINK_WASM ?? new URL('../src/uplink.wasm', import.meta.url)),
);
const FRAME_MS = 20;

/** Ada with her uplink, and listeners; links are open. @param {number} bps @param {number} listeners */
function room(bps, listeners, { queueMs = 400, follows = true, more = {} } = {}) {
  const world = new World();
  const ada = world.join('Ada');
  const others = Array.from({ length: listeners }, (_, n) =>
    world.join(String.fromCharCode(66 + n), more),
  );
  if (follows) ada.mesh.uplink = new Uplink(module, 32_000);
  world.run(1500);
  ada.uplink = new Bottleneck(world, bps, queueMs);
  return { world, ada, others };
}

/**
 * Ada speaks without a pause; every listener reports once a second. What the listeners had of it from `from` on.
 * @param {ReturnType<typeof room>} room @param {number} ms
 */
function speak({ world, ada, others }, ms, from = 5000) {
  const { uplink, session } = ada.mesh;
  /** @type {number[]} */
  const spokenAt = [];
  /** @type {Map<number, number>[]} frame → when it arrived */
  const heard = others.map(() => new Map());
  const read = others.map((other) => other.events.length);
  const reported = others.map(() => 0);
  const [began, firstSequence] = [world.now, session.speaker.nextSequence];
  world.run(ms, () => {
    if (world.now >= began + spokenAt.length * FRAME_MS) {
      const frame = new Uint8Array(Math.round(((uplink?.bitrate ?? 32_000) * FRAME_MS) / 8000));
      spokenAt.push(world.now);
      session.speak(world.now, frame);
    }
    others.forEach((other, at) => {
      for (const event of other.events.slice(read[at])) {
        if (event.type !== 'voice') continue;
        const frame = (event.heard.sequence - firstSequence) & 0xffff;
        if (!heard[at].has(frame)) heard[at].set(frame, world.now);
      }
      read[at] = other.events.length;
      if ((world.now - began) % 1000 !== 0) return;
      // What was spoken up to half a second ago should be here.
      const until = Math.max(spokenAt.length - 25, reported[at]);
      const expected = until - reported[at];
      const lost = Array.from({ length: expected }, (_, n) => reported[at] + n).filter(
        (frame) => !heard[at].has(frame),
      ).length;
      reported[at] = until;
      const report = {
        expected,
        lost,
        unrepaired: lost,
        lossRunSixteenths: 16,
        jitterMs: 0,
        bufferMs: 40,
      };
      other.mesh.session.sendTo(ada.id, 'ReceptionReport', report);
    });
  });
  world.run(1000);
  return others.map((_, at) => {
    const frames = spokenAt
      .map((spoken, frame) => ({ spoken, came: heard[at].get(frame) ?? Infinity }))
      .filter(({ spoken }) => spoken >= began + from && spoken < began + ms - 1000);
    const delays = frames.map(({ spoken, came }) => came - spoken).sort((a, b) => a - b);
    const came = frames
      .map((frame) => frame.came)
      .filter(Number.isFinite)
      .sort((a, b) => a - b);
    return {
      lost: delays.filter((delay) => delay === Infinity).length / frames.length,
      medianMs: delays[Math.floor(delays.length / 2)],
      gapMs: Math.max(...came.slice(1).map((time, n) => time - came[n])),
    };
  });
}

const said = (/** @type {{lost: number, medianMs: number, gapMs: number}[]} */ results) =>
  results
    .map(
      ({ lost, medianMs, gapMs }) =>
        `${(lost * 100).toFixed(1)} % lost, ${medianMs} ms, gap ${gapMs} ms`,
    )
    .join('; ');

/** @param {import('node:test').TestContext} t @param {ReturnType<typeof room>} place @param {ReturnType<typeof speak>} results */
function tell(t, { ada }, results) {
  const { uplink, session } = ada.mesh;
  t.diagnostic(
    `${said(results)}; estimate ${uplink?.estimate}, ${uplink?.bitrate} bit/s, ${session.speech.relayed.size} relayed, ${ada.uplink?.dropped} dropped`,
  );
}

// A train of probes fills the queue for 100 ms at most, beside packets of 60 ms where speech is narrowest.
for (const [kbps, listeners, longestGapMs] of [
  [100, 1, 150],
  [512, 7, 150],
  [64, 1, 250],
  [128, 3, 250],
  [256, 5, 250],
]) {
  test(`${kbps} kbit/s up with ${listeners} listeners`, (t) => {
    const place = room(kbps * 1000, listeners);
    const results = speak(place, 30_000);
    tell(t, place, results);
    for (const { lost, medianMs, gapMs } of results) {
      assert.ok(lost <= 0.02, `${lost} lost`);
      assert.ok(medianMs <= 300, `median ${medianMs} ms`);
      assert.ok(gapMs <= longestGapMs, `gap of ${gapMs} ms`);
    }
    assert.equal(place.ada.mesh.uplink?.isTooSlow, false);
  });
}

test('a page that does not follow its uplink loses much over the same', (t) => {
  const place = room(256_000, 5, { follows: false });
  const results = speak(place, 15_000);
  tell(t, place, results);
  assert.ok(results.every(({ lost, medianMs }) => lost > 0.05 || medianMs > 300));
});

// The policy counts on longer packets, so that a queue stands here.
test('listeners that read no bundles and give no path feedback are served as well', (t) => {
  const place = room(256_000, 5, { more: { bundles: false, path_feedback: false } });
  const results = speak(place, 30_000);
  tell(t, place, results);
  for (const { lost, medianMs } of results)
    assert.ok(lost <= 0.02 && medianMs <= 400, said(results));
});

test('listeners whose copies do not fit share a relayed one, and are spoken to directly again when there is room', (t) => {
  const place = room(128_000, 3);
  speak(place, 10_000);
  const { session } = place.ada.mesh;
  assert.ok(session.speech.relayed.size >= 2, `${session.speech.relayed.size} relayed`);
  assert.ok([...session.speech.relayed].every((peer) => session.route(peer) === 'relayed'));
  // Slow enough that the packets of a train do not arrive in one turn, as they do out of a policer's bucket.
  if (place.ada.uplink) place.ada.uplink.bps = 2e6;
  const results = speak(place, 70_000, 60_000);
  tell(t, place, results);
  assert.equal(session.speech.relayed.size, 0);
  for (const { lost, medianMs } of results) assert.ok(lost === 0 && medianMs < 60, said(results));
});

test('an uplink that carries not even one relayed copy is said to be too slow, and no more when it is wider', () => {
  const place = room(16_000, 2);
  const { uplink } = place.ada.mesh;
  speak(place, 15_000);
  assert.equal(uplink?.isTooSlow, true);
  if (place.ada.uplink) place.ada.uplink.bps = 5e6;
  speak(place, 60_000);
  assert.equal(uplink?.isTooSlow, false);
});

test('all frames of the packets that a link swallowed come by the relay', () => {
  for (const frames of [2, 3]) {
    const { world, ada, others } = room(10e6, 1);
    const { uplink, session } = ada.mesh;
    assert.ok(uplink && session.route(others[0].id) === 'direct');
    uplink.framesPerPacket = () => frames;
    world.linksWork = false;
    const first = session.speaker.nextSequence;
    let spoken = 0;
    world.run(1000, () => {
      if (world.now % FRAME_MS === 0) session.speak(world.now, Uint8Array.of(spoken++));
    });
    world.run(200);
    const heard = others[0].events.flatMap((event) =>
      event.type === 'voice' ? [(event.heard.sequence - first) & 0xffff] : [],
    );
    assert.deepEqual(
      heard.sort((a, b) => a - b),
      Array.from({ length: spoken }, (_, n) => n),
    );
  }
});

test('another network is learned anew', () => {
  const place = room(128_000, 3);
  speak(place, 8000);
  const { mesh } = place.ada;
  assert.ok(mesh.uplink?.estimate && mesh.session.speech.relayed.size > 0);
  mesh.pathChanged(place.world.now);
  place.ada.uplink = null;
  speak(place, 2000);
  assert.equal(mesh.uplink?.estimate, null);
});

test('without the module, from the beginning or from some moment on, speech goes as if there were room', () => {
  const place = room(128_000, 3);
  speak(place, 8000);
  const { mesh } = place.ada;
  assert.ok(mesh.session.speech.relayed.size > 0);
  place.ada.uplink = null;
  mesh.uplink = null;
  const results = speak(place, 3000, 1000);
  assert.equal(mesh.session.speech.relayed.size, 0);
  for (const { lost, medianMs } of results) assert.ok(lost === 0 && medianMs < 60, said(results));
});
