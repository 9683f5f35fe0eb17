/** The microphone in an audio graph that is only pretended. */

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { Capture } from '../src/capture.js';

class FakeNode {
  /** @type {Set<FakeNode>} */
  outputs = new Set();
  port = { postMessage() {} };

  /** @param {FakeNode} node */
  connect(node) {
    this.outputs.add(node);
    return node;
  }

  /** @param {FakeNode} [node] */
  disconnect(node) {
    if (!node) this.outputs.clear();
    else assert.ok(this.outputs.delete(node), 'it was not connected');
  }
}

class FakeDelay extends FakeNode {}

const former = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
afterEach(() => {
  if (former) Object.defineProperty(globalThis, 'navigator', former);
  else Reflect.deleteProperty(globalThis, 'navigator');
  for (const name of [
    'AudioWorkletNode',
    'AudioWorkletProcessor',
    'DelayNode',
    'registerProcessor',
    'currentTime',
  ])
    Reflect.deleteProperty(globalThis, name);
});

/** @param {(rate: number) => void} [check] what a context of this rate does with a microphone */
function graph(check = () => {}) {
  /** @type {FakeNode[]} */
  const sources = [];
  /** @param {number} rate */
  const contextOf = (rate) => ({
    destination: new FakeNode(),
    isClosed: false,
    async close() {
      this.isClosed = true;
    },
    createMediaStreamSource() {
      check(rate);
      sources.push(new FakeNode());
      return sources[sources.length - 1];
    },
  });
  const stream = { getAudioTracks: () => [{}], getTracks: () => [{ stop() {} }] };
  const navigator = { mediaDevices: { getUserMedia: async () => stream } };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  Object.assign(globalThis, { AudioWorkletNode: FakeNode, DelayNode: FakeDelay });
  const lost = { times: 0 };
  const events = { encoded() {}, changed() {}, lost: () => void lost.times++, ticked() {} };
  /** @type {ReturnType<typeof contextOf>[]} */
  const others = [];
  const at = (/** @type {number} */ rate) => async () => {
    others.push(contextOf(rate));
    return /** @type {any} */ (others[others.length - 1]);
  };
  const base = /** @type {any} */ (contextOf(48_000));
  return { base, contextOf, events, lost, others, sources, at };
}

test('hearing oneself takes one node, which the microphone lets go of afterwards', async () => {
  const { base, events, sources, at } = graph();
  const capture = new Capture(base, () => 0, events, at(48_000));
  await capture.open('');
  const [source] = sources;
  const delays = () => [...source.outputs].filter((node) => node instanceof FakeDelay);
  for (const on of [true, true, false, true]) {
    capture.monitor(on);
    assert.deepEqual([capture.isMonitored, delays().length], [on, Number(on)]);
  }
  const [delay] = delays();
  await capture.open('');
  assert.deepEqual(
    [capture.isMonitored, source.outputs.size, delay.outputs.size],
    [false, 0, 0],
    'another microphone begins without it',
  );
  assert.equal(sources[1].outputs.size, 1);
});

test('the channel that is chosen is the one that the worklet hears, in every context', async () => {
  /** @type {Map<string, new () => any>} */
  const processors = new Map();
  Object.assign(globalThis, {
    AudioWorkletProcessor: class {
      port = { onmessage: (/** @type {any} */ _) => {}, postMessage: (/** @type {any} */ _) => {} };
    },
    registerProcessor: (/** @type {string} */ name, /** @type {any} */ made) =>
      processors.set(name, made),
    currentTime: 0,
  });
  const worklet = '../src/capture-worklet.js';
  await import(worklet);
  const { base, contextOf, events, at } = graph();
  /** @type {any[]} */
  const working = [];
  class WorkletNode extends FakeNode {
    /** @override @type {any} */
    port = {};

    /** @param {unknown} _ @param {string} name */
    constructor(_, name) {
      super();
      const processor = new /** @type {any} */ (processors.get(name))();
      this.port.postMessage = (/** @type {any} */ data) => processor.port.onmessage({ data });
      processor.port.postMessage = (/** @type {any} */ data) => this.port.onmessage({ data });
      working.push(processor);
    }
  }
  Object.assign(globalThis, { AudioWorkletNode: WorkletNode });
  const capture = new Capture(base, () => 0, events, at(48_000));
  capture.muted = true;
  capture.channel = 1;
  await capture.open('');
  const blocks = [0.1, 0.5].map((level) => new Float32Array(960).fill(level));
  const hears = () => {
    working[working.length - 1].process([blocks]);
    return capture.channels;
  };
  assert.deepEqual(hears(), { count: 2, heard: 1 });
  capture.channel = 2;
  assert.deepEqual(hears(), { count: 2, heard: 2 });
  capture.moveTo(/** @type {any} */ (contextOf(48_000)));
  assert.equal(working.length, 2);
  assert.deepEqual(hears(), { count: 2, heard: 2 }, 'in another context as well');
});

test('a microphone that is given at another rate only is heard in a context of that rate', async () => {
  let card = 44_100;
  const { base, contextOf, events, lost, others, sources, at } = graph((rate) => {
    if (rate !== card) throw new DOMException('', 'NotSupportedError');
  });
  const capture = new Capture(
    base,
    () => 0,
    events,
    () => at(card)(),
  );
  await capture.open('');
  assert.deepEqual([capture.context, sources.length], [others[0], 1]);
  // Another context of 48 kHz makes no difference to it.
  const next = /** @type {any} */ (contextOf(48_000));
  capture.moveTo(next);
  assert.equal(capture.context, others[0]);
  capture.close();
  assert.deepEqual([capture.context, others[0].isClosed], [next, true]);
  card = 48_000;
  await capture.open('');
  assert.deepEqual([capture.context, others.length], [next, 1], 'none is made without need');
  // A speaker that changes while the context is made: one of both is closed, and none is kept open.
  capture.close();
  card = 44_100;
  let isAsked = () => {};
  const asked = new Promise((resolve) => {
    isAsked = () => resolve(undefined);
  });
  capture.contextAtItsRate = async () => {
    isAsked();
    await new Promise((resolve) => setImmediate(resolve));
    return at(card)();
  };
  const opening = capture.open('');
  await asked;
  capture.moveTo(/** @type {any} */ (contextOf(48_000)));
  await opening;
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(others.length, 3);
  assert.equal(others.filter(({ isClosed }) => !isClosed).length, 1);
  assert.ok(/** @type {any} */ (others).includes(capture.context));
  capture.close();
  card = 48_000;
  await capture.open('');
  // Nothing that the browser makes has the rate.
  capture.contextAtItsRate = at(96_000);
  card = 44_100;
  await assert.rejects(capture.open(''), { name: 'NotSupportedError' });
  capture.close();
  assert.ok(others.every(({ isClosed }) => isClosed) && lost.times === 0);
});
