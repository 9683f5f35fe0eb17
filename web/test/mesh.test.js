import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import {
  join,
  leave,
  ping,
  readServer,
  roster,
  setMetadata,
  signalTo,
  status,
} from '../src/messages.js';
import { rosterHash } from '../src/roster.js';
import { encode, groupId, KINDS } from '../src/wire.js';
import { World } from './world.js';

const vectors = JSON.parse(
  readFileSync(new URL('../../tests/vectors/signaling.json', import.meta.url), 'utf8'),
);

function pair() {
  const world = new World();
  const ada = world.join('Ada');
  const bo = world.join('Bo');
  return { world, ada, bo };
}

/** Both speak every 20 ms; gives what each said. @param {World} world @param {import('./world.js').FakePeer[]} speakers @param {number} ms */
function talk(world, speakers, ms, from = 0) {
  let said = from;
  let next = world.now;
  world.run(ms, () => {
    if (world.now < next) return;
    next += 20;
    for (const peer of speakers) peer.say(said & 0xff);
    said += 1;
  });
  return said;
}

test('every message of the server reads as the vectors say', () => {
  // What a writer may leave out, a reader fills in.
  const filled = (/** @type {any} */ message) =>
    message.type === 'peer-joined'
      ? { ...message, peer: { metadata: {}, ...message.peer } }
      : message;
  for (const { name, message } of vectors.server) {
    const whole = {
      ...filled(message),
      ...(message.peers && {
        peers: message.peers.map((/** @type {any} */ peer) => ({ metadata: {}, ...peer })),
      }),
    };
    assert.deepEqual(readServer(JSON.stringify(message)), whole, name);
  }
  for (const { name, side, text, means } of vectors.lenient) {
    if (side === 'server') assert.deepEqual(readServer(text), means, name);
  }
});

test('what a page says is what the vectors say', () => {
  for (const { name, message } of vectors.client) {
    // A page changes its metadata without waiting for the answer, and a room's not at all.
    if (message.request !== undefined) continue;
    const { type, protocol, to, attempt, signal: what, set, token, ...rest } = message;
    const made = {
      join: () => join({ ...rest, ...(token !== undefined && { token }) }),
      signal: () => signalTo(to, attempt, what),
      'set-metadata': () => setMetadata(set),
      status: () => status(rest),
      roster,
      leave,
      ping: () => ping(token),
    }[/** @type {string} */ (type)];
    assert.deepEqual(made?.(), message, name);
  }
});

test('a roster has the hash of the vectors', () => {
  for (const { peers, hash } of vectors.roster) assert.equal(rosterHash(peers), hash);
});

test('what the server may not say is skipped', () => {
  for (const text of [
    '',
    '[]',
    '{"type":"joined"}',
    '{"type":"constructor"}',
    '{"type":"peer-left","peer":"x","reason":"left"}',
    '{"type":"roster-mark","version":-1,"hash":"0000000000000000"}',
    '{"type":"signal","from":1}',
  ]) {
    assert.equal(readServer(text), null, text);
  }
});

// proves: B-02, D-32
test('two meet, are relayed first and direct soon after, and lose no frame on the way', () => {
  const { world, ada, bo } = pair();
  world.run(45);
  assert.equal(ada.route(bo), 'relayed');
  const said = talk(world, [ada, bo], 1000);
  assert.equal(ada.route(bo), 'direct');
  assert.equal(bo.route(ada), 'direct');
  world.run(100);
  for (const peer of [ada, bo]) {
    assert.deepEqual(
      peer.heard,
      Array.from({ length: said }, (_, n) => n),
      `${peer.name} hears each frame once, in order`,
    );
    assert.equal(peer.count('peer-joined'), 1);
  }
});

test('a link that swallows speech is left within a third of a second, and what it swallowed comes by the relay', () => {
  const { world, ada, bo } = pair();
  world.run(1000);
  assert.equal(ada.route(bo), 'direct');
  world.linksWork = false;
  const before = world.now;
  let leftAfter = 0;
  let said = 0;
  world.run(1000, () => {
    if (world.now % 20 === 0) ada.say(said++);
    if (leftAfter === 0 && ada.route(bo) === 'relayed') leftAfter = world.now - before;
  });
  assert.ok(leftAfter > 0 && leftAfter <= 340, `left after ${leftAfter} ms`);
  world.run(100);
  assert.deepEqual(
    [...bo.heard].sort((a, b) => a - b),
    Array.from({ length: said }, (_, n) => n),
  );
  world.linksWork = true;
  world.run(10_000);
  assert.equal(ada.route(bo), 'direct', 'a new link takes its place');
});

