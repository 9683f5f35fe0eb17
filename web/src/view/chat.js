/** What is written, to the room or to one person. */

import { h } from './dom.js';

/** @typedef {import('../peer.js').Peer} Peer */
/** @typedef {import('../peer.js').Message} Message */

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

/** @param {Peer} peer @param {(problem: string) => void} problem */
export function chat(peer, problem) {
  /** @type {readonly Message[]} */
  let shown = [];
  const list = h('ol', { class: 'plain-list' });
  const log = h('div', { class: 'messages', 'data-test': 'messages', role: 'log', 'aria-label': 'Messages', tabIndex: 0 }, list);
  const empty = h('p', { class: 'hint empty' }, 'Nothing has been written yet. Messages are not kept anywhere.');
  const input = h('input', { id: 'message', 'data-test': 'chat-input', autocomplete: 'off', maxLength: 4096, placeholder: 'Write a message', 'aria-label': 'Message' });
  const to = h('select', { 'aria-label': 'To whom' }, h('option', { value: '' }, 'Everyone'));
  const send = h('button', { type: 'submit', class: 'primary', 'data-test': 'chat-send' }, 'Send');
  const form = h('form', {
    class: 'write',
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (text === '') return;
      try {
        peer.sendText(text, to.value || null);
        input.value = '';
      } catch (error) {
        problem(error instanceof Error ? error.message : String(error));
      }
    },
  }, to, input, send);

  /** @param {Message} message */
  function row({ from, to: whom, mine, text, at }) {
    const about = whom === 'room' ? '' : whom === 'me' ? ' to you' : ` to ${whom}`;
    return h('li', { class: mine ? 'message mine' : 'message' },
      h('div', { class: 'about' }, h('strong', {}, mine ? 'You' : from), about, ' ', h('time', {}, time.format(at))),
      h('p', {}, text));
  }

  return {
    element: h('section', { class: 'chat card', 'aria-label': 'Chat' }, h('h2', {}, 'Chat'), empty, log, form),
    /** How many messages of others have come since the last time. */
    update() {
      const { messages, people } = peer.state;
      const known = [...to.options].slice(1).map((option) => option.value).join();
      if (known !== people.map(({ id }) => id).join()) {
        const chosen = to.value;
        to.replaceChildren(h('option', { value: '' }, 'Everyone'), ...people.map(({ id, name }) => h('option', { value: id }, name)));
        to.value = people.some(({ id }) => id === chosen) ? chosen : '';
      }
      if (messages === shown) return 0;
      const fresh = messages.slice(messages.indexOf(shown[shown.length - 1]) + 1);
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      list.append(...fresh.map(row));
      while (list.children.length > messages.length) list.firstElementChild?.remove();
      if (atEnd || fresh.some(({ mine }) => mine)) log.scrollTop = log.scrollHeight;
      empty.hidden = messages.length > 0;
      shown = messages;
      return fresh.filter(({ mine }) => !mine).length;
    },
  };
}
