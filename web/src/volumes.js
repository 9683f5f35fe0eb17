/** How loud one wants to hear each person, remembered. */

const KEY = 'voicemesh.volumes';
/** People remembered; who was changed longest ago is forgotten. */
const MOST = 200;

/** @typedef {{volume: number, muted: boolean}} Wish `volume`: 0 to 2, 1 as spoken */

export class Volumes {
  /** @type {Map<string, Wish>} */
  #wishes = new Map();

  /** @param {import('./optional.js').Store} storage */
  constructor(storage) {
    this.storage = storage;
    try {
      /** @type {[string, Wish][]} */
      const kept = JSON.parse(storage.getItem(KEY) ?? '[]');
      this.#wishes = new Map(
        kept.filter(([, { volume }]) => volume >= 0 && volume <= 2).slice(-MOST),
      );
    } catch {
      // What cannot be read is forgotten.
    }
  }

  /** @param {string} id @returns {Wish} */
  get(id) {
    return this.#wishes.get(id) ?? { volume: 1, muted: false };
  }

  /** @param {string} id */
  gain(id) {
    const { volume, muted } = this.get(id);
    return muted ? 0 : volume;
  }

  /** @param {string} id @param {Partial<Wish>} change */
  set(id, change) {
    const wish = { ...this.get(id), ...change };
    this.#wishes.delete(id);
    this.#wishes.set(id, wish);
    try {
      this.storage.setItem(KEY, JSON.stringify([...this.#wishes].slice(-MOST)));
    } catch {
      // Then it is forgotten with the page.
    }
  }
}