test('direct talk goes on while the server is away, and everyone is back by itself as who they were', () => {
  const { world, ada, bo } = pair();
  world.run(1000);
  const half = talk(world, [ada, bo], 500);
  world.restartServer(10_000, 99);
  const said = talk(world, [ada, bo], 20_000, half);
  world.run(200);
  assert.equal(ada.count('server-away') > 0, true);
  assert.equal(ada.count('joined'), 2);
  for (const peer of [ada, bo]) {
    assert.deepEqual(
      peer.heard,
      Array.from({ length: said }, (_, n) => n & 0xff),
      `${peer.name} misses nothing`,
    );
    assert.equal(peer.count('peer-left'), 0, 'no peer left');
    assert.equal(peer.mesh.session.current?.session, 99);
  }
});

test('who never could be reached directly is heard again when the server is back', () => {
  const world = new World();
  const ada = world.join('Ada', { relay_only: true });
  const bo = world.join('Bo');
  world.run(1000);
  assert.equal(bo.route(ada), 'relayed');
  world.restartServer(1000);
  world.run(500);
  assert.equal(bo.route(ada), 'none');
  world.run(10_000);
  assert.equal(bo.route(ada), 'relayed');
  ada.say(5);
  world.run(100);
  assert.deepEqual(bo.heard, [5]);
  assert.equal(ada.sent.link, 0, 'relay-only peers open no link');
});

// proves: U-09
test('a peer that the server lost is kept while its link lives, and told as gone once', () => {
  const { world, ada, bo } = pair();
  world.run(1000);
  world.server.gone(bo, 'lost');
  bo.socketsDie();
  world.run(500);
  assert.equal(ada.count('peer-left'), 0);
  ada.say(1);
  world.run(100);
  assert.deepEqual(bo.heard, [1], 'the link still carries speech');
  ada.mesh.pairs.linkClosed(world.now, bo.id, 1, false);
  world.run(500);
  assert.equal(ada.count('peer-left'), 1);
  world.run(130_000);
  assert.equal(ada.count('peer-left'), 1);
});

test('who leaves is gone at once', () => {
  const { world, ada, bo } = pair();
  world.run(1000);
  bo.mesh.signaling.leave(world.now);
  world.run(100);
  assert.deepEqual(
    ada.events
      .filter((event) => event.type === 'peer-left')
      .map(({ name, reason }) => [name, reason]),
    [['Bo', 'left']],
  );
});

test('a missed arrival is noticed by the roster’s mark', () => {
  const { world, ada, bo } = pair();
  world.run(1000);
  ada.mesh.roster.giveUp(world.now, bo.id, 'forgotten');
  world.run(6000);
  assert.ok(ada.mesh.roster.members.has(bo.id));
});

// proves: D-15, D-16
test('speech goes to its addressees only', () => {
  const world = new World();
  const [ada, bo, cy] = ['Ada', 'Bo', 'Cy'].map((name) => world.join(name));
  world.run(1000);
  assert.equal(bo.mesh.session.joinGroup('team'), 'ok');
  world.run(100);
  ada.mesh.session.address(world.now, 'group', 'Global', false);
  ada.mesh.session.address(world.now, 'group', 'team', true);
  assert.equal(ada.say(1), 1);
  world.run(100);
  assert.deepEqual([bo.heard, cy.heard], [[1], []]);
  ada.mesh.session.address(world.now, 'group', 'team', false);
  ada.mesh.session.address(world.now, 'peer', cy.id, true);
  ada.say(2);
  ada.say(3);
  world.run(100);
  assert.deepEqual(
    [bo.heard, cy.heard],
    [
      [1, 2],
      [2, 3],
    ],
    'the frame that closes a target still goes to it',
  );
});

test('text reaches the room or one person', () => {
  const world = new World();
  const [ada, bo, cy] = ['Ada', 'Bo', 'Cy'].map((name) => world.join(name));
  world.run(1000);
  assert.ok(ada.mesh.session.sendText(world.now, 'to all', { group: 'Global' }));
  assert.ok(ada.mesh.session.sendText(world.now, 'to you', { peer: bo.id }));
  world.run(100);
  assert.deepEqual(bo.texts, [
    ['Global', 'to all'],
    [null, 'to you'],
  ]);
  assert.deepEqual(cy.texts, [['Global', 'to all']]);
});

