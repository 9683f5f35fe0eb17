/** What this page tells the server about itself and decides about others, and what it keeps for a reload. */

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { ChatLog } from '../src/chat-log.js';
import { Moderation } from '../src/moderation.js';
import { LastText } from '../src/last-text.js';
import { OwnStatus } from '../src/own-status.js';
import { LEFT } from '../src/peer.js';
import { ownStatus } from '../src/snapshot.js';
import { World } from './world.js';

/** A moderator of a room with Bo in it, and what was sent and said. */
function moderator() {
  /** @type {any[]} */
  const sent = [];
  /** @type {string[]} */
  const said = [];
  const config = { password: '' };
  const signaling = { isJoined: true, send: (/** @type {any} */ message) => sent.push(message) };
  const members = new Map([['bo-id', { label: 'Bo' }]]);
  const mesh = /** @type {any} */ ({
    config,
    roster: { members, may: () => true },
    signaling,
    emit: (/** @type {any} */ { text }) => said.push(text),
  });
  return { sent, said, config, signaling, moderation: new Moderation(mesh) };
}

test('who was banned can be let back in by name until the ban ends', () => {
  const { sent, said, moderation } = moderator();
  moderation.decide('ban', { peer: 'bo-id' });
  assert.deepEqual(moderation.banned(0), [], 'the server has not answered');
  moderation.done(0, 1);
  moderation.mesh.roster.members.clear();
  assert.deepEqual(moderation.banned(3_599_000), [{ id: 'bo-id', name: '\u2068Bo\u2069' }]);
  moderation.decide('unban', { peer: 'bo-id' });
  assert.deepEqual(sent[1], { type: 'moderate', request: 2, action: 'unban', peer: 'bo-id' });
  moderation.done(0, 2);
  assert.equal(said[1], '\u2068Bo\u2069 may come back.');
  assert.deepEqual(moderation.banned(0), []);
  moderation.decide('ban', { peer: 'bo-id' });
  moderation.done(0, 3);
  assert.deepEqual(moderation.banned(3_600_000), []);
});

test('who has just left can be kept out, until the server has forgotten it', () => {
  const { sent, said, moderation } = moderator();
  for (const [at, id] of ['cy-id', 'di-id', 'cy-id', 'bo-id'].entries())
    moderation.left(at, id, id[0].toUpperCase());
  assert.deepEqual(
    moderation.leftLately(10).map(({ id }) => id),
    ['cy-id', 'di-id'],
    'Bo is back',
  );
  moderation.decide('ban', { peer: 'cy-id' });
  assert.deepEqual(sent[0], {
    type: 'moderate',
    request: 1,
    action: 'ban',
    peer: 'cy-id',
    seconds: 3600,
  });
  moderation.done(20, 1);
  assert.deepEqual(said, ['\u2068C\u2069 has left, and is kept out for an hour.']);
  assert.deepEqual(
    [moderation.leftLately(30).map(({ id }) => id), moderation.banned(30).map(({ id }) => id)],
    [['di-id'], ['cy-id']],
  );
  assert.equal(moderation.putsOut('cy-id'), false, 'it is not here any more');
  moderation.decide('ban', { peer: 'di-id' });
  assert.ok(moderation.refused({ request: 2, code: 'unknown-peer', message: '' }));
  assert.equal(said[1], 'That was not done. This person left too long ago.');
  assert.deepEqual(moderation.leftLately(300_001), []);
  for (let at = 0; at < 100; at++) moderation.left(at, `${at}`, 'D');
  assert.deepEqual(
    [moderation.leftLately(200).length, moderation.leftLately(200)[0].id],
    [64, '99'],
  );
});

test('who may moderate from now on, or no longer, reads one sentence', () => {
  const { said, moderation } = moderator();
  moderation.permitted(false, false);
  moderation.permitted(true, false);
  moderation.permitted(false, true);
  assert.deepEqual(said, ['You may no longer moderate this room.', 'You may moderate this room.']);
  moderation.decide('make-owner', { peer: 'bo-id' });
  moderation.permitted(true, false);
  moderation.done(0, 1);
  assert.deepEqual(said.slice(2), ['\u2068Bo\u2069 moderates this room now.']);
});

