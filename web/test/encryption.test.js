// Rooms with a key, with the key ring that the page loads: what is said is sealed on every way, and no one without the key
// hears any of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decode, encode, KINDS } from '../src/wire.js';
import { KnownMembers } from '../src/known-members.js';
import { Texts } from '../src/texts.js';
import { WaitingTexts } from '../src/waiting-texts.js';
import { counting, ringOf, vectors } from './rings.js';
import { idOf, World } from './world.js';

const KEY = counting(0x10, 16);
/** 24 bytes in the clear, as one who listens would look for them. */
const FRAME = new TextEncoder().encode('plain speech of someone!');
const TEXT = 'a secret that no server reads';

/** @param {string} name @param {Uint8Array | null} [roomKey] */
function ringFor(name, roomKey = KEY, seed = 0) {
  const first = name.charCodeAt(0);
  return ringOf({ first, peer: idOf(name), roomKey, seed: counting(first + seed, 32) });
}

/** @param {World} world @param {string} name @param {{roomKey?: Uint8Array | null, seed?: number} & Record<string, any>} [more] */
const joins = (world, name, { roomKey = KEY, seed = 0, ...more } = {}) =>
  world.join(name, { ring: ringFor(name, roomKey, seed), ...more });

/** @param {import('./world.js').FakePeer} peer */
const speak = (peer) => peer.mesh.session.speak(peer.world.now, FRAME);
/** @param {import('./world.js').FakePeer} peer */
const framesHeard = (peer) =>
  peer.events
    .filter(({ type }) => type === 'voice')
    .map(({ heard }) => Buffer.from(heard.frame).toString());
/** @param {import('./world.js').FakePeer} peer @param {import('./world.js').FakePeer} other */
const stateOf = (peer, other) => peer.mesh.encryption?.stateOf(other.id).state;
/** Of one who cannot encrypt, in a room without a key. @param {boolean} isAllowed */
const plainly = (isAllowed, encryptedBefore = false) => ({
  state: 'plain',
  isAllowed,
  encryptedBefore,
});
/** @param {import('./world.js').FakePeer} peer @param {string} text @param {any} [to] */
const write = (peer, text, to = { group: 'Global' }) =>
  peer.mesh.session.sendText(peer.world.now, text, to);
/** @param {World} world @param {Uint8Array | string} plain */
const serverSaw = (world, plain) =>
  world.server.seen.some((packet) => Buffer.from(packet).includes(Buffer.from(plain)));

/** Everything on links passes here as well. @param {import('./world.js').FakePeer} peer */
function watchLinks(peer) {
  /** @type {Uint8Array[]} */
  const seen = [];
  const send = peer.sendLink.bind(peer);
  peer.sendLink = (to, generation, stream, packet) => {
    seen.push(packet);
    return send(to, generation, stream, packet);
  };
  return (/** @type {Uint8Array} */ plain) =>
    seen.some((packet) => Buffer.from(packet).includes(Buffer.from(plain)));
}

test('through the relay, members with the key hear and read each other, and the server neither', () => {
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name, { relay_only: true }));
  world.run(500);
  assert.deepEqual([stateOf(ada, bo), stateOf(bo, ada)], ['verified', 'verified']);
  assert.equal(ada.mesh.encryption?.safetyCode, bo.mesh.encryption?.safetyCode);
  for (const peer of [ada, bo]) assert.equal(speak(peer), 1);
  assert.ok(write(ada, TEXT) && write(bo, TEXT, { peer: ada.id }));
  world.run(200);
  assert.deepEqual(framesHeard(bo), [Buffer.from(FRAME).toString()]);
  assert.equal(framesHeard(ada).length, 1);
  assert.deepEqual([bo.texts, ada.texts], [[['Global', TEXT]], [[null, TEXT]]]);
  assert.ok(!serverSaw(world, FRAME) && !serverSaw(world, TEXT));
});

/** @param {import('./world.js').FakePeer} peer @param {import('./world.js').FakePeer} other */
const nameOf = (peer, other) => peer.mesh.roster.members.get(other.id)?.info.name;

test('members see names, those of the Rust peer as well, and the server and who has no key do not', () => {
  const [first, second] = ['Ada of the lighthouse', 'Bo of the harbour master'];
  const world = new World();
  /** @type {string[]} */
  const texts = [];
  const listen = () => {
    const receive = world.server.text.bind(world.server);
    world.server.text = (...given) => {
      texts.push(JSON.stringify(given.slice(1)));
      return receive(...given);
    };
  };
  listen();
  const ada = joins(world, first, { relay_only: true });
  world.run(500);
  const bo = joins(world, second, { relay_only: true });
  const plain = world.join('Plain', { relay_only: true });
  world.run(500);
  assert.deepEqual([nameOf(ada, bo), nameOf(bo, ada)], [second, first]);
  assert.deepEqual(
    [ada, bo].map(({ mesh }) => mesh.roster.ownName),
    [first, second],
  );
  assert.deepEqual([nameOf(plain, ada), nameOf(plain, bo)], ['Member', 'Member']);
  assert.equal(nameOf(ada, plain), 'Member', 'no one with the key says so');
  world.restartServer(500);
  listen();
  world.run(6000);
  assert.deepEqual([nameOf(ada, bo), nameOf(bo, ada)], [second, first]);
  for (const name of [first, second]) {
    assert.ok(!serverSaw(world, name));
    assert.ok(texts.length > 5 && !texts.some((text) => text.includes(name)));
  }
  assert.ok(serverSaw(world, 'Plain') && texts.some((text) => text.includes('Plain')));
  // As Rust sealed them: of one who names itself, and of one whom an access token may name.
  const [itself, byToken] = vectors.published;
  const named = (/** @type {any} */ { peer, text }, /** @type {string} */ name) =>
    ada.mesh.encryption?.nameOf(
      /** @type {any} */ ({ peer, name, metadata: { 'e2ee-name': text } }),
    );
  assert.equal(named(itself, 'Eve'), 'Ada');
  assert.equal(named({ ...itself, peer: bo.id }, 'Eve'), 'Member', 'the name of another member');
  assert.equal(named(byToken, 'Ada of the accounts'), 'Ada of the accounts');
  assert.equal(named(byToken, 'Member'), 'Ada L\u00f6velace');
  // What is no UTF-8 is no name, as in the Rust peer.
  const damaged = ringFor(second).sealValue(bo.id, 'e2ee-name', Uint8Array.of(0, 65, 0xff));
  assert.equal(named({ peer: bo.id, text: damaged }, 'Eve'), 'Member');
});