test('two groups whose names have one id are distinguished, and a text that names only the id is for neither', () => {
  /** @type {Map<number, string>} */
  const seen = new Map();
  let pair = ['', ''];
  for (let at = 0; pair[0] === '' && at < 70_000; at += 1) {
    const name = `g${at}`;
    const other = seen.get(groupId(name));
    if (other !== undefined) pair = [other, name];
    seen.set(groupId(name), name);
  }
  const world = new World();
  const [ada, bo, cy] = ['Ada', 'Bo', 'Cy'].map((name) => world.join(name));
  world.run(1000);
  assert.equal(bo.mesh.session.joinGroup(pair[0]), 'ok');
  world.run(100);
  assert.equal(cy.mesh.session.joinGroup(pair[1]), 'ok');
  assert.equal(cy.mesh.session.joinGroup(pair[0]), 'taken', 'one page cannot tell them apart');
  world.run(100);
  assert.equal(ada.mesh.session.sendText(world.now, 'by name', { group: pair[0] }), true);
  ada.mesh.serverTakesGroupText = false;
  assert.equal(ada.mesh.session.sendText(world.now, 'by id', { group: pair[0] }), true);
  world.run(100);
  assert.deepEqual([bo.texts, cy.texts], [[[pair[0], 'by name']], []]);
});

test('a group that the server refuses is not listened to', () => {
  const { world, ada } = pair();
  world.run(1000);
  ada.mesh.session.joinGroup('forbidden');
  world.run(100);
  assert.equal(ada.count('group-refused'), 1);
  assert.deepEqual([...ada.mesh.session.groups], ['Global']);
  assert.equal(ada.mesh.session.joinGroup('x'.repeat(257)), 'too-long');
});

test('copies and pause marks go to those who read them, and a lost frame is heard from a copy', () => {
  const world = new World();
  const ada = world.join('Ada', { relay_only: true });
  const bo = world.join('Bo');
  const cy = world.join('Cy', { redundancy: false });
  world.run(1000);
  world.server.packet = ((real) =>
    function packet(peer, bytes) {
      // The server loses one packet.
      if (bytes[2] === 8 && world.now === lostAt) return;
      real.call(world.server, peer, bytes);
    })(world.server.packet);
  let lostAt = 0;
  for (let n = 0; n < 6; n++) {
    if (n === 2) lostAt = world.now + 10;
    ada.say(n, n === 5, [3]);
    world.run(20);
  }
  world.run(100);
  const all = bo.events
    .filter((event) => event.type === 'voice')
    .map(({ heard }) => [heard.frame[0], heard.behind, heard.pauseFollows]);
  assert.deepEqual(
    all.filter(([, behind]) => behind === 3),
    [[2, 3, false]],
    'only what is missing is taken from a copy',
  );
  assert.deepEqual(bo.heard, [0, 1, 3, 4, 5]);
  assert.equal(all.at(-1)?.[2], true);
  assert.deepEqual(cy.heard, [0, 1, 3, 4, 5]);
  assert.ok(
    cy.events.every(
      (event) => event.type !== 'voice' || (event.heard.behind === 0 && !event.heard.pauseFollows),
    ),
  );
});

// proves: D-27
test('a peer cannot speak for another on a link', () => {
  const world = new World();
  const [ada, bo, cy] = ['Ada', 'Bo', 'Cy'].map((name) => world.join(name));
  world.run(1000);
  const { session, you } = /** @type {import('../src/table.js').View} */ (cy.mesh.session.current);
  const target = {
    kind: 'group',
    id: 29976,
    positional: false,
    closing: false,
    priority: 'default',
    session: 0,
    volume: 128,
  };
  const voice = {
    sender: you,
    talkspurt: { bits: 7, value: 0 },
    sequence: 1,
    targets: [target],
    frame: new Uint8Array([9]),
  };
  const link = /** @type {import('../src/pairs.js').Link} */ (ada.mesh.pairs.bound(bo.id));
  for (const packet of [
    encode('VoiceData', session, voice),
    encode('RemoveClient', session, { client: you }),
    encode('HandshakeP2P', session, { client: you }),
    encode('VoiceData', session + 1, { ...voice, sender: 2 }),
    new Uint8Array(40),
  ]) {
    ada.mesh.session.fromLink(world.now, bo.id, link.generation, packet);
  }
  world.run(100);
  assert.deepEqual(ada.heard, []);
  assert.ok(ada.mesh.session.dropped.WrongSender >= 1 && ada.mesh.session.dropped.Misplaced >= 1);
  assert.equal(ada.route(bo), 'direct');
});

