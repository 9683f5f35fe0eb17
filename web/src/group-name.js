/** Names of talk groups as people type them, and why one does not listen to one. */

import { isolated, roomKey, roomName, shownName } from './names.js';
import { invitationOf, linkFault } from './place.js';
import { GLOBAL } from './session.js';
import { groupId } from './wire.js';

/** How the group of everyone is called, by the page and by others; in any case. */
const EVERYONE = ['everyone', 'global', 'all'];

/** What a group is called in a sentence: a program may name it freely, so it is shown as rooms are. @param {string} group */
export const groupLabel = (group) =>
  group === GLOBAL ? 'Everyone' : shownName(roomName(group), `#${groupId(group)}`);

/** Names of groups in a sentence. @param {readonly string[]} groups */
export const quotedGroups = (groups) => `“${groups.map(groupLabel).map(isolated).join('”, “')}”`;

/**
 * The one group that a text names. Throws what is wrong with it.
 * @param {string} text @param {readonly string[]} known groups that are there: their names may have commas, and what is called as
 *   one of them but for case and the like is that one. To programs these are two groups
 */
export function groupNamed(text, known) {
  const name = text.trim();
  if (EVERYONE.includes(name.toLowerCase())) return GLOBAL;
  if (known.includes(name)) return name;
  const key = roomKey(name);
  const there = known.find((one) => roomKey(one) === key);
  if (there !== undefined) return there;
  if (name.includes('://') && (invitationOf(name) || linkFault(name) !== ''))
    throw new Error('That is a link to a room. Leave this room, and join that one in the lobby.');
  const { refused, shown = name } = roomName(name);
  if (refused === 'blank') throw new Error('Type the name of a group.');
  if (refused === 'too-long') throw new Error('A group\u2019s name can have at most 256 bytes.');
  if (/[,;]/.test(name))
    throw new Error('Only one group is possible here: type one name, without a comma.');
  return shown;
}

/** Why one does not listen or speak to a group. @param {string} group @param {readonly string[]} held where a moderator holds one */
export function refusedGroup(group, held) {
  const label = isolated(groupLabel(group));
  if (held.length > 0)
    return `A moderator holds you in ${quotedGroups(held)}: you cannot join “${label}”.`;
  return `The server refuses the group “${label}”: another name is too much like it, or there are too many groups. Choose another name.`;
}