test('a recording is shown in a room with a key only if a member with the key says so', () => {
  const world = new World();
  const ada = joins(world, 'Ada', { relay_only: true });
  const keyless = joins(world, 'Keyless', { roomKey: null });
  const ring = ringFor('Bo');
  world.run(500);
  const says = (/** @type {string} */ recording, of = ada) =>
    of.mesh.encryption?.isRecording(
      /** @type {any} */ ({ peer: idOf('Bo'), metadata: { recording } }),
    );
  // As Rust seals it: a value under another key of the member is none.
  const { text } = vectors.published.find((/** @type {any} */ { key }) => key === 'seat');
  for (const forged of [
    '',
    'on',
    'e2ee1:AAAA',
    text,
    ring.sealValue(idOf('Bo'), 'seat', counting(65, 2)),
  ])
    assert.equal(says(forged), false, forged);
  const own = ring.sealValue(idOf('Bo'), 'recording', counting(65, 2));
  assert.equal(says(own), true);
  assert.equal(says('on', keyless), true);
  assert.equal(says(own, keyless), false, 'what it cannot open is not there');
});

test('the search finds speech and texts where they are not sealed', () => {
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => world.join(name, { relay_only: true }));
  world.run(500);
  speak(ada);
  write(ada, TEXT);
  world.run(200);
  assert.equal(framesHeard(bo).length, 1);
  assert.ok(serverSaw(world, FRAME) && serverSaw(world, TEXT));
});

test('links open with authenticated fingerprints, and speech on them is sealed', () => {
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name));
  const onLinks = watchLinks(ada);
  world.run(2000);
  assert.deepEqual([ada.route(bo), bo.route(ada)], ['direct', 'direct']);
  const relayed = world.server.seen.length;
  speak(ada);
  speak(bo);
  world.run(500);
  assert.deepEqual([framesHeard(ada).length, framesHeard(bo).length], [1, 1]);
  assert.ok(!onLinks(FRAME));
  const since = world.server.seen.slice(relayed);
  assert.ok(
    since.every((packet) => ![7, 8].includes(packet[2])),
    'nothing is relayed any more',
  );
});

test('a server that puts another certificate into a description gets no link, and the relay serves', () => {
  const world = new World();
  const { server } = world;
  const tell = server.tell.bind(server);
  server.tell = (peer, /** @type {any} */ message) => {
    const { signal } = message;
    const forged = signal?.sdp?.replace(/(sha-256 )../, '$1FF');
    tell(peer, forged ? { ...message, signal: { ...signal, sdp: forged } } : message);
  };
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name));
  world.run(8000);
  assert.deepEqual([ada.route(bo), bo.route(ada)], ['relayed', 'relayed']);
  speak(ada);
  world.run(200);
  assert.equal(framesHeard(bo).length, 1);
});

test('who has another key or none is sent nothing, heard by no one, and gets no link', () => {
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name));
  const other = joins(world, 'Other', { roomKey: counting(0x40, 16) });
  const keyless = joins(world, 'Keyless', { roomKey: null });
  const plain = world.join('Plain');
  const strangers = [other, keyless, plain];
  world.run(3000);
  assert.deepEqual(
    strangers.map((stranger) => ada.mesh.encryption?.stateOf(stranger.id)),
    [
      { state: 'refused', why: 'not-authentic' },
      { state: 'refused', why: 'not-authentic' },
      { state: 'unable' },
    ],
  );
  assert.deepEqual(
    strangers.map((stranger) => ada.route(stranger)),
    ['relayed', 'relayed', 'relayed'],
  );
  for (const peer of world.peers) {
    speak(peer);
    write(peer, TEXT);
  }
  world.run(1000);
  assert.deepEqual([framesHeard(ada).length, framesHeard(bo).length], [1, 1]);
  assert.deepEqual([ada.texts.length, bo.texts.length], [1, 1]);
  for (const stranger of [other, plain])
    assert.deepEqual([framesHeard(stranger), stranger.texts], [[], []]);
  // In a room without a key, plain speech and texts are taken of who cannot encrypt: of that one alone.
  assert.deepEqual([framesHeard(keyless).length, keyless.texts], [1, [['Global', TEXT]]]);
});

test('texts wait for keys on their way, in order, and one that no one can read comes back', () => {
  const world = new World();
  const ada = joins(world, 'Ada', { relay_only: true });
  world.join('Plain', { relay_only: true });
  world.run(500);
  write(ada, 'to no one who has the key');
  assert.equal(ada.count('text-unread'), 0, 'the field it comes back to still has it');
  world.run(20);
  const unread = ada.events.find(({ type }) => type === 'text-unread');
  assert.deepEqual([unread?.text, unread?.why], ['to no one who has the key', 'unable']);
  const bo = joins(world, 'Bo', { relay_only: true });
  let wrote = false;
  world.run(1000, () => {
    if (wrote || !ada.mesh.roster.members.has(bo.id)) return;
    wrote = true;
    for (const text of ['first', 'second']) write(ada, text);
  });
  assert.deepEqual(bo.texts, [
    ['Global', 'first'],
    ['Global', 'second'],
  ]);
});

test('why a text was sent to no one is known: no one was there, or had a key, or their keys did not come', () => {
  const world = new World();
  const ada = joins(world, 'Ada', { relay_only: true });
  world.run(500);
  const whyNot = (/** @type {number} */ ms, /** @type {any} */ to) => {
    assert.ok(write(ada, TEXT, to));
    world.run(ms);
    return ada.events.findLast(({ type }) => type === 'text-unread').why;
  };
  assert.equal(whyNot(20, undefined), 'none');
  world.join('Plain', { relay_only: true });
  // It says that it encrypts, and gives no keys.
  world.join('Quiet', { relay_only: true, e2ee: true });
  world.run(500);
  assert.equal(whyNot(20, { peer: idOf('Plain') }), 'unable');
  const quiet = () => ada.mesh.encryption?.stateOf(idOf('Quiet'));
  assert.deepEqual(quiet(), { state: 'waiting', isLate: false });
  assert.equal(whyNot(11_000, undefined), 'late');
  assert.deepEqual(quiet(), { state: 'waiting', isLate: true });
});

test('a text to several groups comes back only if it went to no one in any of them, and then once', () => {
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name, { relay_only: true }));
  world.run(500);
  bo.mesh.session.joinGroup('Red');
  world.run(100);
  const writeTo = (/** @type {string[]} */ ...groups) => {
    const sent = () => {};
    for (const group of groups) ada.mesh.session.sendText(world.now, TEXT, { group }, sent);
    world.run(100);
    return ada.count('text-unread');
  };
  assert.deepEqual([writeTo('Blue', 'Red'), writeTo('Red', 'Blue')], [0, 0]);
  assert.equal(bo.texts.length, 2);
  assert.equal(writeTo('Blue', 'Green'), 1);
  assert.equal(writeTo('Blue'), 2);
});

