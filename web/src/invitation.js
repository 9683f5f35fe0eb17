/**
 * What an invitation carries behind its `#` (PROTOCOL.md, "Invitations"). The token is taken out of the address before
 * anything else of the page runs: this module is the first that `main.js` imports, and what it imports only defines.
 */

import { optional, showAddress, tabStorage } from './optional.js';

const MOST_BYTES = 8192;
const TOKEN_BYTES = 4096;
const ROOM_KEY_BYTES = 128;
const STORED = 'voicemesh-token';

/** @param {string} value */
function decoded(value) {
  if (/%(?![0-9a-f]{2})/i.test(value)) return null;
  return optional(() => decodeURIComponent(value), null);
}

/**
 * What is not known or makes no sense is ignored; of two values of one name the first counts.
 * @param {string} fragment with or without its `#` @returns {{k: string | null, t: string | null}}
 */
export function readFragment(fragment) {
  const read = { k: /** @type {string | null} */ (null), t: /** @type {string | null} */ (null) };
  const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text).length;
  if (bytes(fragment) > MOST_BYTES) return read;
  for (const pair of fragment.replace(/^#/, '').split('&')) {
    const at = pair.indexOf('=');
    const name = pair.slice(0, Math.max(at, 0));
    if (name !== 'k' && name !== 't') continue;
    const value = decoded(pair.slice(at + 1));
    if (!value || bytes(value) > (name === 't' ? TOKEN_BYTES : ROOM_KEY_BYTES)) continue;
    read[name] ??= value;
  }
  return read;
}

/** The fragment without tokens. @param {string} fragment */
export function withoutToken(fragment) {
  const rest = fragment
    .replace(/^#/, '')
    .split('&')
    .filter((pair) => pair !== '' && !/^t(=|$)/.test(pair));
  return rest.length > 0 ? `#${rest.join('&')}` : '';
}

/**
 * Moves the token from the address to memory, and to the tab's own storage for a reload.
 * @param {{pathname: string, search: string, hash: string}} address
 * @returns {string | null} the token
 */
export function takeToken({ pathname, search, hash }) {
  const { t } = readFragment(hash);
  // Where the browser keeps its address as it is, the token stays in it.
  if (/(^#|&)t(=|&|$)/.test(hash)) showAddress(pathname + search + withoutToken(hash));
  if (t) tabStorage.setItem(STORED, t);
  return t ?? tabStorage.getItem(STORED);
}

/** The token of this page, if it came by one. */
let token = globalThis.location ? takeToken(location) : null;

export const currentToken = () => token;

/** @param {string} newer */
export function setToken(newer) {
  token = newer;
  tabStorage.setItem(STORED, newer);
}

/** The codes by which a server asks for another token. @param {string} code */
export const isTokenCode = (code) =>
  code === 'token-required' || code === 'token-invalid' || code === 'token-expired';

/**
 * Asks the window that opened or frames this page for a token, and hands over what it answers. Nothing secret is asked, so
 * that it may be anybody; only from that window is an answer taken, and only another token than the page has.
 * @param {{room: string, code: string}} about @param {(token: string) => void} answered
 */
export function askForToken({ room, code }, answered) {
  const asked = [globalThis.opener, globalThis.parent].filter(
    (other) => other && other !== globalThis,
  );
  if (asked.length === 0) return;
  /** @param {MessageEvent} event */
  const listen = (event) => {
    const { data, source } = event;
    if (
      !asked.includes(source) ||
      data?.type !== 'voicemesh-token' ||
      typeof data.token !== 'string'
    )
      return;
    if (data.token === '' || data.token.length > TOKEN_BYTES) return;
    // The one that was refused is no answer: another may follow.
    if (data.token === token) return;
    removeEventListener('message', listen);
    setToken(data.token);
    answered(data.token);
  };
  addEventListener('message', listen);
  for (const other of asked) other.postMessage({ type: 'voicemesh-token-needed', room, code }, '*');
}
