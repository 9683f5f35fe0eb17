/** The microphone and the speaker of the page, as they are asked for, in a browser that is only pretended. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { Sound } from '../src/sound.js';

/** What was asked of the browser and not answered yet. */
class Asked {
  /** @type {(stream: object) => void} */ give = () => {};
  /** @type {(error: DOMException) => void} */ refuse = () => {};

  /** @param {string} id of the microphone, or "default" */
  constructor(id) {
    this.id = id;
    this.answer = new Promise((give, refuse) => Object.assign(this, { give, refuse }));
  }
}

class FakeNode {
  port = { postMessage() {} };
  gain = { value: 1 };
  /** @param {FakeNode} node */
  connect(node) {
    return node;
  }
  disconnect() {}
}

class FakeContext extends EventTarget {
  state = 'suspended';
  destination = new FakeNode();
  audioWorklet = { addModule: () => worklets };

  /** @param {AudioContextOptions & {sinkId?: object}} options */
  constructor(options) {
    super();
    this.isSilent = options.sinkId !== undefined;
    contexts.push(this);
  }

  async setSinkId() {}
  createMediaStreamSource() {
    return new FakeNode();
  }
  async resume() {
    this.state = 'running';
  }
  async suspend() {
    this.state = 'suspended';
  }
  async close() {
    this.state = 'closed';
  }
}

/** @type {Asked[]} */
let asked = [];
/** @type {FakeContext[]} */
let contexts = [];
/** The worklets' modules, once they are loaded. */
let worklets = Promise.resolve();
/** @type {PropertyDescriptor | undefined} */
let former;

beforeEach(() => {
  [asked, contexts, worklets] = [[], [], Promise.resolve()];
  former = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  const mediaDevices = {
    addEventListener() {},
    enumerateDevices: async () => [{ kind: 'audioinput', deviceId: 'B', label: 'B' }],
    /** @param {{audio: {deviceId?: {exact: string}}}} wanted */
    getUserMedia: ({ audio }) => {
      asked.push(new Asked(audio.deviceId?.exact ?? 'default'));
      return asked[asked.length - 1].answer;
    },
  };
  const value = { userAgent: 'pretended', mediaDevices };
  Object.defineProperty(globalThis, 'navigator', { value, configurable: true });
  const names = { AudioWorkletNode: FakeNode, DelayNode: FakeNode, GainNode: FakeNode };
  Object.assign(globalThis, { AudioContext: FakeContext, ...names });
});

afterEach(() => {
  if (former) Object.defineProperty(globalThis, 'navigator', former);
  for (const name of ['AudioContext', 'AudioWorkletNode', 'DelayNode', 'GainNode'])
    Reflect.deleteProperty(globalThis, name);
});

const settled = async () => {
  for (let turn = 0; turn < 50; turn += 1) await null;
};

function makeSound() {
  const storage = { getItem: () => null, setItem() {}, removeItem() {} };
  const events = { encoded() {}, ticked() {}, changed() {}, notice() {} };
  return new Sound(() => performance.now(), /** @type {any} */ (storage), events);
}

/** @param {string} label */
function makeStream(label) {
  const track = { label, isStopped: false, stop: () => void (track.isStopped = true) };
  return { track, getTracks: () => [track], getAudioTracks: () => [track] };
}

/** @param {string} name */
const error = (name) => new DOMException('', name);

test('a room that is left while the sound is made ready opens no microphone', async () => {
  let loaded = () => {};
  worklets = new Promise((resolve) => (loaded = resolve));
  const sound = makeSound();
  sound.begin(true);
  await settled();
  sound.end();
  loaded();
  await settled();
  assert.equal(asked.length, 0);
  assert.equal(sound.microphone, 'none');
  assert.equal(contexts[0].state, 'suspended', 'the speaker is not started either');
});

test('a room that is left while a microphone is asked for opens none, nor another in its place', async () => {
  const sound = makeSound();
  void sound.setInput('A');
  await settled();
  sound.end();
  asked[0].refuse(error('OverconstrainedError'));
  await settled();
  assert.equal(asked.length, 1);
  assert.equal(sound.microphone, 'none');
});

for (const name of ['OverconstrainedError', 'NotReadableError', 'NotAllowedError']) {
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    test(`a microphone chosen while another opened stays, when that fails: ${name}, ${order}`, async () => {
      const sound = makeSound();
      void sound.setInput('A');
      await settled();
      void sound.setInput('B');
      await settled();
      const stream = makeStream('B');
      for (const index of order) {
        if (index === 0) asked[0].refuse(error(name));
        else asked[1].give(stream);
        await settled();
      }
      assert.equal(asked.length, 2, 'no third one is asked for');
      assert.equal(sound.microphone, 'on');
      assert.equal(stream.track.isStopped, false);
      sound.end();
      assert.equal(stream.track.isStopped, true);
    });
  }
}

test('who chose to listen only is not shown a refusal of what was asked before', async () => {
  const sound = makeSound();
  sound.begin(true);
  await settled();
  sound.begin(false);
  asked[0].refuse(error('NotAllowedError'));
  await settled();
  assert.equal(sound.microphone, 'none');
});

test('no context goes on after a room in which no speaker worked', async () => {
  const sound = makeSound();
  sound.begin(true);
  await settled();
  asked[0].give(makeStream('B'));
  await settled();
  for (let turn = 0; turn < 30; turn += 1) sound.output.turned();
  sound.output.changed();
  await settled();
  const silent = contexts.find((context) => context.isSilent);
  assert.equal(silent?.state, 'running', 'the microphone is heard in a context without a speaker');
  sound.end();
  await settled();
  assert.deepEqual(
    contexts.map((context) => context.state),
    contexts.map(() => 'suspended'),
  );
});