test('a text that waited for keys comes back when the server refuses it', (t) => {
  Object.assign(globalThis, { addEventListener() {} });
  t.after(() => Reflect.deleteProperty(globalThis, 'addEventListener'));
  const world = new World();
  const ada = joins(world, 'Ada', { relay_only: true });
  const texts = new Texts(
    () => world.now,
    () => {},
  );
  world.run(500);
  const bo = joins(world, 'Bo', { relay_only: true });
  let wrote = false;
  world.run(500, () => {
    if (wrote || !ada.mesh.roster.members.has(bo.id)) return;
    wrote = true;
    texts.send(ada.mesh, 'Ada', 'too soon', null);
    assert.equal(ada.mesh.encryption?.textReader(bo.id), 'soon');
  });
  assert.deepEqual(bo.texts, [['Global', 'too soon']]);
  const error = { type: 'error', code: 'too-many-messages', message: 'No.', fatal: false, text: 1 };
  ada.mesh.signaling.text(world.now, ada.generation, JSON.stringify(error));
  const { code, text } = ada.events.findLast(({ type }) => type === 'warned');
  const { sent, ...refused } = texts.refused(ada.mesh, code, text) ?? {};
  assert.deepEqual([refused, typeof sent], [{ text: 'too soon', to: null }, 'function']);
  // A text with a key is known as such, and not shown.
  assert.ok(texts.invite(ada.mesh, 'LINK', bo.id));
  assert.deepEqual(
    [texts.refused(ada.mesh, code, text + 1), texts.messages.length],
    [{ text: 'LINK', to: bo.id, isInvite: true }, 1],
  );
});

test('a refused text is not sent to those for whom it still waits: it comes to no one twice', (t) => {
  Object.assign(globalThis, { addEventListener() {} });
  t.after(() => Reflect.deleteProperty(globalThis, 'addEventListener'));
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name, { relay_only: true }));
  const texts = new Texts(
    () => world.now,
    () => {},
  );
  world.run(500);
  const cara = joins(world, 'Cara', { relay_only: true });
  let wrote = false;
  world.run(1000, () => {
    if (wrote || !ada.mesh.roster.members.has(cara.id)) return;
    wrote = true;
    texts.send(ada.mesh, 'Ada', 'hello', null);
    assert.equal(ada.mesh.encryption?.textReader(cara.id), 'soon');
    assert.equal(texts.refused(ada.mesh, 'too-many-messages', 1)?.text, 'hello');
    texts.send(ada.mesh, 'Ada', 'hello', null);
  });
  assert.ok(wrote);
  assert.deepEqual(cara.texts, [['Global', 'hello']]);
  assert.ok(bo.texts.length > 0);
});

test('as many texts wait as ever, to however many groups each is', () => {
  /** @type {string[]} */
  const unread = [];
  const texts = new WaitingTexts(
    () => 'soon',
    () => false,
    (text) => unread.push(text),
  );
  for (let at = 0; at < 18; at += 1) {
    const sent = () => {};
    for (const group of ['Red', 'Blue', 'Green'])
      texts.add(0, { group }, `text ${at}`, ['bo'], sent);
  }
  assert.deepEqual(unread, ['text 0', 'text 1']);
});

test('a member who has left opens nothing of what follows, and who comes late nothing of what was', () => {
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name, { relay_only: true }));
  world.run(500);
  speak(ada);
  world.run(100);
  const early = world.server.seen.findLast((packet) => packet[2] === 8);
  bo.mesh.signaling.leave(world.now);
  world.run(1000);
  const cara = joins(world, 'Cara', { relay_only: true });
  world.run(1000);
  speak(ada);
  world.run(100);
  assert.equal(framesHeard(cara).length, 1);
  const late = world.server.seen.findLast((packet) => packet[2] === 8);
  const { session } = world.server;
  const inside = (/** @type {Uint8Array | undefined} */ relay) =>
    relay?.slice(7 + 1 + 2 + 2) ?? new Uint8Array();
  // As if the server went on relaying to who is gone, and kept what was for who comes.
  const opened = (/** @type {any} */ peer, /** @type {Uint8Array} */ packet) =>
    peer.mesh.encryption.openFromServer(world.now, packet);
  assert.equal(inside(late)[2], 2);
  assert.equal(opened(bo, inside(late)), null);
  assert.equal(opened(cara, inside(early)), null);
  assert.ok(session > 0);
});

test('a server that sends plain speech, texts or reports of others gets none of them heard', () => {
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name, { relay_only: true }));
  world.run(500);
  const { session } = world.server;
  const sender = bo.mesh.roster.own?.client;
  const target = {
    kind: 'group',
    id: 22028,
    positional: false,
    closing: false,
    priority: 'default',
    session: 0,
    volume: 128,
  };
  const voice = {
    sender,
    talkspurt: { bits: 7, value: 0 },
    sequence: 9,
    targets: [target],
    frame: FRAME,
  };
  for (const packet of [
    encode('VoiceData', session, voice),
    encode('VoiceCopies', session, { ...voice, pauseFollows: false, copies: [] }),
    encode('GroupText', session, { sender, group: 'Global', text: TEXT }),
    encode('TextData', session, {
      sender,
      recipient: { kind: 'client', id: ada.mesh.roster.own?.client },
      text: TEXT,
    }),
    encode('SealedText', session, { sender, key: 'sender', sealed: FRAME }),
    encode('KeyPackage', session, { sender, announcement: FRAME, package: FRAME }),
    new Uint8Array([0x8b, 0xc7, 2]),
    new Uint8Array([0x8b, 0xc7, 35, 0, 0, 0, 7, 0, 2, 0, 0, 0, 255, 255]),
    new Uint8Array(0),
  ])
    ada.mesh.session.fromServer(world.now, packet);
  assert.deepEqual([framesHeard(ada), ada.texts], [[], []]);
  speak(bo);
  world.run(100);
  assert.equal(framesHeard(ada).length, 1, 'and the keys are as they were');
});

