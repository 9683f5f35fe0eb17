/** What the page says, all in one place. */

import { groupLabel, quotedGroups } from '../group-name.js';
import { hasSecret } from '../invitation.js';
import { isLeftOut } from '../member-encryption.js';
import { isolated } from '../names.js';
import { GLOBAL } from '../session.js';
import { LIMITS, utf8Length } from '../wire.js';

/** @import { Message, PeerState, PersonState } from '../state.js' */

/** Why this browser cannot talk here. @type {Record<string, [string, string]>} */
const UNSUPPORTED = {
  insecure: [
    'This page is not secure',
    'Browsers give a microphone only to pages with https:// (or on localhost). Open this address with https:// in front, or ask for one that has it.',
  ],
  key: [
    'This link is damaged',
    'The key at its end is not whole, and without it no one in the room could hear you. Copy the whole link again.',
  ],
  damaged: ['This link is damaged', 'Copy the whole link again.'],
};

/** @param {string | null} support @returns {[string, string]} */
export const unsupported = (support) =>
  UNSUPPORTED[support ?? ''] ?? [
    'This browser cannot carry your voice yet',
    `It lacks ${support === 'no-webcodecs' ? 'WebCodecs' : 'AudioWorklet'}. Open this page in a current Chrome, Edge, Safari (26) or Firefox (130, on a computer).`,
  ];

/** The page itself failed. @type {[string, string]} */
export const FAILURE = [
  'This page could not start',
  'Reload it. If it stays, use another browser, and report what is behind “Details”.',
];

/** The page met an exception after its start. */
export const OWN_ERROR =
  'A part of this page has failed: what it shows may be wrong. Reload it; if that does not help, use another browser.';

/** The same where a screen cannot be shown at all. @type {[string, string]} */
export const OWN_FAILURE = [
  'This page cannot be shown',
  'A part of it has failed, and the microphone is closed. Reload it. If it stays, use another browser, and report what is behind “Details”.',
];

/** What this browser lacks or refuses that the page can do without. @param {import('../optional.js').Abilities} able */
export function lackWords({ storage, tabStorage, locks, webRtc, address }) {
  return [
    storage
      ? ''
      : 'This browser stores nothing for this page: after a reload you are a new person here, and your settings are gone.',
    storage && !locks
      ? 'This browser does not tell this page’s tabs apart: after a reload you are a new person here.'
      : '',
    storage && !tabStorage
      ? 'This browser keeps nothing for this tab: after a reload the messages are gone, and a password is asked for again.'
      : '',
    webRtc ? '' : 'This browser does not allow WebRTC: all speech goes through the server.',
    address
      ? ''
      : 'This browser does not let the page change its address: to invite people, use “Copy invite link”.',
  ]
    .filter(Boolean)
    .join(' ');
}

export const REFUSALS = new Map(
  Object.entries({
    kicked: 'A moderator has put you out of this room.',
    'room-locked': 'A moderator has closed this room to newcomers. Try again later.',
    'room-full': 'This room is full. Try again later, or meet in another room.',
    'server-full': 'The server is full. Try again in a few minutes.',
    'bad-name': 'The server does not accept your name. Choose another.',
    'bad-room': 'The server does not accept this room’s name. Choose another.',
    'token-required':
      'This server lets in who has a link from the site or the game that the room belongs to.',
    'token-invalid': 'Your link does not open this room. Get a new one where you got it.',
    'token-expired': 'Your link has expired. Get a new one where you got it.',
    'no-keys':
      'The part of this page that encrypts could not be loaded, and nothing is said in this room without it. Reload the page.',
    'keys-failed':
      'The part of this page that encrypts has failed, and nothing is said in this room without it. Reload the page.',
    'no-sound':
      'The page’s sound could not be started. Reload the page; if that does not help, use another browser.',
    'too-many-tabs': 'This browser has too many tabs in this room. Close one, then try again.',
    'too-many-joins':
      'Too many have joined from your network just now. Wait a minute, then try again.',
    'unsupported-protocol': 'This page is older or newer than the server. Reload it.',
  }),
);

