/** A speaker that ends and comes back, in a browser that is only pretended. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { Output } from '../src/output.js';

/** What is plugged in: the names of speakers. @type {string[]} */
let speakers = [];
/** Whether a context that is started runs. */
let runs = true;
/** @type {FakeContext} */
let context;

class FakeContext extends EventTarget {
  state = 'suspended';
  sinkId = '';
  audioWorklet = { addModule: async () => {} };
  onstatechange = () => {};

  constructor() {
    super();
    context = this;
  }

  /** @param {string} sink */
  async setSinkId(sink) {
    if (sink !== '' && !speakers.includes(sink)) throw new Error('NotFoundError');
    this.sinkId = sink;
  }

  async resume() {
    if (runs) this.become('running');
  }

  async suspend() {
    this.become('suspended');
  }

  /** @param {string} state */
  become(state) {
    if (this.state === state) return;
    this.state = state;
    this.onstatechange();
  }

  /** As Chromium does it. */
  end() {
    this.dispatchEvent(new Event('error'));
    this.become('suspended');
  }
}

const settled = async () => {
  for (let turn = 0; turn < 20; turn += 1) await null;
};
/** @param {number} ms */
async function pass(ms) {
  for (let at = 0; at < ms; at += 100) {
    mock.timers.tick(100);
    await settled();
  }
}

/** @type {PropertyDescriptor | undefined} */
let former;

beforeEach(() => {
  speakers = ['desk', 'headset'];
  runs = true;
  mock.timers.enable({ apis: ['setTimeout'] });
  former = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  const enumerateDevices = async () =>
    speakers.map((deviceId) => ({ kind: 'audiooutput', deviceId, label: deviceId }));
  Object.defineProperty(globalThis, 'navigator', {
    value: { mediaDevices: { enumerateDevices } },
    configurable: true,
  });
  Object.assign(globalThis, { AudioContext: FakeContext });
});

afterEach(() => {
  mock.timers.reset();
  if (former) Object.defineProperty(globalThis, 'navigator', former);
  else delete (/** @type {any} */ (globalThis).navigator);
  delete (/** @type {any} */ (globalThis).AudioContext);
  delete (/** @type {any} */ (globalThis).Audio);
});

test('only before it has ever played, a click is what is missing', async () => {
  runs = false;
  const output = new Output(() => {});
  assert.equal(output.state, 'off');
  await output.open();
  assert.equal(output.state, 'waits');
  await pass(10_000);
  assert.equal(output.state, 'waits');
  runs = true;
  output.resume();
  await settled();
  assert.equal(output.state, 'on');
  runs = false;
  context.become('suspended');
  assert.notEqual(output.state, 'waits');
  await pass(2500);
  assert.equal(output.state, 'none');
});

/** The default speaker plays, until the chosen one is there again. @param {Output} output */
async function isBackWhenTheHeadsetIs(output) {
  assert.deepEqual([output.state, context.sinkId], ['default', '']);
  await pass(10_000);
  assert.equal(output.state, 'default');
  speakers = ['desk', 'headset'];
  await pass(5000);
  assert.deepEqual([output.state, context.sinkId], ['on', 'headset']);
}

test('a chosen speaker that ends gives way to the default one, and is used again when it was away and is back', async () => {
  const output = new Output(() => {});
  await output.choose('headset');
  await output.open();
  assert.deepEqual([output.state, context.sinkId], ['on', 'headset']);
  speakers = ['desk'];
  context.end();
  await settled();
  await isBackWhenTheHeadsetIs(output);
});

test('a chosen speaker that is gone is said where the sound system plays on by itself as well', async () => {
  const output = new Output(() => {});
  await output.choose('headset');
  await output.open();
  speakers = [];
  await output.devicesChanged();
  assert.equal(context.sinkId, 'headset', 'a browser that names no speaker says nothing of it');
  await pass(10_000);
  speakers = ['desk', 'headset'];
  await output.devicesChanged();
  await pass(10_000);
  assert.deepEqual([output.state, context.sinkId], ['on', 'headset']);
  // No event says so.
  speakers = ['desk'];
  await pass(3100);
  await isBackWhenTheHeadsetIs(output);
});

test('a chosen speaker that is not there is replaced from the beginning, and another choice ends that', async () => {
  const output = new Output(() => {});
  await output.choose('gone');
  await output.open();
  await settled();
  assert.deepEqual([output.state, context.sinkId], ['default', '']);
  await output.choose('desk');
  assert.deepEqual([output.state, context.sinkId], ['on', 'desk']);
});