test('a flood of packages costs a few hashes of who lacks the key, and no turn for each of who has it', () => {
  const world = new World();
  const ring = ringFor('Ada');
  const calls = { update: 0, setMember: 0, acceptPackage: 0 };
  for (const name of /** @type {(keyof typeof calls)[]} */ (Object.keys(calls))) {
    const call = /** @type {any} */ (ring)[name].bind(ring);
    /** @type {any} */ (ring)[name] = (/** @type {any[]} */ ...given) => {
      calls[name] += 1;
      return call(...given);
    };
  }
  const ada = joins(world, 'Ada', { relay_only: true, ring });
  const bosRing = ringFor('Bo');
  const bo = joins(world, 'Bo', { relay_only: true, ring: bosRing });
  const plain = world.join('Plain', { relay_only: true });
  world.run(500);
  const { session } = world.server;
  const flood = (/** @type {import('./world.js').FakePeer} */ from, /** @type {any} */ given) => {
    Object.assign(calls, { update: 0, setMember: 0, acceptPackage: 0 });
    for (let n = 0; n < 1000; n += 1) {
      const fields = { sender: from.mesh.roster.own?.client, ...given() };
      ada.mesh.session.fromServer(world.now, encode('KeyPackage', session, fields));
    }
    return { ...calls };
  };
  const random = () => Uint8Array.from({ length: 114 }, () => Math.floor(world.random() * 256));
  const refused = flood(plain, () => ({ announcement: random(), package: random() }));
  assert.deepEqual(refused, { update: 0, setMember: 4, acceptPackage: 0 });
  world.run(100);
  assert.equal(stateOf(ada, plain), 'refused');
  const announcement = bosRing.announcement(session);
  /** @type {(Uint8Array | undefined)[]} */
  const again = [];
  const unread = flood(bo, () => ({ announcement, package: random() }));
  assert.deepEqual([unread.update, unread.acceptPackage], [0, 1000]);
  // Keys that come again, each time sealed anew.
  for (let n = 0; n < 1000; n += 1) {
    bosRing.sendKeysAgain(ada.id);
    again.push(bosRing.pollPackage()?.package);
  }
  world.run(40);
  const sealed = flood(bo, () => ({ announcement, package: again.pop() }));
  assert.equal(sealed.acceptPackage, 1000);
  assert.ok(sealed.update <= 1, `${sealed.update} turns`);
  // After a second the member may try again, and who was heard still is.
  world.run(1000);
  assert.equal(flood(plain, () => ({ announcement: random(), package: random() })).setMember, 4);
  speak(bo);
  world.run(100);
  assert.equal(framesHeard(ada).length, 1);
});

test('what is not known to be sealed or public is neither sent nor taken', () => {
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name));
  world.run(2000);
  const { session, now } = { session: world.server.session, now: world.now };
  const encryption = /** @type {import('../src/encryption.js').Encryption} */ (ada.mesh.encryption);
  const client = bo.mesh.roster.own?.client ?? 0;
  const sealedOrPublic = [];
  for (let kind = 0; kind < 256; kind += 1) {
    const packet = Uint8Array.of(0x8b, 0xc7, kind, 0, 0, 0, session, ...FRAME);
    const relay = { destinations: [client], packet };
    const ways = [
      encryption.sealForLink(now, bo.id, packet),
      ...encryption.sealForServer(now, encode('ServerRelayReliable', session, relay)),
      // A relay packet that cannot be read is none.
      ...(kind === 7 || kind === 8 ? [] : encryption.sealForServer(now, packet)),
    ];
    const isPlain = ways.some((sent) => sent && Buffer.from(sent).includes(Buffer.from(FRAME)));
    const opens = [7, 8, 46, 47, 48].includes(kind)
      ? null
      : encryption.openFromLink(now, bo.id, packet);
    assert.equal(opens !== null, isPlain && ![46, 47, 48].includes(kind), `${kind}`);
    if (isPlain) sealedOrPublic.push(kind);
  }
  assert.deepEqual(
    sealedOrPublic,
    [1, 4, 5, 6, 9, 10, 11, 32, 33, 34, 36, 37, 38, 44, 45, 46, 47, 48],
  );
  const foreign = Uint8Array.of(0x8b, 0xc6, 11, 0, 0, 0, session, ...FRAME);
  assert.equal(encryption.sealForLink(now, bo.id, foreign), null);
});

test('after a restart of the server, and of a page, they hear each other again', () => {
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name, { relay_only: true }));
  world.run(500);
  world.restartServer(500);
  world.run(6000);
  speak(ada);
  write(bo, TEXT);
  world.run(200);
  assert.deepEqual([framesHeard(bo).length, ada.texts.length], [1, 1]);
  // A tab that is loaded anew is the same peer with other keys.
  world.server.gone(bo, 'replaced');
  world.peers = [ada];
  const again = joins(world, 'Bo', { relay_only: true, run: 2, seed: 50 });
  world.run(2000);
  speak(ada);
  speak(again);
  world.run(200);
  assert.deepEqual([framesHeard(again).length, framesHeard(ada).length], [1, 1]);
  assert.equal(stateOf(ada, again), 'verified');
});

test('a module that has failed seals and opens nothing, and says so once', () => {
  let traps = 0;
  /** @type {any} */
  let failing = null;
  const ring = ringOf(
    { peer: idOf('Ada') },
    () => (traps += 1),
    (exports) => (failing = exports),
  );
  assert.ok(ring.seal(0, 1, counting(0, 20), 4, null));
  failing.fails = 'seal';
  assert.equal(ring.seal(0, 1, counting(0, 20), 4, null), null);
  failing.fails = '';
  assert.equal(
    ring.seal(0, 1, counting(0, 20), 4, null),
    null,
    'what it would do now is not known',
  );
  assert.equal(ring.standing(idOf('Bo')).accepted, false);
  assert.deepEqual([ring.announcement(1).length, ring.safetyCode()], [0, '']);
  assert.equal(ring.verifyFingerprint(1, idOf('Bo'), 1, counting(0, 32), counting(0, 32)), false);
  assert.deepEqual([ring.agreeNext(), ring.pollPackage(), ring.nextTimer], [false, null, Infinity]);
  assert.equal(traps, 1);
});

test('a module that fails in a call says so once, and the calls that are under way end', () => {
  for (const fails of ['announcement', 'safety_code', 'poll_package', 'set_member', 'seal']) {
    const world = new World();
    let failures = 0;
    /** @type {any} */
    let control = null;
    const identity = { first: 65, peer: idOf('Ada'), seed: counting(65, 32) };
    const ring = ringOf(
      identity,
      () => (failures += 1),
      (of) => (control = of),
    );
    const ada = joins(world, 'Ada', { relay_only: true, ring });
    world.run(500);
    control.fails = fails;
    const bo = joins(world, 'Bo', { relay_only: true });
    world.run(500);
    speak(ada);
    write(ada, TEXT);
    world.run(2000);
    assert.equal(failures, 1, fails);
    assert.ok(!serverSaw(world, FRAME) && !serverSaw(world, TEXT), fails);
    assert.deepEqual([framesHeard(bo), bo.texts], [[], []], fails);
  }
});