test('any bytes from anywhere leave a peer standing', () => {
  const { world, ada, bo } = pair();
  world.run(1000);
  for (let n = 0; n < 5000; n++) {
    const bytes = Uint8Array.from(
      { length: Math.floor(world.random() * 60) },
      () => world.random() * 256,
    );
    const header = encode('HandshakeP2P', 7, { client: 1 }).subarray(0, 7);
    bytes.set(header.subarray(0, bytes.length));
    if (bytes.length > 2) bytes[2] = world.random() * 40;
    ada.mesh.session.fromLink(world.now, bo.id, 1, bytes);
    ada.mesh.session.fromServer(world.now, bytes);
  }
  world.run(20_000);
  bo.say(77);
  world.run(200);
  assert.equal(ada.heard.at(-1), 77);
});

test('a full room is reported at once; a former member keeps trying', () => {
  const { world, ada, bo } = pair();
  world.run(1000);
  const full = {
    type: 'error',
    code: 'room-full',
    message: 'The room is full.',
    fatal: true,
    retry_after_ms: 5000,
  };
  ada.mesh.signaling.text(world.now, ada.generation, JSON.stringify(full));
  assert.equal(ada.count('refused'), 0);
  assert.equal(ada.mesh.signaling.phase, 'waiting');
  const cy = world.join('Cy');
  world.run(11);
  cy.mesh.signaling.text(world.now, cy.generation, JSON.stringify(full));
  assert.equal(cy.count('refused'), 1);
  assert.equal(cy.mesh.signaling.phase, 'stopped');
  assert.ok(bo);
});

test('reconnecting waits longer each time, and never above five seconds', () => {
  const world = new World();
  world.server.isUp = false;
  const ada = world.join('Ada');
  world.run(60_000);
  const waits = ada.events
    .filter((event) => event.type === 'server-away')
    .map((event) => event.retryInMs);
  assert.ok(waits.length > 10);
  assert.ok(
    waits[0] <= 1500 &&
      waits[1] <= 500 &&
      Math.max(...waits) <= 5000 &&
      Math.max(...waits.slice(-3)) >= 2500,
    waits.join(' '),
  );
});

test('a server that stays silent is given up after three missed marks, and until then asked', () => {
  const { world, ada } = pair();
  world.run(6000);
  ada.dark = true;
  world.run(9000);
  assert.equal(ada.count('server-away'), 0);
  world.run(10_000);
  assert.ok(ada.count('server-away') > 0);
});

/** Two who only reach each other through the server. */
function relayedPair() {
  const world = new World();
  const ada = world.join('Ada', { relay_only: true });
  const bo = world.join('Bo', { relay_only: true });
  talk(world, [ada], 2000);
  return { world, ada, bo };
}

/** No peer was seen to come or go, and no server to be away. @param {import('./world.js').FakePeer[]} peers */
function assertUnnoticed(peers) {
  for (const peer of peers) {
    for (const type of ['peer-left', 'server-away', 'replaced'])
      assert.equal(peer.count(type), 0, `${peer.name}: ${type}`);
    assert.ok(peer.count('joined') === 1 && peer.count('peer-joined') === 1, peer.name);
  }
}

// proves: B-16
test('another network costs a few round trips, and no peer is reported gone', () => {
  const { world, ada, bo } = relayedPair();
  const before = bo.heard.length;
  ada.socketsDie();
  ada.mesh.pathChanged(world.now);
  const said = talk(world, [ada], 1000);
  world.run(100);
  assert.ok(
    bo.heard.length - before >= said - 5,
    `${said - (bo.heard.length - before)} frames were lost`,
  );
  world.run(1500);
  assert.equal(ada.sockets.size, 1, 'the former connection is closed');
  assertUnnoticed([ada, bo]);
});