test('who is put out by a decision of this page is said once', () => {
  const { moderation } = moderator();
  assert.equal(moderation.putsOut('bo-id'), false);
  moderation.decide('kick', { peer: 'bo-id' });
  assert.equal(moderation.putsOut('bo-id'), true, 'gone before the answer');
  moderation.done(0, 1);
  assert.deepEqual(
    [moderation.putsOut('bo-id'), moderation.putsOut('bo-id')],
    [true, false],
    'or after it, and not a second time',
  );
});

test('others read that a password was set, changed or removed, and who decides it reads the answer', () => {
  const { said, moderation } = moderator();
  moderation.passwordIs({ set: true, number: 0 });
  assert.deepEqual(said, [], 'at the join it is no news');
  moderation.passwordIs({ set: true, number: 1 });
  moderation.passwordIs({ set: true, number: 1 });
  moderation.passwordIs({ set: false, number: 2 });
  moderation.passwordIs({ set: true, number: 3 });
  assert.deepEqual(said, [
    'A moderator has changed the room’s password.',
    'The room has no password any more.',
    'A moderator has given the room a password: newcomers need it.',
  ]);
  moderation.decide('set-password', { password: 'open' });
  moderation.passwordIs({ set: true, number: 4 });
  moderation.done(0, 1);
  assert.deepEqual(said.slice(3), ['Newcomers need the password from now on.']);
});

test('a decision is sent with its own number, and its answer says what was done', () => {
  const { sent, said, config, moderation } = moderator();
  moderation.decide('ban', { peer: 'bo-id' });
  moderation.decide('set-password', { password: 'open' });
  moderation.decide('move', { peer: 'bo-id', groups: ['Red'] });
  assert.deepEqual(sent, [
    { type: 'moderate', request: 1, action: 'ban', peer: 'bo-id', seconds: 3600 },
    { type: 'moderate', request: 2, action: 'set-password', password: 'open' },
    { type: 'moderate', request: 3, action: 'move', peer: 'bo-id', groups: ['Red'] },
  ]);
  moderation.done(0, 2);
  assert.equal(config.password, 'open', 'the next join brings it along');
  moderation.done(0, 1);
  moderation.done(0, 1);
  assert.ok(moderation.refused({ request: 3, code: 'not-moderator', message: '' }));
  assert.deepEqual(said, [
    'Newcomers need the password from now on.',
    '\u2068Bo\u2069 was put out of the room, and is kept out for an hour.',
    'That was not done. You may not moderate this room.',
  ]);
  assert.equal(
    moderation.refused({ code: 'not-moderator', message: '' }),
    false,
    'it answers no decision',
  );
});

test('of a member that was put out, no reason is said that need not be true', () => {
  // The server also puts out who floods it, and all others when a ticket brings a room's password back.
  assert.deepEqual(LEFT, { kicked: 'was put out of the room' });
});

test('a room that begins anew has lost what was decided in it', () => {
  const { said, moderation } = moderator();
  moderation.joined(0, 1);
  moderation.decide('mute', { peer: 'bo-id' });
  moderation.decide('lock');
  moderation.decide('set-password', { password: 'open' });
  moderation.decide('ban', { peer: 'bo-id' });
  moderation.decide('move', { peer: 'bo-id', groups: ['Red'] });
  for (let request = 1; request <= 5; request++) moderation.done(0, request);
  assert.equal(said[4], '\u2068Bo\u2069 was moved to “\u2068Red\u2069”.');
  said.length = 0;
  moderation.joined(0, 1);
  assert.deepEqual(said, [], 'it is the same room');
  moderation.joined(0, 2);
  moderation.joined(3_600_000, 3);
  assert.equal(said.length, 1);
  for (const what of ['mutes', 'moves', 'the lock', 'bans', 'the password'])
    assert.ok(said.join(' ').includes(what), said.join(' '));
});

test('decisions without answers do not pile up', () => {
  const { said, moderation } = moderator();
  for (let at = 0; at < 100; at++) moderation.decide('lock');
  moderation.done(0, 1);
  assert.deepEqual(said, []);
  moderation.done(0, 100);
  assert.equal(said.length, 1);
});

