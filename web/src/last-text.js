/** What was written last, until the server can no longer refuse it. Pure: told the time in ms. */

/** A refusal comes one round trip after the text. */
const REFUSED_WITHIN_MS = 3000;
/** Texts that are kept; the oldest goes first. */
const KEPT = 16;

/** Refusals of a text. What one receiver of several did not take, the others have got. */
const OF_A_TEXT = ['too-many-messages', 'not-permitted'];

/** @typedef {{text: string, to: string | null, isInvite?: boolean, sent?: (serial: number) => void}} Written `sent`: by which it waits for others */

export class LastText {
  /** Oldest first. @type {(Written & {at: number, serials: Set<number>})[]} */
  #texts = [];
  /** This server says which text it refuses. */
  #isNumbered = false;

  /**
   * @param {number} now @param {string} text @param {string | null} to the id of the person, null: the room
   * @param {Set<number>} serials of the messages in which it goes: one for each group, and more when those come who it waits for
   * @param {Pick<Written, 'isInvite' | 'sent'>} [more] what else is given back with it
   */
  sent(now, text, to, serials, more) {
    this.#texts.push({ ...more, text, to, at: now, serials });
    if (this.#texts.length > KEPT) this.#texts.shift();
  }

  /** The text that the server has refused with this code, and for whom it was, so that it can be sent again; null if it was none. @param {number} now @param {string} code @param {number} [number] the serial of the refused message, if the server says which @returns {Written | null} */
  refused(now, code, number) {
    if (number === undefined)
      this.#texts = this.#texts.filter(({ at }) => now <= at + REFUSED_WITHIN_MS);
    this.#isNumbered ||= number !== undefined;
    const index =
      number === undefined
        ? this.#texts.findLastIndex(({ serials }) => serials.size > 0)
        : this.#texts.findIndex(({ serials }) => serials.has(number));
    const refused = this.#texts[index];
    // A server that numbers them means something else when it names none.
    if (!refused || (number === undefined && this.#isNumbered)) return null;
    if (!OF_A_TEXT.includes(code) && !(code === 'receiver-busy' && refused.to !== null))
      return null;
    this.#texts.splice(index, 1);
    const { at, serials, ...written } = refused;
    return written;
  }
}
