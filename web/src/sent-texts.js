/**
 * What is written on one connection: what is sent again on the next one, and which message the server refuses (PROTOCOL.md,
 * sections 3 and 5). Pure.
 */

/** Messages of which it is not known that they arrived; the oldest is forgotten first. */
const WAITING = 128;
/** The server may refuse them after they have arrived; far more than anyone writes within a round trip. */
const NEWEST = 16;

export class SentTexts {
  /** @type {{at: number, number: number, serial: number, packet: Uint8Array}[]} oldest first; `number`: on this connection, from 1 on */
  #waiting = [];
  /** The newest, oldest first. @type {{number: number, serial: number}[]} */
  #newest = [];
  #sent = 0;

  /** @param {number} at when @param {number} serial its number in the page, on whichever connection @param {Uint8Array} packet */
  push(at, serial, packet) {
    this.#sent += 1;
    this.#waiting.push({ at, number: this.#sent, serial, packet });
    if (this.#waiting.length > WAITING) this.#waiting.shift();
    this.#newest.push({ number: this.#sent, serial });
    if (this.#newest.length > NEWEST) this.#newest.shift();
  }

  /** What was sent until then has arrived. @param {number} askedAt */
  confirmed(askedAt) {
    this.#waiting = this.#waiting.filter(({ at }) => at > askedAt);
  }

  get isUnconfirmed() {
    return this.#waiting.length > 0;
  }

  /** The server has refused the message of this number: it is not sent again. Gives its serial; -1: it is not known any more. @param {number} number */
  refused(number) {
    this.#waiting = this.#waiting.filter((one) => one.number !== number);
    return this.#newest.find((one) => one.number === number)?.serial ?? -1;
  }

  /** What is to be sent again on the next connection, if the server has read so many. @param {number} read */
  unread(read) {
    return this.#waiting.filter(({ number }) => number > read);
  }
}
