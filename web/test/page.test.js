// Parts of the page in a simulated document: what they show after what one does.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { unsent } from '../src/view/chat.js';
import { h } from '../src/view/dom.js';
import { lobby } from '../src/view/lobby.js';
import { lock } from '../src/view/lock.js';
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
  const list = h('ol', {}, ...rows);
  const said = () => rows.map(({ firstElementChild }) => firstElementChild?.textContent);
  unsent(list, 'x');
  assert.deepEqual(said(), ['mine ', 'mine , not sent', 'mine ', ' ']);
  unsent(list, 'x');
  assert.deepEqual(said(), ['mine , not sent', 'mine , not sent', 'mine ', ' ']);
});

test('a new link is offered until one is made, and stands in the room until it is read', (t) => {
  const document = fakePage(t);
  const people = ['Ben', 'Cleo'].map((name) => ({
    id: name,
    name,
    away: false,
    met: 'known',
    encryption: { state: 'verified' },
  }));
  const keyHolder = { name: 'Eve', staying: new Set(['Ben']) };
  const state = { people, keyHolder, safetyCode: '1' };
  /** @type {string[]} */
  const written = [];
  const peer = Object.assign(new EventTarget(), {
    state,
    createPrivateRoom: () => 'new',
    linkOf: () => 'LINK',
    isPrivate: () => true,
    invite: (/** @type {string} */ _, /** @type {string} */ id) => written.push(id),
  });
  let said = '';
  /** @type {any[]} */
  let offers = [];
  const alert = (/** @type {any[]} */ ...actions) => {
    const isRenewal = actions[0].getAttribute('data-test') === 'renew';
    if (isRenewal) offers = actions;
    return { say: (/** @type {string} */ text) => isRenewal && (said = text), calm() {} };
  };
  const shown = lock(/** @type {any} */ ({ peer, tell() {} }), alert);
  const update = () => shown.update(/** @type {any} */ (state));
  const [renew, done] = offers;
  const dialog = () => /** @type {any} */ (document.body).lastElementChild;
  update();
  assert.match(said, /^Eve still has/);
  renew.onclick();
  assert.equal(dialog().getAttribute('aria-describedby'), dialog().at('new-link-words').id);
  dialog().close();
  update();
  assert.match(said, /^Eve still has/, 'it was only looked at');
  renew.onclick();
  dialog().at('new-link-send').onclick();
  // Cleo came after that.
  assert.deepEqual(written, ['Ben']);
  assert.equal(document.activeElement, dialog().at('new-link'));
  const notice = { detail: { kind: 'uninvited', text: 'Ben did not get the link.' } };
  peer.dispatchEvent(Object.assign(new Event('notice'), notice));
  assert.match(dialog().at('new-link-words').textContent, /later: .*Cleo.*Ben did not get/);
  dialog().close();
  update();
  assert.match(said, /LINK/);
  done.onclick();
  update();
  assert.equal(said, '');
});

test('it is asked once of each person whose program cannot encrypt, and behind the lock one can think again', (t) => {
  fakePage(t);
  const person = (/** @type {string} */ name) => ({
    id: `id of ${name}`,
    name,
    away: false,
    met: 'known',
    encryption: { state: 'plain', isAllowed: false, encryptedBefore: false },
  });
  const state = { room: 'den', people: [person('Ben')], keyHolder: null, safetyCode: '1' };
  /** @type {[string, boolean][]} */
  const decided = [];
  /** @type {(string | null)[]} */
  const names = [];
  const peer = Object.assign(new EventTarget(), {
    state,
    isPrivate: () => false,
    allowUnencrypted: (/** @type {string} */ id, /** @type {string | null} */ shown) => {
      const isAllowed = shown !== null;
      decided.push([id, isAllowed]);
      names.push(shown);
      const one = state.people.find((other) => other.id === id);
      if (one) one.encryption = { ...one.encryption, isAllowed };
    },
  });
  let said = '';
  /** @type {any[]} */
  let answers = [];
  const alert = (/** @type {any[]} */ ...actions) => {
    const isConsent = actions[0].getAttribute('data-test') === 'allow-plain';
    if (isConsent) answers = actions;
    return { say: (/** @type {string} */ text) => isConsent && (said = text), calm() {} };
  };
  const shown = lock(/** @type {any} */ ({ peer, tell() {} }), alert);
  const update = () => shown.update(/** @type {any} */ (state));
  update();
  assert.equal(
    said.replace(/[\u2068\u2069]/g, ''),
    'Ben\u2019s program cannot encrypt. Let the server hear what you say to Ben?',
  );
  const [yes, no] = answers;
  no.onclick();
  update();
  assert.deepEqual([said, decided], ['', [['id of Ben', false]]]);
  assert.equal(shown.mark.textContent, 'Encrypted, without Ben');
  assert.equal(String(shown.mark.style), '', 'in the colour of what is well');
  // Another of the same name, and the same person under another name, are asked about anew.
  state.people.push({ ...person('Ben'), id: 'another' });
  update();
  assert.notEqual(said, '');
  yes.onclick();
  assert.deepEqual(decided.at(-1), ['another', true]);
  update();
  assert.equal(said, '');
  assert.equal(shown.mark.textContent, 'Not encrypted because of Ben');
  assert.match(String(shown.mark.style), /--poor/);
  state.people[0].name = 'Cleo';
  update();
  assert.match(said, /Cleo/);
  no.onclick();
  const [, , choices] = /** @type {any[]} */ (shown.about);
  const chips = () =>
    choices.children.map((/** @type {any} */ one) => one.getAttribute('aria-pressed'));
  update();
  assert.deepEqual(chips(), ['true', 'false']);
  choices.children[0].onclick();
  choices.children[1].onclick();
  update();
  assert.deepEqual(chips(), ['false', 'true']);
  assert.deepEqual(decided.slice(-2), [
    ['another', false],
    ['id of Ben', true],
  ]);
  // Each answer goes with the name that was read, whatever the person is called by then.
  state.people = [person('Eve')];
  t.mock.method(performance, 'now', () => 1e8);
  update();
  assert.match(said, /Eve/);
  const [chip] = choices.children;
  state.people = [{ ...person('Eve'), name: 'Ada' }];
  yes.onclick();
  chip.onclick();
  assert.deepEqual(names.slice(-2), ['Eve', 'Eve']);
  // Of one who encrypted at an earlier visit more is said.
  const dan = person('Dan');
  state.people = [{ ...dan, encryption: { ...dan.encryption, encryptedBefore: true } }];
  t.mock.method(performance, 'now', () => 1e9);
  update();
  assert.match(said, /^.Dan. encrypted here before, but not now: .*Let the server hear.*Dan/);
  state.people = [];
  update();
  assert.deepEqual(chips(), []);
  assert.equal(shown.about.length, 3, 'no new link where none has a key');
});
