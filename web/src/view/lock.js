/** What a room whose link has a key shows of its encryption. Loaded with what encrypts. */

import { button, h, icon, setText } from './dom.js';
import { openNewLink } from './new-link.js';
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

/** @param {PersonState} person */
function keyFault({ encryption }) {
  if (encryption === null || (encryption.state === 'waiting' && !encryption.isLate)) return null;
  const why = encryption.state === 'refused' ? encryption.why : encryption.state;
  return KEY_FAULTS[why] ?? (encryption.state === 'refused' ? KEY_FAULTS.refused : null);
}

/** What this browser remembers of a person. */
const MET = { known: '', new: 'new here', changed: 'not the same as last time' };

/** What a person's encryption keeps from one of the two, or what is remembered of their key. @param {PersonState} person */
export const keyWords = (person) => keyFault(person)?.[0] ?? MET[person.met];

/** How a room is encrypted, in a few words. @param {PeerState} state */
export function lockWords(state) {
  const people = state.people.filter(({ away }) => !away);
  const without = people.filter(lacksKey).map(({ name }) => name);
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
  return isVerified ? 'Encrypted and verified by the link' : 'Encrypted';
}

/** The names of those of whom that is so. @param {PeerState} state @param {Fault} fault */
const withFault = ({ people }, fault) =>
  people.filter((one) => !one.away && keyFault(one) === fault).map(({ name }) => name);

/** What that means. @param {PeerState} state */
export function lockMeaning(state) {
  const faults = Object.values(KEY_FAULTS).flatMap((fault) => {
    const names = withFault(state, fault);
    const [, happened, meaning = LEFT_OUT] = fault;
    return names.length > 0 ? `${listed(names)} ${happened}: ${meaning}` : [];
  });
  return [
    'Only people who have this room\u2019s link hear you and read what you write. The server cannot: it sees who is here, and when and how much is said.',
    ...faults,
  ].join('\n');
}

/** Who was put out, and can come back by the link. @param {PeerState} state @param {PeerState['keyHolder']} settled of whom it was said */
export const renewalWords = ({ keyHolder }, settled) =>
  keyHolder && keyHolder !== settled
    ? `${keyHolder.name} still has this room’s link. A new link makes a room for those who stay.`
    : '';

/**
 * @template {{say: (text: string) => void, calm: (on: boolean) => void}} A
 * @param {App} app @param {(...actions: HTMLElement[]) => A} alert a line of what is to be known
 */
export function lock(app, alert) {
  const { peer } = app;
  const [few, code] = [h('span'), h('code', { test: 'safety-code' })];
  const meaning = h('p', { className: 'hint', style: 'white-space: pre-line' });
  const mark = h('span', { className: 'lock', test: 'encryption' }, icon('lock'), few);
  const compare = h(
    'p',
    'hint',
    'Code of everyone who is here now. Read it to one another: on each screen it must be the same. ',
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
    renewal.say(made ? `The link to the new room: ${made}` : renewalWords(state, settled));
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
  return {
    mark,
    about: [meaning, compare, newLink('chip', 'renew-link')],
    renewal,
    /** @param {PeerState} state */
    update(state) {
      setText(few, lockWords(state));
      setText(meaning, lockMeaning(state));
      setText(code, state.safetyCode ?? '');
      sayRenewal(state);
    },
  };
}
