// A second implementation of PROTOCOL.md, section 18, on WebCrypto, against the vectors of crates/e2ee.

import assert from 'node:assert/strict';
import { createECDH, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const vectors = JSON.parse(
  readFileSync(new URL('../../tests/vectors/e2ee.json', import.meta.url), 'utf8'),
);
const { subtle } = webcrypto;

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */
/** @typedef {{ name: string, iv: Bytes, additionalData: Bytes }} AesGcmParams */
/** @typedef {{ epoch: number, step: number, chain: Bytes, state: Bytes }} SenderKey */

const VOICE = 1;
const DATA = 2;
const STATE = 3;
const PACKAGE = 4;

const bytes = (/** @type {string} */ hex) =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const hex = (/** @type {Iterable<number>} */ array) => Buffer.from([...array]).toString('hex');
const text = (/** @type {string} */ string) => new TextEncoder().encode(string);
/** @param {...Iterable<number>} parts */
const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
/**
 * Big-endian.
 *
 * @param {number | bigint} value @param {number} size
 */
const number = (value, size) => {
  const result = new Uint8Array(size);
  for (let at = size - 1, rest = BigInt(value); at >= 0; at -= 1, rest >>= 8n)
    result[at] = Number(rest & 255n);
  return result;
};
const big = (/** @type {Uint8Array} */ array) => BigInt(`0x${hex(array)}`);
const peerId = (/** @type {string} */ uuid) => bytes(uuid.replaceAll('-', ''));
const L = (/** @type {string} */ string) => join(number(text(string).length, 4), text(string));

/** @param {Bytes} secret @param {Bytes} info @param {number} size */
async function hkdf(secret, info, size) {
  const key = await subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info };
  return new Uint8Array(await subtle.deriveBits(parameters, key, size * 8));
}

/** @param {Bytes} secret @param {string} label @param {...Iterable<number>} parts */
const derive = (secret, label, ...parts) => hkdf(secret, join(text(label), ...parts), 32);

/** @param {Bytes} key @param {Bytes} message */
async function hmac(key, message) {
  const imported = await subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, [
    'sign',
  ]);
  return new Uint8Array(await subtle.sign('HMAC', imported, message));
}

/** @param {Bytes} message */
const sha256 = async (message) => new Uint8Array(await subtle.digest('SHA-256', message));

// --- SFrame ------------------------------------------------------------------------------------------------------

/** @param {bigint} value The shortest bytes of a number, at least one. */
function shortest(value) {
  let size = 1;
  while (value >> BigInt(8 * size)) size += 1;
  return number(value, size);
}

/** @param {bigint} keyId @param {bigint} counter */
function header(keyId, counter) {
  /** @param {bigint} value @returns {[number, number[]]} */
  const field = (value) => {
    if (value < 8n) return [Number(value), []];
    const rest = shortest(value);
    return [8 | (rest.length - 1), [...rest]];
  };
  const [first, keyBytes] = field(keyId);
  const [second, counterBytes] = field(counter);
  return join([(first << 4) | second], keyBytes, counterBytes);
}

/** @param {Bytes} sealed */
function readHeader(sealed) {
  let at = 1;
  const field = (/** @type {number} */ nibble) => {
    if (nibble < 8) return BigInt(nibble);
    const size = (nibble & 7) + 1;
    at += size;
    return big(sealed.subarray(at - size, at));
  };
  const keyId = field(sealed[0] >> 4);
  const counter = field(sealed[0] & 15);
  return { keyId, counter, size: at };
}

/** @param {Bytes} base @param {bigint} keyId */
async function sframeKey(base, keyId) {
  const ending = join(number(keyId, 8), [0, 4]);
  const key = await hkdf(base, join(text('SFrame 1.0 Secret key '), ending), 16);
  const salt = await hkdf(base, join(text('SFrame 1.0 Secret salt '), ending), 12);
  return { key, salt };
}

/**
 * What WebCrypto takes before the data.
 *
 * @param {{ key: Bytes, salt: Bytes }} secret @param {bigint} counter @param {Bytes} additionalData
 * @returns {Promise<[AesGcmParams, webcrypto.CryptoKey]>}
 */
async function gcm({ key, salt }, counter, additionalData) {
  const iv = salt.map((byte, at) => byte ^ number(counter, 12)[at]);
  const imported = await subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt', 'decrypt']);
  return [{ name: 'AES-GCM', iv, additionalData }, imported];
}