test('a decision without a connection is not sent, one that the end of a connection overtakes is not left open, and both are said', () => {
  const { sent, said, signaling, moderation } = moderator();
  signaling.isJoined = false;
  moderation.decide('lock');
  assert.deepEqual(
    [sent, said],
    [[], ['That was not done. The server cannot be reached for now.']],
  );
  moderation.disconnected();
  assert.equal(said.length, 1, 'nothing is open');
  signaling.isJoined = true;
  moderation.decide('lock');
  moderation.decide('kick', { peer: 'bo-id' });
  moderation.disconnected();
  moderation.disconnected();
  moderation.done(0, 1);
  assert.equal(said.length, 2);
  assert.match(said[1], /may not have been done/);
});

/** What a page said. @param {import('./world.js').FakePeer} peer */
const remarks = (peer) =>
  peer.events.filter(({ type }) => type === 'remark').map(({ text }) => text);

test('a lost connection ends the wait for answers to decisions', () => {
  const world = new World();
  const ada = world.join('Ada');
  world.run(1000);
  ada.mesh.moderation.decide('lock');
  ada.socketEnds();
  world.run(1000);
  assert.equal(remarks(ada).length, 1);
  assert.match(remarks(ada)[0], /may not have been done/);
});

test('the answer to a decision comes on the connection from which another has taken over', () => {
  const world = new World();
  const ada = world.join('Ada', { relay_only: true });
  world.run(1000);
  const former = ada.generation;
  const { mesh } = ada;
  mesh.moderation.decide('lock');
  mesh.moderation.decide('kick', { peer: 'no one' });
  ada.socketsDie();
  mesh.pathChanged(world.now);
  world.run(500);
  assert.ok(world.server.members.get(ada)?.generation !== former);
  assert.deepEqual(remarks(ada), []);
  const refused = { code: 'unknown-peer', message: 'No.', fatal: false, request: 2 };
  for (const answer of [
    { type: 'moderated', request: 1 },
    { type: 'error', ...refused },
    { type: 'locked', locked: true },
  ])
    mesh.signaling.text(world.now, former, JSON.stringify(answer));
  assert.deepEqual(remarks(ada), [
    'The room is closed to newcomers.',
    'That was not done. This person has left.',
  ]);
  assert.equal(mesh.moderation.locked, false, 'what the server says of the room there is older');
});

test('a message is known to be refused while another connection takes over, whichever of the two says so', () => {
  const world = new World();
  const ada = world.join('Ada', { relay_only: true });
  world.run(1000);
  const former = ada.generation;
  world.server.textsRead = 2;
  const { mesh } = ada;
  const texts = ['one', 'two', 'three'];
  /** @type {number[]} */
  const serials = [];
  const write = (/** @type {string} */ text) =>
    mesh.session.sendText(world.now, text, { group: 'Global' }, (serial) => serials.push(serial));
  for (const text of texts.slice(0, 2)) write(text);
  ada.socketsDie();
  // This one does not reach the server on that connection.
  write(texts[2]);
  mesh.pathChanged(world.now);
  world.run(500);
  const generation = world.server.members.get(ada)?.generation ?? former;
  assert.notEqual(generation, former);
  const [first] = serials;
  assert.deepEqual(serials, [first, first + 1, first + 2], 'what is sent again is none more');
  const refused = () =>
    ada.events.flatMap((event) => (event.type === 'warned' ? [event.text ?? 0] : []));
  const answer = (/** @type {number} */ on, /** @type {number} */ text) =>
    mesh.signaling.text(
      world.now,
      on,
      JSON.stringify({ type: 'error', code: 'not-permitted', message: 'No.', fatal: false, text }),
    );
  answer(former, 2);
  assert.deepEqual(refused(), [first + 1]);
  answer(former, 3);
  assert.deepEqual(refused(), [first + 1], 'it was sent again, and is refused again');
  answer(generation, 1);
  assert.deepEqual(refused(), [first + 1, first + 2]);
});

test('a decision that is not answered within ten seconds was not done, on whichever connection', () => {
  const world = new World();
  const ada = world.join('Ada', { relay_only: true });
  world.run(1000);
  ada.mesh.moderation.decide('lock');
  ada.socketsDie();
  ada.mesh.pathChanged(world.now);
  world.run(9900);
  assert.deepEqual(remarks(ada), []);
  world.run(300);
  assert.deepEqual(remarks(ada), ['That was not done. The server did not answer in time.']);
});

