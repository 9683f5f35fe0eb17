// What a member may do holds in the page too, on links and through the relay (PROTOCOL.md, section 4).

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { JitterBuffer } from '../src/jitter.js';
import { ReplayWindow } from '../src/stream.js';
import { World } from './world.js';

function pair() {
  const world = new World();
  const [ada, bo] = [world.join('Ada'), world.join('Bo')];
  world.run(1000);
  assert.equal(bo.route(ada), 'direct');
  return { world, ada, bo };
}

test('a member without speak is not heard on a link, even if its program goes on', () => {
  const { world, ada, bo } = pair();
  ada.say(1);
  world.run(100);
  world.server.permit(ada, ['listen', 'data'], true);
  world.run(100);
  assert.equal(ada.say(2), 1, 'its program does not know');
  world.run(100);
  assert.deepEqual(bo.heard, [1]);
  assert.equal(bo.mesh.session.dropped.NotPermitted, 1);
  world.server.permit(ada, ['listen', 'data']);
  world.run(100);
  assert.equal(ada.say(3), 0, 'now it does');
  world.server.permit(ada, ['speak', 'listen', 'data']);
  world.run(100);
  ada.say(4);
  world.run(100);
  assert.deepEqual(bo.heard, [1, 4]);
});

test('a member who is held in groups is heard only by those who listen to one of them', () => {
  const { world, ada, bo } = pair();
  ada.say(1);
  world.run(100);
  world.server.tell(bo, { type: 'held', peer: ada.id, groups: ['Red'] });
  world.run(100);
  assert.equal(ada.say(2), 1, 'its program does not know');
  world.run(100);
  assert.deepEqual(bo.heard, [1]);
  bo.mesh.session.joinGroup('Red');
  ada.say(3);
  world.run(100);
  world.server.tell(ada, { type: 'held', peer: ada.id, groups: ['Blue'] });
  world.run(100);
  assert.equal(ada.say(4), 0, 'now it does');
  world.server.tell(ada, { type: 'held', peer: ada.id, groups: [] });
  world.server.tell(bo, { type: 'held', peer: ada.id, groups: [] });
  bo.mesh.session.leaveGroup('Red');
  world.run(100);
  ada.say(5);
  world.run(100);
  assert.deepEqual(bo.heard, [1, 3, 5]);
});

/** What a page listens and speaks to. @param {import('./world.js').FakePeer} peer */
const groupsOf = ({ mesh: { session } }) => [
  [...session.groups],
  session.speaker.openTargets.map(({ name }) => name),
];

/** @param {import('./world.js').FakePeer} peer */
const remarks = (peer) =>
  peer.events.flatMap((event) => (event.type === 'remark' ? event.text : []));

test('a move closes every group that was open, and its end is said', () => {
  const { world, ada, bo } = pair();
  ada.mesh.session.joinGroup('Blue');
  ada.mesh.session.address(world.now, 'group', 'Green', true);
  ada.mesh.session.address(world.now, 'peer', bo.id, true);
  world.server.tell(ada, { type: 'move', groups: ['Red'] });
  world.server.tell(ada, { type: 'held', peer: ada.id, groups: ['Red'] });
  world.run(100);
  assert.deepEqual(groupsOf(ada), [['Red'], [bo.id, 'Red']]);
  assert.deepEqual(
    [ada.mesh.roster.heldIn, remarks(ada)],
    [['Red'], []],
    'it stands on the page as long as it lasts',
  );
  world.server.tell(ada, { type: 'move', groups: ['Global'] });
  world.server.tell(ada, { type: 'held', peer: ada.id, groups: [] });
  world.run(100);
  assert.deepEqual(groupsOf(ada), [['Global'], [bo.id, 'Global']]);
  assert.deepEqual(remarks(ada), [
    'You may choose your talk groups again, and are with everyone now.',
  ]);
  // One who was never held.
  world.server.tell(bo, { type: 'move', groups: ['Global'] });
  world.run(100);
  assert.deepEqual(remarks(bo), ['A moderator has moved you to everyone.']);
});

