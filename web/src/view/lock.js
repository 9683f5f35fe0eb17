/** What a room shows of its encryption. Loaded with what encrypts. */

import { isolated } from '../names.js';
import { button, h, icon, keyed, setAttribute, setText } from './dom.js';
import { openNewLink, renewalWords } from './new-link.js';
import { lacksKey, listed } from './words.js';

/** @import { PeerState, PersonState } from '../state.js' */
/** @import { App } from './view.js' */

/**
 * What keeps a person from being encrypted with this page: in a few words; what happened, behind names; and what that means, if
 * not that they are left out until they have the link.
 * @typedef {[few: string, happened: string, meaning?: string]} Fault
 * @type {Record<string, Fault>}
 */
const KEY_FAULTS = {
  waiting: ['no keys yet', 'gave no keys yet', 'until they come, you may not hear each other.'],
  unable: ['does not encrypt', 'joined without encryption'],
  stopped: ['no longer encrypts', 'came back without encryption'],
  'not-authentic': ['lacks the room’s key', 'came without the key of this room, or with another'],
  'identity-changed': [
    'shows another key',
    'showed another key than before',
    'it may be someone else who has the link. Ask them over another way.',
  ],
  refused: [
    'keys refused',
    'gave keys that are refused',
    'you do not hear each other. All should reload this page, or update their program.',
  ],
};
const LEFT_OUT = 'you do not hear each other, and they read nothing. Send them the whole link.';
/** In a room without a key. */
const KEYLESS_LEFT_OUT =
  'you do not hear each other, and they read nothing. They should reload, or update their program.';
/** People whose programs cannot encrypt, in a room without a key: those who may hear this page all the same, and the others. */
const ALLOWED =
  'cannot encrypt: you hear each other, and so can the server. They read nothing of what you write.';
const NOT_ALLOWED =
  'cannot encrypt: you hear them, and so can the server. They do not hear you, and read nothing of what you write.';

/** What is said of those whom this browser has met here as ones who encrypt, and who cannot now, as the server says. */
const LAPSED = 'encrypted here before, but not now: the server may pretend so';

/** @param {PersonState} person */
const hasLapsed = ({ encryption }) => encryption?.state === 'plain' && encryption.encryptedBefore;

/** @param {PersonState} person */
function keyFault({ encryption }) {
  if (encryption === null || (encryption.state === 'waiting' && !encryption.isLate)) return null;
  const why = encryption.state === 'refused' ? encryption.why : encryption.state;
  return KEY_FAULTS[why] ?? KEY_FAULTS[encryption.state] ?? null;
}

/** What this browser remembers of a person. */
const MET = { known: '', new: 'new here', changed: 'not the same as last time' };

/** What a person's encryption keeps from one of the two, or what is remembered of their key. @param {PersonState} person */
export function keyWords(person) {
  const { encryption } = person;
  if (encryption?.state === 'only-theirs') return 'encrypted';
  if (encryption?.state === 'plain')
    return encryption.isAllowed
      ? 'not encrypted'
      : hasLapsed(person)
        ? 'cannot hear you: no longer encrypts'
        : 'cannot hear you: not encrypted';
  return keyFault(person)?.[0] ?? MET[person.met];
}

/**
 * Whose programs cannot encrypt, where the room has no key. Who may hear this page does so over a link, too, while the server has
 * lost them.
 * @param {PeerState} state @param {boolean} isAllowed */
const plain = ({ people }, isAllowed) =>
  people.filter(
    ({ away, encryption }) =>
      encryption?.state === 'plain' && encryption.isAllowed === isAllowed && (isAllowed || !away),
  );

/** @param {readonly PersonState[]} people */
const namesOf = (people) => people.map(({ name }) => name);

