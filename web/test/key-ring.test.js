// The key ring that the page loads, against the vectors of crates/e2ee.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LABELS } from '../src/key-ring.js';
import { bytes, counting, hex, ringOf, vectors } from './rings.js';

test('identity keys follow from the installation, the server and the room', () => {
  for (const vector of vectors.identities) {
    const ring = ringOf({ ...vector, secret: bytes(vector.secret) });
    assert.equal(hex(ring.identity()), vector.public);
  }
});

test('fingerprints have the tags of the vectors, and are taken by whom they are for', () => {
  for (const { room, session, from, to, attempt, ...vector } of vectors.fingerprints) {
    const roomKey = bytes(vector.room_key);
    const [sender, receiver] = [from, to].map((peer) => ringOf({ room, peer, roomKey }));
    const [fingerprint, tag] = [bytes(vector.fingerprint), bytes(vector.tag)];
    assert.equal(hex(sender.tagFingerprint(session, to, attempt, fingerprint)), vector.tag);
    const taken = (ring = receiver, session_ = session, attempt_ = attempt) =>
      ring.verifyFingerprint(session_, from, attempt_, fingerprint, tag);
    assert.ok(taken());
    assert.ok(!taken(receiver, session, attempt + 1));
    assert.ok(!taken(receiver, session - 1 || 2));
    assert.ok(!taken(ringOf({ room, peer: to, roomKey: counting(0x11, 16) })), 'another key');
    assert.ok(!taken(ringOf({ room, peer: to, roomKey: null })), 'no key');
  }
});

test('names are those of the vectors, for whom they were sealed alone', () => {
  const ring = ringOf({ roomKey: counting(0x10, 16) });
  const [other, keyless] = [counting(0x11, 16), null].map((roomKey) => ringOf({ roomKey }));
  const names = vectors.published.filter((/** @type {any} */ { key }) => key === 'e2ee-name');
  assert.equal(names.length, 2);
  for (const vector of names) {
    assert.equal(hex(ring.openValue(vector.peer, vector.key, vector.text)), vector.plain);
    assert.equal(ring.openValue(peer(2), vector.key, vector.text), null, 'another member');
    for (const stranger of [other, keyless])
      assert.equal(stranger.openValue(vector.peer, vector.key, vector.text), null);
    const again = ring.sealValue(vector.peer, 'e2ee-name', bytes(vector.plain));
    assert.notEqual(again, vector.text, 'of another run');
    assert.equal(hex(ring.openValue(vector.peer, 'e2ee-name', again)), vector.plain);
  }
  for (const nonsense of ['', 'Ada', 'e2ee1:', 'e2ee1:AAAA', 'e2ee1:'.padEnd(30_000, 'A')])
    assert.equal(ring.openValue(peer(2), 'e2ee-name', nonsense), null);
});

test('a value of metadata opens under its own key alone', () => {
  const ring = ringOf({ roomKey: counting(0x10, 16) });
  const values = vectors.published.filter(
    (/** @type {any} */ { key, peer: of }) => of !== null && key !== 'e2ee-name',
  );
  assert.equal(values.length, 2);
  for (const { peer: of, key, text, plain } of values) {
    assert.equal(hex(ring.openValue(of, key, text)), plain);
    assert.equal(ring.openValue(of, `${key}s`, text), null);
    assert.equal(ring.openValue(of, 'e2ee-name', text), null);
  }
});

test('the safety code of one alone is that of the vectors', () => {
  const alone = vectors.safety_codes.find(
    (/** @type {any} */ { identities }) => identities.length === 1,
  );
  const ring = ringOf({ room: alone.room, roomKey: null });
  assert.equal(hex(ring.identity()), alone.identities[0]);
  assert.equal(ring.safetyCode(), alone.code);
});