test('one\u2019s own state is sent when it changes, at most four times a second, to a server that takes it', () => {
  /** @type {any[]} */
  const sent = [];
  const mesh = /** @type {any} */ ({
    config: {},
    serverTakesStatus: true,
    signaling: { isJoined: true, send: (/** @type {any} */ one) => sent.push(one) },
  });
  const own = new OwnStatus(mesh);
  own.set({ listening_only: true });
  own.joining();
  own.joined();
  own.tick(0);
  assert.deepEqual(sent, [], 'the join has told it');
  for (let now = 0; now < 1000; now += 20) {
    own.set(now % 40 === 0 ? { muted: true } : {});
    own.tick(now);
  }
  assert.equal(sent.length, 4);
  own.set({ deafened: true });
  own.tick(1000);
  own.tick(1300);
  assert.deepEqual(sent[sent.length - 1], { type: 'status', deafened: true });
  assert.equal(sent.length, 5);
  // A join on another connection was sent before the last change: it is sent again.
  own.joining();
  own.set({ muted: true });
  own.tick(2000);
  own.joined();
  own.tick(2300);
  assert.deepEqual(
    sent.slice(5).map((/** @type {any} */ one) => one.muted),
    [true, true],
  );
  mesh.serverTakesStatus = false;
  own.set({});
  own.tick(3000);
  assert.equal(sent.length, 7);
});

test('who has no microphone is listening only, and not muted', () => {
  assert.deepEqual(ownStatus(true, true, false), { muted: true });
  assert.deepEqual(ownStatus(false, true, true), { deafened: true, listening_only: true });
});

test('the state of a member is what its last status says', () => {
  const world = new World();
  const [ada, bo] = [world.join('Ada'), world.join('Bo')];
  world.run(1000);
  assert.equal(ada.mesh.roster.listens(bo.id), true);
  ada.mesh.roster.status(bo.id, { deafened: true });
  assert.equal(ada.mesh.roster.listens(bo.id), false);
  ada.mesh.roster.status(bo.id, {});
  assert.equal(ada.mesh.roster.listens(bo.id), true);
});

test('a permission that is taken away differs from one that was never there', () => {
  const world = new World();
  const [ada, bo] = [world.join('Ada'), world.join('Bo')];
  world.run(1000);
  world.server.permit(bo, ['listen', 'data']);
  world.run(100);
  assert.equal(ada.mesh.roster.members.get(bo.id)?.silenced, true);
  assert.equal(bo.mesh.roster.ownSilenced, true);
  assert.deepEqual(ada.mesh.roster.lacking(bo.id), ['speak']);
  world.server.permit(bo, ['listen']);
  world.run(100);
  assert.deepEqual(
    [ada.mesh.roster.members.get(bo.id)?.silenced, bo.mesh.roster.ownSilenced],
    [true, true],
    'something else was taken away as well',
  );
  world.server.permit(bo, ['speak', 'listen', 'data']);
  world.run(100);
  assert.equal(ada.mesh.roster.members.get(bo.id)?.silenced, false);
  const cy = world.join('Cy');
  world.run(1000);
  assert.ok(!ada.mesh.roster.members.get(cy.id)?.silenced);
});

const former = Object.getOwnPropertyDescriptor(globalThis, 'sessionStorage');
afterEach(() => {
  if (former) Object.defineProperty(globalThis, 'sessionStorage', former);
  else Reflect.deleteProperty(globalThis, 'sessionStorage');
});

/** @param {any} value */
const storage = (value) =>
  Object.defineProperty(globalThis, 'sessionStorage', { configurable: true, value });

/** @param {number} at */
const message = (at) => ({ from: 'Ada', to: 'room', mine: false, text: `message ${at}`, at });

/** A storage, and how often it is written to. */
function counted() {
  /** @type {Map<string, string>} */
  const kept = new Map();
  const about = { kept, writes: 0 };
  storage({
    getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
    removeItem: kept.delete.bind(kept),
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => {
      about.writes += 1;
      kept.set(key, value);
    },
  });
  return about;
}

