/** What is written: to the groups that one speaks to or to one person, and what comes. */

import { ChatLog } from './chat-log.js';
import { groupLabel } from './group-name.js';
import { LastText } from './last-text.js';
import { GLOBAL } from './session.js';
import { LIMITS, utf8Length } from './wire.js';

/**
 * @typedef {import('./mesh.js').Mesh} Mesh
 * @typedef {import('./state.js').Message} Message
 */

/** Which of the groups that one speaks to a text goes to: who is in several of them would get it several times. @param {string[]} spoken */
const writtenTo = (spoken) => (spoken.includes(GLOBAL) ? [GLOBAL] : spoken);

export class Texts {
  #chat = new ChatLog(globalThis);
  #last = new LastText();

  /** @param {() => number} clock in ms @param {() => void} changed */
  constructor(clock, changed) {
    this.clock = clock;
    this.changed = changed;
  }

  get messages() {
    return this.#chat.messages;
  }

  /** A room is entered. @param {string} peer one's own id there */
  open(peer) {
    this.#chat.open(peer);
  }

  /** The room is left on purpose. */
  forget() {
    this.#chat.forget();
  }

  /** Throws why it is not sent. @param {Mesh | null} mesh @param {string} name one's own @param {string} text @param {string | null} personId null: the room */
  send(mesh, name, text, personId) {
    if (utf8Length(text) > LIMITS.textBytes)
      throw new Error(`A message can have at most ${LIMITS.textBytes} bytes.`);
    const session = mesh?.session;
    const person = personId === null ? undefined : mesh?.roster.members.get(personId);
    if (personId !== null && !person) throw new Error('This person has left.');
    const groups = session
      ? writtenTo(
          session.speaker.openTargets.flatMap(({ kind, name }) => (kind === 'group' ? name : [])),
        )
      : [];
    if (session && !person && groups.length === 0)
      throw new Error(
        'You speak to no group, so no one would read it. Speak to a group first, or choose a person.',
      );
    const to = person ? [{ peer: person.info.peer }] : groups.map((group) => ({ group }));
    if (session && to.some((one) => session.isKeptFrom(one)))
      throw new Error('A moderator holds you in other groups: you can write only there.');
    /** @type {Set<number>} */
    const serials = new Set();
    const sent = (/** @type {number} */ serial) => serials.add(serial);
    if (!session || !to.every((one) => session.sendText(this.clock(), text, one, sent))) {
      throw new Error('The server is away: messages can be sent when it is back.');
    }
    this.#last.sent(this.clock(), text, person ? personId : null, serials, { sent });
    const group = person || groups.includes(GLOBAL) ? null : groups.map(groupLabel).join(', ');
    this.#add({
      from: name,
      to: person ? person.label : (group ?? 'room'),
      mine: true,
      text,
      at: Date.now(),
      ...(group !== null && { group: true }),
      ...(person && { person: true }),
    });
  }

  /** A text with a room's key: this tab does not show or keep it. @param {Mesh | null} mesh @param {string} text @param {string} person an id @returns {boolean} whether it was sent */
  invite(mesh, text, person) {
    /** @type {Set<number>} */
    const serials = new Set();
    const sent = (/** @type {number} */ serial) => serials.add(serial);
    if (!mesh?.session.sendNow(this.clock(), text, person, sent)) return false;
    this.#last.sent(this.clock(), text, person, serials, { isInvite: true });
    return true;
  }

  /** @param {string} from the writer's name @param {Extract<import('./mesh.js').MeshEvent, {type: 'text'}>} event */
  came(from, { group, text }) {
    const named = group !== null && group !== GLOBAL && group !== undefined;
    const to = named ? groupLabel(group) : group === null ? 'me' : 'room';
    this.#add({ from, to, mine: false, text, at: Date.now(), ...(named && { group: true }) });
  }

  /** What the server did not pass on, if that is why it said this. @param {Mesh | null} mesh @param {string} code @param {number} [number] of the written message */
  refused(mesh, code, number) {
    const refused = this.#last.refused(this.clock(), code, number);
    // Who writes it again writes it to all.
    if (refused?.sent) mesh?.session.cancelText(refused.sent);
    return refused;
  }

  /** @param {Message} message */
  #add(message) {
    this.#chat.add(message);
    this.changed();
  }
}
