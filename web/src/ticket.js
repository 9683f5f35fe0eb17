/** The tab's newest ticket of each peer, so that a room is come back to after a reload or a restart of the server. */

import { tabStorage } from './optional.js';

const KEY = 'voicemesh ticket ';
/** @type {Map<string, string>} the password that each peer's join named in this page */
const named = new Map();

/** A ticket counts for the password with which it was got, or without one. @param {string} peer @param {string} password */
export function ticketsOf(peer, password) {
  const isOther = password !== '' && named.get(peer) !== password;
  named.set(peer, password);
  return {
    // Where storage is closed to this page, it lives as long as the peer.
    ticket: isOther ? undefined : (tabStorage.getItem(KEY + peer) ?? undefined),
    /** @param {string} newest */
    keepTicket: (newest) => tabStorage.setItem(KEY + peer, newest),
  };
}
