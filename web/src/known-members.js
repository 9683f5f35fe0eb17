/**
 * Whose identity keys this browser has met before, so that the room can show who is new since last time (trust on first use). A
 * peer id belongs to one room, so one list serves all rooms.
 *
 * @typedef {'known' | 'new' | 'changed'} Met `changed`: another key than before under the same peer id
 */

const KEY = 'voicemesh.met';
/** The oldest goes first. */
const MOST = 500;
/** Of the point's x coordinate: nothing makes another key with the same ones. */
const MARK_BYTES = 16;

export class KnownMembers {
  /** @type {Map<string, string>} peer id → the beginning of its key; of those met last, last */
  #marks;
  #isFirstVisit;
  #storage;

  /** @param {import('./optional.js').Store} storage @param {string} own the own peer id in this room */
  constructor(storage, own) {
    this.#storage = storage;
    this.#marks = read(storage);
    this.#isFirstVisit = !this.#marks.has(own);
    this.#keep(own, '');
  }

  /** @param {string} peer @param {Uint8Array} identity its identity key @returns {Met} on a first visit no one is new */
  meet(peer, identity) {
    const mark = Array.from(identity.subarray(1, 1 + MARK_BYTES), (byte) =>
      byte.toString(16).padStart(2, '0'),
    ).join('');
    const before = this.#marks.get(peer);
    this.#keep(peer, mark);
    if (before === undefined) return this.#isFirstVisit ? 'known' : 'new';
    return before === mark ? 'known' : 'changed';
  }

  /** @param {string} peer @param {string} mark */
  #keep(peer, mark) {
    this.#marks.delete(peer);
    this.#marks.set(peer, mark);
    for (const oldest of this.#marks.keys()) {
      if (this.#marks.size <= MOST) break;
      this.#marks.delete(oldest);
    }
    try {
      this.#storage.setItem(KEY, JSON.stringify([...this.#marks]));
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
    return new Map(Array.isArray(kept) ? kept.filter(isMark).slice(-MOST) : []);
  } catch {
    return new Map();
  }
}
