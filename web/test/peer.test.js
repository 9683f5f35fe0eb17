/** What the page's peer makes of how late it gets its turns, in a simulated browser. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Peer } from '../src/peer.js';

/** What a peer says of its device after turns with such pauses in ms. @param {import('node:test').TestContext} t @param {number[]} pauses @param {boolean} [hidden] */
function afterTurns(t, pauses, hidden = false) {
  const listens = { addEventListener() {} };
  const names = { ...listens, document: { ...listens, hidden } };
  Object.assign(globalThis, names);
  t.after(() => {
    for (const name of Object.keys(names)) Reflect.deleteProperty(globalThis, name);
  });
  let now = 10_000;
  t.mock.method(performance, 'now', () => now);
  const storage = { getItem: () => null, setItem() {}, removeItem() {} };
  const peer = new Peer({ storage: /** @type {any} */ (storage), url: 'ws://localhost/' });
  for (const pause of pauses) {
    now += pause;
    peer.sound.events.ticked(now);
  }
  return peer.state.deviceBusy;
}

/** Turns in about four seconds. @param {number} longest the pause once a second */
const turns = (longest) => Array.from({ length: 4 }, () => [...Array(45).fill(20), longest]).flat();

test('a page whose turns come late says that the device is busy', (t) => {
  assert.equal(afterTurns(t, turns(150)), true);
});

test('a page whose turns come in time does not', (t) => {
  assert.equal(afterTurns(t, turns(40)), false);
});

test('nor does a hidden page, whose turns a browser holds back', (t) => {
  assert.equal(afterTurns(t, turns(150), true), false);
});
