/** Who one is: a secret of this browser, and the proofs and ids made from it (PROTOCOL.md, section 2). */

import { PageError, tabStorage } from './optional.js';

const utf8 = new TextEncoder();

/** @param {Uint8Array} bytes */
export const hex = (bytes) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** @param {string} text */
export const unhex = (text) =>
  Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));

/**
 * A server's origin as every client of this browser writes it: what `URL.origin` would be for http, and the path that the
 * server is below, if it is not the root.
 * @param {string} url of the server's WebSocket
 */
export function serverOrigin(url) {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname.replace(/\/ws$/, '')}`;
}

/**
 * @param {Uint8Array} secret 32 bytes
 * @param {string} origin
 * @param {string} room
 * @param {number} instance
 * @returns {Promise<{proof: string, peer: string}>}
 */
export async function prove(secret, origin, room, instance) {
  const input = [utf8.encode('voicemesh identity 1')];
  for (const text of [utf8.encode(origin), utf8.encode(room)]) input.push(u32(text.length), text);
  input.push(u32(instance));
  const material = /** @type {BufferSource} */ (secret);
  const key = await crypto.subtle.importKey(
    'raw',
    material,
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  );
  const proof = new Uint8Array(await crypto.subtle.sign('HMAC', key, join(input)));
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', proof)).slice(0, 16);
  digest[6] = (digest[6] & 0x0f) | 0x80;
  digest[8] = (digest[8] & 0x3f) | 0x80;
  return {
    proof: hex(proof),
    peer: hex(digest).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
  };
}

/** @param {number} value */
function u32(value) {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** @param {Uint8Array[]} parts */
function join(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const SECRET_KEY = 'voicemesh.secret';

/**
 * The browser's secret, drawn at its first use. Without storage it lives as long as the page.
 * @param {Pick<Storage, 'getItem' | 'setItem'>} storage
 * @param {() => void} [replaced] what was stored is no secret, and another takes its place
 */
export function secret(storage, replaced = () => {}) {
  try {
    const kept = storage.getItem(SECRET_KEY);
    if (kept && /^[0-9a-f]{64}$/.test(kept)) return unhex(kept);
    if (kept !== null) replaced();
  } catch {
    // Storage is switched off.
  }
  const drawn = crypto.getRandomValues(new Uint8Array(32));
  try {
    storage.setItem(SECRET_KEY, hex(drawn));
  } catch {
    // Then it is another peer the next time.
  }
  return drawn;
}

/**
 * The smallest number that no other tab uses in this room, held until the page is gone. Reloading the page frees and takes
 * it again, so a reloaded tab is the same peer.
 * @param {string} room
 * @param {LockManager | undefined} locks
 * @returns {Promise<{instance: number, release: () => void}>}
 */
export async function takeInstance(room, locks) {
  if (!locks) return { instance: crypto.getRandomValues(new Uint32Array(1))[0], release() {} };
  for (let instance = 0; instance < 64; instance++) {
    const release = await tryLock(locks, `voicemesh ${instance} ${room}`).catch(() => undefined);
    // A browser that refuses locks: as if it had none.
    if (release === undefined) return takeInstance(room, undefined);
    if (release) return { instance, release };
  }
  throw new PageError('too-many-tabs');
}

/**
 * @param {LockManager} locks
 * @param {string} name
 * @returns {Promise<(() => void) | null>}
 */
function tryLock(locks, name) {
  return new Promise((resolve, reject) => {
    locks
      .request(name, { ifAvailable: true }, (lock) => {
        if (!lock) {
          resolve(null);
          return undefined;
        }
        return new Promise((release) => resolve(() => release(undefined)));
      })
      .catch(reject);
  });
}

const TICKET_KEY = 'voicemesh ticket ';
/** @type {Map<string, string>} the password that each peer's join named in this page */
const named = new Map();

/**
 * The tab's newest ticket of a peer, so that a room is come back to after a reload or a restart of the server. It counts for
 * the password with which it was got, or without one.
 * @param {string} peer @param {string} password
 */
export function ticketsOf(peer, password) {
  const isOther = password !== '' && named.get(peer) !== password;
  named.set(peer, password);
  return {
    // Where storage is closed to this page, it lives as long as the peer.
    ticket: isOther ? undefined : (tabStorage.getItem(TICKET_KEY + peer) ?? undefined),
    /** @param {string} newest */
    keepTicket: (newest) => tabStorage.setItem(TICKET_KEY + peer, newest),
  };
}