/** @param {Bytes} base @param {bigint} keyId @param {bigint} counter @param {Bytes} associated @param {Bytes} plain */
async function seal(base, keyId, counter, associated, plain) {
  const head = header(keyId, counter);
  const parameters = await gcm(await sframeKey(base, keyId), counter, join(head, associated));
  return join(head, new Uint8Array(await subtle.encrypt(...parameters, plain)));
}

/** @param {Bytes} base @param {Iterable<number>} associated @param {Bytes} sealed */
async function open(base, associated, sealed) {
  const { keyId, counter, size } = readHeader(sealed);
  const head = sealed.subarray(0, size);
  const parameters = await gcm(await sframeKey(base, keyId), counter, join(head, associated));
  return new Uint8Array(await subtle.decrypt(...parameters, sealed.subarray(size)));
}

// --- Keys --------------------------------------------------------------------------------------------------------

const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** @param {Bytes} secret @param {string} origin @param {string} room @param {number} instance */
async function identity(secret, origin, room, instance) {
  const info = join(text('voicemesh e2ee identity 1'), L(origin), L(room), number(instance, 4));
  const privateKey = number(big(await hkdf(secret, info, 48)) % ORDER, 32);
  return { privateKey, publicKey: publicOf(privateKey) };
}

/** @param {Bytes} privateKey WebCrypto gives no public key of a private one. */
function publicOf(privateKey) {
  const pair = createECDH('prime256v1');
  pair.setPrivateKey(privateKey);
  return Uint8Array.from(pair.getPublicKey());
}

/** @param {Bytes} privateKey @param {Bytes} publicKey */
async function agree(privateKey, publicKey) {
  const part = (/** @type {Bytes} */ array, /** @type {number} */ from) =>
    Buffer.from(array.subarray(from, from + 32)).toString('base64url');
  const own = publicOf(privateKey);
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    d: part(privateKey, 0),
    x: part(own, 1),
    y: part(own, 33),
  };
  const curve = { name: 'ECDH', namedCurve: 'P-256' };
  const mine = await subtle.importKey('jwk', jwk, curve, false, ['deriveBits']);
  const theirs = await subtle.importKey('raw', publicKey, curve, false, []);
  return new Uint8Array(await subtle.deriveBits({ name: 'ECDH', public: theirs }, mine, 256));
}

/** @param {Bytes} roomKey @param {string} room @param {number} session @param {Bytes} peer */
const authenticationKey = (roomKey, room, session, peer) =>
  derive(roomKey, 'voicemesh e2ee authentication 1', L(room), number(session, 4), peer);

/** @param {{ roomKey: Bytes | null, room: string, session: number, peer: Bytes, publicKey: Bytes, run: Bytes }} of */
async function announcement({ roomKey, room, session, peer, publicKey, run }) {
  const plain = join([1], publicKey, run);
  if (!roomKey) return plain;
  const key = await authenticationKey(roomKey, room, session, peer);
  return join(plain, await hmac(key, join(text('announcement'), plain)));
}

/** @param {Bytes} agreed @param {Bytes | null} roomKey @param {string} room @param {{ peer: Bytes, publicKey: Bytes, run: Bytes }[]} ends */
function pairSecret(agreed, roomKey, room, ends) {
  const [lower, higher] = [...ends].sort((a, b) => (hex(a.peer) < hex(b.peer) ? -1 : 1));
  const parts = [lower, higher].flatMap((end) => [end.peer, end.publicKey, end.run]);
  return derive(join(agreed, roomKey ?? []), 'voicemesh e2ee pair 1', L(room), ...parts);
}

/** @param {Bytes} secret @param {number} label @param {Bytes} from */
const pairKey = (secret, label, from) => derive(secret, 'voicemesh e2ee pair key 1', [label], from);

const nextChain = (/** @type {Bytes} */ chain) => derive(chain, 'voicemesh e2ee ratchet 1');

/** @param {SenderKey} key @param {number} label @param {string} room @param {Bytes} peer */
function senderKey({ epoch, step, chain, state }, label, room, peer) {
  const whose = [L(room), peer, number(epoch, 4)];
  if (label === STATE) return derive(state, 'voicemesh e2ee state key 1', ...whose);
  return derive(chain, 'voicemesh e2ee sender key 1', [label], ...whose, [step]);
}