/** How a room is encrypted, in a few words. @param {PeerState} state @param {boolean} [hasKey] the room's link */
export function lockWords(state, hasKey = true) {
  if (state.safetyCode === null) return 'Not encrypted';
  const allowed = plain(state, true);
  if (allowed.length > 0) return `Not encrypted because of ${listed(namesOf(allowed))}`;
  const people = state.people.filter(({ away }) => !away);
  const without = namesOf(people.filter(lacksKey));
  const [other, late] = ['identity-changed', 'waiting'].map((why) =>
    withFault(state, KEY_FAULTS[why]),
  );
  const lacks = [
    without.length > 0 && `without ${listed(without)}`,
    late.length > 0 && `no keys from ${listed(late)} yet`,
  ].filter(Boolean);
  const faults = [
    other.length > 0 && `Another key of ${listed(other)}`,
    lacks.length > 0 && `Encrypted, ${lacks.join(', ')}`,
  ].filter(Boolean);
  if (faults.length > 0) return faults.join('. ');
  if (people.length === 0) return 'Encrypted, no one else is here yet';
  const isVerified = people.every(({ encryption }) => encryption?.state === 'verified');
  if (isVerified) return 'Encrypted and verified by the link';
  return hasKey ? 'Encrypted' : 'Encrypted, compare the code';
}

/** The names of those of whom that is so. @param {PeerState} state @param {Fault} fault */
const withFault = ({ people }, fault) =>
  namesOf(people.filter((one) => !one.away && keyFault(one) === fault));

/** What that means. @param {PeerState} state @param {boolean} [hasKey] the room's link */
export function lockMeaning(state, hasKey = true) {
  if (state.safetyCode === null)
    return 'What encrypts could not be loaded: the server can hear what you say and read what you write. You hear who encrypts only if they let the server hear. Reload the page, or use another browser.';
  const lines = [
    hasKey
      ? 'Only people who have this room\u2019s link hear you and read what you write. The server cannot: it sees who is here, and when and how much is said.'
      : 'What you say and write is sealed for the people here. A server that only listens cannot read it; one that lies could be in between: then the code below is not the same for everyone.',
  ];
  const say = (/** @type {string[]} */ names, /** @type {string} */ words) =>
    names.length > 0 && lines.push(`${listed(names)} ${words}`);
  for (const fault of Object.values(KEY_FAULTS)) {
    const [, happened, meaning = hasKey ? LEFT_OUT : KEYLESS_LEFT_OUT] = fault;
    say(withFault(state, fault), `${happened}: ${meaning}`);
  }
  for (const isAllowed of [true, false]) {
    const people = plain(state, isAllowed);
    say(namesOf(people), isAllowed ? ALLOWED : NOT_ALLOWED);
    say(namesOf(people.filter(hasLapsed)), `${LAPSED}. Ask them over another way.`);
  }
  return lines.join('\n');
}

/** What is asked before someone who cannot encrypt, and so the server, hears this page. @param {PersonState} person */
export const plainQuestion = (person) =>
  `${isolated(person.name)}${hasLapsed(person) ? ` ${LAPSED}` : '\u2019s program cannot encrypt'}. Let the server hear what you say to ${isolated(person.name)}?`;

/** After a question that has gone away by itself the next one waits. */
const QUIET_MS = 1000;
/** After so many a remote may be making them up: then the choices behind the lock remain. */
const MOST_REFUSED = 8;

/** A person about whom is asked: not about another one of the same name, nor under another name. @param {PersonState} person */
const askedAs = ({ id, name }) => `${id} ${name}`;

/**
 * @template {{say: (text: string) => void, calm: (on: boolean) => void}} A
 * @param {App} app @param {(...actions: HTMLElement[]) => A} alert a line of what is to be known
 */
