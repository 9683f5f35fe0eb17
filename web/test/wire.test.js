import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { hex, prove, secret as secretOf, serverOrigin, unhex } from '../src/identity.js';
import { cut, decode, encode, groupId, WireError } from '../src/wire.js';

const vectors = JSON.parse(
  readFileSync(new URL('../../tests/vectors/packets.json', import.meta.url), 'utf8'),
);
const signaling = JSON.parse(
  readFileSync(new URL('../../tests/vectors/signaling.json', import.meta.url), 'utf8'),
);

/** @param {string} text */
const bytesOf = (text) => unhex(text.replaceAll(' ', ''));

/** The vectors' snake_case names and hexadecimal bytes as the module has them. @param {any} value @returns {any} */
function fromVector(value, name = '') {
  if (
    typeof value === 'string' &&
    ['frame', 'packet', 'announcement', 'package', 'sealed'].includes(name)
  )
    return unhex(value);
  if (Array.isArray(value)) return value.map((item) => fromVector(item));
  if (value === null || typeof value !== 'object') return value;
  const camel = (/** @type {string} */ key) =>
    key.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [camel(key), fromVector(item, key)]),
  );
}

// A page neither sends nor reads the data of games.
const isUnused = (/** @type {{hex: string}} */ { hex }) => /^8bc7 (27|28|29|2a)/.test(hex);
vectors.packets = vectors.packets.filter(
  (/** @type {{hex: string}} */ vector) => !isUnused(vector),
);
vectors.refused = vectors.refused.filter(
  (/** @type {{hex: string}} */ vector) => !isUnused(vector),
);

for (const { name, hex: text, kind, session, fields } of vectors.packets) {
  test(`reads and writes: ${name}`, () => {
    const read = decode(bytesOf(text));
    assert.deepEqual({ ...read }, { kind, session, fields: fromVector(fields) });
    assert.equal(hex(encode(kind, session, read.fields)), text.replaceAll(' ', ''));
  });
}

for (const { name, hex: text, kind, session, fields } of vectors.lenient) {
  test(`reads: ${name}`, () => {
    assert.deepEqual({ ...decode(bytesOf(text)) }, { kind, session, fields: fromVector(fields) });
  });
}

for (const { name, hex: text, error } of vectors.refused) {
  test(`refuses: ${name}`, () => {
    assert.throws(
      () => decode(bytesOf(text)),
      (thrown) => thrown instanceof WireError && thrown.code === error,
    );
  });
}

test('group names have the ids of the vectors', () => {
  for (const { name, id } of vectors.group_ids) assert.equal(groupId(name), id, name);
});

for (const { socket, origin } of signaling.origins) {
  test(`the origin of ${socket} is ${origin}`, () => {
    assert.equal(serverOrigin(socket), origin);
  });
}

for (const { secret, origin, room, instance, proof, peer } of signaling.identity) {
  test(`proves ${instance} in ${room} at ${origin}`, async () => {
    assert.deepEqual(await prove(unhex(secret), origin, room, instance), { proof, peer });
  });
}

test('cutting a text leaves whole characters', () => {
  assert.equal(cut('héé', 4), 'hé');
  assert.equal(cut('a😀b', 4), 'a');
  assert.equal(cut('abc', 64), 'abc');
});

test('packets of every length are written whole', () => {
  for (let length = 0; length <= 1275; length++) {
    const frame = Uint8Array.from({ length }, (_, at) => at);
    const voice = {
      sender: 1,
      talkspurt: { bits: 7, value: 0 },
      sequence: 2,
      targets: [],
      pauseFollows: true,
      copies: [{ behind: 1, frame }],
      frame,
    };
    assert.deepEqual(decode(encode('VoiceCopies', 3, voice)).fields, voice);
    const text = 'é'.repeat(length);
    assert.equal(
      decode(encode('TextData', 3, { sender: 1, recipient: { kind: 'group', id: 2 }, text })).fields
        .text,
      text,
    );
  }
});

test('any bytes are read or refused, and never more than that', () => {
  let state = 12345;
  const random = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 2 ** 32;
  const known = vectors.packets.map((/** @type {{hex: string}} */ vector) => bytesOf(vector.hex));
  let read = 0;
  for (let n = 0; n < 20_000; n++) {
    const bytes = known[Math.floor(random() * known.length)].slice(
      0,
      3 + Math.floor(random() * 60),
    );
    for (let change = 0; change < 3; change++)
      bytes[2 + Math.floor(random() * (bytes.length - 2))] = random() * 256;
    try {
      const packet = decode(bytes);
      // What is read can be written, and reads the same again.
      const again = decode(encode(packet.kind, packet.session, packet.fields));
      assert.deepEqual(again.fields, packet.fields);
      read += 1;
    } catch (error) {
      assert.ok(error instanceof WireError, String(error));
    }
  }
  assert.ok(read > 100, `${read} were readable`);
});

test('a stored identity that is damaged is replaced, and that is said once', () => {
  for (const damaged of ['', 'ab', 'x'.repeat(64), 'A'.repeat(64)]) {
    const kept = new Map([['voicemesh.secret', damaged]]);
    const storage = {
      getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
      setItem: (/** @type {string} */ key, /** @type {string} */ value) =>
        void kept.set(key, value),
    };
    let said = 0;
    const drawn = secretOf(storage, () => (said += 1));
    assert.deepEqual([drawn.length, said], [32, 1], damaged);
    assert.deepEqual(
      secretOf(storage, () => (said += 1)),
      drawn,
    );
    assert.equal(said, 1, damaged);
    kept.clear();
    secretOf(storage, () => (said += 1));
    assert.equal(said, 1, 'a first visit is no damage');
  }
});
