/**
 * A member's keys in a room (PROTOCOL.md, section 18): the Rust peer's own key ring (crates/page, crates/e2ee), as
 * WebAssembly. This is only its caller: it lays bytes into the module's memory. Loaded when a room is entered.
 *
 * @typedef {'malformed' | 'unknown-version' | 'own-id' | 'invalid-key' | 'not-authentic' | 'room-key-missing'
 *   | 'identity-changed' | 'old-run' | 'room-full' | 'too-soon' | 'too-many-runs'} Refusal
 * @typedef {{secret: Uint8Array, origin: string, room: string, instance: number, peer: string, roomKey: Uint8Array | null,
 *   seed: Uint8Array}} Identity `room`: the key of its name; `seed`: 32 random bytes, used for nothing else
 * @typedef {{accepted: boolean, wasAccepted: boolean, hasKeys: boolean, wasGivenKeys: boolean}} Standing `hasKeys`: the member's
 *   have come; `wasGivenKeys`: it was sent those that are in use here
 * @typedef {{input(): number, output(): number, memory: WebAssembly.Memory, next_timer(): number, run_timers(now: number): void,
 *   create(...given: number[]): number, announcement(session: number): number, agree_next(): number, poll_package(): number,
 *   set_member(now: number, session: number, bytes: number): number, remove_member(now: number, bytes: number): void,
 *   identity(bytes: number, own: number): number, standing(bytes: number): number, send_keys_again(bytes: number): void,
 *   accept_package(now: number, bytes: number): number, safety_code(): number,
 *   seal(now: number, label: number, forOne: number, clear: number, bytes: number): number,
 *   open(now: number, label: number, forOne: number, clear: number, bytes: number): number,
 *   seal_value(keyBytes: number, bytes: number): number, open_value(keyBytes: number, bytes: number): number,
 *   tag_fingerprint(session: number, attempt: number, bytes: number): number,
 *   verify_fingerprint(session: number, attempt: number, bytes: number): number}} Exports
 */

import { fromBase64Url, toBase64Url } from './base64.js';
import { unhex } from './identity.js';

/** Begins a sealed value of metadata. */
const SEALED = 'e2ee1:';

/** @param {string} text */
export const isSealed = (text) => text.startsWith(SEALED);

/** Key exports of crates/page: the size of each of its two areas. */
const AREA_BYTES = 20_480;
const MAX_MEMBERS = 1024;
const PEER_BYTES = 16;
/** @type {readonly Refusal[]} by the negative number that the module gives, from 1 on */
const REFUSALS = [
  'malformed',
  'unknown-version',
  'own-id',
  'invalid-key',
  'not-authentic',
  'room-key-missing',
  'identity-changed',
  'old-run',
  'room-full',
  'too-soon',
  'too-many-runs',
];
const CHANGES = /** @type {const} */ (['joined', 'restarted', 'unchanged']);

/** What a payload is; each has separate keys. */
export const LABELS = Object.freeze({ voice: 1, data: 2, state: 3 });

const utf8 = new TextEncoder();
const ascii = new TextDecoder();

/** @type {Promise<WebAssembly.Module> | null} */
let compiled = null;

/** Each of two tries. */
const LOAD_LIMIT_MS = 15_000;

const compile = () =>
  WebAssembly.compileStreaming(
    fetch(new URL('keys.wasm', import.meta.url), { signal: AbortSignal.timeout(LOAD_LIMIT_MS) }),
  );

/** Fetches and compiles the module. Rejects where that fails twice. The next join tries again. */
export function loadKeys() {
  compiled ??= compile().catch(compile);
  compiled.catch(() => {
    compiled = null;
  });
  return compiled;
}

/** @param {string} peer */
const peerBytes = (peer) => unhex(peer.replaceAll('-', ''));

/** @param {Uint8Array} bytes 16 */
const peerText = (bytes) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0'))
    .join('')
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');

/** What a call gives after the module has trapped, as if it had failed; nothing is sealed or opened any more. */
const TRAPPED = -1;

