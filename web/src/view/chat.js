/** What is written, to the room or to one person. */

import { roomName } from '../names.js';
import { timeOfDay } from '../optional.js';
import { button, h, setAttribute, writer } from './dom.js';
import { audienceWords } from './words.js';

/** @import { Message, PersonState } from '../state.js' */
/** @import { App } from './view.js' */

/** Those that came after `last`. @param {readonly Message[]} messages @param {Message | undefined} last */
export function newerThan(messages, last) {
  return messages.slice(last ? messages.lastIndexOf(last) + 1 : 0);
}

/** A web address in a text, without what ends a sentence behind it. */
export const LINK = /(https?:\/\/[^\s<>"]*[^\s<>"'.,;:!?)\]])/i;

/** Web addresses as links; the rest as it is. @param {string} text @returns {(string | HTMLElement)[]} */
function linked(text) {
  return text
    .split(LINK)
    .map((part, at) =>
      at % 2 === 0
        ? part
        : h('a', { href: part, target: '_blank', rel: 'noopener noreferrer' }, part),
    );
}

/** Marks the newest of the own messages with this text. @param {HTMLElement} list @param {string} text */
export function unsent({ children }, text) {
  const row = [...children]
    .reverse()
    .find(
      ({ className, lastElementChild }) =>
        /mine(?!.*unsent)/.test(className) && lastElementChild?.textContent === text,
    );
  if (!row) return;
  row.className += ' unsent';
  row.firstElementChild?.append(', not sent');
}

/** @param {App} app */
export function chat({ peer, tell }) {
  /** @type {readonly Message[] | null} null: nothing yet, and what is there has been read before a reload */
  let shown = null;
  let atEnd = true;
  let listed = '';
  const list = h('ol');
  const scroller = h(
    'div',
    {
      className: 'messages',
      test: 'messages',
      role: 'log',
      ariaLabel: 'Messages',
      tabIndex: 0,
      onscroll: () => {
        if (scroller.clientHeight > 0)
          atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
        if (atEnd) newest.hidden = true;
      },
    },
    list,
  );
  const newest = button('primary newest', () => toEnd(), { hidden: true }, 'New messages ↓');
  const empty = h(
    'p',
    'hint',
    'No messages yet. They are kept in this tab only: people who come later do not see them.',
  );
  const input = h('textarea', {
    test: 'chat-input',
    rows: 1,
    autocomplete: 'off',
    placeholder: 'Write a message',
    ariaLabel: 'Message',
    enterKeyHint: 'send',
    onkeydown: (event) => {
      // With Shift it is a new line; while a word is being composed it ends that.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    },
  });
  const to = h('select', { ariaLabel: 'To whom', onchange: () => mark() });
  const send = h('button', { type: 'submit', className: 'primary', test: 'chat-send' }, 'Send');
  const form = writer(
    tell,
    (text) => {
      if (text === '') return;
      if (roomName(text.slice(0, 60)).refused === 'blank')
        throw new Error('Type something that can be seen.');
      peer.sendText(text, to.value || null);
    },
    input,
    to,
    input,
    send,
  );

  const refused = (/** @type {Event} */ event) => {
    const { why } = /** @type {CustomEvent} */ (event).detail;
    tell(why ?? 'The server did not pass your message on. Send it again in a moment.');
    const { text, to: person } = /** @type {CustomEvent} */ (event).detail;
    unsent(list, text);
    if (input.value !== '') return;
    input.value = text;
    // What was meant for one must not go to everyone.
    to.value = person ?? '';
    if (to.selectedIndex < 0) {
      to.append(h('option', { value: person }, 'A person who has left'));
      to.value = person;
    }
    mark();
  };
  peer.addEventListener('text-refused', refused);

  /** What only one person will see looks different before it is sent. */
  function mark() {
    const isPrivate = to.value !== '';
    setAttribute(form, 'data-private', isPrivate);
    input.placeholder = isPrivate ? (to.selectedOptions[0]?.textContent ?? '') : 'Write a message';
  }

  function toEnd() {
    atEnd = newest.hidden = true;
    scroller.scrollTop = scroller.scrollHeight;
  }

  /** @param {PersonState[]} people @param {string} all whom a message is for if no person is chosen */
  function listPeople(people, all) {
    const chosen = to.value;
    const options = [['', all], ...people.map(({ id, name }) => [id, `Only to ${name}`])];
    // Who left stays chosen: what was meant for one must not go to everyone.
    if (!options.some(([id]) => id === chosen)) options.push([chosen, 'A person who has left']);
    const now = JSON.stringify(options);
    if (now === listed) return;
    listed = now;
    to.replaceChildren(...options.map(([value, words]) => h('option', { value }, words)));
    to.value = chosen;
    mark();
  }

  /** @param {Message} message */
  function row({ from, to: whom, mine, text, at, group, person }) {
    const isNamed = group || person || !['room', 'me'].includes(whom);
    const isPrivate = person || (!group && (whom === 'me' || (mine && isNamed)));
    const about = isNamed ? ` to ${whom}, ` : whom === 'me' ? ' to you only, ' : ' ';
    return h(
      'li',
      `${mine ? 'mine' : ''} ${isPrivate ? 'private' : ''}`,
      h('div', 'about', h('bdi', {}, mine ? 'You' : from), about, timeOfDay(at)),
      h('p', { dir: 'auto' }, ...linked(text)),
    );
  }

  return {
    element: h(
      'section',
      { className: 'chat card', ariaLabel: 'Chat' },
      h('h2', {}, 'Chat'),
      empty,
      scroller,
      newest,
      form,
    ),
    close: () => peer.removeEventListener('text-refused', refused),
    /** It can be seen again: its end is where one left it. */
    seen() {
      if (atEnd) toEnd();
    },
    /** Those of others that have come since the last time. */
    update() {
      const { messages, people, mayNot } = peer.state;
      listPeople(people, audienceWords(peer.state));
      input.disabled = send.disabled = mayNot.includes('data');
      if (messages === shown) return [];
      const isRestored = shown === null;
      const fresh = newerThan(messages, shown?.[shown.length - 1]);
      shown = messages;
      if (fresh.length === 0) return [];
      list.append(...fresh.map(row));
      while (list.children.length > messages.length) list.firstElementChild?.remove();
      if (atEnd || fresh.some(({ mine }) => mine)) toEnd();
      else newest.hidden = false;
      empty.hidden = true;
      return isRestored ? [] : fresh.filter(({ mine }) => !mine);
    },
  };
}