/** @param {number} epoch @param {number} step @param {number} label */
const keyId = (epoch, step, label) => (epoch % 8) * 32 + (label === STATE ? 0 : step);

/** @param {Bytes} plain @returns {SenderKey} */
function readPackage(plain) {
  assert.equal(plain.length, 69);
  const epoch = Number(big(plain.subarray(0, 4)));
  return { epoch, step: plain[4], chain: plain.slice(5, 37), state: plain.slice(37) };
}

/** @param {Bytes} roomKey @param {string} room @param {Bytes} run */
const roomStateKey = (roomKey, room, run) =>
  derive(roomKey, 'voicemesh e2ee room state 1', L(room), run);

/** @param {string} room @param {Bytes | null} roomKey @param {Bytes[]} identities */
async function safetyCode(room, roomKey, identities) {
  const key = roomKey ? join([1], roomKey) : Uint8Array.of(0);
  const sorted = identities.map(hex).sort().map(bytes);
  let digest = await sha256(join(text('voicemesh e2ee safety code 1'), L(room), key, ...sorted));
  for (let round = 1; round < 4096; round += 1) digest = await sha256(digest);
  const groups = [0, 5, 10, 15, 20, 25].map((at) => big(digest.subarray(at, at + 5)) % 100000n);
  return groups.map((group) => `${group}`.padStart(5, '0')).join(' ');
}

/** @param {string} string */
function roomKeyOf(string) {
  if (!/^[A-Za-z0-9_-]{22}$/.test(string)) return null;
  const key = Buffer.from(string, 'base64url');
  return key.toString('base64url') === string ? Uint8Array.from(key) : null;
}

const optional = (/** @type {string | null} */ key) => (key === null ? null : bytes(key));

// --- Against the vectors -------------------------------------------------------------------------------------------

test('the vectors of RFC 9605 pass', async () => {
  for (const { kid, ctr, encoded } of vectors.rfc9605.headers) {
    assert.equal(hex(header(BigInt(kid), BigInt(ctr))), encoded);
    const read = readHeader(bytes(encoded));
    assert.deepEqual(
      [read.keyId, read.counter, read.size],
      [BigInt(kid), BigInt(ctr), encoded.length / 2],
    );
  }
  const vector = vectors.rfc9605.sframe;
  const base = bytes(vector.base_key);
  const sealed = await seal(
    base,
    BigInt(vector.kid),
    BigInt(vector.ctr),
    bytes(vector.metadata),
    bytes(vector.pt),
  );
  assert.equal(hex(sealed), vector.ct);
  assert.equal(hex(await open(base, bytes(vector.metadata), bytes(vector.ct))), vector.pt);
});

test('room keys have one text form', () => {
  for (const { bytes: key, text: form } of vectors.room_keys.valid)
    assert.equal(hex(roomKeyOf(form) ?? []), key);
  for (const form of vectors.room_keys.invalid) assert.equal(roomKeyOf(form), null, form);
});

test('identity keys follow from the installation, the server and the room', async () => {
  for (const vector of vectors.identities) {
    const own = await identity(bytes(vector.secret), vector.origin, vector.room, vector.instance);
    assert.equal(hex(own.privateKey), vector.private);
    assert.equal(hex(own.publicKey), vector.public);
  }
});

test('announcements and fingerprints are authenticated', async () => {
  for (const vector of vectors.announcements) {
    const roomKey = optional(vector.room_key);
    const { room, session } = vector;
    const [peer, publicKey, run] = [peerId(vector.peer), bytes(vector.public), bytes(vector.run)];
    const made = await announcement({ roomKey, room, session, peer, publicKey, run });
    assert.equal(hex(made), vector.announcement);
  }
  for (const vector of vectors.fingerprints) {
    const { room, session, attempt } = vector;
    const key = await authenticationKey(bytes(vector.room_key), room, session, peerId(vector.from));
    const message = join(
      text('fingerprint'),
      peerId(vector.to),
      number(attempt, 4),
      bytes(vector.fingerprint),
    );
    assert.equal(hex(await hmac(key, message)), vector.tag);
  }
});

