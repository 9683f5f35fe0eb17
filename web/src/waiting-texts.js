/**
 * Texts in encrypted rooms, which are sealed for their readers and relayed: some readers' keys are on their way, or they are not
 * back yet. Pure: told the time in ms.
 *
 * @typedef {{group: string} | {peer: string}} Recipient
 * @typedef {'ready' | 'soon' | 'never' | 'deaf' | 'gone'} Reader `soon`: it will read, when its keys have come or it is back;
 *   `deaf`: it does not listen to the group; `never`: it has no key
 * @typedef {{to: Recipient, text: string, waitsFor: Set<string>, isRead: boolean, hasUnable: boolean, until: number}} Waiting
 */

/** Texts that wait; when there are more, the oldest does so no longer. */
const MOST = 16;
const WAIT_MS = 10_000;

export class WaitingTexts {
  /** @type {Waiting[]} */
  #texts = [];

  /**
   * @param {(peer: string, to: Recipient) => Reader} reader
   * @param {(now: number, text: string, to: Recipient, readers: string[]) => void} send
   * @param {(text: string, to: Recipient, hasUnable: boolean) => void} unread told of a text that was read by no one; `hasUnable`: members are here who have no key
   */
  constructor(reader, send, unread) {
    this.reader = reader;
    this.send = send;
    this.unread = unread;
  }

  /** @param {number} now @param {Recipient} to @param {string} text @param {Iterable<string>} members whom it may be for */
  add(now, to, text, members) {
    const waiting = {
      to,
      text,
      waitsFor: new Set(members),
      isRead: false,
      hasUnable: false,
      until: now + WAIT_MS,
    };
    // What was written to them before goes first.
    this.#deliver(now, waiting, this.#awaited(this.#texts));
    if (waiting.waitsFor.size === 0) this.#end(waiting);
    else this.#texts.push(waiting);
    if (this.#texts.length > MOST) this.#end(/** @type {Waiting} */ (this.#texts.shift()));
  }

  /** @param {number} now */
  tick(now) {
    if (this.#texts.length === 0) return;
    /** @type {Set<string>} */
    const behind = new Set();
    for (const waiting of this.#texts) {
      this.#deliver(now, waiting, behind);
      for (const peer of waiting.waitsFor) behind.add(peer);
    }
    const isOver = (/** @type {Waiting} */ { waitsFor, until }) =>
      waitsFor.size === 0 || now >= until;
    const over = this.#texts.filter(isOver);
    this.#texts = this.#texts.filter((waiting) => !isOver(waiting));
    over.forEach((waiting) => this.#end(waiting));
  }

  /** @param {Waiting[]} texts */
  #awaited(texts) {
    return new Set(texts.flatMap(({ waitsFor }) => [...waitsFor]));
  }

  /** @param {number} now @param {Waiting} waiting @param {Set<string>} behind something before it waits for these */
  #deliver(now, waiting, behind) {
    const readers = [];
    for (const peer of [...waiting.waitsFor]) {
      const reader = this.reader(peer, waiting.to);
      if (reader === 'soon' || (reader === 'ready' && behind.has(peer))) continue;
      waiting.waitsFor.delete(peer);
      if (reader === 'ready') readers.push(peer);
      waiting.hasUnable ||= reader === 'never';
    }
    if (readers.length === 0) return;
    waiting.isRead = true;
    this.send(now, waiting.text, waiting.to, readers);
  }

  /** @param {Waiting} waiting */
  #end({ text, to, isRead, hasUnable, waitsFor }) {
    if (!isRead) this.unread(text, to, hasUnable || waitsFor.size > 0);
  }
}