test('whether the room is closed to newcomers is known after another connection took over', () => {
  const { world, ada } = relayedPair();
  for (const locked of [true, false]) {
    world.server.locked = locked;
    ada.socketsDie();
    ada.mesh.pathChanged(world.now);
    world.run(1000);
    assert.equal(ada.mesh.moderation.locked, locked);
  }
  assert.equal(ada.count('joined'), 1);
});

test('a connection that the host will end is replaced before, and no frame is lost', () => {
  const world = new World();
  world.server.lifetimeMs = 20_000;
  const ada = world.join('Ada', { relay_only: true });
  const bo = world.join('Bo', { relay_only: true });
  talk(world, [ada], 2000);
  const [opened, before] = [ada.generation, bo.heard.length];
  const said = talk(world, [ada], 60_000);
  world.run(100);
  assert.ok(bo.heard.length - before >= said, `${bo.heard.length - before} of ${said}`);
  const times = ada.generation - opened;
  assert.ok(times >= 3 && times <= 5, `${times} times in a minute`);
  assertUnnoticed([ada, bo]);
});

test('the life of a connection counts from when it was begun and not from the join', () => {
  const world = new World();
  [world.server.lifetimeMs, world.server.joinMs] = [20_000, 8_000];
  const ada = world.join('Ada', { relay_only: true });
  world.run(8500);
  assert.ok(ada.mesh.signaling.isJoined);
  const [opened, begun] = [ada.generation, world.now];
  while (ada.generation === opened && world.now < begun + 20_000) world.run(100);
  const after = world.now - begun + 8500;
  assert.ok(after >= 15_000 && after <= 18_200, `after ${after} ms`);
});

test('a token that the next connection needs is asked for at once and once', () => {
  const world = new World();
  world.server.lifetimeMs = 20_000;
  const ada = world.join('Ada', { relay_only: true });
  world.run(2000);
  world.server.refuses = 'token-expired';
  world.run(38_000);
  assert.ok(world.server.joins.length >= 3, `${world.server.joins.length} joins`);
  assert.deepEqual(
    ada.events.filter(({ type }) => type === 'token-needed'),
    [{ type: 'token-needed', code: 'token-expired' }],
  );
  assert.equal(ada.count('server-away'), 0);
  const joins = world.server.joins.length;
  world.server.refuses = null;
  ada.mesh.signaling.tokenGiven(world.now, 'another');
  world.run(500);
  assert.deepEqual(
    world.server.joins.slice(joins).map(({ token }) => token),
    ['another'],
  );
  assert.equal(ada.count('server-away'), 0);
});

test('the life of a renewed connection counts from when that one was begun', () => {
  const world = new World();
  world.server.lifetimeMs = 20_000;
  const ada = world.join('Ada', { relay_only: true });
  world.run(1000);
  const first = ada.generation;
  world.server.joinMs = 3_500;
  const isOther = (/** @type {number} */ than) =>
    world.server.members.get(ada)?.generation !== than;
  while (!isOther(first)) world.run(100);
  const [second, joined] = [ada.generation, world.now];
  world.server.joinMs = 0;
  while (ada.generation === second && world.now < joined + 20_000) world.run(100);
  const after = world.now - joined + 3_500;
  assert.ok(after >= 13_500 && after <= 18_200, `after ${after} ms`);
});

test('a refused token is not tried again, and others wait longer with each refusal', () => {
  const world = new World();
  world.server.lifetimeMs = 20_000;
  const ada = world.join('Ada', { relay_only: true });
  world.run(2000);
  world.server.refuses = 'token-invalid';
  const asked = () => ada.count('token-needed');
  while (asked() === 0) world.run(100);
  ada.mesh.signaling.tokenGiven(world.now, 'token 1');
  const waits = [];
  for (let number = 1; number <= 4; number++) {
    while (asked() === number) world.run(20);
    const [from, joins] = [world.now, world.server.joins.length];
    ada.mesh.signaling.tokenGiven(world.now, `token ${number}`);
    world.run(50);
    assert.equal(world.server.joins.length, joins, 'it was refused');
    ada.mesh.signaling.tokenGiven(world.now, `token ${number + 1}`);
    while (world.server.joins.length === joins) world.run(20);
    waits.push(Math.round((world.now - from) / 1000));
  }
  assert.deepEqual(waits, [1, 2, 4, 8]);
  assert.equal(ada.count('server-away'), 0);
  world.server.refuses = null;
  ada.mesh.signaling.tokenGiven(world.now, 'good');
  world.run(30_000);
  assert.ok(world.server.joins.at(-1)?.token === 'good');
  world.server.refuses = 'token-expired';
  const before = asked();
  while (asked() === before) world.run(100);
});

