/** Talk groups: who listens to what, and to whom one speaks. */

import { groupLabel, groupNamed } from '../group-name.js';
import { isolated } from '../names.js';
import { GLOBAL } from '../session.js';
import { button, h, keyed, setAttribute, setText, trying, writer } from './dom.js';

/** @import { GroupState, PersonState } from '../state.js' */
/** @import { App } from './view.js' */

/** Those of the others who hear a group. @param {readonly PersonState[]} people @param {string} group */
export const listenerNames = (people, group) =>
  people
    .filter(
      (person) =>
        person.groups.includes(group) &&
        !person.status.deafened &&
        !person.mayNot.includes('listen'),
    )
    .map((person) => isolated(person.name));

/** @param {App} app */
export function groups({ peer, tell }) {
  /** @param {GroupState} first */
  function row({ name }) {
    let [listening, speaking] = [false, false];
    const count = h('span', 'hint');
    const listeners = h('span', { className: 'hint names', test: 'group-listeners' });
    const label = groupLabel(name);
    const listen = button(
      'chip',
      () => trying(tell, () => (listening ? peer.leaveGroup(name) : peer.joinGroup(name))),
      { test: 'group-listen', ariaLabel: `Listen to ${label}` },
      'Listen',
    );
    const speak = button(
      'chip',
      () => trying(tell, () => peer.speakTo(name, !speaking)),
      { test: 'group-speak', ariaLabel: `Speak to ${label}` },
      'Speak',
    );
    return {
      element: h(
        'li',
        { className: 'group', test: 'group', 'data-name': name },
        h('div', {}, h('strong', { dir: 'auto', title: label }, label), count, listeners),
        listen,
        speak,
      ),
      /** @param {GroupState} group */
      update(group) {
        ({ listening, speaking } = group);
        setText(count, group.members === 1 ? '1 listens' : `${group.members} listen`);
        setText(
          listeners,
          name === GLOBAL ? '' : listenerNames(peer.state.people, name).join(', '),
        );
        setAttribute(listen, 'aria-pressed', listening);
        setAttribute(speak, 'aria-pressed', speaking);
      },
    };
  }

  const list = h('ul', { test: 'groups' });
  const show = keyed(list, (/** @type {GroupState} */ group) => group.name, row);
  const whom = h('p', { className: 'hint', role: 'status' });
  const input = h('input', {
    ariaLabel: 'Name of a group',
    placeholder: 'A group’s name',
    maxLength: 256,
    autocomplete: 'off',
    test: 'group-name',
  });
  const form = writer(
    tell,
    (text) =>
      peer.joinGroup(
        groupNamed(
          text,
          peer.state.groups.map(({ name }) => name),
        ),
      ),
    input,
    input,
    h('button', { type: 'submit', className: 'quiet', test: 'group-join' }, 'Join'),
  );
  return {
    element: h(
      'section',
      { className: 'groups card', ariaLabel: 'Talk groups' },
      h(
        'div',
        {},
        h('h2', {}, 'Talk groups'),
        h(
          'p',
          'hint',
          'A group is a part of the room: speak to it, and only its listeners hear you.',
        ),
        whom,
        list,
        form,
      ),
    ),
    update() {
      show(peer.state.groups);
      setText(
        whom,
        peer.state.groups.some((group) => group.speaking)
          ? ''
          : 'You speak to no group, so the others do not hear you.',
      );
    },
  };
}