test('a move that the server repeats after a join changes nothing, and one that was lost is carried out', () => {
  const { world, ada } = pair();
  world.server.tell(ada, { type: 'move', groups: ['Global'], number: 1 });
  world.run(100);
  ada.mesh.session.joinGroup('Blue');
  const chosen = groupsOf(ada);
  world.server.tell(ada, { type: 'move', groups: ['Global'], number: 1 });
  world.run(100);
  assert.deepEqual(groupsOf(ada), chosen, 'what was chosen since then stays');
  world.server.tell(ada, { type: 'move', groups: ['Global'], number: 2 });
  world.run(100);
  assert.deepEqual(groupsOf(ada)[0], ['Global']);
  assert.equal(remarks(ada).length, 2);
});

test('a page that was loaded anew stands where it is held, and learns of the end of that by a roster as well', () => {
  const world = new World();
  world.server.heldIn = ['Red', 'Blue'];
  const ada = world.join('Ada');
  world.run(1000);
  assert.deepEqual(
    [groupsOf(ada), ada.mesh.roster.heldIn, remarks(ada)],
    [
      [
        ['Red', 'Blue'],
        ['Red', 'Blue'],
      ],
      ['Red', 'Blue'],
      [],
    ],
  );
  const listened = [...(world.server.members.get(ada)?.listens ?? [])];
  assert.deepEqual(listened, ['Red', 'Blue'], 'and that is what the server reads');
  // A server that was started anew knows of no such decision.
  world.restartServer(500);
  world.run(8000);
  assert.deepEqual(
    [ada.mesh.roster.heldIn, remarks(ada)],
    [[], ['You may choose your talk groups again.']],
  );
});

test('that the room is closed stands on the page, and hides nothing else at a join', () => {
  const world = new World();
  world.server.locked = true;
  world.server.ownerRight = 'later';
  const ada = world.join('Ada');
  world.run(1000);
  assert.equal(ada.mesh.moderation.locked, true);
  assert.deepEqual(remarks(ada), [
    'The server has just started: who may moderate this room is decided within two minutes.',
  ]);
});

test('a room whose right to moderate is given to no member until it was empty says so', () => {
  const world = new World();
  world.server.ownerRight = 'none';
  const ada = world.join('Ada');
  world.run(1000);
  assert.match(
    remarks(ada).join(),
    /^No member may moderate this room until it has been empty once/,
  );
});

test('of one who is moved, the others know at once that it is not spoken to', () => {
  const { world, ada, bo } = pair();
  assert.equal(ada.mesh.session.speech.isFor(bo.id), true);
  bo.mesh.session.moveTo(world.now, ['Red']);
  world.run(50);
  assert.equal(ada.mesh.session.speech.isFor(bo.id), false);
  world.server.tell(ada, { type: 'move', groups: ['Red'] });
  world.server.tell(ada, { type: 'held', peer: ada.id, groups: ['Red'] });
  world.run(50);
  assert.equal(ada.mesh.session.speech.isFor(bo.id), true, 'both are held there');
});

test('nothing is sent to a member without listen, and no text taken from one without data', () => {
  const { world, ada, bo } = pair();
  world.server.permit(bo, ['speak'], true);
  world.run(100);
  assert.equal(ada.say(1), 0);
  assert.ok(bo.mesh.session.sendText(world.now, 'hello', { group: 'Global' }));
  world.run(100);
  assert.deepEqual(ada.texts, []);
  world.server.permit(bo, ['speak']);
  world.run(100);
  assert.equal(bo.mesh.session.sendText(world.now, 'hello', { group: 'Global' }), false);
});

test('how a member takes part is known, and counts in the roster\u2019s version', () => {
  const { world, ada, bo } = pair();
  world.server.version += 1;
  for (const peer of world.server.members.keys())
    world.server.tell(peer, { type: 'status', peer: bo.id, status: { muted: true } });
  world.run(8000);
  assert.deepEqual(
    ada.mesh.roster.members.get(bo.id)?.info.status,
    { muted: true },
    'nothing was missed, so nothing is asked for',
  );
});