/** What helps after a refusal, where it is not to join again as before. @param {string} code @returns {'reload' | 'change' | 'again'} */
export function remedy(code) {
  if (['failed', 'no-keys', 'keys-failed', 'no-sound', 'unsupported-protocol'].includes(code))
    return 'reload';
  return code === 'bad-name' || code === 'bad-room' ? 'change' : 'again';
}

/** What is wrong with a name that was typed. @param {import('../names.js').Name} name */
export function nameFault({ refused }) {
  if (refused === undefined) return '';
  return refused === 'blank'
    ? 'Type something that can be seen.'
    : refused === 'too-long'
      ? 'This is too long.'
      : 'Use one line.';
}

/** What is wrong with a password. @param {string} password */
export const passwordFault = (password) =>
  utf8Length(password) > LIMITS.passwordBytes
    ? `A password can have at most ${LIMITS.passwordBytes} bytes.`
    : '';

/** What a button says while it must wait. @param {string} words @param {number} ms */
export function waitWords(words, ms) {
  const seconds = Math.ceil(ms / 1000);
  if (seconds <= 0) return words;
  return `${words} (in ${seconds < 90 ? `${seconds} s` : `${Math.ceil(seconds / 60)} minutes`})`;
}

/** How long something lasts, rounded up. @param {number | null} ms null: not known */
export function timeWords(ms) {
  if (ms === null) return 'a while';
  const minutes = Math.ceil(ms / 60_000);
  return minutes <= 1
    ? 'a minute'
    : minutes < 120
      ? `${minutes} minutes`
      : `${Math.ceil(minutes / 60)} hours`;
}

/** Why the room is over, and what to do. @param {PeerState} state @returns {[string, string]} */
export function ending({ phase, refusal, joinedAt }, now = performance.now()) {
  const refused = joinedAt > 0 ? 'You are no longer in the room' : 'You could not join';
  if (phase === 'replaced') {
    return [
      'You are here twice',
      'This room was opened in another tab or window with the same identity, and has stopped here. Go on there, or take it back.',
    ];
  }
  if (phase === 'refused' && refusal?.code.startsWith('password')) {
    return [
      'This room has a password',
      refusal.code === 'password-required'
        ? 'Enter it to join.'
        : refusal.code === 'password-wrong'
          ? 'That was not the password.'
          : 'Wrong passwords came from your network: the next can be tried in a while.',
    ];
  }
  // Not the server: the page itself.
  if (refusal?.code === 'failed' && phase === 'refused') {
    return [
      'You could not join',
      'Something in this browser stopped the page. Reload it. If it stays, use another browser, and report what is behind “Details”.',
    ];
  }
  if (phase === 'refused' && refusal?.code === 'banned') {
    return [
      refused,
      refusal.retryAt !== null && now >= refusal.retryAt
        ? 'A moderator kept you, or your network’s address, out of this room. That time is over: you may join again.'
        : `A moderator keeps you, or your network’s address, out of this room for ${timeWords(refusal.retryAt === null ? null : refusal.retryAt - now)}.`,
    ];
  }
  if (phase === 'refused') {
    return [
      refused,
      REFUSALS.get(refusal?.code ?? '') ??
        `The server said: “${refusal?.message}”. Try again, or ask the people who run this server.`,
    ];
  }
  return ['You have left the room', 'The microphone is closed.'];
}

/**
 * Why the server is not reached, and who can change it.
 * @param {NonNullable<PeerState['problem']>} problem
 */
export function problemWords({ kind, host, status }, origin = globalThis.location?.origin ?? '') {
  switch (kind) {
    case 'offline':
      return 'This device is offline.';
    case 'slow':
      return 'The server was asleep and is waking up. This can take a minute.';
    case 'unreachable':
      return 'The server cannot be reached from here.';
    case 'gateway':
      return `Something in front of the server answers (${status}), the server itself does not: it is stopped, or starting.`;
    case 'busy':
      return `The server is not available right now (${status}).`;
    case 'cookies':
      return `This browser sends more than the server takes (${status}): delete this site’s cookies, or use a private window.`;
    case 'origin':
      return `The server refuses the address of this page, ${origin} (403): to it, its own is ${host}. The people who run it must start it with --allow-origin ${origin} or have its proxy pass the Host header on.`;
    case 'no-upgrade':
      return 'The proxy in front of the server does not let WebSockets through (426): it drops the Upgrade header. The people who run it must pass Upgrade and Connection on.';
    case 'protocol':
      return 'This page is older or newer than the server. Reload it.';
    case 'redirect':
      return 'The server has moved to another address. Reload the page.';
    case 'blocked':
      return 'The server answers, but its WebSocket does not get through: a proxy, a firewall or an extension on the way blocks it.';
    default:
      return `Something else answers at this address than the server (${status}).`;
  }
}

