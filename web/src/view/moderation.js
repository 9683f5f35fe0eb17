/** What a member who may moderate can decide, about one person and about the room. */

import { groupLabel, groupNamed } from '../group-name.js';
import { isolated } from '../names.js';
import { closeDialog, openDialog } from '../optional.js';
import { button, h, keyed, setText, writer } from './dom.js';
import { passwordFault } from './words.js';

/** @import { PersonState } from '../state.js' */
/** @import { App } from './view.js' */
/** @import { Action } from '../moderation.js' */

const CONFIRM_MS = 4000;

/** A button that acts at the second press: what it does cannot be taken back. @param {string} label @param {string} hook @param {() => void} act */
function confirmed(label, hook, act) {
  let armed = 0;
  const element = button(
    'chip danger',
    () => {
      const now = performance.now();
      if (now < armed) {
        disarm();
        act();
        return;
      }
      armed = now + CONFIRM_MS;
      setText(element, `${label}: press again`);
      setTimeout(() => {
        if (performance.now() >= armed) disarm();
      }, CONFIRM_MS + 50);
    },
    { test: hook, onblur: () => disarm(), ariaLive: 'polite' },
    label,
  );
  function disarm() {
    armed = 0;
    setText(element, label);
  }
  return element;
}

/** @param {App} app @param {PersonState} first */
export function personModeration({ peer, tell }, { id }) {
  let silent = false;
  const decide = (/** @type {Action} */ action, about = {}) =>
    peer.decide(action, { peer: id, ...about });
  const mute = button('chip', () => decide(silent ? 'unmute' : 'mute'), { test: 'mute-all' });
  const known = h('datalist', { id: `groups-${id}` });
  const where = h('input', {
    ariaLabel: 'Group to move to',
    placeholder: 'A group',
    maxLength: 256,
    autocomplete: 'off',
    test: 'move-group',
  });
  where.setAttribute('list', known.id);
  const move = writer(
    tell,
    (text) =>
      decide('move', {
        groups: [
          groupNamed(
            text,
            peer.state.groups.map(({ name }) => name),
          ),
        ],
      }),
    where,
    where,
    known,
    h('button', { type: 'submit', className: 'quiet', test: 'move' }, 'Move there'),
  );
  const element = h(
    'fieldset',
    { className: 'moderation', hidden: true, test: 'moderation' },
    h('legend', {}, 'Moderate'),
    h(
      'div',
      'name',
      mute,
      confirmed('Put out', 'kick', () => decide('kick')),
      confirmed('Keep out for an hour', 'ban', () => decide('ban')),
      confirmed('Let moderate in my place', 'make-owner', () => decide('make-owner')),
    ),
    move,
  );
  let listed = '';
  return {
    element,
    /** @param {PersonState} person */
    update({ mayNot }) {
      const { moderates, groups } = peer.state;
      element.hidden = !moderates;
      if (!moderates) return;
      silent = mayNot.includes('speak');
      setText(mute, silent ? 'Let be heard again' : 'Mute for all');
      const names = groups.map(({ name }) => groupLabel(name));
      if (listed === names.join('\n')) return;
      listed = names.join('\n');
      known.replaceChildren(...names.map((value) => h('option', { value })));
    },
  };
}

/** @param {App} app */
export function roomModeration({ peer }) {
  const lock = button('chip', () => peer.decide(peer.state.locked ? 'unlock' : 'lock'), {
    test: 'lock',
  });
  const secret = h('input', {
    type: 'password',
    ariaLabel: 'Password',
    placeholder: 'Password',
    autocomplete: 'off',
    required: true,
    oninput: () => secret.setCustomValidity(passwordFault(secret.value)),
    test: 'new-password',
  });
  /** @param {string} password */
  const set = (password) => {
    peer.decide('set-password', { password });
    secret.value = '';
    closeDialog(dialog);
  };
  const form = h(
    'form',
    {
      className: 'stack',
      onsubmit: (event) => {
        event.preventDefault();
        set(secret.value);
      },
    },
    h(
      'div',
      'check',
      h('h2', {}, 'Password of the room'),
      button('quiet', () => closeDialog(dialog), {}, 'Close'),
    ),
    h('p', 'hint', 'People who come from now on need it. People who are here stay.'),
    secret,
    h(
      'div',
      'name',
      h(
        'button',
        { type: 'submit', className: 'primary', test: 'set-password' },
        'Set the password',
      ),
      button('quiet', () => set(''), { test: 'remove-password' }, 'Remove the password'),
    ),
  );
  /** @type {HTMLDialogElement} */
  const dialog = h('dialog', { ariaLabel: 'Password of the room' }, form);
  const bans = h('div', { className: 'name', test: 'bans' });
  const leavers = h('div', 'name');
  const showLeavers = keyed(
    leavers,
    (/** @type {{id: string, name: string}} */ { id }) => id,
    ({ id, name }) => ({
      element: confirmed(`Keep ${isolated(name)} out for an hour`, 'ban-left', () =>
        peer.decide('ban', { peer: id }),
      ),
      update: () => {},
    }),
  );
  const left = h('details', { test: 'left' }, h('summary', {}, 'Who left lately'), leavers);
  let listed = '';
  const element = h(
    'div',
    {
      className: 'name decisions',
      hidden: true,
      test: 'room-moderation',
      role: 'group',
      ariaLabel: 'You may moderate this room',
    },
    h('small', {}, 'You moderate:'),
    lock,
    button('chip', () => openDialog(dialog), { test: 'password-dialog' }, 'Password…'),
    bans,
    left,
    dialog,
  );
  return {
    element,
    update() {
      const { moderates, locked, banned, left: gone } = peer.state;
      element.hidden = !moderates;
      setText(lock, locked ? 'Let newcomers in' : 'Close to newcomers');
      if (!moderates) closeDialog(dialog);
      showLeavers(gone);
      left.hidden = gone.length === 0;
      const ids = banned.map(({ id }) => id).join();
      if (listed === ids) return;
      listed = ids;
      bans.replaceChildren(
        ...banned.map(({ id, name }) =>
          button(
            'chip',
            () => peer.decide('unban', { peer: id }),
            { test: 'unban' },
            `Let ${name} come back`,
          ),
        ),
      );
    },
  };
}