test('who is new since the last visit is told from who was here, and a changed key from the same one', () => {
  /** @type {Map<string, string>} */
  const kept = new Map();
  const storage = {
    getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => void kept.set(key, value),
  };
  const [first, second] = [4, 5].map((byte) => Uint8Array.of(4, ...counting(byte, 64)));
  const own = Uint8Array.of(4, ...counting(90, 64));
  const visit = () => {
    const people = new KnownMembers(storage, 'own');
    people.entered(own);
    return people;
  };
  // A join that failed.
  new KnownMembers(storage, 'own');
  assert.equal(visit().meet('ada', first), 'known', 'on a first visit no one is new');
  const again = visit();
  assert.equal(again.meet('ada', first), 'known');
  assert.equal(again.meet('bo', first), 'new');
  assert.equal(visit().meet('bo', first), 'known');
  assert.equal(visit().meet('bo', second), 'changed');
  new KnownMembers(storage, 'own elsewhere').entered(own);
  const size = () => JSON.parse([...kept.values()][0] ?? '').length;
  const before = size();
  // One who has the link comes as ever others: that wipes out nothing.
  for (let n = 0; n < 600; n++) again.meet(`peer ${n}`, first);
  assert.ok(size() > before + 32 && size() <= before + 64);
  assert.equal(visit().meet('bo', second), 'known');
  for (let stay = 0; stay < 20; stay++) {
    const later = visit();
    for (let n = 0; n < 64; n++) later.meet(`${stay} ${n}`, first);
  }
  assert.ok(size() > 500 && size() <= 1000);
  // Another room is known as before, and so is who is new there.
  assert.equal(new KnownMembers(storage, 'own elsewhere').meet('cleo', second), 'new');
  for (const damaged of ['{', '7', '[[1,2],"x",["bo"]]']) {
    kept.set([...kept.keys()][0], damaged);
    assert.equal(visit().meet('bo', first), 'known', damaged);
  }
});

test('tabs of one browser lose nothing that the others have met, and are not new to each other', () => {
  let kept = '[["one","x"],["two","x"]]';
  const storage = {
    getItem: () => kept,
    setItem: (/** @type {string} */ _, /** @type {string} */ value) => void (kept = value),
  };
  const [ofOne, ofTwo, bo, cleo] = [1, 2, 3, 4].map((byte) =>
    Uint8Array.of(4, ...counting(byte * 20, 64)),
  );
  const open = () => {
    const [one, two] = ['one', 'two'].map((own) => new KnownMembers(storage, own));
    one.entered(ofOne);
    two.entered(ofTwo);
    return [one, two];
  };
  const [one, two] = open();
  assert.deepEqual([one.meet('two', ofTwo), two.meet('one', ofOne)], ['known', 'known']);
  assert.equal(one.meet('bo', bo), 'new');
  assert.deepEqual([two.meet('cleo', cleo), two.meet('bo', bo)], ['new', 'new']);
  const [oneAgain, twoAgain] = open();
  for (const tab of [oneAgain, twoAgain])
    assert.deepEqual([tab.meet('bo', bo), tab.meet('cleo', cleo)], ['known', 'known']);
  assert.deepEqual([oneAgain.meet('two', ofTwo), twoAgain.meet('one', ofOne)], ['known', 'known']);
  assert.equal(oneAgain.meet('two', bo), 'changed');
});

test('in the room, who comes first while this browser knows the room is new', () => {
  const world = new World();
  let kept = `[["${idOf('Ada')}","own x"]]`;
  const people = new KnownMembers(
    { getItem: () => kept, setItem: (_, value) => void (kept = value) },
    idOf('Ada'),
  );
  const ada = joins(world, 'Ada', { relay_only: true, people });
  const bo = joins(world, 'Bo', { relay_only: true });
  world.run(500);
  assert.equal(ada.mesh.encryption?.metAs(bo.id), 'new');
  assert.equal(bo.mesh.encryption?.metAs(ada.id), 'known', 'without a memory');
  assert.match(kept, new RegExp(`"${idOf('Ada')}","own [0-9a-f]{32}"`));
});

test('who is held in a group writes to it alone, and what comes from there all the same is not read', () => {
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name, { relay_only: true }));
  world.run(500);
  ada.mesh.roster.held(world.now, bo.id, ['Red']);
  // A program that does not care, since it has not heard of it.
  assert.ok(write(bo, TEXT) && write(bo, TEXT, { peer: ada.id }));
  world.run(200);
  assert.deepEqual(ada.texts, []);
  assert.equal(ada.mesh.session.dropped.NotPermitted, 2);
  bo.mesh.roster.held(world.now, bo.id, ['Red']);
  assert.deepEqual([write(bo, TEXT), write(bo, TEXT, { peer: ada.id })], [false, false]);
  ada.mesh.session.joinGroup('Red');
  world.run(200);
  assert.ok(write(bo, 'to Red', { group: 'Red' }) && write(bo, 'to Ada', { peer: ada.id }));
  world.run(200);
  assert.deepEqual(ada.texts, [
    ['Red', 'to Red'],
    [null, 'to Ada'],
  ]);
});

test('who was put out of a private room is said to have its link, and who had no key or was in another room not', () => {
  const world = new World();
  const ada = joins(world, 'Ada', { relay_only: true });
  const plain = world.join('Bo', { relay_only: true });
  world.run(500);
  ada.mesh.moderation.decide('ban', { peer: plain.id });
  ada.mesh.moderation.done(world.now, 1);
  assert.doesNotMatch(ada.events.findLast(({ type }) => type === 'remark').text, /link/);
  assert.equal(ada.mesh.moderation.keyHolder, null);
  // Who has left is known as well as who is here.
  plain.mesh.signaling.leave(world.now);
  const cara = joins(world, 'Cara', { relay_only: true });
  world.run(500);
  cara.mesh.signaling.leave(world.now);
  world.run(500);
  assert.ok([plain, cara].every(({ id }) => !ada.mesh.roster.members.has(id)));
  const holds = (/** @type {string} */ peer, /** @type {number} */ request) => {
    ada.mesh.moderation.keyHolder = null;
    ada.mesh.moderation.decide('ban', { peer });
    ada.mesh.moderation.done(world.now, request);
    return ada.mesh.moderation.keyHolder !== null;
  };
  assert.deepEqual([holds(plain.id, 2), holds(cara.id, 3)], [false, true]);
  const dan = joins(world, 'Dan', { relay_only: true });
  world.run(500);
  assert.ok(holds(dan.id, 4));
  plain.mesh.moderation.decide('kick', { peer: idOf('Ada') });
  plain.mesh.moderation.done(world.now, 1);
  const said = [ada, plain].map(
    ({ events }) => events.findLast(({ type }) => type === 'remark').text,
  );
  assert.match(said[0], /still have this room\u2019s link/);
  assert.doesNotMatch(said[1], /link/);
  assert.ok(ada.mesh.moderation.keyHolder !== null && plain.mesh.moderation.keyHolder === null);
});

/** @param {World} world @param {string} name @param {Record<string, any>} [more] */
const joinsKeyless = (world, name, more) => joins(world, name, { roomKey: null, ...more });