/** What there is to know about the server. @param {PeerState} state */
export function serverWords({
  phase,
  waking,
  people,
  problem,
  microphone,
  cannotEncode,
  muted,
  mayNot,
}) {
  const why = problem && problem.kind !== 'slow' ? problemWords(problem) : '';
  if (phase === 'joining')
    return why
      ? `${why}${why.includes('Reload') ? '' : ' It is tried again.'}`
      : waking
        ? 'The server was asleep and is waking up. This can take a minute.'
        : 'Joining…';
  if (phase !== 'reconnecting') return '';
  const speaks = microphone === 'on' && !cannotEncode && !muted && !mayNot.includes('speak');
  // Trying again helps only where the page is not what has to change.
  const reloads = why.includes('Reload');
  const who = people.some((person) => person.route === 'direct')
    ? `People you are directly connected to ${speaks ? 'still hear you' : 'are still heard'}.`
    : reloads
      ? 'Until then, the others do not hear you.'
      : 'Until the server answers, the others do not hear you.';
  if (reloads) return `${why} ${who}`;
  return `${why || 'The server is away.'} ${who} The page keeps trying${waking ? '; a server that was asleep takes a minute to wake' : ''}.`;
}

/** Shorter than this, nothing comes through while a room is entered or a way changes. */
const SILENT_MS = 1000;

/** Between whom nothing comes through, as long as it is not the server that is away. @param {PeerState} state */
export function silenceWords({ phase, people }) {
  if (phase !== 'joined') return '';
  const present = people.filter((person) => !person.away);
  const silent = present.filter(
    (person) => person.route === 'none' && person.silentMs >= SILENT_MS,
  );
  if (silent.length === 0) return '';
  if (silent.length === present.length)
    return 'Nothing comes through right now: neither what you say nor what the others say. It is tried again.';
  return `Nothing comes through between you and ${listed(silent.map((person) => person.name))} right now. It is tried again.`;
}

/** Three of them, and how many more. @param {string[]} all at least one */
export function listed(all) {
  const names = all.slice(0, 3);
  if (all.length > 3) names.push(`${all.length - 3} more`);
  return names.length > 1
    ? `${names.slice(0, -1).join(', ')} and ${names[names.length - 1]}`
    : names[0];
}

/** What a notice says of a message: keys and tokens stand in the chat only. @param {Message} message */
export const messageWords = ({ from, text }) =>
  `${isolated(from)}: ${hasSecret(text) ? 'a link' : isolated(text.slice(0, 200))}`;

/** @param {PeerState} state */
export const uploadWords = ({ phase, uploadTooSlow, deviceBusy }) =>
  phase !== 'joined' || !uploadTooSlow
    ? ''
    : deviceBusy
      ? 'This device is too busy: others hear you with gaps. Close other programs and pages.'
      : 'Your upload is too slow: others hear you with gaps. Something else on this network may be using it up.';

/** @param {PeerState['microphone']} state */
export function microphoneWords(state) {
  switch (state) {
    case 'asking':
      return 'Your browser asks for the microphone. Allow it, so that the others can hear you.';
    case 'denied':
      return 'The microphone is not allowed. Allow it beside the page’s address, then try again. You can listen and write.';
    case 'blocked':
      return 'The page around this one does not pass the microphone on. You can listen and write, or open the room in its own tab.';
    case 'missing':
      return 'No microphone was found. Plug one in, and it is used. You can listen and write.';
    case 'lost':
      return 'Your microphone is gone. Plug it in again, or choose another.';
    case 'unavailable':
      return 'This browser gives this page no microphone. To be heard, open the page in another browser. You can listen and write.';
    case 'failed':
      return 'The microphone does not open. Close other programs that use it, then try again.';
    default:
      return '';
  }
}

