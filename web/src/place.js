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
export const serverUrl = (base = BASE) =>
  socketUrl(base).replace(/\/ws$/, base.pathname === '/' ? '' : '/');

/** The room that an address names, below the base: `r/ROOM`. @param {string} path @param {URL} [base] */
export function roomOf(path, base = BASE) {
  const match =
    path.startsWith(base.pathname) && /^r\/(.+?)\/?$/.exec(path.slice(base.pathname.length));
  try {
    return match ? decodeURIComponent(match[1]) : '';
  } catch {
    return '';
  }
}

/** Whether what stands before the path is a host: with a dot in it, with a port, or this machine. @param {string} text */
const isHost = (text) =>
  /[^.]\.+[^.]/.test(text) || /:\d+$/.test(text) || text.toLowerCase() === 'localhost';

/** Whether a text is a link to a room, and not a room's name. The terminal program decides by the same vectors. @param {string} text */
function isLink(text) {
  if (/\s/.test(text)) return false;
  const hasScheme = /^(https?|wss?):\/\//i.test(text);
  const [host, ...segments] = text.split('#')[0].split('/');
  return (
    hasScheme ||
    (isHost(host) &&
      segments.some((segment, at) => segment === 'r' && (segments[at + 1] ?? '') !== ''))
  );
}

/** As mail programs and people who quote write a link. @param {string} text */
const bare = (text) =>
  text
    .trim()
    .replace(/^(?:<(.*)>|"(.*)"|'(.*)'|`(.*)`|“(.*)”)$/s, (_, ...inside) =>
      String(inside.slice(0, 5).find((part) => part !== undefined)).trim(),
    );

/** A link among other words, or of a kind that leads to no room. @param {string} text */
const holdsLink = (text) => /(https?|wss?):\/\//i.test(text);

/**
 * A link to a room, as people paste it where a room's name is asked for: with or without a scheme, a slash at its end, or
 * what follows `#`. Null for what is just a name.
 * @param {string} text
 * @param {URL} [base]
 * @returns {{room: string, url: string, host: string, isHere: boolean} | null} `isHere`: of the server of this page
 */
export function invitationOf(text, base = BASE) {
  const trimmed = bare(text);
  if (!isLink(trimmed)) return null;
  try {
    const url = new URL(
      /^\w+:\/\//.test(trimmed) ? trimmed.replace(/^ws/i, 'http') : `https://${trimmed}`,
    );
    const match = /^(.*\/)r\/([^/]+)\/?$/.exec(url.pathname);
    if (!match || url.username !== '') return null;
    const isHere = url.host === base.host && match[1] === base.pathname;
    return { room: decodeURIComponent(match[2]), url: url.href, host: url.host, isHere };
  } catch {
    return null;
  }
}

/** What is wrong with an address that is no link to a room; empty for a link, and for what is just a name. @param {string} text */
export const linkFault = (text) =>
  (!isLink(bare(text)) && !holdsLink(text)) || invitationOf(text)
    ? ''
    : 'This is not a link to a room: it must end with /r/ and the room\u2019s name.';

/** No address can name these: a path drops them. @param {string} room */
export const isUnlinkable = (room) => room === '.' || room === '..';