test('in a room without a key, what is said and written is sealed as well, and the codes are those that members compare', () => {
  for (const relay_only of [true, false]) {
    const world = new World();
    const [ada, bo] = ['Ada', 'Bo'].map((name) => joinsKeyless(world, name, { relay_only }));
    const onLinks = [ada, bo].map(watchLinks);
    world.run(2000);
    assert.equal(ada.route(bo), relay_only ? 'relayed' : 'direct');
    assert.deepEqual([stateOf(ada, bo), stateOf(bo, ada)], ['encrypted', 'encrypted']);
    assert.equal(ada.mesh.encryption?.safetyCode, bo.mesh.encryption?.safetyCode);
    for (const peer of [ada, bo]) assert.equal(speak(peer), 1);
    assert.ok(write(ada, TEXT) && write(bo, TEXT, { peer: ada.id }));
    world.run(200);
    assert.deepEqual([framesHeard(ada).length, framesHeard(bo).length], [1, 1]);
    assert.deepEqual([bo.texts, ada.texts], [[['Global', TEXT]], [[null, TEXT]]]);
    assert.ok(!serverSaw(world, FRAME) && !serverSaw(world, TEXT));
    assert.ok(onLinks.every((saw) => !saw(FRAME)));
    // Names and metadata are not sealed there.
    assert.deepEqual([nameOf(ada, bo), nameOf(bo, ada)], ['Bo', 'Ada']);
    assert.ok(world.server.joins.every(({ metadata }) => Object.keys(metadata).length === 0));
  }
});

test('a server that puts another identity between two shows in the code', () => {
  const world = new World();
  const { server } = world;
  const tell = server.tell.bind(server);
  const eve = ringOf({ first: 200, peer: idOf('Bo'), roomKey: null, seed: counting(9, 32) });
  server.tell = (peer, /** @type {any} */ message) => {
    const isAboutBo = peer.id === idOf('Ada') && message.peer === idOf('Bo') && message.metadata;
    const e2ee = Buffer.from(eve.announcement(server.session)).toString('base64url');
    tell(peer, isAboutBo ? { ...message, metadata: { e2ee } } : message);
  };
  const ada = joinsKeyless(world, 'Ada', { relay_only: true });
  const bo = joinsKeyless(world, 'Bo', { relay_only: true });
  world.run(1000);
  assert.notEqual(ada.mesh.encryption?.safetyCode, bo.mesh.encryption?.safetyCode);
  speak(bo);
  world.run(200);
  assert.deepEqual(framesHeard(ada), [], 'nor is the real one heard');
});

/** The packets of plain speech that the server was given, by the clients they were for. @param {World} world */
const plainRelays = (world) =>
  world.server.seen
    .filter((packet) => Buffer.from(packet).includes(Buffer.from(FRAME)))
    .map((packet) => decode(packet).fields.destinations);

for (const relay_only of [true, false])
  test(`who cannot encrypt is heard, and hears, ${relay_only ? 'by the relay' : 'on a link'}, only who lets the server hear it`, () => {
    const world = new World();
    const [ada, bo] = ['Ada', 'Bo'].map((name) => joinsKeyless(world, name, { relay_only }));
    const plain = world.join('Plain', { relay_only });
    const onLinks = watchLinks(ada);
    world.run(2000);
    const client = plain.mesh.roster.own?.client ?? 0;
    assert.equal(ada.route(plain), relay_only ? 'relayed' : 'direct');
    const { encryption } = ada.mesh;
    assert.deepEqual(encryption?.stateOf(plain.id), plainly(false));
    assert.deepEqual([speak(ada), speak(bo)], [1, 1], 'each other');
    assert.equal(speak(plain), 2);
    assert.ok(write(plain, TEXT));
    world.run(200);
    assert.deepEqual([framesHeard(ada).length, framesHeard(bo).length], [2, 2]);
    assert.deepEqual([ada.texts.length, framesHeard(plain)], [1, []]);
    plain.sent.link = 0;
    const before = plainRelays(world).length;
    assert.ok(!onLinks(FRAME));
    encryption?.allow(plain.id, 'Plain');
    assert.deepEqual(encryption?.stateOf(plain.id), plainly(true));
    assert.equal(speak(ada), 2);
    assert.equal(speak(bo), 1, 'each member agrees for itself');
    assert.ok(write(ada, 'for those who encrypt'));
    world.run(200);
    assert.deepEqual([framesHeard(bo).length, framesHeard(plain).length], [3, 1]);
    assert.deepEqual([bo.texts.length, plain.texts], [2, []]);
    assert.equal(onLinks(FRAME), !relay_only);
    const after = plainRelays(world).slice(before);
    assert.deepEqual(after, relay_only ? [[client]] : [], 'its own copy, and no other');
    // To it alone.
    ada.mesh.session.address(world.now, 'group', 'Global', false);
    ada.mesh.session.address(world.now, 'peer', plain.id, true);
    world.run(100);
    const heard = framesHeard(plain).length;
    assert.equal(speak(ada), 1);
    world.run(200);
    assert.equal(framesHeard(plain).length, heard + 1);
    encryption?.allow(plain.id, null);
    assert.equal(speak(ada), 0);
  });

test('the plan knows who is relayed packets apart from those who encrypt', () => {
  const world = new World();
  const ada = joinsKeyless(world, 'Ada', { relay_only: true });
  const bo = joinsKeyless(world, 'Bo', { relay_only: true });
  const plain = world.join('Plain', { relay_only: true });
  world.run(500);
  ada.mesh.encryption?.allow(plain.id, 'Plain');
  /** @type {import('../src/uplink.js').Listener[]} */
  let told = [];
  const decision = { relayed: new Set(), isFull: false, train: null };
  /** @type {any} */
  const uplink = {
    isSilent: () => true,
    begin: (/** @type {number} */ _, /** @type {typeof told} */ listeners) => {
      told = listeners;
      return decision;
    },
    framesPerPacket: () => 1,
    copiesFor: () => [],
    relaySent() {},
    frameSent() {},
  };
  ada.mesh.uplink = uplink;
  assert.equal(speak(ada), 2);
  const apart = Object.fromEntries(told.map(({ peer, hearsPlain }) => [peer, hearsPlain]));
  assert.deepEqual(apart, { [bo.id]: false, [plain.id]: true });
});