test('messages are there after a reload, and gone after leaving', () => {
  counted();
  const page = new EventTarget();
  const log = new ChatLog(page);
  log.open('a');
  for (let at = 0; at < 600; at++) log.add(message(at));
  assert.equal(log.messages.length, 500);
  page.dispatchEvent(new Event('pagehide'));
  const again = new ChatLog(new EventTarget());
  again.open('a');
  assert.deepEqual([again.messages.length, again.messages[99]], [100, message(599)]);
  again.open('another');
  assert.deepEqual(again.messages, []);
  log.add(message(600));
  log.forget();
  page.dispatchEvent(new Event('pagehide'));
  again.open('a');
  assert.deepEqual(again.messages, []);
});

test('what has a room\u2019s key is shown, and the tab does not keep it, of others as of oneself', () => {
  counted();
  const page = new EventTarget();
  const log = new ChatLog(page);
  log.open('a');
  const link = `we go on at https://example.org/r/den#k=${'A'.repeat(22)}`;
  log.add({ ...message(1), text: link });
  log.add({ ...message(2), mine: true, text: link });
  log.add(message(3));
  assert.equal(log.messages.length, 3);
  page.dispatchEvent(new Event('pagehide'));
  log.open('a');
  assert.deepEqual(log.messages, [message(3)]);
});

test('messages are written at most once a second, and when the page is hidden or the room is entered again', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const about = counted();
  const page = new EventTarget();
  const log = new ChatLog(page);
  log.open('a');
  for (let at = 0; at < 50; at++) {
    log.add(message(at));
    t.mock.timers.tick(100);
  }
  assert.equal(about.writes, 5);
  page.dispatchEvent(new Event('visibilitychange'));
  assert.equal(about.writes, 5, 'nothing is new');
  log.add(message(50));
  page.dispatchEvent(new Event('visibilitychange'));
  t.mock.timers.tick(5000);
  assert.equal(about.writes, 6);
  log.add(message(51));
  log.open('a');
  assert.deepEqual([about.writes, log.messages.length], [7, 52]);
});

test('what is kept may be anything, and a storage that refuses costs only the reload', () => {
  for (const text of ['', '{', 'null', '7', '{}', '[null, 3, {"from": 1}]']) {
    storage({ getItem: () => text });
    const log = new ChatLog(new EventTarget());
    log.open('a');
    assert.deepEqual(log.messages, [], text);
  }
  const refuse = () => {
    throw new Error('no');
  };
  storage({ getItem: refuse, setItem: refuse, removeItem: refuse });
  const log = new ChatLog(new EventTarget());
  log.open('a');
  log.add({ from: 'Ada', to: 'room', mine: true, text: 'x', at: 1 });
  log.forget();
  assert.equal(log.messages.length, 1);
});

test('a message that the server refuses comes back to be sent again', () => {
  const last = new LastText();
  assert.equal(last.refused(0, 'too-many-messages'), null);
  last.sent(0, 'hello', null, new Set([0]));
  assert.equal(last.refused(100, 'receiver-busy'), null, 'the others have got it');
  assert.equal(last.refused(100, 'bad-field'), null);
  assert.deepEqual(last.refused(100, 'too-many-messages'), { text: 'hello', to: null });
  assert.equal(last.refused(100, 'too-many-messages'), null, 'once');
  last.sent(200, 'only to Bo', 'bo', new Set([1]));
  assert.deepEqual(last.refused(300, 'receiver-busy'), { text: 'only to Bo', to: 'bo' });
  last.sent(400, 'late', null, new Set([2]));
  assert.equal(last.refused(9000, 'too-many-messages'), null);
});

test('of several messages the one comes back whose number the server names', () => {
  const last = new LastText();
  last.sent(0, 'to two groups', null, new Set([4, 5]));
  last.sent(10, 'held', 'bo', new Set([6]));
  last.sent(20, 'fine', null, new Set([7]));
  assert.deepEqual(last.refused(100, 'not-permitted', 6), { text: 'held', to: 'bo' });
  assert.equal(last.refused(100, 'not-permitted', 6), null, 'once');
  assert.equal(last.refused(100, 'too-many-messages'), null, 'this was about something else');
  assert.equal(last.refused(100, 'too-many-messages', 3), null, 'not one of these');
  assert.deepEqual(last.refused(100, 'too-many-messages', 5), { text: 'to two groups', to: null });
  assert.deepEqual(
    last.refused(9000, 'not-permitted', 7),
    { text: 'fine', to: null },
    'a connection may take over meanwhile',
  );
  assert.equal(last.refused(9000, 'not-permitted', -1), null);
});