test('a token that is needed again after a join with the one in use is asked for again', () => {
  const world = new World();
  world.server.lifetimeMs = 20_000;
  const ada = world.join('Ada', { relay_only: true });
  world.run(2000);
  for (const times of [1, 2]) {
    world.server.refuses = 'token-expired';
    while (ada.count('token-needed') < times && world.now < 120_000) world.run(100);
    assert.equal(ada.count('token-needed'), times);
    world.server.refuses = null;
    const joins = world.server.joins.length;
    while (world.server.joins.length === joins) world.run(100);
    world.run(500);
  }
});

test('speech on the former connection is taken for half a second, and after a sleep not at all', () => {
  for (const slept of [false, true]) {
    const world = new World();
    const ada = world.join('Ada', { relay_only: true });
    world.run(2000);
    const [former, { mesh }] = [ada.generation, ada];
    ada.socketsDie();
    mesh.pathChanged(world.now, slept);
    const isOther = () => world.server.members.get(ada)?.resumed;
    while (!isOther()) world.run(10);
    const since = world.now;
    /** @type {number[]} */
    const taken = [];
    mesh.session.fromServer = (_, packet) => void taken.push(packet[2] ?? 0);
    const takes = (/** @type {number} */ kind) => {
      taken.length = 0;
      mesh.signaling.packet(world.now, former, new Uint8Array([0x8b, 0xc7, kind]));
      return taken.includes(kind);
    };
    world.run(100);
    assert.equal(takes(KINDS.VoiceData), !slept);
    assert.equal(takes(KINDS.VoiceCopies), !slept);
    world.run(since + 450 - world.now);
    assert.equal(takes(KINDS.VoiceData), !slept);
    world.run(since + 600 - world.now);
    assert.ok(!takes(KINDS.VoiceData), 'it has waited');
    assert.ok(takes(KINDS.TextData), 'what was written is taken');
  }
});

test('what members sent on the former connection is still taken for a while', () => {
  const world = new World();
  world.server.lifetimeMs = 20_000;
  const ada = world.join('Ada', { relay_only: true });
  const bo = world.join('Bo', { relay_only: true });
  talk(world, [bo], 2000);
  const former = ada.generation;
  const isOther = () => world.server.members.get(ada)?.generation !== former;
  while (!isOther()) world.run(20);
  world.run(300);
  const { mesh } = ada;
  assert.equal(mesh.roster.session, world.server.session);
  const sender = bo.mesh.roster.own?.client ?? 0;
  const recipient = { kind: 'group', id: groupId('Global') };
  const late = (/** @type {string} */ text) =>
    encode('TextData', world.server.session, { sender, recipient, text });
  const gone = encode('RemoveClient', world.server.session, { client: sender });
  mesh.signaling.packet(world.now, former, late('on its way'));
  mesh.signaling.packet(world.now, former, gone);
  assert.deepEqual(ada.texts, [['Global', 'on its way']]);
  assert.ok(ada.sockets.has(former));
  const before = ada.heard.length;
  const said = talk(world, [bo], 1900);
  assert.ok(ada.heard.length > before + said - 10, 'the other is no member that has gone');
  assert.ok(!ada.sockets.has(former));
  mesh.signaling.packet(world.now, former, late('too late'));
  assert.equal(ada.texts.length, 1);
});

// proves: B-16
test('a connection that dies in silence is found by asking, and what was written meanwhile arrives once', () => {
  const { world, ada, bo } = relayedPair();
  ada.socketsDie();
  ada.mesh.session.sendText(world.now, 'are you there?', { group: 'Global' });
  talk(world, [ada], 1600);
  assert.equal(ada.route(bo), 'none', 'nothing comes through, and that is shown');
  talk(world, [ada], 1800);
  assert.equal(ada.route(bo), 'relayed');
  assert.deepEqual(bo.texts, [['Global', 'are you there?']]);
  ada.mesh.session.joinGroup('red');
  const before = bo.heard.length;
  const said = talk(world, [ada], 1000);
  world.run(100);
  assert.ok(bo.heard.length - before >= said);
  assertUnnoticed([ada, bo]);
});

