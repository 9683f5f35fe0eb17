// What a page does as a listener for speakers that follow what their uplink carries (PROTOCOL.md, sections 8 and 9).

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decode, encode, groupId } from '../src/wire.js';
import { World } from './world.js';

/**
 * Ada and Bo with a link between them; what Bo sends on it.
 * @param {object} [capabilities] Ada's
 */
function linked(capabilities = {}) {
  const world = new World();
  const ada = world.join('Ada', capabilities);
  const bo = world.join('Bo');
  world.run(1000);
  const link = bo.mesh.pairs.bound(ada.id);
  assert.ok(link?.common);
  const { session, you, remote } = link.common;
  /** @type {{at: number, kind: string, fields: any}[]} */
  const answers = [];
  const sendLink = bo.sendLink.bind(bo);
  bo.sendLink = (peer, generation, stream, packet) => {
    const { kind, fields } = decode(packet);
    if (kind !== 'Probe') answers.push({ at: world.now, kind, fields });
    return sendLink(peer, generation, stream, packet);
  };
  const send = (/** @type {import('../src/wire.js').Kind} */ kind, /** @type {object} */ fields) =>
    bo.mesh.session.fromLink(
      world.now,
      ada.id,
      link.generation,
      encode(kind, session, { sender: remote, ...fields }),
    );
  /** @param {number} sequence the newest @param {number[]} bytes one frame each, oldest first */
  const bundle = (sequence, bytes, more = {}) => {
    const frames = bytes.map((byte) => new Uint8Array([byte, 1, 2]));
    const copies = frames
      .slice(0, -1)
      .map((frame, at) => ({ behind: frames.length - 1 - at, frame }))
      .reverse();
    const target = {
      kind: 'group',
      id: groupId('Global'),
      positional: false,
      closing: false,
      priority: 'default',
      session: 0,
      volume: 128,
    };
    const frame = frames[frames.length - 1];
    const talkspurt = { bits: 7, value: 0 };
    send('VoiceCopies', {
      talkspurt,
      sequence,
      targets: [target],
      pauseFollows: false,
      bundled: copies.length,
      copies,
      frame,
      ...more,
    });
  };
  return { world, ada, bo, you, answers, send, bundle };
}

test('frames that share a packet are heard in their order as new ones, over a lost packet and across the wrap', () => {
  const { world, bo, bundle } = linked();
  bundle(65_534, [10, 11, 12]);
  world.run(60);
  // The packet with 65,535 to 1 is lost.
  world.run(60);
  bundle(4, [16, 17, 18]);
  bundle(4, [16, 17, 18]);
  assert.deepEqual(bo.heard, [10, 11, 12, 16, 17, 18]);
  const numbers = bo.events
    .filter(({ type }) => type === 'voice')
    .map(({ heard }) => heard.sequence & 0xffff);
  assert.deepEqual(numbers, [65_532, 65_533, 65_534, 2, 3, 4]);
});

test('of a bundle with a copy, what is further behind than the bundle is a copy', () => {
  const { bo, bundle } = linked();
  const copy = (/** @type {number} */ behind) => ({
    behind,
    frame: new Uint8Array([100 + behind, 1]),
  });
  bundle(50, [1, 2], { copies: [copy(1), copy(3)], bundled: 1 });
  const heard = bo.events
    .filter(({ type }) => type === 'voice')
    .map((event) => [event.heard.frame[0], event.heard.behind]);
  assert.deepEqual(heard, [
    [101, 0],
    [103, 3],
    [2, 0],
  ]);
});

test('a speaker that takes path feedback learns when the newest packet arrived, another does not', () => {
  for (const takes of [true, false]) {
    const { world, bundle, answers } = linked({ path_feedback: takes });
    for (const sequence of [100, 103, 106, 109]) {
      bundle(sequence, [1, 2, 3]);
      world.run(60);
    }
    world.run(200);
    const acks = answers.filter(({ kind }) => kind === 'VoiceAck');
    assert.deepEqual(
      acks.map(({ fields }) => [fields.newest, fields.earlier]),
      [
        [103, 0b100],
        [109, 0b100100100],
      ],
    );
    assert.deepEqual(
      acks.map(({ at, fields }) => takes && at - fields.receivedMs < 30),
      acks.map(() => takes),
    );
    assert.ok(acks.every(({ fields }) => (fields.receivedMs !== undefined) === takes));
  }
});

test('a train of probes is reported with its time from first to last', () => {
  const { world, answers, send } = linked();
  for (let packet = 0; packet < 4; packet++) {
    send('BandwidthProbe', { train: 9, packets: 4, padding: 300 });
    world.run(15);
  }
  world.run(100);
  const reports = answers
    .filter(({ kind }) => kind === 'BandwidthReport')
    .map(({ fields }) => fields);
  assert.deepEqual(
    reports.map(({ train, received, spanUs }) => [train, received, spanUs]),
    [[9, 4, 45_000]],
  );
});
