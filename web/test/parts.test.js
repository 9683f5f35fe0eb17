import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Answers, Clock } from '../src/clocks.js';
import { Feedback } from '../src/feedback.js';
import { Health } from '../src/health.js';
import { opusMs } from '../src/playback.js';
import { Reports } from '../src/reports.js';
import { nextRoute, NO_ROUTE, OVERLAP_MS, uses } from '../src/route.js';
import { VoiceTargets, ReplayWindow } from '../src/stream.js';
import { Volumes } from '../src/volumes.js';

const TALKSPURT = { bits: 7, value: 5 };

// proves: D-20
test('numbers are extended over the wrap, and each frame is taken once', () => {
  const stream = new ReplayWindow();
  const first = stream.accept(0, 0xfffe, TALKSPURT)?.sequence ?? NaN;
  const at = (/** @type {number} */ sequence) => stream.accept(0, sequence, TALKSPURT)?.sequence;
  assert.equal(at(0), first + 2);
  assert.equal(at(0xffff), first + 1, 'a reordered frame takes its place');
  assert.equal(at(0xffff), undefined);
  assert.equal(at(0xfffd), first - 1, 'even one before the first');
  assert.equal(at((0 - 128) & 0xffff), undefined, 'too old to tell');
  assert.ok(stream.hasSeen(first + 1) && !stream.hasSeen(first + 3));
  assert.equal(stream.extend(1), first + 3);
});

test('what is left of an older talkspurt is dropped, and after two silent seconds anything is new', () => {
  const stream = new ReplayWindow();
  stream.accept(0, 10, { bits: 7, value: 127 });
  assert.equal(stream.accept(0, 12, { bits: 7, value: 0 })?.talkspurt, 1);
  assert.equal(stream.accept(0, 11, { bits: 7, value: 127 }), null);
  const later = stream.accept(2001, 3, { bits: 2, value: 3 });
  assert.ok(later && later.sequence > (1 << 20) + 12 && (later.sequence & 0xffff) === 3);
});

test('a speaker whose numbers jump back is heard again within a second, and what comes again by a late route is no jump', () => {
  for (const back of [1, 60, 127, 1_000, 30_000]) {
    const stream = new ReplayWindow();
    for (let number = 0; number < 200; number += 1)
      stream.accept(0, 40_000 - 199 + number, TALKSPURT);
    const frames = Array.from({ length: 100 }, (_, number) => number);
    const heard = frames.find((number) =>
      stream.accept(20 * (number + 1), (40_000 - back + number) & 0xffff, TALKSPURT),
    );
    assert.ok(heard !== undefined && 20 * heard <= 700, `back by ${back}: after ${heard} frames`);
  }
  const stream = new ReplayWindow();
  for (let number = 0; number < 100; number += 1) stream.accept(0, number, TALKSPURT);
  for (let number = 50; number < 100; number += 1)
    assert.equal(stream.accept(800, number, TALKSPURT), null);
  for (let number = 0; number < 10; number += 1)
    assert.equal(stream.accept(900 + 20 * number, number, TALKSPURT), null);
});

// proves: D-19
test('the talkspurt steps only when every target has closed', () => {
  const speaker = new VoiceTargets(0xffff);
  assert.equal(speaker.nextFrame(), null);
  speaker.open('group', 'a');
  speaker.open('group', 'b');
  assert.deepEqual(
    [speaker.nextFrame()].map((frame) => [frame?.sequence, frame?.talkspurt.value]),
    [[0xffff, 0]],
  );
  speaker.close('group', 'a');
  const last = speaker.nextFrame();
  assert.deepEqual(
    [last?.sequence, last?.targets.map(({ closing }) => closing)],
    [0, [true, false]],
  );
  speaker.close('group', 'b');
  assert.equal(
    speaker.nextFrame()?.talkspurt.value,
    0,
    'the last frame still belongs to the talkspurt',
  );
  assert.equal(speaker.nextFrame(), null);
  speaker.open('group', 'a');
  assert.deepEqual(
    [speaker.nextFrame()].map((frame) => [frame?.sequence, frame?.talkspurt.value]),
    [[2, 1]],
  );
  for (let n = 1; n < 64; n++) assert.ok(speaker.open('group', String(n)));
  assert.ok(!speaker.open('group', 'one more'));
});

// proves: D-32
test('a pair moves to direct with an overlap, and leaves a stalled link at once', () => {
  let state = nextRoute(NO_ROUTE, 0, {
    relay: true,
    serverAnswers: true,
    both: false,
    link: 'unbound',
  });
  assert.equal(state.route, 'relayed');
  state = nextRoute(state, 10, { relay: true, serverAnswers: true, both: false, link: 'sound' });
  assert.ok(state.route === 'direct' && uses(state, 'relayed'));
  state = nextRoute(state, 10 + OVERLAP_MS, {
    relay: true,
    serverAnswers: true,
    both: false,
    link: 'sound',
  });
  assert.ok(!uses(state, 'relayed'));
  state = nextRoute(state, 400, { relay: true, serverAnswers: true, both: false, link: 'stalled' });
  assert.ok(state.route === 'relayed' && !uses(state, 'direct'));
  assert.equal(
    nextRoute(NO_ROUTE, 0, { relay: false, serverAnswers: true, both: false, link: 'stalled' })
      .route,
    'direct',
    'it is all there is',
  );
  assert.equal(
    nextRoute(state, 500, { relay: false, serverAnswers: true, both: false, link: 'unbound' })
      .route,
    'none',
  );
});