test('pairs agree', async () => {
  for (const vector of vectors.pairs) {
    const ends = vector.ends.map((/** @type {any} */ end) => ({
      peer: peerId(end.peer),
      privateKey: bytes(end.private),
      publicKey: bytes(end.public),
      run: bytes(end.run),
    }));
    for (const [own, other] of [ends, [...ends].reverse()]) {
      const agreed = await agree(own.privateKey, other.publicKey);
      assert.equal(hex(agreed), vector.agreed);
      const secret = await pairSecret(agreed, optional(vector.room_key), vector.room, [own, other]);
      assert.equal(hex(secret), vector.secret);
      for (const { label, from, key } of vector.keys) {
        assert.equal(hex(await pairKey(secret, label, peerId(from))), key);
      }
    }
  }
});

test('sender keys follow from packages', async () => {
  for (const vector of vectors.sender_keys) {
    const given = readPackage(bytes(vector.package));
    assert.deepEqual([given.epoch, given.step], [vector.epoch, vector.step]);
    assert.deepEqual([hex(given.chain), hex(given.state)], [vector.chain, vector.state]);
    for (const { label, key, key_id: id } of vector.keys) {
      assert.equal(hex(await senderKey(given, label, vector.room, peerId(vector.peer))), key);
      assert.equal(keyId(vector.epoch, vector.step, label), id);
    }
    if (vector.next_chain) assert.equal(hex(await nextChain(given.chain)), vector.next_chain);
  }
});

test('payloads are sealed and opened', async () => {
  for (const vector of vectors.frames) {
    const [base, associated, plain] = [
      bytes(vector.key),
      bytes(vector.associated),
      bytes(vector.plain),
    ];
    const sealed = await seal(
      base,
      BigInt(vector.key_id),
      BigInt(vector.counter),
      associated,
      plain,
    );
    assert.equal(hex(sealed), vector.sealed);
    assert.equal(hex(await open(base, associated, sealed)), vector.plain);
    sealed[sealed.length - 1] ^= 1;
    await assert.rejects(open(base, associated, sealed));
  }
  for (const vector of vectors.room_states) {
    const sealed = bytes(vector.sealed);
    const base = await roomStateKey(bytes(vector.room_key), vector.room, sealed.subarray(0, 16));
    assert.equal(hex(base), vector.key);
    assert.equal(
      hex(await open(base, bytes(vector.associated), sealed.subarray(16))),
      vector.plain,
    );
  }
});

test('names and metadata are opened from their text, where they stand', async () => {
  for (const vector of vectors.published) {
    const { room_key, room, peer, key, plain, sealed: inBytes, text: value } = vector;
    const whose = peer === null ? Uint8Array.of(0) : join([1], peerId(peer));
    assert.ok(value.startsWith('e2ee1:') && !/[=+/]/.test(value));
    const sealed = Uint8Array.from(Buffer.from(value.slice(6), 'base64url'));
    assert.equal(hex(sealed), inBytes);
    const base = await roomStateKey(bytes(room_key), room, sealed.subarray(0, 16));
    const opened = (/** @type {Bytes} */ associated) => open(base, associated, sealed.subarray(16));
    assert.equal(hex(await opened(join(whose, text(key)))), plain);
    await assert.rejects(opened(join(whose, text(`${key}s`))));
  }
});

test('safety codes are the same', async () => {
  for (const vector of vectors.safety_codes) {
    const identities = vector.identities.map(bytes).reverse();
    assert.equal(await safetyCode(vector.room, optional(vector.room_key), identities), vector.code);
  }
});