/** That the browser's own encoder fails. @param {PeerState} state */
export const encodingWords = ({ cannotEncode }) =>
  cannotEncode === 'late'
    ? 'Your browser encodes your voice too late: the others cannot hear you. Close other programs and pages. If it stays, reload the page.'
    : cannotEncode
      ? 'Your browser cannot encode your voice: the others cannot hear you. It is tried again. If it stays, reload the page or use another browser.'
      : '';

/** Whom the browser's own decoder does not let one hear. @param {PeerState} state */
export function decodingWords({ phase, people, deviceBusy }) {
  if (phase !== 'joined' && phase !== 'reconnecting') return '';
  // Their cards say that. A decoder that is late is none that refuses.
  if (deviceBusy) return '';
  const names = people.filter((person) => person.cannotDecode).map((person) => person.name);
  return names.length > 0
    ? `Your browser cannot decode the voice of ${listed(names)}: you do not hear them. It is tried again. If it stays, reload the page or use another browser.`
    : '';
}

/** What one's own state keeps from others, or from oneself. @param {PeerState} state */
export function ownWords({ deafened, muted, microphone, cannotEncode, groups, mayNot, silenced }) {
  const unheard = mayNot.includes('speak')
    ? silenced
      ? 'muted for all'
      : 'may not speak'
    : microphone !== 'on' || cannotEncode
      ? 'listening only'
      : muted
        ? 'muted'
        : groups.length > 0 && !groups.some((group) => group.speaking)
          ? 'speaks to no group'
          : '';
  return [unheard, mayNot.includes('listen') ? 'may not listen' : deafened ? 'hears nothing' : '']
    .filter(Boolean)
    .join(', ');
}

/** What this page may not do here, and why. @param {PeerState} state */
export function permissionWords({ phase, mayNot, silenced }) {
  if (phase !== 'joined' || mayNot.length === 0) return '';
  const speak = mayNot.includes('speak');
  if (speak && silenced)
    return 'A moderator has muted you for all: the others do not hear you until a moderator lets you be heard again.';
  const able = [
    speak ? '' : 'speak',
    mayNot.includes('listen') ? '' : 'listen',
    mayNot.includes('data') ? '' : 'write',
  ].filter(Boolean);
  const not = [
    speak ? 'speak' : '',
    mayNot.includes('listen') ? 'listen' : '',
    mayNot.includes('data') ? 'write' : '',
  ].filter(Boolean);
  return `In this room you may ${able.length > 0 ? `${able.join(' and ')}, but not ` : 'not '}${not.join(' or ')}.`;
}

/** Whom a message goes to that is for no single person: the groups that one speaks to. @param {Pick<PeerState, 'groups'>} state */
export function audienceWords({ groups }) {
  const spoken = groups.filter((group) => group.speaking).map(({ name }) => name);
  if (groups.length === 0 || spoken.includes(GLOBAL)) return 'To everyone';
  return spoken.length > 0
    ? `To ${spoken.map(groupLabel).join(', ')}`
    : 'To no one: you speak to no group';
}

/** Where a moderator holds one: as long as that lasts. @param {PeerState} state */
export function heldWords({ phase, heldIn }) {
  if (heldIn.length === 0 || (phase !== 'joined' && phase !== 'reconnecting')) return '';
  return `A moderator holds you in ${quotedGroups(heldIn)}: until you are moved again you can be in no other group.`;
}

/** The talk groups of one who does not just listen to everyone. @param {PersonState} person */
export function groupWords({ groups }) {
  const named = groups.filter((name) => name !== GLOBAL);
  if (named.length === 0) return '';
  return `${groups.includes(GLOBAL) ? '' : 'only '}in ${named.map(groupLabel).join(', ')}`;
}

/** @param {PeerState} state */
export function outputWords({ output, phase }) {
  if (phase !== 'joined' && phase !== 'reconnecting') return '';
  switch (output) {
    case 'waits':
      return 'Your browser waits for a click before it plays sound.';
    case 'default':
      return 'Your speaker is gone. Sound comes from the default one.';
    case 'none':
      return 'No speaker works: you hear nothing. Plug one in or turn it on, and sound comes back.';
    default:
      return '';
  }
}