test('a link that swallows voice is stalled within the threshold, and to be replaced two seconds later', () => {
  const health = new Health(0);
  let [stalledAt, replacedAt] = [NaN, NaN];
  for (let now = 0; now < 3000; now += 5) {
    if (now % 20 === 0) health.sent(now, now / 20);
    const care = health.update(now);
    if (care.stalledNow) {
      assert.ok(Number.isNaN(stalledAt), 'told once');
      stalledAt = now;
      assert.ok(health.takeUnacknowledged().length >= 15);
    }
    if (care.replace && Number.isNaN(replacedAt)) replacedAt = now;
  }
  assert.deepEqual([stalledAt, replacedAt], [305, 2305]);
});

test('a lost tail of speech is no stall where the link answers, and answers make a stalled one sound', () => {
  const health = new Health(0);
  health.sent(0, 1);
  for (let now = 5; now < 2000; now += 5) {
    const care = health.update(now);
    assert.ok(!care.stalledNow);
    if (care.probe !== null) {
      health.heard(now);
      health.answered(now + 30, care.probe);
    }
  }
  const stalled = new Health(0);
  stalled.sent(0, 1);
  assert.ok(stalled.update(301).stalledNow);
  let answers = 0;
  for (let now = 305; stalled.stalled; now += 5) {
    const { probe } = stalled.update(now);
    stalled.heard(now);
    if (probe !== null) {
      stalled.answered(now, probe);
      answers += 1;
    }
    assert.ok(answers <= 3);
  }
  assert.equal(answers, 3);
});

test('a clock answers as often as the uplink affords, and its askers in turns', () => {
  const answers = new Answers();
  const asked = (
    /** @type {number} */ now,
    /** @type {number} */ peer,
    /** @type {number | null} */ estimate,
  ) => answers.tell(now, 1, { peer: `${peer}`, listeners: 7, estimate }) !== null;
  const given = (/** @type {number} */ second, /** @type {number | null} */ estimate) =>
    Array.from({ length: 400 }, (_, n) => asked(second * 1000 + n, n % 7, estimate)).filter(Boolean)
      .length;
  assert.equal(given(1, null), 200);
  assert.equal(given(2, 120_000), 3);
  const lately = Array.from({ length: 7 }, (_, n) =>
    [0, 1, 2, 3, 4, 5, 6].filter((peer) => asked(10_000 + n * 1000 + peer, peer, 50_000)),
  );
  assert.deepEqual(lately.flat().sort(), [0, 1, 2, 3, 4, 5, 6], 'each has a turn');
});

test('the measured delay is the true one, though the clocks differ and answers take their time', () => {
  const [offsetMs, wayMs, delayMs] = [123_456, 30, 95];
  const clock = new Clock();
  let seed = 1;
  const random = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  for (let now = 1000; now < 6000; now += 20) {
    const sequence = Math.floor(now / 20);
    const place = { sequence, talkspurt: 0 };
    clock.observePlayout(now, place, 0, 20);
    const askedUs = clock.pollProbe(now, place);
    if (askedUs === null) continue;
    const [there, back] = [wayMs + 20 * random(), wayMs + 20 * random()];
    const theirs = (now + there + offsetMs) * 1000;
    // The frame that is heard now was captured so long ago; the answer tells of one later by some frames.
    const captured = {
      sequence: (sequence + 2) & 0xffff,
      agoUs: Math.round((delayMs + there - 40) * 1000),
    };
    const echo = { sender: 1, askedUs, receivedUs: theirs, sentUs: theirs, captured };
    clock.handleEcho(now + there + back, echo, (low) => ({ sequence: low, talkspurt: 0 }));
  }
  assert.ok(Math.abs((clock.delayMs ?? NaN) - delayMs) <= 5, `${clock.delayMs} ms`);
  assert.equal(clock.settledMs, clock.delayMs);
});

/** A clock that has measured a delay: 800 ms in the first looks, then 90. @param {(clock: Clock) => void} [each] */
function measured(each = () => {}) {
  const clock = new Clock();
  const place = (/** @type {number} */ sequence) => ({ sequence, talkspurt: 0 });
  const askedUs = clock.pollProbe(1000, place(0)) ?? 0;
  const captured = { sequence: 0, agoUs: 0 };
  const echo = { sender: 1, askedUs, receivedUs: 1_000_000, sentUs: 1_000_000, captured };
  clock.handleEcho(1000, echo, (low) => place(low));
  for (let look = 0; look < 100; look++) {
    each(clock);
    const late = look < 10 ? 800 : 90;
    clock.observePlayout(1000 + 20 * look + late, place(look), 0, 20);
  }
  return clock;
}

