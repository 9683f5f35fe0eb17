// The scripted cases of tests/vectors/attempts.json, which the Rust peer's tests run as well.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Mesh } from '../src/mesh.js';

/** @type {{cases: {name: string, role: string, until: number, given: [number, string, number][], expected: [number, string, number][]}[]}} */
const { cases } = JSON.parse(
  readFileSync(new URL('../../tests/vectors/attempts.json', import.meta.url), 'utf8'),
);
const LATE_MS = 60;
const TICK_MS = 20;
const START = 1000;
const YOU = '77777777-0000-8000-8000-000000000000';
const capabilities = {
  relay_only: false,
  redundancy: true,
  voice_ack: true,
  reports: true,
  frame_ms: [20],
};

for (const { name, role, until, given, expected } of cases) {
  test(`attempts: ${name}`, () => {
    const other =
      role === 'offers'
        ? 'ffffffff-ffff-8fff-8fff-ffffffffffff'
        : '00000000-0000-8000-8000-000000000000';
    let now = START;
    // The connection that was opened last, and the one in use.
    let [opened, socket] = [0, 0];
    /** @type {[number, string, number][]} */
    const done = [];
    const note = (/** @type {string} */ what, /** @type {number} */ attempt) =>
      done.push([now - START, what, attempt]);
    /** @type {import('../src/mesh.js').Carrier} */
    const carrier = {
      openSocket(generation) {
        opened = generation;
      },
      closeSocket() {},
      sendText(generation, text) {
        const message = JSON.parse(text);
        if (message.signal?.kind === 'request-offer') note('request-offer', message.attempt);
        if (message.type === 'ping') say({ type: 'pong', token: message.token }, generation);
      },
      sendPacket() {},
      openLink: (_, attempt, how) => {
        note(how, attempt);
      },
      signalLink() {},
      sendLink: () => true,
      closeLink: (_, attempt) => {
        note('close', attempt);
      },
      backgroundBytes: 0,
    };
    const config = {
      room: 'r',
      name: 'this',
      peer: YOU,
      proof: YOU,
      run: 1,
      capabilities,
      metadata: {},
      firstSequence: 1,
    };
    const mesh = new Mesh(
      config,
      carrier,
      () => {},
      () => 0.5,
    );
    const say = (/** @type {object} */ message, generation = socket) =>
      queue.push(() => mesh.signaling.text(now, generation, JSON.stringify(message)));
    /** @type {(() => void)[]} */
    const queue = [];
    const drain = () => {
      while (queue.length > 0) queue.shift()?.();
    };
    const peers = [
      { peer: other, client: 1, run: 1, name: '', metadata: {}, capabilities, order: 1 },
    ];
    const roster = { version: 1, hash: '0000000000000000' };
    const join = () => {
      socket = opened;
      mesh.signaling.opened(now, socket);
      say({ type: 'joined', you: YOU, client: 2, session: 5, room: 'r', peers, order: 2, roster });
    };
    mesh.signaling.start(now);
    join();
    drain();
    const steps = [...given];
    for (; now <= START + until; now += TICK_MS) {
      while (steps.length > 0 && steps[0][0] <= now - START) {
        const [, what, attempt] = /** @type {[number, string, number]} */ (steps.shift());
        if (what === 'open') mesh.pairs.linkOpen(now, other, attempt);
        else if (what === 'failed' || what === 'broken')
          mesh.pairs.linkClosed(now, other, attempt, false);
        else if (what === 'path') mesh.pathChanged(now);
        else if (what === 'closed') mesh.signaling.closed(now, socket, 'it is gone');
        else if (what === 'joined') join();
        else
          say({
            type: 'signal',
            from: other,
            attempt,
            signal: what === 'offer' ? { kind: what, sdp: 'v=0' } : { kind: what },
          });
      }
      drain();
      mesh.tick(now);
      drain();
    }
    const ended = given
      .filter(([, what]) => what === 'failed' || what === 'broken')
      .map(([, , attempt]) => attempt);
    const own = done.filter(([, what, attempt]) => what !== 'close' || !ended.includes(attempt));
    const onTime =
      own.length === expected.length &&
      own.every(([at, what, attempt], n) => {
        const [due, whatExpected, number] = expected[n];
        return what === whatExpected && attempt === number && at >= due && at <= due + LATE_MS;
      });
    assert.ok(onTime, `expected ${JSON.stringify(expected)}, got ${JSON.stringify(own)}`);
  });
}
