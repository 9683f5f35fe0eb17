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
  for (const name of ['AudioWorkletNode', 'DelayNode']) Reflect.deleteProperty(globalThis, name);
});

test('hearing oneself takes one node, which the microphone lets go of afterwards', async () => {
  const stream = { getAudioTracks: () => [{}], getTracks: () => [{ stop() {} }] };
  const navigator = { mediaDevices: { getUserMedia: async () => stream } };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  Object.assign(globalThis, { AudioWorkletNode: FakeNode, DelayNode: FakeDelay });
  /** @type {FakeNode[]} */
  const sources = [];
  const context = {
    destination: new FakeNode(),
    createMediaStreamSource() {
      sources.push(new FakeNode());
      return sources[sources.length - 1];
    },
  };
  const capture = new Capture(/** @type {any} */ (context), () => 0, {
    encoded() {},
    changed() {},
    lost() {},
    ticked() {},
  });
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
