/**
 * Where this page stands: below which address, and which room its address names. The page is served at the root of a host
 * or below a path of it, by a proxy that the server may not know of; so every address is made from the page's own.
 */

/** The lobby's address, with a slash at its end: `BASE/assets/VERSION/place.js` is this module's. */
export const BASE = new URL('../../', import.meta.url);

/** The server's WebSocket. @param {URL} [base] */
export function socketUrl(base = BASE) {
  const url = new URL('ws', base);
  url.protocol = base.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

/** What an invitation to a room says. @param {string} room @param {URL} [base] */
export const roomUrl = (room, base = BASE) => new URL(`r/${encodeURIComponent(room)}`, base).href;

/** What one writes after `--server`. @param {URL} [base] */
export const serverUrl = (base = BASE) => socketUrl(base).replace(/\/ws$/, base.pathname === '/' ? '' : '/');

/** The room that an address names, below the base: `r/ROOM`. @param {string} path @param {URL} [base] */
export function roomOf(path, base = BASE) {
  const match = path.startsWith(base.pathname) && /^r\/(.+?)\/?$/.exec(path.slice(base.pathname.length));
  try {
    return match ? decodeURIComponent(match[1]) : '';
  } catch {
    return '';
  }
}
