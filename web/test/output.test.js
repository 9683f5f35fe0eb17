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
