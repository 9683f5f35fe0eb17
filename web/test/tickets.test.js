// Tickets are kept and shown, and a password that is not looked at yet is named again when the server says.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Mesh } from '../src/mesh.js';

const YOU = '77777777-0000-8000-8000-000000000000';
const capabilities = {
  relay_only: true,
  redundancy: true,
  voice_ack: true,
  reports: true,
  frame_ms: [20],
};

/** @param {object} [more] of the config */
function page(more) {
  const world = {
    now: 1000,
    opened: 0,
    /** @type {any[]} */
    sent: [],
    /** @type {any[]} */
    events: [],
    /** @type {string[]} */
    kept: [],
    /** @param {object} message */
    say(message) {
      world.mesh.signaling.text(world.now, world.opened, JSON.stringify(message));
    },
    open() {
      world.mesh.signaling.opened(world.now, world.opened);
      return world.sent.findLast((message) => message.type === 'join');
    },
    /** @param {object} [answer] */
    join(answer) {
      const join = world.open();
      const roster = { version: 1, hash: 'cbf29ce484222325' };
      world.say({
        type: 'joined',
        you: YOU,
        client: 2,
        session: 5,
        room: 'r',
        peers: [],
        order: 2,
        roster,
        ...answer,
      });
      return join;
    },
    /** How long it takes until the next connection is opened. */
    untilOpened() {
      const since = world.now;
      for (const before = world.opened; world.opened === before; world.now += 10) {
        world.mesh.signaling.tick(world.now);
        assert.ok(world.now < since + 60_000, 'no connection is opened');
      }
      return world.now - since;
    },
    /** @type {Mesh} */
    mesh: /** @type {any} */ (null),
  };
  /** @type {import('../src/mesh.js').Carrier} */
  const carrier = {
    openSocket(generation) {
      world.opened = generation;
    },
    closeSocket() {},
    sendText(_, text) {
      world.sent.push(JSON.parse(text));
    },
    sendPacket() {},
    openLink() {},
    signalLink() {},
    sendLink: () => true,
    closeLink() {},
    backgroundBytes: 0,
  };
  const keepTicket = (/** @type {string} */ ticket) => {
    world.kept.push(ticket);
  };
  const config = {
    room: 'r',
    name: 'me',
    peer: YOU,
    proof: YOU,
    run: 1,
    capabilities,
    metadata: {},
    firstSequence: 1,
    keepTicket,
    ...more,
  };
  world.mesh = new Mesh(
    config,
    carrier,
    (event) => {
      world.events.push(event);
    },
    () => 0.5,
  );
  world.mesh.signaling.start(world.now);
  return world;
}

test('the newest ticket is kept and shown at the next join', () => {
  const world = page({ ticket: 'old', password: 'sesame' });
  assert.equal(world.join({ ticket: 'first' }).ticket, 'old');
  world.say({ type: 'ticket', ticket: 'second' });
  assert.deepEqual(world.kept, ['first', 'second']);
  world.say({ type: 'going-away', retry_after_ms: 1000 });
  world.untilOpened();
  const again = world.open();
  assert.deepEqual([again.ticket, again.password], ['second', 'sesame']);
});

test('a password that is not looked at yet is named again when the server says', () => {
  const world = page({ password: 'sesame' });
  for (let time = 0; time < 8; time += 1) {
    world.open();
    world.say({
      type: 'error',
      code: 'password-wait',
      message: 'later',
      fatal: true,
      retry_after_ms: 300,
    });
    const waited = world.untilOpened();
    assert.ok(waited >= 300 && waited <= 500, `${waited} ms`);
  }
  assert.equal(world.events.filter((event) => event.type === 'refused').length, 0);
});

test('the own name is the one under which the server has entered this page', async () => {
  const world = page();
  assert.equal(world.mesh.roster.ownName, 'me', 'before it is said');
  world.join({ name: 'Dr. Ada\u0007' });
  assert.equal(world.mesh.roster.ownName, 'Dr. Ada');
  const other = {
    peer: YOU.replaceAll('7', '8'),
    client: 3,
    run: 1,
    name: 'Dr. \u0410da',
    order: 3,
  };
  world.say({ type: 'peer-joined', peer: other });
  const label = () => world.mesh.roster.members.get(other.peer)?.label;
  // When the table of look-alikes has been loaded.
  while (label() === other.name) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(label(), `${other.name}#8888`);
  world.say({ type: 'going-away', retry_after_ms: 1000 });
  world.untilOpened();
  assert.equal(world.open().name, 'me', 'it is asked for as before');
  const older = page();
  older.join();
  assert.equal(older.mesh.roster.ownName, 'me', 'an older server does not say');
});

// The native peer reads the same file.
test('of each code it is known whether the page joins again', () => {
  const { error_codes: codes, refusals } = JSON.parse(
    readFileSync(new URL('../../tests/vectors/signaling.json', import.meta.url), 'utf8'),
  );
  const { always, first_join: atFirst, never } = refusals;
  assert.deepEqual([...always, ...atFirst, ...never].toSorted(), codes.toSorted());
  for (const code of codes)
    for (const isMember of [true, false]) {
      const world = page({ password: 'sesame' });
      if (isMember) world.join();
      else world.open();
      world.say({ type: 'error', code, message: 'no', fatal: true });
      const isFinal = world.events.some(({ type }) => type === 'refused');
      const expected = always.includes(code) || (!isMember && atFirst.includes(code));
      assert.equal(isFinal, expected, `${code}, ${isMember ? 'a member' : 'a newcomer'}`);
    }
});

test('what a moderator decides is final, and so is a password that this page cannot name', () => {
  for (const code of ['kicked', 'banned', 'room-locked', 'password-required']) {
    const world = page();
    world.join();
    world.say({ type: 'error', code, message: 'no', fatal: true });
    const { type, code: why } = world.events.at(-1);
    assert.deepEqual([type, why], ['refused', code]);
  }
});
