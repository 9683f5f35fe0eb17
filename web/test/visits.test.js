/** A page that is loaded again and again: when its links open. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { World } from './world.js';

const VISITS = 12;
/** Offers of which no link comes are answered so long ago at most (PROTOCOL.md, section 5). */
const MINUTE_MS = 60_000;

/** Comes and leaves, so many times; gives how long the last visit took until both were direct. @param {number} stayMs */
function lastVisitDirectAfter(stayMs) {
  const world = new World();
  const bo = world.join('Bo');
  world.run(2000);
  for (let run = 1; run < VISITS; run++) {
    const visitor = world.join('Ada', { run });
    world.run(stayMs);
    visitor.mesh.signaling.leave(world.now);
    world.run(300);
    world.peers.splice(world.peers.indexOf(visitor), 1);
  }
  const ada = world.join('Ada', { run: VISITS });
  const begun = world.now;
  while (world.now < begun + 2 * MINUTE_MS) {
    world.run(50);
    if (ada.route(bo) === 'direct' && bo.route(ada) === 'direct') break;
  }
  return world.now - begun;
}

test('a page whose links opened each time it came is direct at once, however often it comes', () => {
  for (const stayMs of [300, 1000, 4000]) {
    const after = lastVisitDirectAfter(stayMs);
    assert.ok(after <= 300, `visits of ${stayMs} ms: after ${after} ms`);
  }
});

test('a page that came again before its links opened is direct within a minute', () => {
  for (const stayMs of [40, 50, 60]) {
    const after = lastVisitDirectAfter(stayMs);
    assert.ok(after > 1000, `six offers were answered, and no more: after ${after} ms`);
    assert.ok(after <= MINUTE_MS, `visits of ${stayMs} ms: after ${after} ms`);
  }
});
