/** The page's beginning: what this browser lacks is said, and the rest is shown. */

import { addressFault, linkKey } from './invitation.js';
import { openStorage } from './optional.js';
import { Peer } from './peer.js';
import { roomOf } from './place.js';
import { show, showFailure } from './view/view.js';

const room = roomOf(location.pathname + location.search);
const key = linkKey(location.hash);

// Of an address that differs behind its # alone, the page is not loaded anew.
addEventListener('hashchange', () => {
  if (addressFault(location.href) || linkKey(location.hash) !== key) location.reload();
});

/** Why this page cannot talk here, or null. */
function support() {
  const fault = addressFault(location.href);
  if (fault) return fault;
  // A key is that of a room.
  if (key !== null && room === '') return 'damaged';
  if (!isSecureContext) return 'insecure';
  if (!('AudioEncoder' in globalThis) || !('AudioDecoder' in globalThis)) return 'no-webcodecs';
  if (!('AudioWorkletNode' in globalThis)) return 'no-worklet';
  return null;
}

// The page's address changes with the room, and a relative address of the icon would change with it.
const icon = /** @type {HTMLLinkElement | null} */ (document.querySelector('link[rel=icon]'));
if (icon) icon.href = icon.href;

const root = document.getElementById('app') ?? document.body;
try {
  const lacking = support();
  const { storage, lasts } = openStorage();
  const peer = lacking === null ? new Peer({ storage, room, key }) : null;
  show(peer, {
    root,
    room,
    support: lacking,
    storage,
    lasts,
  });
} catch (error) {
  showFailure(root, error);
  throw error;
}