test('that one may hear is not remembered for another, nor for the same one under another name or later', () => {
  const world = new World();
  const ada = joinsKeyless(world, 'Ada', { relay_only: true });
  const plain = world.join('Plain', { relay_only: true });
  const other = world.join('Quentin', { relay_only: true });
  world.run(500);
  const { encryption, roster } = ada.mesh;
  encryption?.allow(plain.id, 'Plain');
  encryption?.allow(idOf('Zoe'), 'Zoe');
  assert.equal(speak(ada), 1);
  assert.deepEqual(encryption?.stateOf(other.id), plainly(false));
  const member = roster.members.get(plain.id);
  assert.ok(member);
  const { info } = member;
  member.info = { ...info, name: 'Someone else' };
  assert.equal(speak(ada), 0);
  member.info = info;
  assert.equal(speak(ada), 1);
  plain.mesh.signaling.leave(world.now);
  world.run(500);
  assert.ok(!roster.members.has(plain.id));
  world.peers = world.peers.filter((peer) => peer !== plain);
  world.join('Plain', { relay_only: true });
  world.run(500);
  assert.equal(speak(ada), 0);
  assert.deepEqual(encryption?.stateOf(plain.id), plainly(false));
});

test('an answer counts for the name that was shown with the question', () => {
  const world = new World();
  const ada = joinsKeyless(world, 'Ada', { relay_only: true });
  const plain = world.join('Plain', { relay_only: true });
  world.run(500);
  const { encryption, roster } = ada.mesh;
  const member = roster.members.get(plain.id);
  assert.ok(member);
  // Between the question and the click the server names the member anew.
  Object.assign(member, { label: 'Paula', info: { ...member.info, name: 'Paula' } });
  encryption?.allow(plain.id, 'Plain');
  assert.deepEqual(encryption?.stateOf(plain.id), plainly(false));
  assert.equal(speak(ada), 0);
  encryption?.allow(plain.id, 'Paula');
  assert.equal(speak(ada), 1);
  // The name stays, while another's that looks like it adds to what is shown.
  member.label = 'Paula#70';
  assert.equal(speak(ada), 1);
  encryption?.allow(plain.id, null);
  assert.equal(speak(ada), 0);
  encryption?.allow(plain.id, 'Paula');
  assert.equal(speak(ada), 0);
});

test('in a room with a key no one is allowed to hear anything unsealed', () => {
  const world = new World();
  const ada = joins(world, 'Ada', { relay_only: true });
  const plain = world.join('Plain', { relay_only: true });
  world.run(500);
  ada.mesh.encryption?.allow(plain.id, 'Plain');
  assert.equal(speak(ada), 0);
  assert.deepEqual(ada.mesh.encryption?.stateOf(plain.id), { state: 'unable' });
});

/** From now on the server says of these members that they do not encrypt. @param {World} world @param {(peer: string) => boolean} strips */
function strip(world, strips) {
  const { server } = world;
  const tell = server.tell.bind(server);
  const stripped = (/** @type {any} */ info) =>
    info && strips(info.peer)
      ? { ...info, metadata: {}, capabilities: { ...info.capabilities, e2ee: false } }
      : info;
  server.tell = (peer, /** @type {any} */ message) => {
    const { type, peers, peer: about } = message;
    if (type === 'metadata' && strips(about)) return tell(peer, { ...message, metadata: {} });
    const isInfo = type === 'peer-joined';
    tell(peer, {
      ...message,
      ...(peers && { peers: peers.map(stripped) }),
      ...(isInfo && { peer: stripped(about) }),
    });
  };
}

for (const [whom, strips] of /** @type {[string, (peer: string) => boolean][]} */ ([
  ['one', (peer) => peer === idOf('Bo')],
  ['all', () => true],
]))
  test(`a server that claims of ${whom} that they cannot encrypt is sent nothing plain without consent, nor in mid-call with it`, () => {
    // From the beginning.
    const world = new World();
    strip(world, strips);
    const names = ['Ada', 'Bo', 'Cleo'];
    const peers = names.map((name) => joinsKeyless(world, name, { relay_only: true }));
    world.run(1000);
    for (let n = 0; n < 20; n += 1) {
      for (const peer of peers) {
        speak(peer);
        write(peer, TEXT);
      }
      world.run(20);
    }
    assert.ok(!serverSaw(world, FRAME) && !serverSaw(world, TEXT));
    // In mid-call: they have encrypted, and a server that says otherwise is not believed, whatever the user says.
    const later = new World();
    const [ada, bo, cleo] = names.map((name) => joinsKeyless(later, name, { relay_only: true }));
    later.run(1000);
    assert.equal(speak(ada), 2);
    strip(later, strips);
    for (const peer of [ada, bo, cleo])
      later.server.text(peer, { type: 'roster' }, peer.generation);
    later.run(500);
    assert.notEqual(ada.mesh.roster.capabilities(bo.id)?.e2ee, true);
    for (const peer of [ada, bo, cleo])
      for (const other of [ada, bo, cleo])
        peer.mesh.encryption?.allow(other.id, other.mesh.config.name);
    for (let n = 0; n < 20; n += 1) {
      for (const peer of [ada, bo, cleo]) {
        speak(peer);
        write(peer, TEXT);
      }
      later.run(20);
    }
    assert.ok(!serverSaw(later, FRAME) && !serverSaw(later, TEXT));
    assert.ok(framesHeard(bo).length > 20, 'and they still hear each other');
    // Gone and back without it, the same.
    later.server.gone(bo, 'left');
    later.peers = [ada, cleo];
    later.run(500);
    later.join('Bo', { relay_only: true, run: 2 });
    later.run(500);
    ada.mesh.encryption?.allow(bo.id, 'Bo');
    assert.equal(stateOf(ada, bo), 'stopped');
    speak(ada);
    later.run(200);
    assert.ok(!serverSaw(later, FRAME));
  });

test('the attack succeeds where the user lets the server hear someone whose capability was stripped from the beginning', () => {
  const world = new World();
  strip(world, (peer) => peer === idOf('Bo'));
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joinsKeyless(world, name, { relay_only: true }));
  // Nor does the server pass on the keys, which would say otherwise.
  const packet = world.server.packet.bind(world.server);
  world.server.packet = (peer, bytes) =>
    bytes[2] === KINDS.ServerRelayReliable ? undefined : packet(peer, bytes);
  world.run(1000);
  assert.deepEqual(ada.mesh.encryption?.stateOf(bo.id), plainly(false));
  ada.mesh.encryption?.allow(bo.id, 'Bo');
  speak(ada);
  world.run(200);
  assert.ok(plainRelays(world).length > 0);
});

