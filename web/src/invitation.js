/**
 * What an invitation carries behind its `#` (PROTOCOL.md, "Invitations"). The token is taken out of the address before
 * anything else of the page runs: this module is the first that `main.js` imports, and what it imports only defines.
 */

import { optional, showAddress, tabStorage } from './optional.js';
import { utf8Length } from './wire.js';

const MOST_BYTES = 8192;
const TOKEN_BYTES = 4096;
const ROOM_KEY_BYTES = 128;
const STORED = 'voicemesh-token';

/** The pairs of a fragment, with or without its `#`. @param {string} fragment */
const pairsOf = (fragment) => fragment.replace(/^#/, '').split('&');

/**
 * What is not known or makes no sense is ignored; of two values of one name the first counts.
 * @param {string} fragment with or without its `#`
 */
export function readFragment(fragment) {
  const pairs = utf8Length(fragment) > MOST_BYTES ? [] : pairsOf(fragment);
  const valueOf = (/** @type {string} */ name, /** @type {number} */ most) =>
    pairs
      .filter((pair) => pair.startsWith(name))
      .map((pair) => optional(() => decodeURIComponent(pair.slice(2)), ''))
      .find((value) => value !== '' && utf8Length(value) <= most) ?? null;
  return { k: valueOf('k=', ROOM_KEY_BYTES), t: valueOf('t=', TOKEN_BYTES) };
}

/**
 * Whether a text has what belongs behind the `#` of a link, and no server may see, also as programs change it on its way: in
 * wide or small forms, encoded, with blanks or invisible letters. What may be a name as well counts only with a value as long
 * as that of a key or a token. The terminal program decides by the same vectors.
 * @param {string} text
 */
export function hasSecret(text) {
  let plain = text;
  // What was encoded more than once, too.
  for (let pass = 0; pass < 4; pass += 1)
    plain = plain
      .normalize('NFKD')
      .replace(/%[0-7].|(%[89a-f].)+/gi, (bytes) =>
        optional(() => decodeURIComponent(bytes), bytes),
      );
  plain = plain.replace(/\P{ASCII}/gu, '');
  // A mark that HTML writes as a name or a number ends with a semicolon.
  // Each slash is escaped: what strips the comments ends an expression at one in brackets, too.
  return (
    /[#?&;][\s\/]*(k(ey)?|t(oken)?)\s*([=:]|&(#x3d|#61|equals);)[\w-]{16}/i.test(plain) ||
    /[#&][\s\/]*[kt]\s*=/i.test(plain.slice(plain.indexOf('#')))
  );
}

/** What a fragment has beside a token, if that may be a key or what is left of one. @param {string} fragment */
export function withoutToken(fragment) {
  const others = pairsOf(fragment).filter((pair) => !/^t(=|$)/.test(pair));
  const rest = `#${others.join('&')}`;
  // A name without a value at the end may have lost it.
  return hasSecret(`${rest}=`) ? rest : '';
}

/** Whether a text is a room's key, as links have it: 128 bits in base64url. @param {string | null} text @returns {text is string} */
const isRoomKey = (text) => text !== null && /^[\w-]{21}[AQgw]$/.test(text);

/** The room's key in a fragment. @param {string} fragment */
export function linkKey(fragment) {
  const { k } = readFragment(fragment);
  return isRoomKey(k) ? k : null;
}

/**
 * Why no room is entered by an address: it was changed on its way. What has no whole key is not entered as if it had none.
 * `key`: what it has for one is none.
 * @param {string} address @returns {'key' | 'damaged' | null}
 */
export function addressFault(address) {
  const [before] = address.split('#');
  if (hasSecret(before)) return 'damaged';
  const fragment = address.slice(before.length);
  const { k, t } = readFragment(fragment);
  if (k !== null) return isRoomKey(k) ? null : 'key';
  return fragment !== '' && (t === null || withoutToken(fragment) !== '') ? 'damaged' : null;
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
export const isTokenCode = (code) => /^token-(required|invalid|expired)$/.test(code);

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
  /** @param {MessageEvent} message */
  const listen = ({ data, source }) => {
    const answer = asked.includes(source) && data?.type === 'voicemesh-token' && data.token;
    if (typeof answer !== 'string' || answer === '' || answer.length > TOKEN_BYTES) return;
    // The one that was refused is no answer: another may follow.
    if (answer === token) return;
    removeEventListener('message', listen);
    setToken(answer);
    answered(answer);
  };
  addEventListener('message', listen);
  for (const other of asked) other.postMessage({ type: 'voicemesh-token-needed', room, code }, '*');
}
