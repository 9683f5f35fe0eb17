/**
 * Texts in encrypted rooms, which are sealed for their readers and relayed: some readers' keys are on their way, or they are not
 * back yet. Pure: told the time in ms.
 *
 * @typedef {{group: string} | {peer: string}} Recipient
 * @typedef {'ready' | 'soon' | 'never' | 'deaf' | 'gone'} Reader `soon`: it will read, when its keys have come or it is back;
 *   `deaf`: it does not listen to the group; `never`: it has no key
 * @typedef {{to: Recipient, text: string, sent: (serial: number) => void, waitsFor: Set<string>, hasUnable: boolean,
 *   until: number}} Waiting `sent`: told the number of each message in which it goes; the same for all groups of one text
 * @typedef {'none' | 'unable' | 'late'} Unsent why it was sent to no one: `none`: no one who would read it was here; `unable`:
 *   those who would have no key for it; `late`: some were not ready in time
 */

/** Texts that wait, to however many groups; when there are more, the oldest does so no longer. */
const MOST = 16;
const WAIT_MS = 10_000;

export class WaitingTexts {
  /** @type {Waiting[]} */
  #texts = [];
  /** Texts that went to someone, in whichever group, or of which it was said that they did not. @type {WeakSet<Waiting['sent']>} */
  #settled = new WeakSet();

  /**
   * @param {(peer: string, to: Recipient) => Reader} reader
   * @param {(now: number, waiting: Waiting, readers: string[]) => boolean} send false: it could not be sent now
   * @param {(text: string, to: Recipient, why: Unsent) => void} unread told of a text that was sent to no one; never by `add` of that text
   */
  constructor(reader, send, unread) {
    this.reader = reader;
    this.send = send;
    this.unread = unread;
  }

  /** @param {number} now @param {Recipient} to @param {string} text @param {Iterable<string>} members whom it may be for @param {(serial: number) => void} sent */
  add(now, to, text, members, sent) {
    const waiting = {
      to,
      text,
      sent,
      waitsFor: new Set(members),
      hasUnable: false,
      until: now + WAIT_MS,
    };
    // What was written to them before goes first.
    this.#deliver(now, waiting, this.#awaited(this.#texts));
    // What is not sent comes back with the next tick: who writes it has left the field by then.
    if (waiting.waitsFor.size > 0 || !this.#settled.has(sent)) this.#texts.push(waiting);
    if (new Set(this.#texts.map((one) => one.sent)).size > MOST)
      this.#take(this.#texts[0].sent).forEach((one) => this.#end(one));
  }

  /** A text comes back to who wrote it: it goes to no one else. @param {Waiting['sent']} sent */
  cancel(sent) {
    this.#take(sent);
  }

  /** @param {Waiting['sent']} sent */
  #take(sent) {
    const taken = this.#texts.filter((one) => one.sent === sent);
    this.#texts = this.#texts.filter((one) => one.sent !== sent);
    return taken;
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
      if (reader === 'ready') readers.push(peer);
      else waiting.waitsFor.delete(peer);
      waiting.hasUnable ||= reader === 'never';
    }
    if (readers.length === 0 || !this.send(now, waiting, readers)) return;
    this.#settled.add(waiting.sent);
    for (const peer of readers) waiting.waitsFor.delete(peer);
  }

  /** @param {Waiting} waiting */
  #end({ text, to, sent, hasUnable, waitsFor }) {
    const mayStillGo = this.#texts.some((other) => other.sent === sent);
    if (mayStillGo || this.#settled.has(sent)) return;
    this.#settled.add(sent);
    this.unread(text, to, waitsFor.size > 0 ? 'late' : hasUnable ? 'unable' : 'none');
  }
}
