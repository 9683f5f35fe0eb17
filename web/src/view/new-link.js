/**
 * “New link”: a new room with a new key, for those who stay when one who has the link must not hear any more, as `/new-link` at a
 * terminal makes it. Loaded with what encrypts.
 */

import { isolated } from '../names.js';
import { closeDialog, copy, openDialog } from '../optional.js';
import { button, h, setText } from './dom.js';
import { keyWords } from './lock.js';

/** @import { PeerState, PersonState } from '../state.js' */
/** @import { App } from './view.js' */
/** @typedef {{staying: PersonState[], leftOut: PersonState[], cameSince: PersonState[], unwritten: PersonState[]}} Invited `unwritten`: they are away, or the text to them was not sent */

/**
 * Those who have this room's key get it; of them only those whom the user was asked about: who was put out may have come back by
 * the old link since.
 * @param {PersonState[]} people @param {ReadonlySet<string>} [asked] ids @returns {Invited}
 */
export function invited(people, asked) {
  const readers = people.filter(({ encryption }) => encryption?.state === 'verified');
  const wanted = readers.filter(({ id }) => asked?.has(id) ?? true);
  return {
    staying: wanted.filter(({ away }) => !away),
    leftOut: people.filter((person) => !readers.includes(person)),
    cameSince: readers.filter(({ id }) => asked && !asked.has(id)),
    unwritten: wanted.filter(({ away }) => away),
  };
}

/** With what one should know of each. @param {PersonState[]} people */
const names = (people) =>
  people
    .map((person) => {
      const waits = person.encryption?.state === 'waiting' ? 'no keys yet' : '';
      const about = keyWords(person) || waits;
      return isolated(person.name) + (about && ` (${about})`);
    })
    .join(', ');

/** @param {Invited} invited */
function remark({ leftOut, cameSince, unwritten }) {
  return [
    leftOut.length > 0 && `Not written to: ${names(leftOut)}.`,
    cameSince.length > 0 && `Not written to, because they came later: ${names(cameSince)}.`,
    unwritten.length > 0 && `Could not be written to: ${names(unwritten)}.`,
  ]
    .filter(Boolean)
    .join(' ');
}

/** What is asked before anything is made. @param {Invited} invited */
export const question = (invited) =>
  (invited.staying.length === 0
    ? 'This makes a room with a new key, and shows its link to you alone. '
    : `This makes a room with a new key, and writes its link privately to ${names(invited.staying)}. Who is not to have it must be put out before. `) +
  remark(invited);

/** What is said once it is sent. @param {Invited} invited */
export const answer = (invited) =>
  (invited.staying.length === 0
    ? 'No one was sent the link to the new room. '
    : `The link to the new room was written to ${names(invited.staying)}. `) + remark(invited);

/** What one of those who stay reads. It names the reader, so that no two are the same. @param {string} name @param {string} link */
export const inviteText = (name, link) =>
  `${name}, we go on in a new room, with a new key: ${link}`;

/** Who was put out, and can come back by the link. @param {PeerState} state @param {PeerState['keyHolder']} settled of whom it was said @param {string} [made] the link that was made since */
export const renewalWords = ({ keyHolder }, settled, made) =>
  made
    ? `The link to the new room: ${made}`
    : keyHolder && keyHolder !== settled
      ? `${keyHolder.name} still has this room’s link. A new link makes a room for those who stay.`
      : '';

/** @param {App} app @param {Element} room where the dialog is put @param {(link: string) => void} made @param {ReadonlySet<string>} [present] the ids of those whom it may be for */
export function openNewLink({ peer, tell }, room, made, present) {
  const asked = invited(peer.state.people, present);
  const ids = new Set([...asked.staying, ...asked.unwritten].map(({ id }) => id));
  const words = h(
    'p',
    { role: 'status', id: 'new-link-words', test: 'new-link-words' },
    question(asked),
  );
  const make = button('primary', send, { test: 'new-link-send' }, 'Make the new link');
  const actions = h('div', 'name', make);
  const close = button('quiet', () => closeDialog(dialog), {}, 'Close');
  /** @type {HTMLDialogElement} */
  const dialog = h(
    'dialog',
    {
      ariaLabel: 'New link',
      'aria-describedby': words.id,
      onclose: () => {
        peer.removeEventListener('notice', noticed);
        dialog.remove();
      },
    },
    h('div', 'stack', h('div', 'check', h('h2', {}, 'New link'), close), words, actions),
  );

  /** The server refuses an invite after it was sent. @param {any} event */
  function noticed({ detail: { kind, text } }) {
    if (kind === 'uninvited') words.append(` ${text}`);
  }

  function send() {
    const link = peer.linkOf(peer.createPrivateRoom());
    const now = invited(peer.state.people, ids);
    /** @type {PersonState[]} */
    const staying = [];
    const unwritten = [...now.unwritten];
    for (const person of now.staying)
      (peer.invite(inviteText(person.name, link), person.id) ? staying : unwritten).push(person);
    setText(words, answer({ ...now, staying, unwritten }));
    const shown = h('input', {
      readOnly: true,
      value: link,
      ariaLabel: 'New link',
      test: 'new-link',
    });
    const copied = async () =>
      (await copy(link)) ? tell('The new link is copied.') : shown.select();
    actions.replaceChildren(
      shown,
      button('quiet', copied, {}, 'Copy'),
      button('primary', () => location.assign(link), { test: 'new-link-go' }, 'Go to the new room'),
    );
    // The button that had the focus is gone.
    shown.focus();
    shown.select();
    made(link);
  }

  peer.addEventListener('notice', noticed);
  room.append(dialog);
  openDialog(dialog);
}
