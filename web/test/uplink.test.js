// The simulated uplinks of tests/vectors/uplink.json with the module that the page loads; crates/page/tests/vectors.rs runs
// the same with the native one.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Uplink } from '../src/uplink.js';

/** @typedef {{name: string, kbps: number, queue_ms: number, listeners: number, seconds: number, kbps_then: number,
 *   changes_at_ms: number, rows: number[][]}} Case
 * @typedef {{at: number, act: (now: number) => void}} Later */

const { cases } = JSON.parse(
  readFileSync(new URL('../../tests/vectors/uplink.json', import.meta.url), 'utf8'),
);
const module = new WebAssembly.Module(
  readFileSync(process.env.UPLINK_WASM ?? new URL('../src/uplink.wasm', import.meta.url)),
);

const STEP_MS = 20;
const WAY_MS = 10;
const PING_BYTES = 100;
const HEADER_BYTES = 24;

/** @param {Case} scripted one speaker without a pause; a row each second */
function run({
  kbps,
  queue_ms: queueMs,
  listeners: count,
  seconds,
  kbps_then: kbpsThen,
  changes_at_ms: changesAt,
}) {
  const sender = new Uplink(module, 32_000);
  const names = Array.from({ length: count }, (_, n) => `${n + 1}`);
  const listeners = names.map((peer) => ({
    peer,
    hasLink: true,
    hasRelay: true,
    hearsPlain: false,
  }));
  const heard = names.map(() => ({ newest: -1, earlier: 0, waiting: 0, expected: 0, lost: 0 }));
  let [freeAtUs, dropped, trainPackets, trainBeganUs, sequence, relayWaiting] = [0, 0, 0, 0, 0, 0];
  /** @type {{atUs: number, arrive: (now: number, atUs: number) => void}[]} */
  const onTheWay = [];
  /** What comes back, one list for each kind. @type {Record<'acks' | 'answers' | 'reports', Later[]>} */
  const back = { acks: [], answers: [], reports: [] };
  const rows = [];
  /** @type {Set<string>} */
  let relayed = new Set();
  let state = names.map(() => 1);

  /** @param {number} now @param {number} bytes @param {boolean} isLossy @param {(now: number, atUs: number) => void} arrive */
  const send = (now, bytes, isLossy, arrive) => {
    if (freeAtUs > (now + queueMs) * 1000 && isLossy) {
      dropped += 1;
      return;
    }
    freeAtUs = Math.max(freeAtUs, now * 1000) + Math.floor((bytes * 8000) / kbps);
    onTheWay.push({ atUs: freeAtUs + WAY_MS * 1000, arrive });
  };

  for (let now = 0; now < seconds * 1000; now += STEP_MS) {
    if (now === changesAt) kbps = kbpsThen;
    while (onTheWay.length > 0 && onTheWay[0].atUs <= now * 1000) {
      const { atUs, arrive } =
        /** @type {{atUs: number, arrive: (now: number, atUs: number) => void}} */ (
          onTheWay.shift()
        );
      arrive(now, atUs);
    }
    for (const list of Object.values(back)) {
      while (list.length > 0 && list[0].at <= now) list.shift()?.act(now);
    }
    const decision = sender.isSilent(now)
      ? sender.begin(now, listeners)
      : sender.update(now, listeners);
    if (decision) {
      relayed = decision.relayed;
      state = names.map((name) => sender.framesPerPacket(name));
    }
    if (decision?.train) {
      const { packets, peer, number, padding } = decision.train;
      trainPackets = packets;
      for (let packet = 1; packet <= packets; packet++) {
        send(now, padding + 12 + 85, true, (arrived, atUs) => {
          if (packet === 1) trainBeganUs = atUs;
          else if (packet === trainPackets) {
            const report = {
              sender: 0,
              train: number,
              received: packet,
              spanUs: atUs - trainBeganUs,
            };
            back.reports.push({
              at: arrived + WAY_MS,
              act: (at) => sender.trainArrived(at, peer, report),
            });
          }
        });
      }
      sender.trainSent(padding + 12);
    }
    const frameBytes = Math.floor(sender.bitrate / 400);
    const own = (sequence = (sequence + 1) & 0xffff);
    const packetBytes = (/** @type {number} */ frames) =>
      HEADER_BYTES + frames * frameBytes + (frames - 1) * 3;
    let relayedFrames = 0;
    names.forEach((peer, at) => {
      const listener = heard[at];
      if (relayed.has(peer)) {
        relayedFrames = Math.max(relayedFrames, state[at]);
        return;
      }
      if (++listener.waiting < state[at]) return;
      const bytes = packetBytes(listener.waiting);
      listener.waiting = 0;
      sender.sent(now, peer, 1, own, bytes);
      const before = dropped;
      send(now, bytes + 85, true, (arrived, atUs) => {
        const ahead = listener.newest < 0 ? 0 : (own - listener.newest) & 0xffff;
        listener.earlier =
          ahead === 0 || ahead > 31 ? 0 : ((listener.earlier << ahead) | (1 << (ahead - 1))) >>> 0;
        listener.newest = own;
        const ack = { newest: own, earlier: listener.earlier, receivedMs: Math.floor(atUs / 1000) };
        back.acks.push({
          at: arrived + WAY_MS,
          act: (later) => sender.acknowledged(later, peer, 1, ack),
        });
      });
      listener.expected += 1;
      listener.lost += dropped - before;
    });
    if (relayedFrames > 0 && ++relayWaiting >= relayedFrames) {
      const bytes = packetBytes(relayWaiting) + 10 + 2 * count;
      relayWaiting = 0;
      sender.relaySent(bytes);
      send(now, bytes + 75, false, () => {});
    }
    sender.frameSent(now);
    const ping = sender.pingDue(now);
    if (ping !== null) {
      send(now, PING_BYTES, false, (arrived) =>
        back.answers.push({ at: arrived + WAY_MS, act: (at) => sender.answered(at, ping) }),
      );
    }
    if (now % 1000 !== 980) continue;
    names.forEach((peer, at) => {
      const { expected, lost } = heard[at];
      sender.reported(now, peer, {
        sender: 0,
        expected,
        lost,
        unrepaired: lost,
        lossRunSixteenths: 16,
        jitterMs: 0,
        bufferMs: 0,
      });
      heard[at].expected = heard[at].lost = 0;
    });
    const copies = sender.copies.reduce((packed, behind, at) => packed | (behind << (8 * at)), 0);
    rows.push([
      sender.bitrate,
      state[0],
      relayed.size,
      copies,
      sender.estimate ?? 0,
      Number(sender.isTooSlow),
      dropped,
      Math.round(Math.max(0, -sender.openingBegins(now))),
    ]);
  }
  return rows;
}

