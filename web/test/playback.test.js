/** The way to the speaker, in a browser that is only pretended. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Playback } from '../src/playback.js';

/** A context that counts how often the slow question is asked. */
class FakeContext extends EventTarget {
  asked = 0;
  destination = {};
  baseLatency = 0.01;

  get outputLatency() {
    this.asked += 1;
    return 0.03;
  }
}

/** @param {string} userAgent @param {(context: FakeContext, playback: Playback, tick: () => void) => void} act */
function inBrowser(userAgent, act) {
  const port = { onmessage: (/** @type {any} */ _) => {}, postMessage() {} };
  const former = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  Object.defineProperty(globalThis, 'navigator', { value: { userAgent }, configurable: true });
  Object.assign(globalThis, {
    AudioWorkletNode: class {
      port = port;
      connect() {}
    },
    GainNode: class {
      connect() {}
    },
  });
  try {
    const context = new FakeContext();
    const playback = new Playback(
      /** @type {any} */ (context),
      () => 0,
      () => {},
    );
    act(context, playback, () => port.onmessage({ data: { type: 'tick', people: [] } }));
  } finally {
    if (former) Object.defineProperty(globalThis, 'navigator', former);
    else delete (/** @type {any} */ (globalThis).navigator);
    delete (/** @type {any} */ (globalThis).AudioWorkletNode);
    delete (/** @type {any} */ (globalThis).GainNode);
  }
}

test('the output is asked for its latency when it changes, not in each tick', () => {
  inBrowser(
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36',
    (context, playback, tick) => {
      const first = context.asked;
      for (let count = 0; count < 1000; count += 1) tick();
      for (let count = 0; count < 1000; count += 1)
        assert.equal(Math.round(playback.outputLatencyMs), 40);
      assert.equal(context.asked, first);
      context.dispatchEvent(new Event('statechange'));
      assert.equal(context.asked, first + 1);
    },
  );
});

test('Firefox is never asked for it: the answer can wait for good', () => {
  inBrowser(
    'Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0',
    (context, playback, tick) => {
      tick();
      context.dispatchEvent(new Event('statechange'));
      playback.measureLatency();
      assert.equal(context.asked, 0);
      assert.equal(playback.outputLatencyMs, 10);
    },
  );
});
