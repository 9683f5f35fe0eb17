/** The tab's newest ticket of each peer, so that a room is come back to after a reload or a restart of the server. */

const KEY = 'voicemesh ticket ';
/** @type {Map<string, string>} the password that each peer's join named in this page */
const named = new Map();

/** A ticket counts for the password with which it was got, or without one. @param {string} peer @param {string} password */
export function ticketsOf(peer, password) {
  const isOther = password !== '' && named.get(peer) !== password;
  named.set(peer, password);
  /** @type {string | undefined} */
  let ticket;
  try {
    ticket = isOther ? undefined : (sessionStorage.getItem(KEY + peer) ?? undefined);
  } catch {
    // Storage is closed to this page: the ticket lives as long as the peer.
  }
  return {
    ticket,
    /** @param {string} newest */
    keepTicket(newest) {
      try {
        sessionStorage.setItem(KEY + peer, newest);
      } catch {
        // As above.
      }
    },
  };
}
