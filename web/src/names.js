/**
 * What rooms and people are called: the same normal form as every other end computes (PROTOCOL.md, section 2, "Names").
 * Rooms are compared by `key`. What letters look like (UTS 39) is loaded when a name is met that is not ASCII.
 */

/** @typedef {{shown?: string, key?: string, refused?: 'too-long' | 'blank' | 'control'}} Name shown, or why not */

import {
  ASCII_LOOK_ALIKES,
  DUAL,
  EXCEPTION,
  FOLDINGS,
  LEFT,
  RIGHT,
  VIRAMA,
} from './name-tables.js';
import { cut, LIMITS, utf8Length } from './wire.js';

const SHORT_ID = 4;
const PASSES = 3;
/** Of the names that were told apart last, which are almost those of the next time. @type {Map<string, string>} */
let skeletons = new Map();

const ASCII = /^\p{ASCII}*$/u;
const CONTROL = /[\p{Cc}\u2028\u2029]/u;
const UNSEEN = /\p{Default_Ignorable_Code_Point}/u;
/** And the place of an object, what arranges hieroglyphs, the filler of Khitan letters. */
const IGNORABLE =
  /[\p{Default_Ignorable_Code_Point}\ufff9-\ufffc\u{13430}-\u{13440}\u{16fe4}\p{Noncharacter_Code_Point}]/u;
/** What fonts draw as nothing: Braille without dots, the null notehead, the blanks among hieroglyphs. */
const LOOKS_BLANK = /[\u2800\u{1d159}\u{13441}\u{13442}]/gu;
const SEVERAL_SPACES = /\p{White_Space}{2,}/gu;
const OUTER = /^[\p{White_Space}\p{Cc}]+|[\p{White_Space}\p{Cc}]+$/gu;
const TRIMMED = /^\p{White_Space}+|\p{White_Space}+$/gu;
/** Nothing but white space, joiners, and marks without a letter. */
const BLANK = /^[\p{White_Space}\p{Mn}\p{Me}\u200c\u200d]*$/u;

/** A table of ranges, read. @param {string} text @returns {(letter: string) => boolean} */
function table(text) {
  /** @type {[number, number][]} */
  const found = [];
  let at = 0;
  for (const range of text.split(' ')) {
    const [distance, length = 1] = range.split('.').map((digits) => parseInt(digits, 36));
    found.push([at + distance, at + distance + length]);
    at += distance + length;
  }
  return (letter) => {
    const point = letter.codePointAt(0) ?? 0;
    return found.some(([from, to]) => point >= from && point < to);
  };
}

const [isVirama, isDual, isRight, isLeft, isException] = [VIRAMA, DUAL, RIGHT, LEFT, EXCEPTION].map(
  table,
);
const foldings = pairs([...FOLDINGS]);
/** Letters and what they look like. @type {Map<string, string>} */
const prototypes = new Map();
learn(ASCII_LOOK_ALIKES);
/** How much of the table of look-alikes is there. @type {'ascii' | 'loading' | 'whole' | 'unavailable'} */
let known = 'ascii';
/** Called when that has changed. @type {Set<() => void>} */
const waiting = new Set();

/** Entries: the distance from the letter before in base 36 (none for 1), what it looks like. @param {string} text */
function learn(text) {
  let point = 0;
  for (const entry of text.split('|')) {
    const [distance, prototype] = entry.split('%');
    point += distance ? parseInt(distance, 36) : 1;
    prototypes.set(String.fromCodePoint(point), prototype);
  }
}

/** @param {() => void} changed */
async function load(changed) {
  waiting.add(changed);
  if (known === 'loading') return;
  known = 'loading';
  try {
    const { LOOK_ALIKES } = await import('./look-alikes.js');
    learn(LOOK_ALIKES);
    known = 'whole';
    skeletons = new Map();
  } catch {
    known = 'unavailable';
  }
  const calls = [...waiting];
  waiting.clear();
  for (const call of calls) call();
}

/** @param {string[]} letters */
function pairs(letters) {
  /** @type {Map<string, string>} */
  const map = new Map();
  for (let at = 0; at < letters.length; at += 2) map.set(letters[at], letters[at + 1]);
  return map;
}

/**
 * The name of a room, as it is shown and as it is compared.
 * @param {string} text @returns {Name}
 */
export function roomName(text) {
  if (utf8Length(text) > LIMITS.roomNameBytes) return { refused: 'too-long' };
  const shown = clean(text);
  if (BLANK.test(shown)) return { refused: 'blank' };
  // NFC makes a few characters longer, and a link has the shown form.
  return utf8Length(shown) > LIMITS.roomNameBytes
    ? { refused: 'too-long' }
    : { shown, key: fold(shown) };
}

/** A name within a sentence, whose direction it leaves alone. @param {string} name */
export const isolated = (name) => (name === '' ? '' : `\u2068${name}\u2069`);

/** @param {Name} name @param {string} otherwise */
export const shownName = ({ shown }, otherwise) => shown ?? otherwise;

/** What proofs are computed with. @param {string} text */
export const roomKey = (text) => roomName(text).key ?? text;

/**
 * The own name. @param {string} text @returns {Name}
 */
