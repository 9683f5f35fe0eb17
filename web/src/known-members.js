/**
 * Whose identity keys this browser has met before, so that the room can show who is new since last time (trust on first use). A
 * peer id belongs to one room, so one list serves all rooms, and all tabs.
 *
 * @typedef {'known' | 'new' | 'changed'} Met `changed`: another key than before under the same peer id
 */

import { hex } from './identity.js';

const KEY = 'voicemesh.met';
/** Of the own marks and of those of others; the oldest goes first. */
const MOST = 500;
/** In one stay. Who has the link can come as someone else again and again. */
const MOST_NEW = 64;
/** Of the point's x coordinate: nothing makes another key with the same ones. */
const MARK_BYTES = 16;
/** Before the mark of a key that is this browser's, in whichever tab. */
const OWN = 'own ';

/** @param {Uint8Array} identity an identity key */
const markOf = (identity) => hex(identity.subarray(1, 1 + MARK_BYTES));

export class KnownMembers {
  /** As of the last time: peer id → the beginning of its key. @type {Map<string, string>} */
  #before;
  #own;
  #storage;
  /** Marks kept in this stay of who was not known. */
  #new = 0;

  /** @param {import('./optional.js').Store} storage @param {string} own the own peer id in this room */
  constructor(storage, own) {
    this.#storage = storage;
    this.#own = own;
    this.#before = read(storage);
  }

  /** The room is entered: from the next time on, who is new there is so. @param {Uint8Array} identity the own identity key */
  entered(identity) {
    this.#keep(this.#own, OWN + markOf(identity));
  }

  /** @param {string} peer @param {Uint8Array} identity its identity key @returns {Met} on a first visit no one is new */
  meet(peer, identity) {
    const mark = markOf(identity);
    const own = OWN + mark;
    const before = this.#before.get(peer);
    // Another tab of this browser, which may have come to the room after this one.
    if (before === own || read(this.#storage).get(peer) === own) return 'known';
    if (before !== undefined || ++this.#new <= MOST_NEW) this.#keep(peer, mark);
    if (before === undefined) return this.#before.has(this.#own) ? 'new' : 'known';
    return before === mark ? 'known' : 'changed';
  }

  /** Whether a member had encrypted in this room by the last visit: only of those who do is anything kept. @param {string} peer */
  hasMet(peer) {
    return this.#before.has(peer);
  }

  /** With what other tabs have met meanwhile; those met last are last. @param {string} peer @param {string} mark */
  #keep(peer, mark) {
    const marks = read(this.#storage);
    marks.delete(peer);
    marks.set(peer, mark);
    const [own, others] = [true, false].map((isOwn) =>
      [...marks].filter(([, kept]) => kept.startsWith(OWN) === isOwn).slice(-MOST),
    );
    try {
      this.#storage.setItem(KEY, JSON.stringify([...own, ...others]));
    } catch {
      // Then everyone is known by the next visit's first look.
    }
  }
}

/** @param {import('./optional.js').Store} storage @returns {Map<string, string>} */
function read(storage) {
  try {
    const kept = JSON.parse(storage.getItem(KEY) ?? '[]');
    const isMark = (/** @type {any} */ entry) =>
      Array.isArray(entry) && entry.length === 2 && entry.every((one) => typeof one === 'string');
    return new Map(Array.isArray(kept) ? kept.filter(isMark).slice(-2 * MOST) : []);
  } catch {
    return new Map();
  }
}
