/**
 * Encryption state of one member, as crates/mesh has it.
 *
 * @typedef {import('./key-ring.js').Refusal} Refusal
 * @typedef {{state: 'encrypted' | 'verified' | 'unable' | 'stopped'} | {state: 'waiting', isLate: boolean}
 *   | {state: 'plain', isAllowed: boolean, encryptedBefore: boolean} | {state: 'refused', why: Refusal} | {state: 'only-theirs', hasRoomKey: boolean}} MemberEncryption
 *   `waiting`: it can encrypt, and its keys have not come, or are late. `encrypted`, `verified`: what it says is opened, and what is sent to it
 *   sealed; with the room's key no server can be in between. `unable`: its program cannot, where the room has a key; `plain`: the same where it has
 *   none: it is heard, and hears this page, as the server does, if that is allowed; `encryptedBefore`: it did by this browser's last visit, and the server may be what ended that. `stopped`: it did in this stay and does
 *   not now, as the server says. `refused`: its announcement was. `only-theirs`: it encrypts, and this page does not: it is not heard
 *   here; with a room's key it takes nothing from here either.
 */

import { fromBase64Url } from './base64.js';

const [VERSION, PLAIN_BYTES, TAG_BYTES] = [1, 82, 32];

/** @param {import('./key-ring.js').Standing} standing @param {Refusal | null} refusal @param {boolean} canEncrypt @param {boolean} hasRoomKey @param {boolean} isLate @returns {MemberEncryption} */
export function stateOf(standing, refusal, canEncrypt, hasRoomKey, isLate) {
  if (refusal !== null && (!standing.accepted || refusal === 'identity-changed'))
    return { state: 'refused', why: refusal };
  if (standing.accepted && standing.hasKeys)
    return { state: hasRoomKey ? 'verified' : 'encrypted' };
  if (canEncrypt) return { state: 'waiting', isLate };
  return { state: standing.wasAccepted ? 'stopped' : 'unable' };
}

/** What a member that encrypts is to a page that does not; null for any other. @param {Record<string, string>} metadata @returns {MemberEncryption | null} */
export function onlyTheirs({ e2ee = '' }) {
  const announcement = e2ee === '' ? null : fromBase64Url(e2ee);
  if (announcement?.[0] !== VERSION) return null;
  const hasRoomKey = announcement.length === PLAIN_BYTES + TAG_BYTES;
  return hasRoomKey || announcement.length === PLAIN_BYTES
    ? { state: 'only-theirs', hasRoomKey }
    : null;
}

/** Whether the member receives nothing that is said here: it has no keys, and none are on their way. @param {MemberEncryption} encryption */
export const isLeftOut = (encryption) =>
  encryption.state === 'unable' ||
  encryption.state === 'stopped' ||
  (encryption.state === 'plain' && !encryption.isAllowed) ||
  (encryption.state === 'only-theirs' && encryption.hasRoomKey) ||
  (encryption.state === 'refused' && encryption.why !== 'identity-changed');