export function displayName(text) {
  const trimmed = text.replace(OUTER, '');
  if (CONTROL.test(trimmed)) return { refused: 'control' };
  const shown = clean(trimmed);
  if (Math.max(utf8Length(trimmed), utf8Length(shown)) > LIMITS.nameBytes)
    return { refused: 'too-long' };
  return BLANK.test(shown) ? { refused: 'blank' } : { shown };
}

/** Another peer's name, as it was received: what is no name becomes one. @param {string} text @param {string} peer */
export function receivedName(text, peer) {
  const name = cut(clean(cut(text, LIMITS.nameBytes)), LIMITS.nameBytes).replace(TRIMMED, '');
  return BLANK.test(name) ? peer.slice(0, SHORT_ID) : name;
}

/**
 * The beginning of the peer id of those whose names look like another's. As long as the table cannot be loaded, of all whose
 * names are not ASCII.
 * @param {[peer: string, name: string][]} names
 * @param {() => void} [changed] called when the table has been loaded, and the answer may be another one
 * @returns {Map<string, string>}
 */
export function shortIds(names, changed = () => {}) {
  /** @type {Map<string | null, Set<string>>} */
  const bySkeleton = new Map();
  const former = skeletons;
  skeletons = new Map();
  for (const [peer, name] of names) {
    const earlier = skeletons.get(name) ?? former.get(name);
    const isLacking = known !== 'whole' && !ASCII.test(name);
    if (isLacking && (earlier === undefined || known === 'loading')) void load(changed);
    const computed = earlier ?? skeleton(name);
    skeletons.set(name, computed);
    const key = isLacking && known === 'unavailable' ? null : computed;
    bySkeleton.set(key, (bySkeleton.get(key) ?? new Set()).add(peer));
  }
  /** @type {Map<string, string>} */
  const found = new Map();
  for (const [key, peers] of bySkeleton) {
    if (peers.size < 2 && key !== null) continue;
    const all = [...peers];
    let letters = SHORT_ID;
    while (new Set(all.map((peer) => peer.slice(0, letters))).size < all.length) letters += 1;
    for (const peer of all) found.set(peer, peer.slice(0, letters));
  }
  return found;
}

/** The same for names that look alike (UTS 39, section 4), as far as the table is there. @param {string} name */
export function skeleton(name) {
  return [...name.normalize('NFD')]
    .filter((letter) => !UNSEEN.test(letter))
    .map((letter) => prototypes.get(letter) ?? letter)
    .join('')
    .normalize('NFD');
}

/** @param {string} text */
export const fold = (text) => [...text].map(foldOne).join('').normalize('NFC');

/** Simple case folding. @param {string} letter */
export const foldOne = (letter) => foldings.get(letter) ?? letter.toLowerCase();

/** Until nothing changes: what goes may have kept marks from changing places. @param {string} text */
function clean(text) {
  let name = cleanedOnce(text);
  for (let pass = 0; pass < PASSES; pass += 1) {
    const again = cleanedOnce(name);
    if (again === name) return name;
    name = again;
  }
  return cleanedOnce(name.replace(/[\u200c\u200d\ufe0f]/g, ''));
}

/** @param {string} text */
function cleanedOnce(text) {
  const spaced = [...text.replace(/\p{Cs}/gu, '\ufffd')]
    .map((letter) => (!CONTROL.test(letter) ? letter : /\s|\x85/.test(letter) ? ' ' : ''))
    .join('');
  return withoutIgnorables([...spaced.normalize('NFC')])
    .replace(LOOKS_BLANK, ' ')
    .replace(SEVERAL_SPACES, ' ')
    .replace(TRIMMED, '')
    .normalize('NFC');
}

/** @param {string[]} letters */
function withoutIgnorables(letters) {
  /** @type {string[]} */
  const kept = [];
  letters.forEach((letter, at) => {
    if (!IGNORABLE.test(letter) || mayStay(letter, kept, letters, at + 1)) kept.push(letter);
  });
  return kept.join('');
}

/**
 * RFC 5892, appendices A.1 and A.2; UAX 29, rule GB11; and the style of emoji.
 * @param {string} letter @param {string[]} before @param {string[]} letters @param {number} next
 */
function mayStay(letter, before, letters, next) {
  const last = before[before.length - 1] ?? '';
  switch (letter) {
    case '\u200c':
      return isVirama(last) || joins(before, letters.slice(next));
    case '\u200d':
      return isVirama(last) || isInEmoji(before, letters[next] ?? '');
    case '\ufe0f':
      return /\p{Emoji}/u.test(last);
    default:
      return false;
  }
}

/** @param {string[]} before @param {string[]} after */
function joins(before, after) {
  const isSeen = (/** @type {string} */ letter) =>
    /[\p{Mn}\p{Me}\p{Cf}]/u.test(letter) === isException(letter);
  const left = [...before].reverse().find(isSeen) ?? '';
  const right = after.find(isSeen) ?? '';
  return (isLeft(left) || isDual(left)) && (isRight(right) || isDual(right));
}

/** @param {string[]} before @param {string} next */
function isInEmoji(before, next) {
  const first =
    [...before].reverse().find((letter) => !/[\ufe0f\p{Emoji_Modifier}]/u.test(letter)) ?? '';
  return /\p{Extended_Pictographic}/u.test(first) && /\p{Extended_Pictographic}/u.test(next);
}
