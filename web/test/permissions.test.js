// What a member may do holds in the page too, on links and through the relay (PROTOCOL.md, section 4).

import assert from 'node:assert/strict';
import { test } from 'node:test';

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
  for (const peer of world.server.members.keys()) world.server.tell(peer, { type: 'status', peer: bo.id, status: { muted: true } });
  world.run(8000);
  assert.deepEqual(ada.mesh.roster.members.get(bo.id)?.info.status, { muted: true }, 'nothing was missed, so nothing is asked for');
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
});
