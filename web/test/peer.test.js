/** What the page's peer makes of how late it gets its turns, in a simulated browser. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { loadKeys } from '../src/key-ring.js';
import { Peer } from '../src/peer.js';
import { ending } from '../src/view/words.js';
import { keysBytes, trapIn } from './rings.js';

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

class WebSocket {
  close() {}
}

/**
 * A page on its way into a room with a key, whose requests are answered by `fetch`.
 * @param {import('node:test').TestContext} t @param {(url: URL, init: RequestInit) => Promise<Response>} fetch
 * @param {() => Promise<any>} [open] opens sound
 */
function enters(t, fetch, open = async () => {}) {
  const listens = { addEventListener() {} };
  const names = { ...listens, document: { ...listens, hidden: false }, WebSocket, fetch };
  const former = globalThis.fetch;
  Object.assign(globalThis, names);
  t.after(() => {
    for (const name of Object.keys(names)) Reflect.deleteProperty(globalThis, name);
    globalThis.fetch = former;
  });
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const storage = { getItem: () => null, setItem() {}, removeItem() {} };
  const peer = new Peer({ storage, url: 'ws://localhost/', room: 'den', key: 'A'.repeat(22) });
  Object.assign(peer.sound, { open, begin() {} });
  const options = { room: 'den', name: 'Ada', relayOnly: true, microphone: false };
  return { peer, joined: peer.join(options) };
}

/** The module that the page asks for. @param {URL} url */
const answered = (url) =>
  url.pathname.endsWith('keys.wasm')
    ? Promise.resolve(new Response(keysBytes, { headers: { 'content-type': 'application/wasm' } }))
    : Promise.reject(new TypeError('no such file'));

test('keys that do not load are asked for twice within a limit, and anew with the next join', async (t) => {
  /** @type {AbortController[]} */
  const limits = [];
  t.mock.method(AbortSignal, 'timeout', () => {
    const limit = new AbortController();
    limits.push(limit);
    return limit.signal;
  });
  /** @type {Promise<void>} */
  let asked = Promise.resolve();
  let tellAsked = () => {};
  const nextAsk = () => (asked = new Promise((resolve) => (tellAsked = resolve)));
  nextAsk();
  /** Never answered. @param {URL} url @param {RequestInit} init @returns {Promise<Response>} */
  const stuck = (url, { signal } = {}) => {
    if (!url.pathname.endsWith('keys.wasm')) return answered(url);
    return new Promise((_, reject) => {
      signal?.addEventListener('abort', () => reject(new Error('aborted')));
      tellAsked();
    });
  };
  const { peer, joined } = enters(t, stuck);
  await asked;
  assert.equal(peer.state.phase, 'joining');
  nextAsk();
  limits[0].abort();
  await asked;
  assert.equal(limits.length, 2);
  // Nor is anything else waited for without a limit.
  t.mock.timers.tick(35_000);
  await joined;
  assert.equal(peer.state.refusal?.code, 'no-keys');
  limits[1].abort();
  await assert.rejects(loadKeys());
  globalThis.fetch = /** @type {any} */ (answered);
  assert.ok((await loadKeys()) instanceof WebAssembly.Module);
});

test('without a key in the link, a page whose browser cannot load what encrypts enters as one that cannot encrypt', async (t) => {
  t.after(trapIn({ fails: 'create' }));
  const { peer } = enters(t, answered);
  peer.reset();
  await peer.join({ room: 'open', name: 'Ada', relayOnly: true, microphone: false });
  assert.deepEqual([peer.state.phase, peer.state.refusal], ['joining', null]);
  assert.equal(peer.state.safetyCode, null);
  await import('../src/view/lock.js');
  assert.equal(peer.lock?.lockWords(peer.state, false), 'Not encrypted');
  assert.match(peer.lock?.lockMeaning(peer.state, false) ?? '', /could not be loaded/);
  peer.reset();
});

test('without a key in the link, everything is encrypted as well', async (t) => {
  const { peer } = enters(t, answered);
  peer.reset();
  await peer.join({ room: 'open', name: 'Ada', relayOnly: true, microphone: false });
  assert.equal(peer.state.phase, 'joining');
  assert.match(peer.state.safetyCode ?? '', /^(\d{5} ){5}\d{5}$/);
  assert.equal(peer.lock?.lockWords(peer.state, false), 'Encrypted, no one else is here yet');
  peer.reset();
});

test('a page whose keys fail leaves the room with one sentence', async (t) => {
  t.after(trapIn({ fails: 'safety_code' }));
  const { peer, joined } = enters(t, answered);
  await joined;
  await Promise.resolve();
  assert.equal(peer.state.phase, 'refused');
  assert.equal(peer.state.refusal?.code, 'keys-failed');
  assert.match(ending(peer.state)[1], /^The part of this page that encrypts has failed/);
});

test('an invite that the server refuses does not come back to the field, and who did not get it is said', async (t) => {
  const { peer, joined } = enters(t, answered);
  await joined;
  /** @type {any} */
  let mesh = null;
  t.mock.method(peer.texts, 'send', (/** @type {any} */ given) => (mesh = given));
  peer.sendText('to find what is written with');
  const seen = (/** @type {string} */ type) => {
    /** @type {any[]} */
    const events = [];
    peer.addEventListener(type, (event) => events.push(/** @type {CustomEvent} */ (event).detail));
    return events;
  };
  const [back, notices] = [seen('text-refused'), seen('notice')];
  mesh.roster.members.set('bo', { label: 'Bo' });
  const invite = { text: 'LINK', to: 'bo', isInvite: true };
  t.mock.method(peer.texts, 'refused', () => invite);
  mesh.emit({ type: 'warned', code: 'too-many-messages', message: 'No.' });
  assert.deepEqual(back, []);
  const text = '\u2068Bo\u2069 did not get the link.';
  assert.deepEqual(notices, [{ kind: 'uninvited', text }]);
  t.mock.method(peer.texts, 'refused', () => ({ ...invite, isInvite: undefined }));
  mesh.emit({ type: 'warned', code: 'too-many-messages', message: 'No.' });
  assert.equal(back.length, 1);
  peer.reset();
});

test('keys that fail when another room is being entered do not end that', async (t) => {
  /** @type {Promise<void> | null} */
  let other = null;
  t.after(
    trapIn({
      get fails() {
        if (!other) {
          peer.reset();
          other = peer.join({ room: 'open', name: 'Ada', relayOnly: true, microphone: false });
        }
        return 'create';
      },
    }),
  );
  const { peer, joined } = enters(t, answered);
  await joined;
  assert.ok(other);
  await other;
  assert.deepEqual([peer.state.phase, peer.state.refusal], ['joining', null]);
  peer.reset();
});

test('keys are not made for a room that was left before sound was ready', async (t) => {
  let made = 0;
  const { Instance } = WebAssembly;
  t.after(() => {
    WebAssembly.Instance = Instance;
  });
  WebAssembly.Instance = /** @type {any} */ (
    class extends Instance {
      constructor(/** @type {WebAssembly.Module} */ module) {
        super(module);
        made += 1;
      }
    }
  );
  let tellReady = () => {};
  const ready = new Promise((resolve) => (tellReady = () => resolve(undefined)));
  const { peer, joined } = enters(t, answered, () => ready);
  // Long enough for everything else.
  for (let turn = 0; turn < 50; turn += 1) await new Promise((done) => setImmediate(done));
  peer.reset();
  tellReady();
  await joined;
  assert.equal(made, 0);
  assert.equal(peer.state.phase, 'lobby');
});

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
