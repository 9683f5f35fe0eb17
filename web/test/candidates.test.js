// What the other end of a link may have this browser send to.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { leadsToOneMachine } from '../src/ice.js';
import { RtcLink } from '../src/link.js';

const candidate = (/** @type {string} */ address, transport = 'udp') =>
  `candidate:1 1 ${transport} 2130706431 ${address} 5000 typ host`;

test('candidates lead to one machine, over UDP', () => {
  for (const address of [
    '192.168.1.5',
    '8.8.8.8',
    '2001:db8::1',
    'fe80::1',
    '5f2a1c9e-0000-4000-8000-000000000001.local',
  ]) {
    assert.ok(leadsToOneMachine(candidate(address)), address);
  }
  for (const address of [
    '224.0.0.251',
    '255.255.255.255',
    '0.0.0.0',
    'ff02::fb',
    '::',
    '::ffff:239.1.1.1',
    '',
  ]) {
    assert.ok(!leadsToOneMachine(candidate(address)), address);
  }
  assert.ok(
    !leadsToOneMachine(candidate('192.168.1.5', 'tcp')) &&
      !leadsToOneMachine('') &&
      !leadsToOneMachine('candidate:'),
  );
});

test('a link takes ten candidates, described or told later', async () => {
  /** @type {string[]} */
  const added = [];
  let described = '';
  const scope = /** @type {any} */ (globalThis);
  const former = scope.RTCPeerConnection;
  scope.RTCPeerConnection = class {
    remoteDescription = null;
    localDescription = { sdp: 'v=0' };
    createDataChannel() {
      return { close() {} };
    }
    async createOffer() {
      return {};
    }
    async setLocalDescription() {}
    async setRemoteDescription(/** @type {any} */ description) {
      this.remoteDescription = description;
      described = description.sdp;
    }
    async addIceCandidate(/** @type {any} */ init) {
      added.push(init.candidate);
    }
    close() {}
  };
  const link = new RtcLink(
    'offer',
    [],
    Promise.resolve(),
    /** @type {any} */ ({ signal() {}, closed() {}, opened() {} }),
  );
  const lines = [...Array(7).keys()].map((host) => `a=${candidate(`192.0.2.${host + 1}`)}\r`);
  link.signal({
    kind: 'candidate',
    candidate: candidate('198.51.100.1'),
    sdpMid: '0',
    sdpMLineIndex: 0,
  });
  link.signal({
    kind: 'answer',
    sdp: ['v=0\r', 'm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r', ...lines, ''].join('\n'),
  });
  for (let host = 0; host < 7; host++)
    link.signal({
      kind: 'candidate',
      candidate: candidate(`203.0.113.${host + 1}`),
      sdpMid: '0',
      sdpMLineIndex: 0,
    });
  // All that was begun is done: nothing here waits for a clock.
  for (let turn = 0; turn < 100; turn++)
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  link.close();
  scope.RTCPeerConnection = former;
  assert.ok(!described.includes('candidate'));
  assert.equal(added.length, 10);
  assert.ok(added.includes(candidate('198.51.100.1')) && added.includes(candidate('192.0.2.7')));
});
