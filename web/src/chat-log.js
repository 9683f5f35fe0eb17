/** The messages of a room, kept in the tab so that they are there after a reload; those with what no storage may have only until then. */

import { hasSecret } from './invitation.js';
import { optional, tabStorage } from './optional.js';

/** @typedef {import('./state.js').Message} Message */

const KEY = 'voicemesh chat ';
const MOST = 500;
/** Kept for a reload. */
const MOST_KEPT = 100;
/** All of it is written each time: not more often than this. */
const WRITE_AFTER_MS = 1000;

export class ChatLog {
  /** @type {readonly Message[]} */
  messages = [];
  #peer = '';
  /** @type {ReturnType<typeof setTimeout> | undefined} while something is to be written */
  #timer;

  /** @param {EventTarget} page says when it may end */
  constructor(page) {
    for (const event of ['pagehide', 'visibilitychange'])
      page.addEventListener(event, () => this.#write());
  }

  /** Begins with what this tab has kept for a peer id. @param {string} peer */
  open(peer) {
    this.#write();
    this.#peer = peer;
    const kept = optional(() => JSON.parse(tabStorage.getItem(KEY + peer) ?? '[]'), []);
    this.messages = Array.isArray(kept) ? kept.filter(isMessage).slice(-MOST_KEPT) : [];
  }

  /** @param {Message} message */
  add(message) {
    this.messages = [...this.messages, message].slice(-MOST);
    this.#timer ??= setTimeout(() => this.#write(), WRITE_AFTER_MS);
  }

  /** The room is left on purpose: nothing is kept. */
  forget() {
    this.#stop();
    tabStorage.removeItem(KEY + this.#peer);
  }

  #write() {
    if (this.#timer === undefined) return;
    this.#stop();
    const kept = JSON.stringify(
      this.messages.slice(-MOST_KEPT).filter(({ text }) => !hasSecret(text)),
    );
    tabStorage.setItem(KEY + this.#peer, kept);
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** @param {any} value @returns {value is Message} */
function isMessage(value) {
  const { from, to, mine, text, at } = value ?? {};
  return (
    [from, to, text].every((one) => typeof one === 'string') &&
    typeof mine === 'boolean' &&
    Number.isFinite(at)
  );
}
