/** What was written last, until the server can no longer refuse it. Pure: told the time in ms. */

/** A refusal comes one round trip after the text. */
const REFUSED_WITHIN_MS = 3000;
/** Texts that are kept; the oldest goes first. */
const KEPT = 16;

/** Refusals of a text. What one receiver of several did not take, the others have got. */
const OF_A_TEXT = ['too-many-messages', 'not-permitted'];

export class LastText {
  /** Oldest first; numbers from `first` to before `past`, one for each group. @type {{text: string, to: string | null, at: number, first: number, past: number}[]} */
  #texts = [];
  /** This server says which text it refuses. */
  #isNumbered = false;

  /**
   * @param {number} now @param {string} text @param {string | null} to the id of the person, null: the room
   * @param {[number, number]} numbers the serials of the written messages: the first, and the one after the last
   */
  sent(now, text, to, [first, past]) {
    this.#texts.push({ text, to, at: now, first, past });
    if (this.#texts.length > KEPT) this.#texts.shift();
  }

  /** The text that the server has refused with this code, and for whom it was, so that it can be sent again; null if it was none. @param {number} now @param {string} code @param {number} [number] the serial of the refused message, if the server says which */
  refused(now, code, number) {
    if (number === undefined)
      this.#texts = this.#texts.filter(({ at }) => now <= at + REFUSED_WITHIN_MS);
    this.#isNumbered ||= number !== undefined;
    const index =
      number === undefined
        ? this.#texts.length - 1
        : this.#texts.findIndex(({ first, past }) => number >= first && number < past);
    const refused = this.#texts[index];
    // A server that numbers them means something else when it names none.
    if (!refused || (number === undefined && this.#isNumbered)) return null;
    if (!OF_A_TEXT.includes(code) && !(code === 'receiver-busy' && refused.to !== null))
      return null;
    this.#texts.splice(index, 1);
    return { text: refused.text, to: refused.to };
  }
}