/** The ring of one run in one room. */
export class KeyRing {
  /** @type {Exports} */
  #wasm;
  /** Where its areas are. @type {number} */
  #input;
  /** @type {number} */
  #output;
  #hasFailed = false;
  #failed;
  hasRoomKey;

  /**
   * @param {WebAssembly.Module} module @param {Identity} identity its seed is overwritten
   * @param {() => void} [failed] told once that the module has failed: the room is to be left. Calls under way give something
   */
  constructor(module, { secret, origin, room, instance, peer, roomKey, seed }, failed = () => {}) {
    this.#failed = failed;
    this.#wasm = this.#guarded(new WebAssembly.Instance(module).exports);
    [this.#input, this.#output] = [this.#wasm.input(), this.#wasm.output()];
    this.hasRoomKey = roomKey !== null;
    const [from, name] = [utf8.encode(origin), utf8.encode(room)];
    const key = roomKey ?? new Uint8Array(16);
    const bytes = this.#write(secret, seed, peerBytes(peer), key, from, name);
    seed.fill(0);
    const given = [bytes, from.length, instance, Number(this.hasRoomKey), MAX_MEMBERS];
    if (this.#wasm.create(...given) !== 1) throw new Error('The keys of this room cannot be made.');
  }

  /** @param {WebAssembly.Exports} exports @returns {Exports} */
  #guarded(exports) {
    const calls = Object.entries(exports).map(([name, value]) => [
      name,
      typeof value !== 'function'
        ? value
        : (/** @type {number[]} */ ...given) => {
            if (this.#hasFailed) return TRAPPED;
            try {
              return value(...given);
            } catch {
              this.#fail();
              return TRAPPED;
            }
          },
    ]);
    return Object.fromEntries(calls);
  }

  #fail() {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#failed();
  }

  /** What is published in a session. @param {number} session */
  announcement(session) {
    return this.#read(this.#wasm.announcement(session));
  }

  /**
   * @param {number} now @param {number} session @param {string} peer @param {Uint8Array} announcement
   * @returns {{change: 'joined' | 'restarted' | 'unchanged', refusal: null} | {change: null, refusal: Refusal}}
   */
  setMember(now, session, peer, announcement) {
    const bytes = this.#write(peerBytes(peer), announcement);
    const result = this.#wasm.set_member(now, session, bytes);
    return result >= 0
      ? { change: CHANGES[result], refusal: null }
      : { change: null, refusal: REFUSALS[-result - 1] ?? 'malformed' };
  }

  /** @param {number} now @param {string} peer */
  removeMember(now, peer) {
    this.#wasm.remove_member(now, this.#write(peerBytes(peer)));
  }

  /** @param {string} peer @returns {Standing} */
  standing(peer) {
    const bits = Math.max(this.#wasm.standing(this.#write(peerBytes(peer))), 0);
    return {
      accepted: (bits & 1) !== 0,
      wasAccepted: (bits & 2) !== 0,
      hasKeys: (bits & 4) !== 0,
      wasGivenKeys: (bits & 8) !== 0,
    };
  }

  /** A member's identity key, or the own one; null if it is not accepted. @param {string} [peer] */
  identity(peer) {
    const bytes = peer === undefined ? 0 : this.#write(peerBytes(peer));
    return this.#bytes(this.#wasm.identity(bytes, Number(peer === undefined)));
  }

  /** Computes one more pair secret, in a few ms; false if all are computed. */
  agreeNext() {
    return this.#wasm.agree_next() === 1;
  }

  /** @returns {{peer: string, package: Uint8Array} | null} */
  pollPackage() {
    const output = this.#bytes(this.#wasm.poll_package());
    return (
      output && {
        peer: peerText(output.subarray(0, PEER_BYTES)),
        package: output.subarray(PEER_BYTES),
      }
    );
  }

  /** @param {string} peer */
  sendKeysAgain(peer) {
    this.#wasm.send_keys_again(this.#write(peerBytes(peer)));
  }

  /** Whether it was accepted. @param {number} now @param {string} from @param {Uint8Array} bytes */
  acceptPackage(now, from, bytes) {
    return this.#wasm.accept_package(now, this.#write(peerBytes(from), bytes)) === 1;
  }

  /**
   * A packet whose first bytes stay as they are and are authenticated, with the rest sealed; null if it cannot be.
   * @param {number} now @param {number} label @param {Uint8Array} packet @param {number} clearBytes
   * @param {string | null} to null: for everyone
   */
  seal(now, label, packet, clearBytes, to) {
    const bytes = this.#write(to === null ? new Uint8Array(PEER_BYTES) : peerBytes(to), packet);
    return this.#bytes(this.#wasm.seal(now, label, Number(to !== null), clearBytes, bytes));
  }

  /**
   * What a member has sealed in a packet, behind its first bytes.
   * @param {number} now @param {number} label @param {Uint8Array} packet @param {number} clearBytes
   * @param {string} from @param {boolean} forOne
   * @returns {Uint8Array | 'no-key' | null}
   */
  open(now, label, packet, clearBytes, from, forOne) {
    const bytes = this.#write(peerBytes(from), packet);
    const result = this.#wasm.open(now, label, Number(forOne), clearBytes, bytes);
    return result === -2 ? 'no-key' : this.#bytes(result);
  }

  /** A value of the own metadata, as it is published. @param {string} peer the own one @param {string} key @param {Uint8Array} plain */
  sealValue(peer, key, plain) {
    const name = utf8.encode(key);
    const bytes = this.#write(peerBytes(peer), name, plain);
    return SEALED + toBase64Url(this.#read(this.#wasm.seal_value(name.length, bytes)));
  }

  /** A value of a member's metadata; null: not sealed for this member and key, or with another room's key. @param {string} peer @param {string} key @param {string} text */
  openValue(peer, key, text) {
    const sealed = isSealed(text) ? fromBase64Url(text.slice(SEALED.length)) : null;
    if (!sealed) return null;
    const name = utf8.encode(key);
    const bytes = this.#write(peerBytes(peer), name, sealed);
    return this.#bytes(this.#wasm.open_value(name.length, bytes));
  }

  /** @param {number} session @param {string} to @param {number} attempt @param {Uint8Array} fingerprint */
  tagFingerprint(session, to, attempt, fingerprint) {
    const bytes = this.#write(peerBytes(to), fingerprint);
    return this.#bytes(this.#wasm.tag_fingerprint(session, attempt, bytes));
  }

  /** @param {number} session @param {string} from @param {number} attempt @param {Uint8Array} fingerprint @param {Uint8Array} tag */
  verifyFingerprint(session, from, attempt, fingerprint, tag) {
    const bytes = this.#write(peerBytes(from), fingerprint, tag);
    return this.#wasm.verify_fingerprint(session, attempt, bytes) === 1;
  }

  /** What the members compare: six groups of five digits. A few ms of hashing. */
  safetyCode() {
    return ascii.decode(this.#read(this.#wasm.safety_code()));
  }

  /** @param {number} now */
  update(now) {
    this.#wasm.run_timers(now);
  }

  /** When `update` has something to do next. */
  get nextTimer() {
    const at = this.#wasm.next_timer();
    return at < 0 ? Infinity : at;
  }

  /** @param {Uint8Array[]} parts @returns {number} their length; too long: of nothing that makes sense */
  #write(...parts) {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    if (bytes > AREA_BYTES) return 0;
    const area = new Uint8Array(this.#wasm.memory.buffer, this.#input, bytes);
    let at = 0;
    for (const part of parts) {
      area.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  /** @param {number} length below zero: nothing @returns {Uint8Array | null} */
  #bytes(length) {
    return length < 0
      ? null
      : new Uint8Array(this.#wasm.memory.buffer, this.#output, length).slice();
  }

  /** What there always is, unless the module has failed. @param {number} length */
  #read(length) {
    const bytes = this.#bytes(length);
    if (!bytes) this.#fail();
    return bytes ?? new Uint8Array(0);
  }
}