test('a member follows another through a join and a departure', async () => {
  for (const transcript of vectors.transcripts) {
    const { room, session } = transcript;
    const roomKey = optional(transcript.room_key);
    const members = [];
    for (const member of transcript.members) {
      const { privateKey, publicKey } = await identity(
        bytes(member.secret),
        member.origin,
        room,
        member.instance,
      );
      const announced = bytes(member.announcement);
      const [peer, run] = [peerId(member.peer), announced.slice(66, 82)];
      const made = await announcement({ roomKey, room, session, peer, publicKey, run });
      assert.equal(hex(made), member.announcement);
      members.push({ peer, privateKey, publicKey, run });
    }
    const [first, second] = members;
    const agreed = await agree(second.privateKey, first.publicKey);
    const secret = await pairSecret(agreed, roomKey, room, members);
    /** @type {Map<number, SenderKey>} */
    const known = new Map();
    for (const sent of transcript.from_first_to_second) {
      const sealed = bytes(sent.sealed);
      if (sent.what === 'package') {
        const given = readPackage(
          await open(await pairKey(secret, PACKAGE, first.peer), [], sealed),
        );
        known.set(given.epoch % 8, given);
        continue;
      }
      let base;
      if (sent.what === 'private') {
        base = await pairKey(secret, sent.label, first.peer);
      } else {
        assert.ok([VOICE, DATA, STATE].includes(sent.label));
        const id = Number(readHeader(sealed).keyId);
        const keys = known.get(id >> 5);
        assert.ok(keys);
        while (sent.label !== STATE && keys.step < (id & 31)) {
          keys.chain = await nextChain(keys.chain);
          keys.step += 1;
        }
        assert.equal(keyId(keys.epoch, keys.step, sent.label), id);
        base = await senderKey(keys, sent.label, room, first.peer);
      }
      assert.equal(hex(await open(base, bytes(sent.associated), sealed)), sent.plain);
    }
    assert.deepEqual(
      [...known.values()].map(({ epoch, step }) => [epoch, step]),
      [
        [0, 1],
        [1, 0],
      ],
    );
    const identities = members.map(({ publicKey }) => publicKey);
    assert.equal(await safetyCode(room, roomKey, identities), transcript.code);
  }
});

// --- Whole packets -----------------------------------------------------------------------------------------------

const HEADER_BYTES = 7;
const KEY_PACKAGE = 46;
const SEALED_TEXT = 48;

/** @param {Bytes} relayed What is inside of the envelope for the server. */
function insideOf(relayed) {
  const at = HEADER_BYTES + 1 + 2 * relayed[HEADER_BYTES];
  return relayed.slice(at + 2, at + 2 + Number(big(relayed.subarray(at, at + 2))));
}

test('whole packets of another member are opened', async () => {
  const { cases } = JSON.parse(
    readFileSync(new URL('../../tests/vectors/sealed-packets.json', import.meta.url), 'utf8'),
  );
  assert.equal(cases.length, 2);
  for (const { room, session, sender, receiver, packets, ...more } of cases) {
    const roomKey = optional(more.room_key);
    const ends = [];
    for (const member of [sender, receiver]) {
      const [secret, announced] = [bytes(member.secret), bytes(member.announcement)];
      const { privateKey, publicKey } = await identity(
        secret,
        member.origin,
        room,
        member.instance,
      );
      const [peer, run] = [peerId(member.peer), announced.slice(66, 82)];
      const made = await announcement({ roomKey, room, session, peer, publicKey, run });
      assert.equal(hex(made), member.announcement);
      ends.push({ peer, privateKey, publicKey, run });
    }
    const [from, to] = ends;
    const agreed = await agree(to.privateKey, from.publicKey);
    const secret = await pairSecret(agreed, roomKey, room, ends);
    /** @type {SenderKey | undefined} */
    let keys;
    let opened = 0;
    for (const vector of packets) {
      const packet = bytes(vector.sealed);
      assert.equal(hex(packet.subarray(0, 2)), '8bc7');
      assert.equal(Number(big(packet.subarray(3, HEADER_BYTES))), session);
      if (vector.relayed) assert.equal(hex(insideOf(bytes(vector.relayed))), vector.sealed);
      if (packet[2] === KEY_PACKAGE) {
        const begin = HEADER_BYTES + 3;
        const end = begin + packet[begin - 1];
        assert.equal(hex(packet.subarray(begin, end)), sender.announcement);
        const key = await pairKey(secret, PACKAGE, from.peer);
        keys = readPackage(await open(key, [], packet.slice(end)));
      }
      if (vector.clear_bytes === undefined) continue;
      assert.ok(keys);
      const [clear, sealed] = [
        packet.slice(0, vector.clear_bytes),
        packet.slice(vector.clear_bytes),
      ];
      const label = [2, 35].includes(packet[2]) ? VOICE : DATA;
      const base =
        vector.key === 'pair'
          ? await pairKey(secret, label, from.peer)
          : await senderKey(keys, label, room, from.peer);
      const plain = await open(base, clear, sealed);
      // Of a text the type and the body are sealed.
      const whole =
        packet[2] === SEALED_TEXT
          ? join(
              packet.subarray(0, 2),
              plain.subarray(0, 1),
              clear.subarray(3, HEADER_BYTES),
              plain.subarray(1),
            )
          : join(clear, plain);
      assert.equal(hex(whole), vector.plain, vector.what);
      opened += 1;
    }
    assert.equal(opened, 13);
  }
});