test('two members meet as in the vectors, and the second follows the first', () => {
  for (const transcript of vectors.transcripts) {
    const { room, session, members } = transcript;
    const roomKey = transcript.room_key && bytes(transcript.room_key);
    const [one, two] = [7, 107].map((seed, at) =>
      ringOf({
        ...members[at],
        secret: bytes(members[at].secret),
        seed: counting(seed, 32),
        room,
        roomKey,
      }),
    );
    const [first, second] = members.map((/** @type {any} */ { peer }) => peer);
    const announced = members.map((/** @type {any} */ { announcement }) => bytes(announcement));
    assert.equal(hex(one.announcement(session)), members[0].announcement);
    assert.equal(hex(two.announcement(session)), members[1].announcement);
    assert.equal(one.setMember(0, session, second, announced[1]).change, 'joined');
    assert.equal(two.setMember(0, session, first, announced[0]).change, 'joined');
    const early = two.open(0, LABELS.voice, counting(0, 40), 0, first, false);
    assert.equal(early, 'no-key');
    assert.ok(one.agreeNext());
    const given = one.pollPackage();
    assert.equal(given?.peer, second);
    assert.ok(given && two.acceptPackage(0, first, given.package));
    assert.deepEqual(two.standing(first), {
      accepted: true,
      wasAccepted: true,
      hasKeys: true,
      wasGivenKeys: false,
    });
    for (const sent of transcript.from_first_to_second.slice(1, 5)) {
      const clear = bytes(sent.associated);
      const plain = Uint8Array.from([...clear, ...bytes(sent.plain)]);
      const to = sent.what === 'private' ? second : null;
      const sealed = one.seal(0, sent.label, plain, clear.length, to);
      assert.equal(hex(sealed), sent.associated + sent.sealed);
      const opened = () =>
        sealed && two.open(0, sent.label, sealed, clear.length, first, to !== null);
      const result = opened();
      assert.equal(result instanceof Uint8Array && hex(result), sent.plain);
      assert.equal(opened(), null, 'a replay');
    }
    assert.equal(two.safetyCode(), transcript.code);
    assert.equal(one.safetyCode(), transcript.code);
  }
});

test('a member without the key, an own id and nonsense are refused, and a departure brings new keys', () => {
  const roomKey = counting(0x10, 16);
  const [ada, bo] = [1, 2].map((first) => ringOf({ first, roomKey, peer: peer(first) }));
  const eve = ringOf({ first: 3, roomKey: counting(0x20, 16), peer: peer(3) });
  const plain = ringOf({ first: 4, roomKey: null, peer: peer(4) });
  const refusal = (/** @type {any} */ ring, /** @type {number} */ first, session = 5) =>
    ada.setMember(0, session, peer(first), ring.announcement(5)).refusal;
  assert.equal(refusal(eve, 3), 'not-authentic');
  assert.equal(refusal(plain, 4), 'not-authentic');
  assert.equal(refusal(ada, 1), 'own-id');
  assert.equal(refusal(bo, 2, 6), 'not-authentic', 'of another session');
  assert.equal(ada.setMember(0, 5, peer(3), new Uint8Array(3)).refusal, 'unknown-version');
  assert.equal(ada.setMember(0, 5, peer(3), new Uint8Array(0)).refusal, 'malformed');
  assert.equal(ada.setMember(0, 5, peer(3), new Uint8Array(30_000)).refusal, 'malformed');
  assert.equal(refusal(bo, 2), null);
  assert.equal(ada.nextTimer, Infinity);
  ada.removeMember(100, peer(2));
  assert.equal(ada.nextTimer, 600, 'used half a second later');
  assert.equal(ada.identity(peer(2)), null);
  assert.equal(ada.seal(100, LABELS.data, counting(0, 20), 4, peer(2)), null, 'to no one');
  assert.equal(ada.seal(100, LABELS.data, counting(0, 20), 21, null), null);
});

/** @param {number} first */
function peer(first) {
  return `0${first}`.repeat(4).replace(/$/, '-0000-8000-8000-000000000000');
}