test('a late burst at the beginning makes no delay that is shown', () => {
  const clock = measured(({ settledMs }) => assert.equal(settledMs, null));
  assert.ok((clock.settledMs ?? Infinity) < 120, `${clock.settledMs} ms`);
});

test('a delay that was measured with another speaker is not shown', () => {
  const reports = new Reports();
  const mesh = /** @type {any} */ ({});
  const through = (/** @type {string} */ sinkId) =>
    reports.send(0, mesh, /** @type {any} */ ({ context: { sinkId }, remotes: new Map() }), true);
  through('first');
  reports.clocks.set('ada', measured());
  through('first');
  assert.ok((reports.clocks.get('ada')?.settledMs ?? null) !== null, 'it is the same one');
  through('');
  assert.ok(!reports.clocks.has('ada'));
});

test('copies follow what listeners report, and the bitrate pays for them', () => {
  const feedback = new Feedback();
  const report = (/** @type {number} */ lost, run = 1) => ({
    sender: 1,
    expected: 50,
    lost,
    unrepaired: 0,
    lossRunSixteenths: 16 * run,
    jitterMs: 0,
    bufferMs: 0,
  });
  const tell = (/** @type {number} */ lost, /** @type {number} */ times, run = 1) => {
    for (let n = 0; n < times; n++) feedback.told(n * 1000, 'ada', report(lost, run));
  };
  tell(0, 5);
  assert.deepEqual([feedback.copiesFor('ada'), feedback.plan(4000).bitrate], [[], 32_000]);
  tell(5, 5);
  assert.deepEqual([feedback.copiesFor('ada'), feedback.plan(4000).bitrate], [[3], 24_000]);
  tell(6, 30, 3);
  assert.deepEqual(feedback.copiesFor('ada'), [4]);
  tell(15, 5);
  assert.deepEqual([feedback.copiesFor('ada'), feedback.plan(4000).bitrate], [[2, 4], 19_200]);
  tell(0, 30);
  assert.deepEqual(feedback.copiesFor('ada'), []);
  assert.equal(feedback.plan(100_000).bitrate, 32_000, 'who reports no more counts no more');
});

test('the length of an Opus packet is read off its first bytes', () => {
  for (const [first, ms] of [
    [0x78, 20],
    [0x08, 20],
    [0x00, 10],
    [0x18, 60],
    [0xe0, 2.5],
    [0xf8, 20],
    [0x79, 40],
    [0x60, 10],
  ]) {
    assert.equal(opusMs(new Uint8Array([first])), ms, first.toString(16));
  }
  assert.equal(opusMs(new Uint8Array([0x7b, 3])), 60);
  assert.ok(Number.isNaN(opusMs(new Uint8Array(0))) || opusMs(new Uint8Array(0)) >= 0);
});

test('volumes are remembered, within bounds, and storage may hold or do anything', () => {
  /** @type {Map<string, string>} */
  const kept = new Map();
  const storage = /** @type {Storage} */ (
    /** @type {unknown} */ ({
      getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
      setItem: (/** @type {string} */ key, /** @type {string} */ value) => kept.set(key, value),
    })
  );
  const volumes = new Volumes(storage);
  for (let n = 0; n < 300; n++) volumes.set(`id${n}`, { volume: 0.5 });
  volumes.set('id299', { muted: true });
  const again = new Volumes(storage);
  assert.deepEqual(
    [again.get('id0'), again.get('id299'), again.gain('id299')],
    [{ volume: 1, muted: false }, { volume: 0.5, muted: true }, 0],
  );
  for (const nonsense of ['', '{', '7', '[[1]]', '[["a",{"volume":99}]]', 'null']) {
    kept.set('voicemesh.volumes', nonsense);
    assert.equal(new Volumes(storage).gain('a'), 1, nonsense);
  }
  const broken = /** @type {Storage} */ (
    /** @type {unknown} */ ({
      getItem() {
        throw new Error('off');
      },
      setItem() {
        throw new Error('full');
      },
    })
  );
  const forgetful = new Volumes(broken);
  forgetful.set('a', { volume: 2 });
  assert.equal(forgetful.gain('a'), 2);
});

// proves: D-33
test('a listener that is relayed by choice is direct while the server is dark', () => {
  /** @type {import('../src/route.js').Means} */
  const crowded = {
    relay: true,
    serverAnswers: true,
    both: false,
    link: 'sound',
    preferRelay: true,
    darkSince: null,
  };
  const dark = { ...crowded, serverAnswers: false, darkSince: 1000 };
  let state = nextRoute(nextRoute(NO_ROUTE, 0, crowded), 1000, dark);
  state = nextRoute(state, 3999, dark);
  assert.ok(uses(state, 'relayed') && !uses(state, 'direct'), 'the uplink may be what is full');
  state = nextRoute(state, 4000, dark);
  assert.ok(state.route === 'direct' && uses(state, 'relayed'), 'with an overlap');
  state = nextRoute(nextRoute(state, 5000, dark), 5010, crowded);
  assert.ok(state.route === 'relayed' && !uses(state, 'direct'), 'it answers again');
});
