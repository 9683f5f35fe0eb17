// Machines and pages that stand still for a while, and what they find when they go on.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { World } from './world.js';

function pair(more = {}) {
  const world = new World();
  const ada = world.join('Ada', more);
  const bo = world.join('Bo', more);
  return { world, ada, bo };
}

/** Ada says her seconds on this clock, a frame every 20 ms, for so long. @param {World} world @param {import('./world.js').FakePeer} ada @param {number} ms */
function talk(world, ada, ms) {
  world.run(ms, () => {
    if (world.now % 20 === 0) ada.say(Math.floor(world.now / 1000) & 0xff);
  });
}

test('a machine that slept for ten minutes is back within seconds, as who it was', () => {
  const { world, ada, bo } = pair();
  world.run(1000);
  bo.asleep = true;
  world.run(35_000);
  world.server.gone(bo, 'lost');
  world.run(600_000);
  assert.equal(ada.count('peer-left'), 1);
  bo.asleep = false;
  world.run(3000);
  assert.equal(bo.mesh.signaling.phase, 'joined');
  ada.say(1);
  bo.say(2);
  world.run(200);
  assert.deepEqual([bo.heard.at(-1), ada.heard.at(-1)], [1, 2]);
  // The one counts attempts anew, the other does not: the first new one is not answered.
  world.run(20_000);
  assert.equal(ada.route(bo), 'direct');
});

test('a machine that woke does not wait for the silence to be noticed', () => {
  const { world, ada, bo } = pair();
  world.run(1000);
  ada.socketsDie();
  ada.mesh.pathChanged(world.now, true);
  assert.equal(ada.sockets.size, 2, 'at once');
  world.run(2200);
  assert.equal(ada.sockets.size, 1);
  for (const peer of [ada, bo])
    for (const type of ['peer-left', 'server-away', 'replaced'])
      assert.equal(peer.count(type), 0, `${peer.name}: ${type}`);
});

/**
 * A page that the browser froze in the background, or a machine that slept: its timers do not run, what comes is lost, the server gives it up
 * after half a minute, and its sockets and links are dead when it goes on.
 */
for (const relayOnly of [false, true])
  for (const slept of [false, true])
    test(`forty seconds ${slept ? 'asleep' : 'frozen'} with dead sockets cost forty seconds${relayOnly ? ', relayed' : ''}`, () => {
      const { world, ada, bo } = pair({ relay_only: relayOnly });
      talk(world, ada, 3000);
      assert.equal(ada.route(bo), relayOnly ? 'relayed' : 'direct');
      const before = { sockets: [...bo.sockets.keys()], client: bo.mesh.roster.own?.client };
      const links = [...bo.mesh.pairs.all()].length;

      bo.asleep = true;
      world.linksWork = false;
      bo.socketsDie();
      talk(world, ada, 30_000);
      world.server.gone(bo, 'lost');
      talk(world, ada, 10_000);
      assert.equal(bo.sockets.size, before.sockets.length, 'nothing ran there');

      world.linksWork = true;
      bo.asleep = false;
      const woke = { at: world.now, heard: bo.heard.length };
      bo.mesh.pathChanged(world.now, slept);
      talk(world, ada, 500);
      assert.ok(bo.heard.length > woke.heard, 'heard within half a second: it was told');
      talk(world, ada, 2500);
      const heard = bo.heard.slice(woke.heard);
      assert.ok(heard.length > 100, `${heard.length} frames within three seconds`);
      assert.ok(
        heard.every((second) => second >= (Math.floor(woke.at / 1000) & 0xff)),
        `nothing of before: ${heard}`,
      );
      assert.equal(bo.mesh.signaling.phase, 'joined');
      assert.equal(bo.mesh.roster.own?.client, before.client, 'as who it was');
      assert.ok(!before.sockets.some((socket) => bo.sockets.has(socket)), 'the dead are closed');
      if (relayOnly) return;
      talk(world, ada, 2000);
      assert.deepEqual([ada.route(bo), bo.route(ada)], ['direct', 'direct']);
      talk(world, ada, 3000);
      assert.equal([...bo.mesh.pairs.all()].length, links, 'no link of before is kept');
    });
