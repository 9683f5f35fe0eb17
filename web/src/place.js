/**
 * Where this page stands: below which address, and which room its address names. The page is served at the root of a host
 * or below a path of it, by a proxy that the server may not know of; so every address is made from the page's own.
 */

import { addressFault, hasSecret } from './invitation.js';

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

/** The room that an address names, below the base: `r/ROOM`. @param {string} path with the query @param {URL} [base] */
export function roomOf(path, base = BASE) {
  const match =
    path.startsWith(base.pathname) &&
    /^r\/([^?]+?)\/?(\?.*)?$/.exec(path.slice(base.pathname.length));
  try {
    return match ? decodeURIComponent(match[1]) : '';
  } catch {
    return '';
  }
}

/** Whether what stands before any path is a host beyond doubt: it ends as names of hosts do, has a port, is an IPv4 address, or this machine. @param {string} text */
const isAddress = (text) =>
  /^([^.]+\.)+\p{Alphabetic}{2,}$/u.test(text) || /^(.*:\d+|(\d+\.){3}\d+|localhost)$/i.test(text);

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
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return at === 0 ? 'link' : 'words';
  // A link that was typed, with a slip, or a path without a room.
  if (/^(?:(?:https?|wss?)(?::\/|\/\/).*|\/(?:r\/)?$)/i.test(text)) return 'words';
  const path = text.split(/[#?]/)[0];
  if (/^(\/(?!\/)(.*\/)?)?r\/[^/]+\/?$/.test(path)) return 'path';
  const [host] = path.split('/');
  return host !== path && (isAddress(host) || (isHost(host) && /\/r\/[^/]/.test(path)))
    ? 'link'
    : 'name';
}

/** Without the end of a sentence, unless that would leave no name. A bracket that is opened before belongs to the name. @param {string} text @param {string} ends */
function withoutEnd(text, ends) {
  const count = (/** @type {string} */ letter) => text.split(letter).length;
  /** @type {Record<string, number>} brackets that are closed and were not opened */
  const excess = { ')': count(')') - count('('), ']': count(']') - count('[') };
  let end = text.length;
  while (end > 0 && ends.includes(text[end - 1]) && !(excess[text[end - 1]]-- <= 0)) end -= 1;
  const rest = text.slice(0, end);
  return rest === '' || rest.endsWith('/') ? text : rest;
}

const QUOTES = ['<>', '""', "''", '``', '\u201c\u201d', '()', '[]'];

/** Without the marks that mail programs and people who quote put around a link. @param {string} text */
const unquoted = (text) =>
  text.length > 1 && QUOTES.includes(text[0] + text[text.length - 1])
    ? text.slice(1, -1).trim()
    : text;

const ENDS = '.,;:!?\u2026';

/** As mail programs and people who quote write a link, and the end of a sentence behind it. @param {string} text */
function bare(text) {
  return withoutEnd(unquoted(withoutEnd(text.trim(), ENDS)), `${ENDS})]}>"'\u201d\u2019`);
}

/**
 * A text that was given as a room's name, without what stands around it.
 * @param {string} text
 * @returns {{kind: ReturnType<typeof kindOf> | 'command' | 'damaged', pasted: string, argument: string | undefined}} `argument`: what
 *   stands behind `voicemesh join`, as people copy a command
 */
function read(text) {
  const command = /^(?:[$>]\s+)?(?:\S*[\\/])?voicemesh(?:\.exe)?\s+join(?:\s+(.*))?$/s.exec(
    unquoted(text.trim()),
  );
  const argument = command ? (command[1] ?? '') : undefined;
  const pasted = bare(argument ?? text);
  if (argument === '' || /(^|\s)-+[A-Za-z]/.test(argument ?? ''))
    return { kind: 'command', pasted, argument };
  const kind = kindOf(pasted);
  const isDamaged =
    kind === 'name' ? hasSecret(pasted) : kind !== 'words' && addressFault(pasted) === 'damaged';
  return { kind: isDamaged ? 'damaged' : kind, pasted, argument };
}

/**
 * A link to a room, as people paste it where a room's name is asked for: with or without a scheme, a slash at its end, or
 * what follows `#`, or its path alone. Null for what is just a name.
 * @param {string} text
 * @param {URL} [base]
 * @returns {{room: string, url: string, host: string, isHere: boolean} | null} `isHere`: of the server of this page
 */
export function invitationOf(text, base = BASE) {
  const { kind, pasted, argument } = read(text);
  const here = (/** @type {string} */ room, fragment = '') => ({
    room,
    url: roomUrl(room, base) + fragment,
    host: base.host,
    isHere: true,
  });
  if (kind === 'name' && argument !== undefined) return here(unquoted(argument));
  try {
    if (kind === 'path') {
      const [before] = pasted.split('#');
      const room = before.replace(/\/?(\?.*)?$/s, '').replace(/^.*\//s, '');
      return here(decodeURIComponent(room), pasted.slice(before.length));
    }
    if (kind !== 'link') return null;
    const url = new URL(
      pasted.includes('://') ? pasted.replace(/^ws/i, 'http') : `https://${pasted}`,
    );
    const match = /^(.*\/)r\/([^/]+)\/?$/.exec(url.pathname);
    if (!match || url.username !== '') return null;
    const isHere = url.host === base.host && match[1] === base.pathname;
    return { room: decodeURIComponent(match[2]), url: url.href, host: url.host, isHere };
  } catch {
    return null;
  }
}

/** Why a text neither names a room nor is a link to one, or empty. @param {string} text */
export function linkFault(text) {
  // A path drops them.
  if (/^\s*\.\.?\s*$/.test(text))
    return 'A room cannot be called . or .. \u2013 choose another name.';
  const { kind } = read(text);
  if (kind === 'command') return 'This is a command. Write the room\u2019s name or the link alone.';
  if (kind === 'damaged') return 'This link is damaged. Copy the whole link again.';
  return kind === 'name' || invitationOf(text)
    ? ''
    : 'This is not a link to a room: it must begin with https:// and end with /r/ and the room\u2019s name.';
}