/** @param {number} ms */
export function durationWords(ms) {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return 'just now';
  const hours = Math.floor(minutes / 60);
  return `for ${hours > 0 ? `${hours} h ${String(minutes % 60).padStart(2, '0')}` : minutes} min`;
}

/** @param {PeerState} state */
export function privacyWords({ relayOnly, serverRelayOnly }) {
  if (serverRelayOnly) return 'All speech here goes through the server.';
  return relayOnly
    ? 'Your speech goes through the server: the others do not see your IP address.'
    : 'People who are connected to you directly can see your IP address.';
}

/** Whether one of the two has a key that the other lacks: neither hears the other. @param {PersonState} person */
export const lacksKey = ({ encryption }) => encryption !== null && isLeftOut(encryption);

/** Whether a person encrypts, and this page does not: it is not heard here. @param {PersonState} person */
const encryptsAlone = ({ encryption }) => encryption?.state === 'only-theirs';

/** Whether a person's speech cannot be opened here, whatever the connection. @param {PersonState} person */
const isSealed = (person) =>
  (lacksKey(person) && person.encryption?.state !== 'plain') ||
  encryptsAlone(person) ||
  (person.encryption?.state === 'waiting' && person.encryption.isLate);

/** Who encrypts here, and this page not: with a key that it came without, or because it could not load what encrypts. @param {PeerState} state */
export function keylessWords({ phase, people }) {
  const theirs = people.filter((one) => !one.away && encryptsAlone(one));
  const keyed = theirs.filter(lacksKey);
  if (phase !== 'joined' || theirs.length === 0) return '';
  const names = listed((keyed.length > 0 ? keyed : theirs).map(({ name }) => name));
  return keyed.length > 0
    ? `Your link has no key, and that of ${names} has one: you do not hear them. Ask for the whole link.`
    : `What encrypts could not be loaded: you hear ${names} only if they let the server hear, and who knows you as one who encrypts does not hear you. Reload the page.`;
}

export const ROUTE = {
  direct: 'direct',
  relayed: 'through the server',
  none: 'nothing comes through right now',
};

/** In ms. Until it is measured: half the round trip, and what both ends take. @param {Pick<PersonState, 'delayMs' | 'roundTripMs'>} person */
const delayOf = ({ delayMs, roundTripMs }) => delayMs ?? (roundTripMs ?? 0) / 2 + 80;

/** How well one peer is heard. @param {PersonState} person @param {PeerState['output']} [output] @returns {'good' | 'fair' | 'poor' | 'gone' | 'unheard'} */
export function quality(person, output = 'on') {
  const { route, lossPercent, delayMs, roundTripMs, cannotDecode } = person;
  if (route === 'none') return 'gone';
  if (isSealed(person)) return 'unheard';
  // However good the connection is.
  if (output === 'none' || output === 'waits' || cannotDecode) return 'unheard';
  const loss = lossPercent ?? 0;
  const delay = delayOf({ delayMs, roundTripMs });
  if (loss < 3 && delay < 200) return 'good';
  return loss < 12 && delay < 400 ? 'fair' : 'poor';
}

/** @param {PersonState} person */
export function hearingWords(person) {
  const { hearsMe, away, route, status, mayNot } = person;
  // What it publishes may not be true: it may hear all of an open room.
  if (lacksKey(person)) return encryptsAlone(person) ? 'you do not hear them' : 'does not hear you';
  if (hearsMe === null || away || route === 'none' || status.deafened || mayNot.includes('listen'))
    return '';
  return hearsMe ? 'hears you' : 'does not hear you';
}

/** What keeps a person from being heard or from hearing. @param {PersonState} person @param {string} [keyWords] what their encryption keeps from them, where this page encrypts */
export function statusWords(person, keyWords = encryptsAlone(person) ? 'encrypted' : '') {
  const { away, mayNot, silenced, status } = person;
  if (away) return 'away';
  const unheard = mayNot.includes('speak')
    ? silenced
      ? 'muted for all'
      : 'may not speak'
    : status.listening_only
      ? 'listening only'
      : status.muted
        ? 'muted'
        : '';
  const deaf = mayNot.includes('listen')
    ? 'may not listen'
    : status.deafened
      ? 'hears nothing'
      : '';
  return [keyWords, unheard, deaf].filter(Boolean).join(', ');
}

