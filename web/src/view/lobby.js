/** Before joining: who one is, which room, and whether one can be heard. */

import { displayName, roomName, shownName } from '../names.js';
import { copy, showAddress } from '../optional.js';
import { BASE, invitationOf, linkFault, serverUrl } from '../place.js';
import { button, h, icon, logo, setText, toggle } from './dom.js';
import { devices, voice } from './sound.js';
import { lackWords, microphoneWords, nameFault, passwordFault, serverWords } from './words.js';

/** @import { App } from './view.js' */

/** A word of a command, as shells take it. @param {string} text */
const quoted = (text) => (/^[\w.\-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** @param {App} app @param {string} room @param {boolean} invited the address names the room: no need to ask */
export function lobby(app, room, invited) {
  const { peer, settings } = app;
  const name = h('input', {
    test: 'name',
    value: settings.name,
    required: true,
    autocomplete: 'nickname',
    placeholder: 'What the others see',
    oninput: () => name.setCustomValidity(''),
  });
  const where = h('input', {
    test: 'room',
    value: room,
    required: true,
    autocomplete: 'off',
    autocapitalize: 'none',
    placeholder: 'Any name that you agree on',
    oninput: readRoom,
  });
  const place = h('div', { className: 'field', hidden: invited });
  const elsewhere = h('p', { className: 'hint', role: 'status', hidden: true });
  const found = devices(app, true);
  const how = voice(app, 'lobby');
  const secret = h('input', {
    type: 'password',
    test: 'room-password',
    autocomplete: 'off',
    placeholder: 'None',
    oninput: () => secret.setCustomValidity(passwordFault(secret.value)),
  });
  const join = h('button', { type: 'submit', className: 'primary', test: 'join' }, 'Join');
  const silent = button(
    'quiet',
    () => enter(false),
    { test: 'join-silent' },
    'Join without a microphone',
    h('small', {}, '(listen and write)'),
  );
  const cancel = button(
    'quiet',
    () => peer.reset(),
    { test: 'cancel', 'aria-describedby': 'wait' },
    'Cancel',
  );
  const isPrivate = peer.isPrivate(room);
  const lock = h(
    'p',
    { className: 'lock', test: 'private' },
    icon('lock'),
    'Encrypted: only people with this room\u2019s link hear you',
  );
  const open = h('p', {}, 'Talk to the people in a room.');
  const lost = h(
    'p',
    { className: 'hint', role: 'status', test: 'keyless' },
    'Another room: its link has no key. The key belongs to ',
    h('bdi', {}, room),
    '.',
  );
  // The page is on its way to a link that was pasted.
  let leaves = false;
  const create = button(
    'quiet',
    createPrivate,
    { test: 'create-private' },
    icon('lock'),
    'Create a private room',
  );
  const words = h('p', { id: 'wait', role: 'status' });
  const lacks = h('p', { className: 'hint', test: 'lacks' });

  /** Links are pasted where a name is asked for. @returns {boolean} whether it names a room to join from here */
  function readRoom() {
    if (leaves) return false;
    // What the page's address names is a room, whatever it looks like.
    const isGiven = where.value === room;
    const invitation = isGiven ? null : invitationOf(where.value);
    if (invitation?.isHere) {
      where.value = invitation.room;
      // What follows # belongs to the room, and is read when the page opens there: until then
      // there is nothing to join, least of all the room of that name without its key.
      if (invitation.url.includes('#')) {
        leaves = true;
        fields.disabled = true;
        location.assign(invitation.url);
        return false;
      }
    }
    elsewhere.hidden = invitation?.isHere ?? true;
    if (invitation)
      elsewhere.replaceChildren(
        `This link leads to another server, ${invitation.host}. `,
        h('a', { href: invitation.url }, 'Open it there'),
      );
    where.setCustomValidity(isGiven ? '' : linkFault(where.value));
    showLock();
    return elsewhere.hidden;
  }

  /** Whether the named room will be entered with a key. */
  function showLock() {
    lock.hidden = !peer.isPrivate(where.value);
    open.hidden = !lock.hidden;
    lost.hidden = !lock.hidden || !isPrivate || !elsewhere.hidden;
  }

  /** Its link is what one needs to be in it: it goes to the clipboard before anything else. */
  async function createPrivate() {
    if (peer.state.phase === 'joining') return;
    const made = peer.createPrivateRoom();
    const link = peer.linkOf(made);
    settings.change({ name: name.value });
    showAddress(link);
    app.open(made);
    app.tell(
      (await copy(link))
        ? 'The link is copied. Send it to the people you want to talk to.'
        : 'Your private room is ready. Join it, then copy the invite link.',
    );
  }

  /** @param {boolean} microphone */
  function enter(microphone) {
    if (!readRoom()) return where.focus();
    const [own, meant] = [displayName(name.value), roomName(where.value)];
    name.setCustomValidity(nameFault(own));
    if (where.validationMessage === '' || meant.refused) where.setCustomValidity(nameFault(meant));
    // What is wrong with it can be shown only where the field can be seen.
    if (where.validationMessage !== '') place.hidden = false;
    if (!form.reportValidity()) return undefined;
    [name.value, where.value] = [shownName(own, name.value), shownName(meant, where.value)];
    settings.change({ name: name.value, silent: !microphone });
    showAddress(peer.linkOf(where.value));
    void peer.join({
      room: where.value,
      name: name.value,
      relayOnly: settings.relayOnly,
      microphone,
      ...(secret.value && { password: secret.value }),
    });
    return undefined;
  }

  const fields = h(
    'fieldset',
    'stack',
    h('div', 'field', h('label', {}, 'Your name', name)),
    place,
    h('div', 'stack tight', join, silent),
    h(
      'details',
      { test: 'room-has-password' },
      h('summary', {}, 'Password of the room'),
      h(
        'div',
        'stack tight',
        h(
          'label',
          { className: 'field' },
          h(
            'span',
            'hint',
            'The first person in the room sets it; from then on each newcomer needs it.',
          ),
          secret,
        ),
      ),
    ),
    h(
      'details',
      { test: 'settings' },
      h('summary', {}, 'Microphone, speaker and privacy'),
      h(
        'div',
        'stack',
        found.element,
        how.element,
        h(
          'div',
          'privacy',
          toggle(
            'Through the server only',
            settings.relayOnly,
            (on) => settings.change({ relayOnly: on }),
            { test: 'relay-only', 'aria-describedby': 'relay' },
          ),
          h(
            'p',
            { className: 'hint', id: 'relay' },
            'Direct talk is fastest, and shows your IP address to the others in the room. Through the server, they do not see it.',
          ),
        ),
      ),
    ),
  );
  place.append(h('label', {}, 'Room', where), lost, elsewhere);
  showLock();
  const waiting = h('div', { className: 'wait', hidden: true }, words, cancel);
  const form = h(
    'form',
    {
      className: 'card',
      onsubmit: (event) => {
        event.preventDefault();
        enter(true);
      },
    },
    fields,
    waiting,
  );

  const privately = invited
    ? null
    : h(
        'div',
        'private stack tight',
        create,
        h(
          'p',
          'hint',
          'Encrypted from end to end. Only people with its link hear you, and the server cannot listen.',
        ),
      );

  return {
    element: h(
      'main',
      'lobby',
      h(
        'header',
        'brand',
        logo(56),
        h('h1', {}, ...(invited ? ['Join ', h('bdi', {}, room)] : ['voicemesh'])),
        lock,
        open,
      ),
      form,
      lacks,
      privately,
      invited ? h('a', { href: BASE.href }, 'Another room') : null,
      h(
        'p',
        'hint',
        'At a terminal: ',
        h(
          'code',
          {},
          ...(isPrivate
            ? ['voicemesh', 'join', 'LINK']
            : ['voicemesh', 'join', quoted(room || 'ROOM'), '--server', serverUrl()]
          ).flatMap((part) => [h('span', {}, part), ' ']),
        ),
        isPrivate ? 'with the whole link in quotes' : null,
      ),
    ),
    focus: () => (name.value ? join : name).focus(),
    update() {
      const { state } = peer;
      const joining = state.phase === 'joining';
      found.update();
      how.update();
      setText(lacks, lackWords(app.able));
      setText(words, `${serverWords(state)} ${microphoneWords(state.microphone)}`);
      if (fields.hidden === joining) return;
      fields.hidden = joining;
      waiting.hidden = !joining;
      // Its address and lock would stand over a join that leads elsewhere.
      if (privately) privately.hidden = joining;
      (joining ? cancel : join).focus();
    },
    frame: found.frame,
    close: found.close,
  };
}