test('a server that was dark for ten seconds is used again about a second later', () => {
  const { world, ada, bo } = relayedPair();
  for (const peer of [ada, bo]) {
    peer.dark = true;
    peer.socketsDie();
  }
  talk(world, [ada], 10_000);
  assert.deepEqual([ada.route(bo), bo.route(ada)], ['none', 'none'], 'both ends show it');
  ada.dark = bo.dark = false;
  const before = bo.heard.length;
  talk(world, [ada], 1400);
  assert.ok(bo.heard.length > before, 'it is heard again');
  assertUnnoticed([ada, bo]);
});

test('a hiccup of a link while the server is dark costs no more than itself', () => {
  const { world, ada, bo } = pair();
  talk(world, [ada], 2000);
  for (const peer of [ada, bo]) {
    peer.dark = true;
    peer.socketsDie();
  }
  talk(world, [ada], 3000);
  world.linksWork = false;
  talk(world, [ada], 500);
  world.linksWork = true;
  const before = bo.heard.length;
  const said = talk(world, [ada], 1000);
  world.run(50);
  assert.ok(bo.heard.length - before >= said - 1, `${bo.heard.length - before} of ${said}`);
});

test('what a dead link loses is sent again through the relay, what a full one holds is not', () => {
  const relayedOf50 = (/** @type {boolean} */ isFull) => {
    const { world, ada } = pair();
    talk(world, [ada], 2000);
    world.linksWork = false;
    // As the estimate of the uplink would have it.
    Object.defineProperty(ada.mesh.session.speech, 'isFull', { get: () => isFull, set: () => {} });
    const before = ada.sent.relay;
    talk(world, [ada], 1000);
    return ada.sent.relay - before;
  };
  const [dead, full] = [relayedOf50(false), relayedOf50(true)];
  assert.ok(dead >= 50, `${dead}`);
  assert.ok(full >= 25 && full <= 40, `${full}`);
});

test('who is replaced stays away', () => {
  const { world, ada } = pair();
  world.run(1000);
  ada.mesh.signaling.text(world.now, ada.generation, '{"type":"replaced"}');
  world.run(10_000);
  assert.equal(ada.count('replaced'), 1);
  assert.equal(ada.mesh.signaling.phase, 'stopped');
});

test('members who are present are reported before the join is, and later ones after it', () => {
  const world = new World();
  world.join('Ada');
  world.run(500);
  const bo = world.join('Bo');
  world.run(500);
  world.join('Cy');
  world.run(500);
  const order = bo.events
    .map(({ type }) => type)
    .filter((type) => ['joined', 'peer-joined'].includes(type));
  assert.deepEqual(order, ['peer-joined', 'joined', 'peer-joined']);
});

/** @param {number} at @returns {import('../src/messages.js').PeerInfo} */
const member = (at, name = `Member ${at}`) => ({
  peer: `${at.toString(16).padStart(8, '0')}-0000-8000-8000-000000000000`,
  client: 1000 + at,
  run: 1,
  name,
  metadata: {},
  order: 1000 + at,
  capabilities: {
    relay_only: true,
    redundancy: false,
    voice_ack: false,
    reports: false,
    frame_ms: [20],
  },
});

test('a whole roster gets its short ids once, and each name is compared once', () => {
  const world = new World();
  const { mesh } = world.join('Ada');
  world.run(500);
  const { normalize } = String.prototype;
  let work = 0;
  /** @type {string[]} */
  const named = [];
  mesh.emit = (event) => {
    if (event.type === 'peer-joined') named.push(mesh.roster.members.get(event.peer)?.label ?? '');
  };
  const infos = Array.from({ length: 300 }, (_, at) => member(at));
  try {
    String.prototype.normalize = function count(form) {
      work += 1;
      return normalize.call(this, form);
    };
    mesh.roster.set(world.now, infos, { version: 1 });
    const ofOne = work / infos.length;
    assert.ok(ofOne < 50, `${ofOne} normalizations for each`);
    work = 0;
    mesh.roster.joined(world.now, member(300));
    assert.ok(work < 2 * ofOne, `${work} for one more`);
  } finally {
    String.prototype.normalize = normalize;
  }
  named.length = 0;
  mesh.roster.set(world.now, [...infos, member(301, 'Bo'), member(302, 'Bo')], { version: 2 });
  assert.deepEqual(named, ['Bo#0000012d', 'Bo#0000012e'], 'also in what is said of their arrival');
});