export function lock(app, alert) {
  const { peer } = app;
  const [few, code] = [h('span'), h('code', { test: 'safety-code' })];
  const meaning = h('p', { className: 'hint', style: 'white-space: pre-line' });
  const sign = icon('lock');
  const mark = h('span', { className: 'lock', test: 'encryption' }, sign, few);
  const compare = h(
    'p',
    'hint',
    'Code of everyone here now. Read it to one another: on each screen it must be the same. ',
    code,
  );
  /** Of whom it was said that they still have the link. @type {PeerState['keyHolder']} */
  let settled = null;
  /** Shown until it is read: who makes it may close the dialog before. */
  let made = '';
  const settle = (link = '') => {
    [settled, made] = [peer.state.keyHolder, link];
    sayRenewal(peer.state);
  };
  const sayRenewal = (/** @type {PeerState} */ state) =>
    renewal.say(renewalWords(state, settled, made));
  const newLink = (/** @type {string} */ look, /** @type {string} */ hook) =>
    button(
      look,
      () => {
        const asked = hook === 'renew' ? peer.state.keyHolder?.staying : undefined;
        openNewLink(app, mark.closest('.room') ?? document.body, settle, asked);
      },
      { test: hook },
      'New link…',
    );
  const renewal = alert(
    newLink('primary', 'renew'),
    button('quiet', () => settle(), {}, 'Done'),
  );
  renewal.calm(true);
  const hasKey = peer.isPrivate(peer.state.room);
  /** Of whom it was said that they may not hear: they are not asked about again. @type {Set<string>} */
  const refused = new Set();
  /** Who was just allowed, until that is so. @type {Set<string>} */
  const granted = new Set();
  /** @type {PersonState | undefined} */
  let asked;
  let quietUntil = 0;
  const decide = (/** @type {PersonState} */ person, /** @type {boolean} */ isAllowed) => {
    const [now, before] = isAllowed ? [granted, refused] : [refused, granted];
    now.add(askedAs(person));
    before.delete(askedAs(person));
    peer.allowUnencrypted(person.id, isAllowed ? person.name : null);
  };
  const answer = (/** @type {boolean} */ isAllowed) => {
    if (asked) decide(asked, isAllowed);
    asked = undefined;
    ask(peer.state);
  };
  const ask = (/** @type {PeerState} */ state) => {
    plain(state, true).forEach((person) => granted.delete(askedAs(person)));
    const open = plain(state, false).filter(
      (person) => !refused.has(askedAs(person)) && !granted.has(askedAs(person)),
    );
    const before = asked;
    asked = before && open.find((person) => askedAs(person) === askedAs(before));
    // What is pressed in the moment in which the question goes away must not answer another one.
    if (before && !asked) quietUntil = performance.now() + QUIET_MS;
    if (!asked && performance.now() >= quietUntil && refused.size < MOST_REFUSED) [asked] = open;
    consent.say(asked ? plainQuestion(asked) : '');
  };
  const consent = alert(
    button('quiet', () => answer(true), { test: 'allow-plain' }, 'Let it hear'),
    button('primary', () => answer(false), { test: 'refuse-plain' }, 'No'),
  );
  consent.calm(true);
  // Behind the lock, for who thinks again.
  const choices = h('p');
  const showChoices = keyed(choices, askedAs, (/** @type {PersonState} */ person) => {
    const element = button(
      'chip',
      () => decide(person, element.getAttribute('aria-pressed') !== 'true'),
      {},
      `${isolated(person.name)} hears you, and so does the server`,
    );
    return {
      element,
      update: (/** @type {PersonState} */ { encryption }) =>
        setAttribute(
          element,
          'aria-pressed',
          encryption?.state === 'plain' && encryption.isAllowed,
        ),
    };
  });
  compare.hidden = peer.state.safetyCode === null;
  return {
    mark,
    about: [meaning, compare, choices, ...(hasKey ? [newLink('chip', 'renew-link')] : [])],
    alerts: [consent, renewal],
    /** @param {PeerState} state */
    update(state) {
      setText(few, lockWords(state, hasKey));
      const isPlain = few.textContent?.startsWith('Not');
      sign.toggleAttribute('hidden', isPlain);
      mark.style = isPlain ? 'color: var(--poor)' : '';
      setText(meaning, lockMeaning(state, hasKey));
      setText(code, state.safetyCode ?? '');
      sayRenewal(state);
      ask(state);
      showChoices([...plain(state, false), ...plain(state, true)].sort(byId));
    },
  };
}

/** @param {PersonState} a @param {PersonState} b */
const byId = (a, b) => (a.id < b.id ? -1 : 1);