test('without any speaker it says so, tries by itself, and takes nothing for sound that ends again at once', async () => {
  const output = new Output(() => {});
  await output.open();
  runs = false;
  speakers = [];
  context.end();
  await pass(2500);
  assert.equal(output.state, 'none');
  // It starts, and ends again within a second, as Chromium does on a sound server that is gone.
  context.become('running');
  await pass(1000);
  context.end();
  await pass(3000);
  assert.equal(output.state, 'none');
  assert.equal(output.plays, false);
  runs = true;
  speakers = ['desk'];
  await pass(8000);
  assert.equal(output.state, 'on');
});

test('a browser that plays into nothing where there is no speaker is not believed', async () => {
  speakers = [];
  const output = new Output(() => {});
  await output.open();
  assert.equal(output.state, 'none');
  await pass(10_000);
  assert.equal(output.state, 'none');
  speakers = ['desk'];
  await pass(8000);
  assert.equal(output.state, 'on');
});

test('a sound thread that stands still without a word is started anew', async () => {
  const output = new Output(() => {});
  await output.open();
  let stopped = 0;
  const { suspend } = context;
  context.suspend = () => {
    stopped += 1;
    return suspend.call(context);
  };
  for (let turn = 0; turn < 1000; turn += 1) {
    output.turned();
    output.ticked();
  }
  assert.equal(stopped, 0);
  for (let turn = 0; turn < 200; turn += 1) output.turned();
  await settled();
  assert.deepEqual([stopped, context.state], [1, 'running']);
});

test('after the room is left nothing is tried', async () => {
  const output = new Output(() => {});
  await output.open();
  context.end();
  output.suspend();
  await pass(10_000);
  assert.deepEqual([output.state, context.state], ['off', 'suspended']);
});

/** As Firefox has it: what it plays fails where there is no speaker. */
class FakeAudio {
  /** @type {FakeAudio[]} */
  static all = [];
  static works = true;
  /** @type {{code: number} | null} */
  error = null;
  onerror = () => {};
  onplaying = () => {};
  paused = true;

  constructor() {
    FakeAudio.all.push(this);
  }

  async play() {
    this.paused = false;
    this.onplaying();
    if (!FakeAudio.works) setTimeout(() => this.fail(3), 1000);
  }

  pause() {
    this.paused = true;
  }

  /** @param {number} code */
  fail(code) {
    if (this.paused) return;
    this.error = { code };
    this.onerror();
  }
}

/** @param {string} userAgent */
function withElements(userAgent) {
  Object.assign(/** @type {any} */ (globalThis).navigator, { userAgent });
  Object.assign(globalThis, { Audio: FakeAudio });
  FakeAudio.all = [];
  FakeAudio.works = true;
}

test('where only an audio element tells that no speaker works, it is said while it lasts, and the clock goes on', async () => {
  withElements('Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0');
  let changes = 0;
  const output = new Output(() => (changes += 1));
  await output.open();
  assert.equal(output.state, 'on');
  assert.equal(FakeAudio.all.length, 1);
  const before = changes;
  FakeAudio.all[0].fail(3);
  await pass(500);
  assert.deepEqual([output.state, changes], ['on', before], 'one failure alone is a hiccup');
  await pass(3000);
  FakeAudio.works = false;
  FakeAudio.all.at(-1)?.fail(3);
  await pass(1500);
  assert.deepEqual([output.state, output.plays, output.goesOn], ['none', false, true]);
  await pass(60_000);
  assert.equal(output.state, 'none');
  assert.ok(FakeAudio.all.length < 30, 'it is tried again, not all the time');
  FakeAudio.works = true;
  await pass(6000);
  assert.deepEqual([output.state, output.plays], ['on', true]);
  output.suspend();
  assert.ok(FakeAudio.all.every(({ paused }) => paused));
});

test('an element that the browser refuses says nothing of the speaker, and others need none', async () => {
  withElements('Mozilla/5.0 Gecko/20100101 Firefox/153.0');
  const output = new Output(() => {});
  await output.open();
  for (let time = 0; time < 3; time += 1) FakeAudio.all.at(-1)?.fail(4);
  await pass(5000);
  assert.equal(output.state, 'on');
  output.suspend();
  withElements('Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0');
  await new Output(() => {}).open();
  assert.equal(FakeAudio.all.length, 0);
});
