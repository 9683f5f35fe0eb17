import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CAPACITY, JitterBuffer } from '../src/jitter.js';
import { exponential, random } from './random.js';

const FRAME_MS = 20;
/** Of a network that is nothing but far away. */
const TRIP_MS = 30;

/**
 * @typedef {import('../src/jitter.js').Release & {at: number}} Released
 * @typedef {object} Story what a speaker says and the network does to it
 * @property {number} [seconds]
 * @property {number} [first] the first sequence number
 * @property {(at: number) => number} [trip] how long a packet sent then takes
 * @property {(index: number) => boolean} [isLost]
 * @property {number[]} [copies] how far behind they are sent
 * @property {(index: number) => boolean} [isSilent] of the frames' places in time; sequence numbers do not advance
 * @property {boolean} [marksPauses]
 * @property {boolean} [twice] everything comes over two routes
 * @property {number} [ppm] how much slower the speaker's clock is
 */

/** @param {Story} story */
function listen(story) {
  const {
    seconds = 20,
    first = 1000,
    trip = () => TRIP_MS,
    isLost = () => false,
    copies = [],
    ppm = 0,
  } = story;
  const { isSilent = () => false, marksPauses = true, twice = false } = story;
  /** @type {{at: number, sequence: number, pauseFollows: boolean}[]} */
  const packets = [];
  /** @type {number[]} */
  const sentAt = [];
  let sequence = first;
  for (let index = 0; index < seconds * (1000 / FRAME_MS); index += 1) {
    if (isSilent(index)) continue;
    const sent = 1000 + index * FRAME_MS * (1 + ppm / 1e6);
    sentAt[sequence - first] = sent;
    const pauseFollows = marksPauses && isSilent(index + 1);
    if (!isLost(index)) packets.push({ at: sent + trip(sent), sequence, pauseFollows });
    if (twice) packets.push({ at: sent + trip(sent) + 7, sequence, pauseFollows });
    sequence += 1;
  }
  packets.sort((a, b) => a.at - b.at);
  const buffer = new JitterBuffer();
  /** @type {Released[]} */
  const released = [];
  /** @type {number[]} */
  const targets = [];
  const take = (/** @type {number} */ at) =>
    released.push(...buffer.take(at).map((each) => ({ ...each, at })));
  for (const packet of packets) {
    for (let due = buffer.nextAt(); due !== null && due <= packet.at; due = buffer.nextAt())
      take(due);
    const frame = Uint8Array.of(packet.sequence & 255, packet.sequence >> 8);
    buffer.insert(packet.at, { ...packet, frame, behind: 0, talkspurt: 3, frameMs: FRAME_MS });
    for (const behind of copies) {
      const copied = packet.sequence - behind;
      if (copied < first) continue;
      buffer.insert(packet.at, {
        sequence: copied,
        frame: Uint8Array.of(copied & 255, copied >> 8),
        behind,
        talkspurt: 3,
      });
    }
    take(packet.at);
    targets.push(buffer.targetMs);
  }
  for (let due = buffer.nextAt(); due !== null; due = buffer.nextAt()) take(due);
  const frames = released.filter((each) => each.kind === 'frame');
  const lost = released.filter((each) => each.kind === 'lost');
  const pauses = released.filter((each) => each.kind === 'pause');
  return { buffer, released, frames, lost, pauses, targets, sentAt, sent: sequence - first, first };
}

/** What comes out is in order, each once, whatever went in. @param {Released[]} released */
function assertInOrder(released) {
  let last = -Infinity;
  for (const each of released) {
    if (each.kind === 'pause') continue;
    assert.ok(each.sequence > last, `${each.sequence} after ${last}`);
    last = each.sequence;
  }
}

/** @param {number[]} values */
const highest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

