// Parts of the page in a simulated document: what they show after what one does.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { unsent } from '../src/view/chat.js';
import { h } from '../src/view/dom.js';
import { lobby } from '../src/view/lobby.js';
import { Settings } from '../src/view/settings.js';
import { fakePage } from './dom.js';

test('the lobby says of the room whose link was pasted whether it is encrypted', (t) => {
  fakePage(t);
  const peer = { isPrivate: (/** @type {string} */ room) => room === 'den' };
  const settings = new Settings({ getItem: () => null, setItem() {} });
  const app = /** @type {any} */ ({ peer, settings, able: {}, tell() {} });
  const { element } = lobby(app, 'den', false);
  const page = /** @type {any} */ (element);
  const [where, lock, lost] = ['room', 'private', 'keyless'].map((name) => page.at(name));
  const shows = (/** @type {string} */ pasted) => {
    where.value = pasted;
    where.oninput();
    return [lock.hidden, lost.hidden];
  };
  assert.deepEqual([lock.hidden, lost.hidden], [false, true]);
  assert.deepEqual(shows('open'), [true, false]);
  assert.deepEqual(shows('voicemesh join den'), [false, true], where.value);
  // Of another server's room nothing is known here.
  assert.deepEqual(shows('https://voice.example/r/den'), [true, true]);
  assert.deepEqual(shows('open'), [true, false]);
});

test('a message that came back is marked as not sent, and none of others, or of the same words before', (t) => {
  fakePage(t);
  const row = (/** @type {string} */ look, /** @type {string} */ text) =>
    h('li', look, h('div', 'about', look), h('p', {}, text));
  const rows = [row('mine ', 'x'), row('mine ', 'x'), row('mine ', 'y'), row(' ', 'x')];
  unsent(h('ol', {}, ...rows), 'x');
  assert.deepEqual(
    rows.map(({ firstElementChild }) => firstElementChild?.textContent),
    ['mine ', 'mine , not sent', 'mine ', ' '],
  );
});