test('who is allowed to hear unencrypted is so for one stay under one name', () => {
  const world = new World();
  const ada = joinsKeyless(world, 'Ada', { relay_only: true });
  const bo = world.join('Bo', { relay_only: true });
  world.run(500);
  const state = () => ada.mesh.encryption?.stateOf(bo.id);
  const allow = (/** @type {boolean} */ isAllowed) => {
    ada.mesh.encryption?.allow(bo.id, 'Bo');
    assert.deepEqual(state(), plainly(isAllowed));
  };
  allow(true);
  const info = ada.mesh.roster.members.get(bo.id)?.info;
  const tell = (/** @type {object} */ changes) => {
    const message = JSON.stringify({ type: 'peer-joined', peer: { ...info, ...changes } });
    ada.mesh.signaling.text(world.now, ada.generation, message);
    world.run(20);
  };
  // Another run, told of before the page has seen it go.
  tell({ run: 2 });
  assert.deepEqual(state(), plainly(false));
  speak(ada);
  world.run(100);
  assert.deepEqual(plainRelays(world), []);
  allow(true);
  // Another name, and the former one again.
  tell({ run: 2, name: 'Ben' });
  tell({ run: 2 });
  assert.deepEqual(state(), plainly(false));
  allow(true);
  for (const e2ee of [true, false]) tell({ run: 2, capabilities: { ...info?.capabilities, e2ee } });
  world.run(1000);
  assert.deepEqual(state(), plainly(false));
});

test('who encrypted at the last visit is asked about as such at the next, when the server says that its program cannot', () => {
  let kept = '[]';
  const storage = {
    getItem: () => kept,
    setItem: (/** @type {string} */ _, /** @type {string} */ value) => void (kept = value),
  };
  /** @param {World} world */
  const visit = (world) => {
    const people = new KnownMembers(storage, idOf('Ada'));
    return joinsKeyless(world, 'Ada', { relay_only: true, people });
  };
  const first = new World();
  const before = visit(first);
  const other = joinsKeyless(first, 'Bo', { relay_only: true });
  const never = first.join('Cleo', { relay_only: true });
  first.run(1000);
  assert.equal(stateOf(before, other), 'encrypted');
  assert.deepEqual(before.mesh.encryption?.stateOf(never.id), plainly(false));
  // The page is loaded anew, and the server passes on no keys of Bo, which would say otherwise.
  const world = new World();
  strip(world, (peer) => peer === idOf('Bo'));
  const packet = world.server.packet.bind(world.server);
  world.server.packet = (peer, bytes) =>
    bytes[2] === KINDS.ServerRelayReliable ? undefined : packet(peer, bytes);
  const ada = visit(world);
  const bo = joinsKeyless(world, 'Bo', { relay_only: true });
  const cleo = world.join('Cleo', { relay_only: true });
  world.run(1000);
  assert.deepEqual(ada.mesh.encryption?.stateOf(bo.id), plainly(false, true));
  assert.deepEqual(ada.mesh.encryption?.stateOf(cleo.id), plainly(false), 'it never encrypted');
  speak(ada);
  world.run(200);
  assert.equal(plainRelays(world).length, 0);
  // Its program may really be another one: then it is for the user to say.
  ada.mesh.encryption?.allow(bo.id, 'Bo');
  assert.deepEqual(ada.mesh.encryption?.stateOf(bo.id), plainly(true, true));
  speak(ada);
  world.run(200);
  assert.deepEqual(plainRelays(world), [[bo.mesh.roster.own?.client]]);
  // No answer makes it one who never encrypted.
  const later = new World();
  const again = visit(later);
  const plain = later.join('Bo', { relay_only: true });
  later.run(500);
  assert.deepEqual(again.mesh.encryption?.stateOf(plain.id), plainly(false, true));
});

test('who came by a link with a key to one without is said to have one', () => {
  const world = new World();
  const ada = joinsKeyless(world, 'Ada', { relay_only: true });
  const bo = joins(world, 'Bo', { relay_only: true });
  world.run(500);
  const theirs = { state: 'only-theirs', hasRoomKey: true };
  assert.deepEqual(ada.mesh.encryption?.stateOf(bo.id), theirs);
  ada.mesh.encryption?.allow(bo.id, 'Bo');
  assert.equal(speak(ada), 0);
});

test('a new room is for those who were there when one was put out, and not for that one when it is back', () => {
  const world = new World();
  const [ada, bo, eve] = ['Ada', 'Bo', 'Eve'].map((name) =>
    joins(world, name, { relay_only: true }),
  );
  world.run(500);
  ada.mesh.moderation.decide('kick', { peer: eve.id });
  const cara = joins(world, 'Cara', { relay_only: true });
  world.run(500);
  ada.mesh.moderation.done(world.now, 1);
  assert.ok(ada.mesh.roster.members.has(eve.id) && ada.mesh.roster.members.has(cara.id));
  assert.deepEqual([...(ada.mesh.moderation.keyHolder?.staying ?? [])], [bo.id]);
});

test('a text that must not wait is sent only to who can read it now', () => {
  const world = new World();
  const ada = joins(world, 'Ada', { relay_only: true });
  world.run(500);
  const bo = joins(world, 'Bo', { relay_only: true });
  /** @type {boolean[]} */
  const sent = [];
  const send = () => ada.mesh.session.sendNow(world.now, TEXT, bo.id, () => {});
  world.run(500, () => {
    if (ada.mesh.encryption?.textReader(bo.id) === 'soon') sent.push(send());
  });
  assert.ok(sent.length > 0 && !sent.includes(true));
  assert.deepEqual(bo.texts, []);
  assert.ok(send());
  world.run(200);
  assert.deepEqual(bo.texts, [[null, TEXT]]);
  bo.mesh.signaling.leave(world.now);
  world.run(500);
  assert.ok(!send());
});

test('whatever a server or a member sends, nothing is heard, written or broken by it', () => {
  const world = new World();
  const [ada, bo] = ['Ada', 'Bo'].map((name) => joins(world, name));
  world.run(2000);
  assert.equal(ada.route(bo), 'direct');
  const [session, you] = [world.server.session, bo.mesh.roster.own?.client ?? 0];
  const { generation } = /** @type {any} */ (ada.mesh.pairs.bound(bo.id));
  const kinds = [2, 3, 7, 35, 39, 40, 43, 46, 47, 48, 49];
  for (let round = 0; round < 4000; round += 1) {
    const length = Math.floor(world.random() * 60);
    const packet = Uint8Array.from({ length }, () => Math.floor(world.random() * 256));
    const head = [0x8b, 0xc7, kinds[round % kinds.length], 0, 0, 0, session, 0, you];
    if (round % 3 > 0) packet.set(head.slice(0, length));
    ada.mesh.session.fromServer(world.now, packet);
    ada.mesh.session.fromLink(world.now, bo.id, generation, packet);
    const metadata = { e2ee: Buffer.from(packet).toString(round % 2 ? 'base64url' : 'latin1') };
    const announced = { type: 'metadata', peer: bo.id, metadata, changes: 0 };
    ada.mesh.signaling.text(world.now, ada.generation, JSON.stringify(announced));
  }
  assert.deepEqual([framesHeard(ada), ada.texts], [[], []]);
  // Who was accepted goes on being heard with the keys of then.
  speak(bo);
  world.run(200);
  assert.deepEqual([framesHeard(ada).length, stateOf(ada, bo)], [1, 'verified']);
});
