// Many who look for the same server.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { World } from './world.js';

/** How long after one attempt at a connection the next begins, for someone from whom the server is hidden. @param {number} others */
function intervals(others) {
  const world = new World();
  const ada = world.join('Ada', { relay_only: true });
  for (let other = 0; other < others; other++)
    world.join(String.fromCodePoint(0x4e00 + other), { relay_only: true });
  world.run(2000);
  /** @type {number[]} */
  const opened = [];
  const open = ada.openSocket.bind(ada);
  ada.openSocket = (generation) => {
    opened.push(world.now);
    open(generation);
  };
  ada.dark = true;
  ada.socketsDie();
  world.run(14_000);
  assert.equal(ada.mesh.signaling.isJoined, true, 'not given up yet');
  return opened.slice(1).map((at, index) => at - (opened[index] ?? 0));
}

test('in a crowd the attempts at a server that is away are spread over more than a second', () => {
  const [few, many] = [intervals(2), intervals(8)];
  assert.ok(few.length > 5 && many.length > 3, `${few} ${many}`);
  // Timers run every 20 ms.
  assert.ok(
    few.every((ms) => ms >= 500 && ms <= 1020),
    `few: ${few}`,
  );
  assert.ok(
    many.every((ms) => ms >= 750 && ms <= 1520),
    `many: ${many}`,
  );
  assert.ok(Math.max(...many) > 1020, `many: ${many}`);
});
