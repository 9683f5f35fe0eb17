/** What was written last, until the server can no longer refuse it. Pure: told the time in ms. */

/** A refusal comes one round trip after the text. */
const REFUSED_WITHIN_MS = 3000;

export class LastText {
  /** @type {{text: string, to: string | null, at: number} | null} */
  #last = null;

  /** @param {number} now @param {string} text @param {string | null} to the id of the person, null: the room */
  sent(now, text, to) {
    this.#last = { text, to, at: now };
  }

  /** The text that the server has refused with this code, and for whom it was, so that it can be sent again; null if it was none. @param {number} now @param {string} code */
  refused(now, code) {
    const last = this.#last;
    if (!last || now > last.at + REFUSED_WITHIN_MS) return null;
    // What one receiver did not take, the others have got.
    const isOfText = code === 'too-many-messages' || code === 'not-permitted';
    if (!isOfText && !(code === 'receiver-busy' && last.to !== null)) return null;
    this.#last = null;
    return { text: last.text, to: last.to };
  }
}