/** @param {number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

test('on a perfect network every frame goes out as it comes, and little delay is wanted', () => {
  const { released, sent, targets, sentAt, first, buffer } = listen({});
  assert.equal(released.length, sent);
  for (const each of released) {
    assert.equal(each.kind, 'frame');
    assert.equal(each.at, sentAt[each.sequence - first] + TRIP_MS);
  }
  assert.ok(highest(targets) <= 25 && Math.min(...targets) >= 10, `${highest(targets)}`);
  const { received, lost, late, duplicates, unrepaired, jitterMs } = buffer.stats;
  assert.deepEqual(
    { received, lost, late, duplicates, unrepaired },
    { received: sent, lost: 0, late: 0, duplicates: 0, unrepaired: 0 },
  );
  assert.ok(jitterMs < 0.01);
  assert.equal(buffer.nextAt(), null);
});

test('jitter raises the target until few frames come too late, and calm lowers it again', (t) => {
  const next = random(1);
  const { lost, sent, targets, released } = listen({
    seconds: 60,
    trip: (at) => TRIP_MS + (at < 31_000 ? exponential(next, 15) : 0),
  });
  assertInOrder(released);
  const jittery = mean(targets.slice(100, 1500));
  const calm = mean(targets.slice(-1250));
  t.diagnostic(
    `exponential, mean 15 ms: target ${jittery.toFixed(1)} ms, ${lost.length} of ${sent / 2} too late; calm ${calm.toFixed(1)} ms`,
  );
  assert.ok(jittery > 40 && jittery < 90);
  assert.ok(lost.length < 0.04 * (sent / 2));
  assert.ok(calm < 20);
});

test('copies are waited for where losses occur, and repair most of them', (t) => {
  for (const [share, repaired] of [
    [0.1, 0.8],
    [0.2, 0.7],
  ]) {
    const next = random(2);
    const { frames, lost, sent, targets, buffer, released } = listen({
      seconds: 60,
      isLost: () => next() < share,
      copies: [3],
    });
    assertInOrder(released);
    const { fromCopies, lost: lostOriginals } = buffer.stats;
    t.diagnostic(
      `${share * 100} % lost: target ${mean(targets).toFixed(1)} ms, ${fromCopies} from copies, ${lost.length} concealed of ${sent}`,
    );
    assert.ok(frames.length + lost.length >= sent - 5, 'all but what nothing follows');
    assert.ok(Math.abs(lostOriginals - share * sent) < 0.02 * sent);
    assert.ok(fromCopies > repaired * lostOriginals);
    assert.ok(mean(targets) > 60 && highest(targets) < 90);
  }
});

test('without copies a loss is not waited for', () => {
  const next = random(3);
  const { lost, frames, targets } = listen({ seconds: 30, isLost: () => next() < 0.1 });
  assert.ok(lost.length > 100);
  assert.ok(highest(targets) <= 25);
  for (const frame of frames) assert.ok(frame.kind === 'frame' && frame.heldMs < 5);
});

test('a hole is held open until its deadline and no longer', () => {
  const buffer = new JitterBuffer();
  const frame = Uint8Array.of(1);
  for (let sequence = 0; sequence < 100; sequence += 1) {
    buffer.insert(sequence * 20, { sequence, frame });
    assert.equal(buffer.take(sequence * 20).length, 1);
  }
  // So many losses that copies are worth waiting for.
  for (let sequence = 100; sequence < 400; sequence += 1) {
    if (sequence % 5 !== 0) buffer.insert(sequence * 20, { sequence, frame });
    if ((sequence - 3) % 5 === 0)
      buffer.insert(sequence * 20, { sequence: sequence - 3, frame, behind: 3 });
    buffer.take(sequence * 20);
  }
  const wait = buffer.targetMs - 8;
  assert.ok(wait >= 60 && wait <= 66, `${wait}`);
  buffer.insert(8020, { sequence: 401, frame });
  assert.deepEqual(buffer.take(8020), []);
  const due = buffer.nextAt() ?? NaN;
  assert.equal(due, 8000 + wait);
  assert.deepEqual(buffer.take(due - 0.01), []);
  assert.deepEqual(
    buffer.take(due).map(({ kind, sequence }) => [kind, sequence]),
    [
      ['lost', 400],
      ['frame', 401],
    ],
  );
  assert.equal(buffer.nextAt(), null);
  const { late } = buffer.stats;
  buffer.insert(due + 1, { sequence: 400, frame });
  assert.deepEqual(buffer.take(due + 1), []);
  assert.equal(buffer.stats.late, late + 1);
});

test('what was overtaken within the deadline is put in order', () => {
  const next = random(4);
  const { released, frames, sent, lost } = listen({
    seconds: 30,
    trip: () => TRIP_MS + (next() < 0.2 ? 25 : 0),
  });
  assertInOrder(released);
  assert.ok(frames.length >= 0.99 * sent, `${lost.length} of ${sent}`);
});

test('duplicates are played once and counted', () => {
  const { frames, sent, buffer, released } = listen({ twice: true });
  assertInOrder(released);
  assert.equal(frames.length, sent);
  assert.equal(buffer.stats.duplicates, sent);
});

test('after a pause mark nothing is missing, and the next frame goes out at once', () => {
  const { released, frames, pauses, lost, sent, sentAt, first, buffer } = listen({
    isSilent: (index) => index % 100 >= 60,
  });
  assertInOrder(released);
  assert.equal(frames.length, sent);
  assert.equal(lost.length, 0);
  assert.equal(pauses.length, 10);
  assert.deepEqual(
    pauses.map(({ sequence }) => sequence - first),
    Array.from({ length: 10 }, (_, i) => i * 60 + 59),
  );
  for (const frame of frames) assert.equal(frame.at, sentAt[frame.sequence - first] + TRIP_MS);
  assert.ok(buffer.targetMs <= 25, 'pauses are no jitter');
});

test('pauses without a mark teach no jitter either', () => {
  const { frames, sent, buffer } = listen({
    isSilent: (index) => index % 200 >= 100,
    marksPauses: false,
  });
  assert.equal(frames.length, sent);
  assert.ok(buffer.targetMs <= 25 && buffer.stats.jitterMs < 1);
});

test('the mark of a pause may come with the original after its copy, and a later talkspurt ends one that was not marked', () => {
  const buffer = new JitterBuffer();
  const frame = Uint8Array.of(1);
  buffer.insert(0, { sequence: 1, frame, talkspurt: 1 });
  buffer.insert(10, { sequence: 2, frame, talkspurt: 1, behind: 3 });
  assert.deepEqual(
    buffer.take(10).map(({ kind }) => kind),
    ['frame', 'frame'],
  );
  buffer.insert(20, { sequence: 2, frame, talkspurt: 1, pauseFollows: true });
  assert.equal(buffer.nextAt(), 20);
  assert.deepEqual(buffer.take(20), [{ kind: 'pause', sequence: 2 }]);
  buffer.insert(300, { sequence: 3, frame, talkspurt: 1 });
  buffer.insert(320, { sequence: 4, frame, talkspurt: 2 });
  assert.deepEqual(
    buffer.take(320).map(({ kind }) => kind),
    ['frame', 'pause', 'frame'],
  );
  buffer.insert(330, { sequence: 5, frame, talkspurt: 1 });
  assert.deepEqual(buffer.take(330), [], 'of a talkspurt that is over');
  buffer.insert(340, { sequence: 5, frame: new Uint8Array(0), talkspurt: 2 });
  assert.deepEqual(
    buffer.take(340),
    [{ kind: 'pause', sequence: 5 }],
    'an empty frame only closes',
  );
});

test("a speaker's clock may drift for ten minutes", () => {
  for (const ppm of [-200, 200]) {
    const { frames, sent, targets } = listen({ seconds: 600, ppm });
    assert.equal(frames.length, sent);
    assert.ok(highest(targets) <= 25, `${ppm} ppm: ${highest(targets)}`);
  }
});

test('a route that is 200 ms longer or shorter is the new normal within a second', () => {
  for (const [before, after] of [
    [30, 230],
    [230, 30],
  ]) {
    const { released, targets, lost, frames, sent } = listen({
      seconds: 30,
      trip: (at) => (at < 11_000 ? before : after),
    });
    assertInOrder(released);
    assert.ok(frames.length >= sent - 12, `${lost.length} lost`);
    assert.ok(highest(targets) <= 130, `${highest(targets)}`);
    assert.ok(
      highest(targets.slice(600)) <= 30,
      `${before} to ${after}: ${highest(targets.slice(600))}`,
    );
  }
});

test('a long stall costs no frame and its rest is delivered at once', () => {
  const { frames, sent, targets, released } = listen({
    seconds: 30,
    trip: (at) => TRIP_MS + (at > 11_000 && at < 11_400 ? 11_400 - at : 0),
  });
  assertInOrder(released);
  assert.equal(frames.length, sent);
  assert.ok(highest(targets.slice(800)) <= 25);
});

test('reports say what came, what did not, and how much of that was not repaired', () => {
  const buffer = new JitterBuffer();
  const frame = Uint8Array.of(1);
  // Of every ten frames two in a row are lost; the first of them is repaired by a copy.
  for (let index = 0; index < 500; index += 1) {
    if (index % 10 !== 4 && index % 10 !== 5) {
      buffer.insert(index * 20, { sequence: index, frame });
      if (index % 10 === 7) buffer.insert(index * 20, { sequence: index - 3, frame, behind: 3 });
    }
    buffer.take(index * 20);
  }
  buffer.take(500 * 20 + 1000);
  const { expected, lost, unrepaired, lossRunSixteenths, jitterMs } = buffer.takeReport();
  assert.equal(expected, 500);
  assert.equal(lost, 100);
  assert.ok(unrepaired >= 50 && unrepaired < 60, `${unrepaired}`);
  assert.equal(lossRunSixteenths, 32);
  assert.ok(jitterMs < 0.01);
  const { expected: more, lost: again } = buffer.takeReport();
  assert.deepEqual([more, again], [0, 0]);
});

test('hours of speech change nothing', () => {
  const { frames, sent, targets, buffer } = listen({ seconds: 3 * 3600, first: 2 ** 40 });
  assert.equal(frames.length, sent);
  assert.ok(highest(targets) <= 25);
  assert.ok(buffer.take(1e9).length === 0);
});

test('what comes two seconds later is new, whatever its number and talkspurt', () => {
  const buffer = new JitterBuffer();
  const frame = Uint8Array.of(1);
  buffer.insert(0, { sequence: 5000, frame, talkspurt: 9 });
  assert.equal(buffer.take(0).length, 1);
  buffer.insert(1000, { sequence: 40, frame, talkspurt: 9 });
  assert.deepEqual(buffer.take(1000), []);
  buffer.insert(3100, { sequence: 40, frame, talkspurt: 2 });
  assert.deepEqual(
    buffer.take(3100).map(({ sequence }) => sequence),
    [40],
  );
});

test('a hole after which much is missing ends after the longest concealment', () => {
  const buffer = new JitterBuffer();
  const frame = Uint8Array.of(1);
  buffer.insert(0, { sequence: 0, frame });
  buffer.take(0);
  buffer.insert(1000, { sequence: 40, frame });
  const kinds = buffer.take(2000).map(({ kind }) => kind);
  assert.deepEqual(kinds, [...Array(6).fill('lost'), 'pause', 'frame']);
});

test('whatever is put in, it keeps order, stays small and does not throw', () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const next = random(seed);
    const buffer = new JitterBuffer({ frameMs: seed % 2 ? 20 : 60 });
    const odd = [NaN, Infinity, -Infinity, -1, 0, 0.5, 2 ** 53, -(2 ** 53), 1e300];
    const pick = (/** @type {number} */ usual) =>
      next() < 0.03 ? odd[Math.floor(next() * odd.length)] : usual;
    let [now, near] = [0, Math.floor(next() * 1e6)];
    let last = -Infinity;
    for (let step = 0; step < 3000; step += 1) {
      // Never 2 s of silence: after it numbers may begin anew.
      now += next() < 0.01 ? next() * 900 : next() * 20;
      near += next() < 0.02 ? Math.floor(next() * 300) : 1;
      const packet = {
        sequence: pick(near + Math.floor((next() - 0.5) * (next() < 0.1 ? 400 : 12))),
        frame:
          next() < 0.02
            ? /** @type {any} */ (null)
            : new Uint8Array(next() < 0.02 ? 5000 : next() < 0.05 ? 0 : 40),
        behind: pick(next() < 0.3 ? 3 : 0),
        talkspurt: pick(Math.floor(step / 700)),
        pauseFollows: next() < 0.03,
        frameMs: pick(next() < 0.1 ? 40 : 20),
      };
      buffer.insert(pick(now), packet);
      const due = buffer.nextAt();
      assert.ok(due === null || Number.isFinite(due));
      if (next() < 0.7) {
        const released = buffer.take(pick(now));
        assert.ok(released.length <= CAPACITY + 100);
        for (const each of released) {
          if (each.kind === 'pause') continue;
          assert.ok(each.sequence > last, `seed ${seed}: ${each.sequence} after ${last}`);
          last = each.sequence;
        }
      }
      assert.ok(buffer.stats.waiting <= CAPACITY);
      assert.ok(buffer.targetMs >= 8 && buffer.targetMs <= 300);
    }
    const { expected, lost, unrepaired, lossRunSixteenths, jitterMs } = buffer.takeReport();
    assert.ok(unrepaired <= lost && lost <= expected);
    assert.ok([expected, lost, unrepaired, lossRunSixteenths].every(Number.isSafeInteger));
    assert.ok(Number.isFinite(jitterMs) && jitterMs >= 0);
  }
});
