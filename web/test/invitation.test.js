// What an invitation carries behind its #, and where its token goes (PROTOCOL.md, "Invitations").

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, test } from 'node:test';

import {
  addressFault,
  askForToken,
  linkKey,
  readFragment,
  takeToken,
  withoutToken,
} from '../src/invitation.js';
import { linkFault, roomUrl } from '../src/place.js';

const KEY = 'EBESExQVFhcYGRobHB0eHw';

const { fragments } = JSON.parse(
  readFileSync(new URL('../../tests/vectors/invitations.json', import.meta.url), 'utf8'),
);

test('fragments are read as the vectors say', () => {
  assert.ok(fragments.length > 10);
  for (const { fragment, k, t } of fragments)
    assert.deepEqual(readFragment(fragment), { k, t }, fragment);
  assert.equal(readFragment(`t=${'a'.repeat(4096)}`).t?.length, 4096);
  assert.equal(readFragment(`t=${'a'.repeat(4097)}`).t, null);
  assert.equal(readFragment(`x=${'a'.repeat(8192)}&t=b`).t, null);
});

test('an address is entered by if it has no key, and nothing of one is left or seen by the server', () => {
  const at = 'https://voice.example/r/lobby';
  for (const [rest, fault] of [
    ['', null],
    ['?utm=1&k=2', null],
    ['#t=abc', null],
    ['#t=abc&z=9', null],
    ['#k=abc', 'key'],
    ['#t=abc&k=abc', 'key'],
    [`#k=${KEY}`, null],
    [`#t=abc&k=${KEY}`, null],
    [`#k=${KEY}A`, 'key'],
    [`#k=${KEY.slice(1)}`, 'key'],
    ['#', 'damaged'],
    ['#k', 'damaged'],
    ['#k=', 'damaged'],
    ['#t=abc&k', 'damaged'],
    ['#t=abc&amp;k=0123456789abcdef', 'damaged'],
    ['#lobby', 'damaged'],
    ['?k=0123456789abcdef', 'damaged'],
    ['/?x=1&t=0123456789abcdef', 'damaged'],
    ['%23k=abc', 'damaged'],
    ['%EF%BC%83k=abc#t=abc', 'damaged'],
  ])
    assert.equal(addressFault(at + rest), fault, String(rest));
  for (const { fragment, k, t } of fragments)
    if (k === null && t === null && fragment.startsWith('#'))
      assert.equal(addressFault(at + fragment), 'damaged', fragment);
});

test('a room\u2019s key has one form', () => {
  const { room_keys: keys } = JSON.parse(
    readFileSync(new URL('../../tests/vectors/e2ee.json', import.meta.url), 'utf8'),
  );
  for (const { text } of keys.valid) assert.equal(linkKey(`#t=abc&k=${text}`), text);
  for (const text of [...keys.invalid, '0']) assert.equal(linkKey(`#k=${text}`), null, text);
  assert.equal(linkKey(''), null);
});

test('what stands beside a token stays in the address only if it may be a key', () => {
  assert.equal(withoutToken('#t=abc&z=9&y'), '');
  assert.equal(withoutToken('#t=abc&k=room&z=9'), '#k=room&z=9');
  assert.equal(withoutToken('#t=abc&k'), '#k');
});

test('a text of any length is looked through once', () => {
  for (const part of ['#', '&', '%23', '%25', '＃', '#k', '# ', '?k=', ')', '()']) {
    const began = performance.now();
    linkFault(`x${part.repeat(100_000 / part.length)}`);
    assert.ok(performance.now() - began < 2_000, part);
  }
});

const GLOBALS = ['history', 'sessionStorage'];
const former = GLOBALS.map((name) => Object.getOwnPropertyDescriptor(globalThis, name));
afterEach(() =>
  GLOBALS.forEach((name, at) => {
    const one = former[at];
    if (one) Object.defineProperty(globalThis, name, one);
    else Reflect.deleteProperty(globalThis, name);
  }),
);

/** @param {string} name @param {any} value */
const set = (name, value) => Object.defineProperty(globalThis, name, { configurable: true, value });

