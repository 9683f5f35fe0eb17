/**
 * Who is in a session and who listens to what, as the server replicates it (PROTOCOL.md, section 7).
 *
 * @typedef {{name: string, groups: Set<string>}} Member
 */

import { groupId } from './wire.js';

/** A session as this client sees it, or last saw it. */
export class View {
  /** @type {Map<number, Member>} client id → member, oneself included */
  members = new Map();
  /** @type {Map<number, Member & {until: number}>} whom the server lost but a link still reaches */
  kept = new Map();
  /** @type {number | null} */
  retiredAt = null;

  /** @param {number} session @param {number} you */
  constructor(session, you) {
    this.session = session;
    this.you = you;
  }

  /** @param {number} client @param {string} group */
  listens(client, group) {
    return (this.members.get(client) ?? this.kept.get(client))?.groups.has(group) ?? false;
  }

  /** Whether a client listens to another name with this name's id. @param {string} name */
  isShared(name) {
    const id = groupId(name);
    return [...this.members.values()].some(({ groups }) =>
      [...groups].some((other) => other !== name && groupId(other) === id),
    );
  }
}
