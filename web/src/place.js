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

/** @param {string} letters of ASCII */
const escaped = (letters) =>
  letters.replace(/./gs, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`);

/** As a link has it: what a sentence may have around or behind it is written so that it cannot be taken for that. @param {string} room */
const encoded = (room) =>
  encodeURIComponent(room)
    .replace(/[()]+/g, escaped)
    .replace(/[.!']+$/, escaped);

/** What an invitation to a room says. @param {string} room @param {URL} [base] */
export const roomUrl = (room, base = BASE) => new URL(`r/${encoded(room)}`, base).href;

/** What one writes after `--server`. @param {URL} [base] */
export const serverUrl = (base = BASE) =>
  socketUrl(base).replace(/\/ws$/, base.pathname === '/' ? '' : '/');

/** Whether a text has what belongs behind the `#` of a link, which a program has encoded or made a query of, and no server may see. @param {string} text */
const hasSecret = (text) =>
  /(([#\uff03]|%(25)*23)(.{0,99}&)?[kt](=|%(25)*3d)|[?&][kt]=[\w-]{16})/i.test(text);

/** The room that an address names, below the base: `r/ROOM`. @param {string} path with the query @param {URL} [base] */
export function roomOf(path, base = BASE) {
  const match =
    path.startsWith(base.pathname) &&
    /^r\/([^?]+?)\/?(\?.*)?$/.exec(path.slice(base.pathname.length));
  try {
    const room = match ? decodeURIComponent(match[1]) : '';
    return hasSecret(room + path) ? '' : room;
  } catch {
    return '';
  }
}

/** Whether what stands before any path is a host beyond doubt: it ends as names of hosts do, has a port, is an IPv4 address, or this machine. @param {string} text */
const isAddress = (text) =>
  /^([^.]+\.)+\p{Alphabetic}{2,}$/u.test(text) ||
  /:\d+$/.test(text) ||
  /^(\d+\.){3}\d+$/.test(text) ||
  text.toLowerCase() === 'localhost';

/** Whether what stands before a path with `/r/` in it is a host. @param {string} text */
const isHost = (text) => /[^.]\.+[^.]/.test(text) || isAddress(text);

const SCHEME = /(https?|wss?):\/\//i;

/**
 * What a text is that was given as a room's name. The terminal program decides by the same vectors.
 * @param {string} text @returns {'name' | 'path' | 'link' | 'words'} `path`: of a link to this server; `words`: a link with others beside it
 */
function kindOf(text) {
  const at = text.search(SCHEME);
  if (/\s/.test(text) || at > 0) return at >= 0 ? 'words' : 'name';
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return 'link';
  // A link that was typed, with a slip, or a path without a room.
  if (/^(?:(?:https?|wss?)(?::\/|\/\/).*|\/(?:r\/)?$)/i.test(text)) return 'words';
  const path = text.split(/[#?]/)[0];
  if (/^(\/(?!\/)(.*\/)?)?r\/[^/]+\/?$/.test(path)) return 'path';
  const [host, ...segments] = path.split('/');
  if (segments.length === 0) return 'name';
  const namesRoom = segments.some(
    (segment, index) => segment === 'r' && (segments[index + 1] ?? '') !== '',
  );
  return isAddress(host) || (isHost(host) && namesRoom) ? 'link' : 'name';
}

/** @param {string} text @param {string} letter */
const count = (text, letter) => text.split(letter).length - 1;

/** Without the end of a sentence, unless that would leave no name. A bracket that is opened before belongs to the name. @param {string} text @param {string} ends */
function withoutEnd(text, ends) {
  let rest = text;
  while (rest !== '' && ends.includes(rest[rest.length - 1])) {
    const last = rest[rest.length - 1];
    const opening = last === ')' ? '(' : last === ']' ? '[' : '';
    if (opening !== '' && count(rest, last) <= count(rest, opening)) break;
    rest = rest.slice(0, -1);
  }
  return rest === '' || rest.endsWith('/') ? text : rest;
}

const QUOTED = /^(?:<(.*)>|"(.*)"|'(.*)'|`(.*)`|\u201c(.*)\u201d|\((.*)\)|\[(.*)\])$/s;

/** Without the marks that mail programs and people who quote put around a link. @param {string} text */
const unquoted = (text) =>
  text.replace(QUOTED, (_, ...inside) =>
    String(inside.slice(0, 7).find((part) => part !== undefined)).trim(),
  );

/** What stands behind `voicemesh join`, as people copy a command; undefined for anything else. @param {string} text */
const argumentOf = (text) => {
  const match = /^(?:[$>]\s+)?(?:\S*[\\/])?voicemesh(?:\.exe)?\s+join(?:\s+(.*))?$/s.exec(
    unquoted(text.trim()),
  );
  return match ? (match[1] ?? '') : undefined;
};

/** Whether an argument is no room and no link. @param {string | undefined} argument */
const isCommand = (argument) => argument === '' || /(^|\s)-+[A-Za-z]/.test(argument ?? '');

const ENDS = '.,;:!?\u2026';

/** As mail programs and people who quote write a link, and the end of a sentence behind it. @param {string} text */
function bare(text) {
  return withoutEnd(unquoted(withoutEnd(text.trim(), ENDS)), `${ENDS})]}>"'\u201d\u2019`);
}

/**
 * A link to a room, as people paste it where a room's name is asked for: with or without a scheme, a slash at its end, or
 * what follows `#`, or its path alone. Null for what is just a name.
 * @param {string} text
 * @param {URL} [base]
 * @returns {{room: string, url: string, host: string, isHere: boolean} | null} `isHere`: of the server of this page
 */
export function invitationOf(text, base = BASE) {
  const argument = argumentOf(text);
  if (isCommand(argument)) return null;
  const pasted = bare(argument ?? text);
  const kind = kindOf(pasted);
  const [before] = kind === 'name' ? [pasted] : pasted.split('#');
  if (hasSecret(before)) return null;
  if (kind === 'name' && argument !== undefined) {
    const room = unquoted(argument);
    return { room, url: roomUrl(room, base), host: base.host, isHere: true };
  }
  try {
    if (kind === 'path') {
      const room = decodeURIComponent(before.replace(/\/?(\?.*)?$/s, '').replace(/^.*\//s, ''));
      if (hasSecret(room)) return null;
      const url = roomUrl(room, base) + pasted.slice(before.length);
      return { room, url, host: base.host, isHere: true };
    }
    if (kind !== 'link') return null;
    const hasScheme = pasted.includes('://');
    if (hasScheme && pasted.search(SCHEME) !== 0) return null;
    const url = new URL(hasScheme ? pasted.replace(/^ws/i, 'http') : `https://${pasted}`);
    const match = /^(.*\/)r\/([^/]+)\/?$/.exec(url.pathname);
    if (!match || url.username !== '') return null;
    const isHere = url.host === base.host && match[1] === base.pathname;
    const room = decodeURIComponent(match[2]);
    return hasSecret(room) ? null : { room, url: url.href, host: url.host, isHere };
  } catch {
    return null;
  }
}

/** What is wrong with an address that is no link to a room; empty for a link, and for what is just a name. @param {string} text */
export const linkFault = (text) => {
  const argument = argumentOf(text);
  if (isCommand(argument))
    return 'This is a command. Write the room\u2019s name or the link alone.';
  const pasted = bare(argument ?? text);
  return (kindOf(pasted) === 'name' && !hasSecret(pasted)) || invitationOf(text)
    ? ''
    : 'This is not a link to a room: it must begin with https:// and end with /r/ and the room\u2019s name.';
};

/** No address can name these: a path drops them. @param {string} room */
export const isUnlinkable = (room) => room === '.' || room === '..';