function page(/** @type {string} */ hash) {
  /** @type {string[]} */
  const urls = [];
  const stored = new Map();
  set('sessionStorage', {
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => stored.set(key, value),
    getItem: (/** @type {string} */ key) => stored.get(key) ?? null,
  });
  set('history', {
    state: null,
    replaceState: (
      /** @type {any} */ _state,
      /** @type {string} */ _unused,
      /** @type {string} */ url,
    ) => void urls.push(url),
  });
  return { urls, stored, address: { pathname: '/r/lobby', search: '?x=1', hash } };
}

test('the token leaves the address, and a reload finds it in the tab\u2019s storage', () => {
  const { address, urls, stored } = page('#t=abc&k=room&z=9');
  assert.equal(takeToken(address), 'abc');
  assert.deepEqual(urls, ['/r/lobby?x=1#k=room&z=9']);
  assert.deepEqual([...stored.values()], ['abc']);
  assert.equal(takeToken({ ...address, hash: '#k=room&z=9' }), 'abc');
  assert.equal(urls.length, 1, 'nothing to remove');
});

test('a browser that does not let its address be changed gives the token all the same', () => {
  const { address } = page('#t=abc');
  set('history', {
    replaceState() {
      throw new Error('SecurityError');
    },
  });
  assert.equal(takeToken(address), 'abc');
});

test('what looks like a token leaves the address even where it is none', () => {
  for (const hash of ['#t=%zz', '#t=', '#t', '#k=1&t=', `#t=${'a'.repeat(9000)}`]) {
    const { address, urls } = page(hash);
    assert.equal(takeToken(address), null, hash);
    assert.equal(urls.length, 1, hash);
    assert.ok(!urls[0].includes('t='), hash);
  }
  assert.equal(withoutToken('#tt=1&at=2&t=3&T=4'), '#tt=1&at=2&T=4');
});

test('the invitation that is copied names the room alone, also where the page was opened with a token', () => {
  const base = new URL('https://voice.example/tea/#t=secret&k=key');
  assert.equal(roomUrl('tea room', base), 'https://voice.example/tea/r/tea%20room');
});

test('a token is taken from the window that was asked, and from no other', () => {
  /** @type {((event: any) => void)[]} */
  const listeners = [];
  const scope = /** @type {any} */ (globalThis);
  /** @type {any[]} */
  const asked = [];
  const saved = [scope.opener, scope.parent, scope.addEventListener, scope.removeEventListener];
  scope.opener = { postMessage: (/** @type {any} */ message) => asked.push(message) };
  scope.parent = scope;
  scope.addEventListener = (/** @type {string} */ _type, /** @type {any} */ listener) =>
    listeners.push(listener);
  scope.removeEventListener = () => listeners.splice(0);
  /** @type {string[]} */
  const answers = [];
  askForToken({ room: 'lobby', code: 'token-expired' }, (token) => answers.push(token));
  assert.deepEqual(asked, [
    { type: 'voicemesh-token-needed', room: 'lobby', code: 'token-expired' },
  ]);
  const send = (/** @type {any} */ source, /** @type {any} */ data) =>
    listeners.forEach((listener) => listener({ source, data }));
  send({}, { type: 'voicemesh-token', token: 'stolen' });
  send(scope.opener, { type: 'other', token: 'x' });
  send(scope.opener, { type: 'voicemesh-token', token: 7 });
  send(scope.opener, { type: 'voicemesh-token', token: 'good' });
  send(scope.opener, { type: 'voicemesh-token', token: 'late' });
  assert.deepEqual(answers, ['good']);
  // That one is refused as well.
  askForToken({ room: 'lobby', code: 'token-invalid' }, (token) => answers.push(token));
  send(scope.opener, { type: 'voicemesh-token', token: 'good' });
  assert.deepEqual(answers, ['good'], 'the refused one is no answer');
  send(scope.opener, { type: 'voicemesh-token', token: 'better' });
  assert.deepEqual(answers, ['good', 'better']);
  [scope.opener, scope.parent, scope.addEventListener, scope.removeEventListener] = saved;
});