for (const scripted of /** @type {Case[]} */ (cases)) {
  test(`the page decides as the native peer: ${scripted.name}`, () => {
    assert.deepEqual(run(scripted), scripted.rows);
  });
}

test('what the page tells the module of more listeners than it takes is cut, and of unknown peers has no effect', () => {
  const sender = new Uplink(module, 32_000);
  const listeners = Array.from({ length: 300 }, (_, n) => ({
    peer: `peer ${n}`,
    hasLink: n % 2 === 0,
    hasRelay: true,
    hearsPlain: false,
  }));
  sender.forget('unknown');
  sender.acknowledged(0, 'unknown', 1, { newest: 5, earlier: 0 });
  assert.equal(
    sender.begin(0, listeners).relayed.size > 100,
    true,
    'more than one copy does not fit a first estimate',
  );
  assert.equal(sender.framesPerPacket('peer 299'), 1);
  for (let peer = 0; peer < 2000; peer++) {
    for (let sequence = 0; sequence < 200; sequence += 50)
      sender.sent(peer, `peer ${peer}`, sequence, sequence, 100);
  }
  sender.networkChanged();
  assert.deepEqual(sender.begin(1e9, []), { relayed: new Set(), isFull: false, train: null });
});

test('the plan counts a relayed packet for those who encrypt, and one for those who cannot', () => {
  const limit = (/** @type {boolean} */ hearsPlain) => {
    const uplink = new Uplink(module, 32_000);
    uplink.begin(
      0,
      [false, hearsPlain].map((isPlain, at) => ({
        peer: `${at}`,
        hasLink: false,
        hasRelay: true,
        hearsPlain: isPlain,
      })),
    );
    return uplink.bitrate;
  };
  const [one, two] = [false, true].map(limit);
  // The first estimate carries one at this bitrate.
  assert.equal(one, 32_000);
  assert.ok(two < one, `${two} bit/s`);
});

test('a relayed listener whose probes wait is sent longer packets', () => {
  const uplink = new Uplink(module, 32_000);
  const listeners = ['ada', 'bob', 'cyd', 'dan'].map((peer) => ({
    peer,
    hasLink: true,
    hasRelay: true,
    hearsPlain: false,
  }));
  assert.ok(
    uplink.begin(0, listeners).relayed.has('dan'),
    'as long as nothing is known of the uplink',
  );
  uplink.frameSent(0);
  const frames = (/** @type {number} */ now) => {
    uplink.update(now, listeners);
    return ['ada', 'dan'].map((peer) => uplink.framesPerPacket(peer));
  };
  uplink.probed(0, 'dan', 2, 60);
  assert.deepEqual(frames(20), [2, 2]);
  uplink.probed(100, 'dan', 1, 760);
  assert.deepEqual(frames(140), [2, 2], 'that was the link before');
  uplink.probed(200, 'dan', 2, 760);
  assert.deepEqual(frames(260), [2, 3]);
});
