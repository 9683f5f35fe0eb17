/** Talk groups: who listens to what, and to whom one speaks. */

import { h, keyed, setText } from './dom.js';

/** @typedef {import('../peer.js').Peer} Peer */
/** @typedef {import('../peer.js').GroupState} GroupState */

/** @param {Peer} peer @param {(problem: string) => void} problem */
export function groups(peer, problem) {
  /** @param {() => void} act */
  const trying = (act) => {
    try {
      act();
    } catch (error) {
      problem(error instanceof Error ? error.message : String(error));
    }
  };

  /** @param {GroupState} group */
  function row({ name }) {
    let { listening, speaking } = { listening: false, speaking: false };
    const count = h('span', { class: 'hint' });
    const listen = h('button', {
      type: 'button', class: 'chip', 'data-test': 'group-listen', 'aria-label': `Listen to ${name}`,
      onclick: () => trying(() => (listening ? peer.leaveGroup(name) : peer.joinGroup(name))),
    }, 'listen');
    const speak = h('button', {
      type: 'button', class: 'chip', 'data-test': 'group-speak', 'aria-label': `Speak to ${name}`,
      onclick: () => trying(() => peer.speakTo(name, !speaking)),
    }, 'speak');
    return {
      element: h('li', { class: 'group', 'data-test': 'group', 'data-name': name },
        h('div', {}, h('strong', {}, name === 'Global' ? 'Everyone' : name), ' ', count), listen, speak),
      /** @param {GroupState} group */
      update(group) {
        ({ listening, speaking } = group);
        setText(count, group.members === 1 ? '1 listens' : `${group.members} listen`);
        listen.setAttribute('aria-pressed', String(listening));
        speak.setAttribute('aria-pressed', String(speaking));
      },
    };
  }

  const list = h('ul', { class: 'plain-list', 'data-test': 'groups' });
  const show = keyed(list, (/** @type {GroupState} */ group) => group.name, row);
  const input = h('input', { 'aria-label': 'Name of a group', placeholder: 'Another group', maxLength: 256, autocomplete: 'off', 'data-test': 'group-name' });
  const form = h('form', {
    class: 'write',
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      const name = input.value.trim();
      if (name === '') return;
      trying(() => {
        peer.joinGroup(name);
        input.value = '';
      });
    },
  }, input, h('button', { type: 'submit', class: 'quiet', 'data-test': 'group-join' }, 'Listen'));
  return {
    element: h('section', { class: 'groups card', 'aria-label': 'Talk groups' }, h('h2', {}, 'Talk groups'),
      h('p', { class: 'hint' }, 'Who listens to a group hears what is spoken to it.'), list, form),
    update: () => { show(peer.state.groups); },
  };
}
