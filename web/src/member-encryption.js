/**
 * Encryption state of one member, as crates/mesh has it.
 *
 * @typedef {import('./key-ring.js').Refusal} Refusal
 * @typedef {{state: 'waiting' | 'encrypted' | 'verified' | 'unable' | 'stopped'} | {state: 'refused', why: Refusal}} MemberEncryption
 *   `waiting`: it can encrypt, and its keys have not come. `encrypted`, `verified`: what it says is opened, and what is sent to it
 *   sealed; with the room's key no server can be in between. `unable`: its program cannot. `stopped`: it did in this stay and does
 *   not now, as the server says. `refused`: its announcement was.
 */

/** @param {import('./key-ring.js').Standing} standing @param {Refusal | null} refusal @param {boolean} canEncrypt @param {boolean} hasRoomKey @returns {MemberEncryption} */
export function stateOf(standing, refusal, canEncrypt, hasRoomKey) {
  if (refusal !== null && (!standing.accepted || refusal === 'identity-changed'))
    return { state: 'refused', why: refusal };
  if (standing.accepted && standing.hasKeys)
    return { state: hasRoomKey ? 'verified' : 'encrypted' };
  if (canEncrypt) return { state: 'waiting' };
  return { state: standing.wasAccepted ? 'stopped' : 'unable' };
}

/** Whether the member receives nothing that is said here: it has no keys, and none are on their way. @param {MemberEncryption} encryption */
export const isLeftOut = (encryption) =>
  encryption.state === 'unable' ||
  encryption.state === 'stopped' ||
  (encryption.state === 'refused' && encryption.why !== 'identity-changed');