test('several changes of what is published that come as one count as so many', () => {
  const { world, ada, bo } = pair();
  world.server.version += 3;
  const metadata = { seat: '5' };
  for (const peer of world.server.members.keys())
    world.server.tell(peer, { type: 'metadata', peer: bo.id, metadata, changes: 3 });
  // Of a member who has left, the number alone.
  world.server.version += 2;
  const gone = '00000000-0000-0000-0000-000000000000';
  for (const peer of world.server.members.keys())
    world.server.tell(peer, { type: 'metadata', peer: gone, metadata: {}, changes: 2 });
  world.run(8000);
  assert.deepEqual(
    ada.mesh.roster.members.get(bo.id)?.info.metadata,
    metadata,
    'nothing was missed, so nothing is asked for',
  );
});

test('a missed change is found by the roster\u2019s version', () => {
  const { world, ada, bo } = pair();
  ada.dark = true;
  world.server.permit(bo, ['listen']);
  world.run(50);
  assert.ok(ada.mesh.roster.may(bo.id, 'speak'));
  ada.dark = false;
  const member = world.server.members.get(bo);
  assert.ok(member);
  member.info.permissions = ['listen'];
  world.run(8000);
  assert.equal(ada.mesh.roster.may(bo.id, 'speak'), false);
  assert.equal(bo.mesh.roster.may(null, 'speak'), false);
  assert.ok(
    ada.mesh.roster.members.get(bo.id)?.silenced && bo.mesh.roster.ownSilenced,
    'and that it was taken away',
  );
});

test('a copy of a frame that was for others is not taken', () => {
  const stream = new ReplayWindow();
  const talkspurt = { bits: 2, value: 0 };
  stream.accept(0, 100, talkspurt);
  stream.interrupt('by-listener');
  const after = stream.accept(20, 150, talkspurt)?.sequence ?? 0;
  assert.ok(stream.hasSeen(after - 3));
  assert.ok(!stream.hasSeen(after + 1));
});

/** What a jitter buffer counts as lost of the frames that a peer heard. @param {import('./world.js').FakePeer} peer */
function lostBy(peer) {
  const jitter = new JitterBuffer();
  let now = 0;
  for (const event of peer.events) {
    if (event.type !== 'voice') continue;
    jitter.insert((now += 20), event.heard);
    jitter.take(now);
  }
  jitter.take(now + 1000);
  const { lost, expected } = jitter.stats;
  assert.ok(expected > 20);
  return lost;
}

/** @param {World} world @param {import('./world.js').FakePeer} peer @param {number} frames */
function talk(world, peer, frames) {
  for (let frame = 0; frame < frames; frame += 1) {
    peer.say(frame);
    world.run(20);
  }
}

test('what is said while it may not be heard, or to another group, is no loss afterwards', () => {
  const both = ['speak', 'listen', 'data'];
  /** @type {Record<string, (world: World, ada: import('./world.js').FakePeer, bo: import('./world.js').FakePeer, off: boolean) => void>} */
  const ways = {
    'the speaker is muted': (world, ada, _, off) =>
      world.server.permit(ada, off ? ['listen', 'data'] : both),
    'and its program goes on': (world, ada, _, off) =>
      world.server.permit(ada, off ? ['listen', 'data'] : both, off),
    'the listener may not listen': (world, _, bo, off) =>
      world.server.permit(bo, off ? ['speak', 'data'] : both),
    'the listener leaves the group': (_world, _ada, bo, off) => {
      if (off) bo.mesh.session.leaveGroup('Global');
      else bo.mesh.session.joinGroup('Global');
    },
    'the speaker leaves the group': (world, ada, _, off) => {
      ada.mesh.session.address(world.now, 'group', 'Elsewhere', off);
      ada.mesh.session.address(world.now, 'group', 'Global', !off);
    },
  };
  for (const [way, change] of Object.entries(ways)) {
    const { world, ada, bo } = pair();
    world.join('Cy');
    world.run(1000);
    talk(world, ada, 20);
    change(world, ada, bo, true);
    world.run(100);
    talk(world, ada, 40);
    change(world, ada, bo, false);
    world.run(100);
    talk(world, ada, 20);
    world.run(100);
    assert.ok(bo.heard.length >= 40, way);
    assert.equal(lostBy(bo), 0, way);
  }
});