export const QUALITY = {
  good: 'Clear',
  fair: 'Fair',
  poor: 'Poor',
  gone: 'No connection',
  unheard: 'Not heard',
};

const LOSSY_PERCENT = 3;
const LATE_MS = 200;

/**
 * What makes a connection less than good, as far as it can be told from here: what all the others have in common is on this
 * side, what one person alone has is on theirs.
 * @param {PersonState} person @param {Pick<PeerState, 'people' | 'output' | 'networkChanged' | 'deviceBusy'>} state
 */
export function reasonWords(person, { people, output, networkChanged, deviceBusy }) {
  const how = quality(person);
  if (isSealed(person)) return '';
  if (how !== 'gone' && output === 'none') return 'your speaker has stopped';
  if (deviceBusy && how !== 'gone' && (how !== 'good' || person.cannotDecode))
    return 'this device is too busy';
  if (person.cannotDecode && how !== 'gone') return 'your browser cannot decode it';
  if (how === 'good' || how === 'gone') return '';
  // What is not played yet arrives late, whatever the network is.
  if (output !== 'on' && output !== 'default') return '';
  if (networkChanged) return 'your network has just changed';
  const others = people.filter((other) => other.id !== person.id && other.lossPercent !== null);
  const loss = person.lossPercent ?? 0;
  if (loss >= LOSSY_PERCENT) {
    const same = others.filter((other) => (other.lossPercent ?? 0) >= LOSSY_PERCENT).length;
    if (others.length === 0) return `${loss} % is lost on the way`;
    return same === others.length
      ? `your connection loses ${loss} %`
      : same === 0
        ? `their connection loses ${loss} %`
        : `${loss} % is lost on the way`;
  }
  if ((person.roundTripMs ?? 0) >= LATE_MS) return 'arrives late: the way is long';
  const measured = others.filter((other) => other.delayMs !== null);
  const late = measured.filter((other) => delayOf(other) >= LATE_MS).length;
  if (measured.length === 0) return 'arrives late';
  return late === measured.length
    ? 'arrives late: your network or this device is busy'
    : late === 0
      ? 'arrives late: their upload is slow, or their device is busy'
      : 'arrives late';
}

/** Each number beside its word. @param {PersonState} person @returns {[string, string][]} */
export function figures({ roundTripMs, lossPercent, delayMs }) {
  const said = (/** @type {number | null} */ value, /** @type {string} */ unit) =>
    value === null ? '–' : `${value} ${unit}`;
  return [
    ['Lost on the way', said(lossPercent, '%')],
    ['Delay of their voice', said(delayMs, 'ms')],
    ['Network round trip', said(roundTripMs, 'ms')],
  ];
}

/** What stands on a key, or its name. @param {{key: string, code: string}} event */
export function keyName({ key, code }) {
  if (/^\S$/u.test(key)) return key.toUpperCase();
  return code.replace(/^(Key|Digit)/, '').replace(/([a-z])([A-Z0-9])/g, '$1 $2') || key;
}

/** Up to two letters for a name. @param {string} name */
export function initials(name) {
  const first = [...name.matchAll(/(?<![\p{L}\p{N}])[\p{L}\p{N}]/gu)].map(([letter]) =>
    letter.toUpperCase(),
  );
  return (first.length > 1 ? first[0] + first[first.length - 1] : first[0]) ?? '·';
}

/** So many colours can be told apart. */
const HUES = 12;

/** The colour that an id has where no other has it. @param {string} id */
function ownHue(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.charCodeAt(0)) % 65_521;
  return sum % HUES;
}

/**
 * The colours of those who are in a room, in degrees: each another one while there are at most twelve people, and the same
 * on everybody's screen. In the order of ids, who finds a colour taken has the next that is taken least.
 * @param {string[]} ids @returns {Map<string, number>}
 */
export function hues(ids) {
  const taken = new Array(HUES).fill(0);
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const id of [...new Set(ids)].sort()) {
    const least = Math.min(...taken);
    let hue = ownHue(id);
    // The next is far from it: of colours side by side one looks almost like the other.
    while (taken[hue] > least) hue = (hue + 5) % HUES;
    taken[hue] += 1;
    found.set(id, hue * 30);
  }
  return found;
}
