/** One person as others see them: who, whether they speak, and how well they come through. */

import { h, icon, meter, setAttribute, setText } from './dom.js';
import { figures, QUALITY, quality, routeWords } from './words.js';

/** @typedef {import('../peer.js').Peer} Peer */
/** @typedef {import('../peer.js').PersonState} PersonState */

/** A circle with initials, in a colour that goes with the id. @param {string} name @param {string} id */
export function avatar(name, id) {
  const letters = [...name.trim().matchAll(/(?<!\p{L})\p{L}|\p{N}/gu)].slice(0, 2).map(([letter]) => letter.toUpperCase());
  let hue = 0;
  for (const character of id) hue = (hue * 31 + character.charCodeAt(0)) % 360;
  const element = h('span', { class: 'avatar', 'aria-hidden': 'true' }, letters.join('') || '·');
  element.style.setProperty('--hue', String(hue));
  return element;
}

/** @param {Peer} peer @param {PersonState} first */
export function personRow(peer, first) {
  const { id, name } = first;
  let muted = first.muted;
  const level = meter(`How loud ${name} is`);
  const speaking = h('span', { class: 'tag speaking' }, 'speaking');
  const recording = h('span', { class: 'tag recording' }, 'records');
  const away = h('span', { class: 'tag' }, 'away from the server');
  const word = h('span', { class: 'word' });
  const route = h('span', {});
  const numbers = h('p', { class: 'numbers' });
  const mute = h('button', {
    type: 'button', class: 'icon', 'data-test': 'person-mute', 'aria-pressed': 'false', 'aria-label': `Mute ${name} for me`, title: `Mute ${name} for me`,
    onclick: () => peer.setPersonMuted(id, !muted),
  }, icon('speaker'));
  const volume = h('input', {
    type: 'range', min: '0', max: '200', step: '5', 'data-test': 'person-volume', 'aria-label': `How loud I hear ${name}, in percent`,
    oninput: () => peer.setVolume(id, Number(volume.value) / 100),
  });
  const element = h('li', { class: 'person', 'data-test': 'person', 'data-id': id, 'data-name': name },
    avatar(name, id),
    h('div', { class: 'who' },
      h('div', { class: 'name' }, h('strong', {}, name), speaking, recording, away),
      level.element,
      h('details', { class: 'quality' }, h('summary', {}, word, ' · ', route), numbers)),
    h('div', { class: 'controls' }, volume, mute));
  return {
    element,
    level,
    /** @param {PersonState} person */
    update(person) {
      muted = person.muted;
      const how = quality(person);
      setAttribute(element, 'data-route', person.route);
      setAttribute(element, 'data-speaking', person.speaking);
      setAttribute(element, 'data-quality', how);
      speaking.hidden = !person.speaking;
      recording.hidden = !person.recording;
      away.hidden = !person.away;
      setText(word, QUALITY[how]);
      setText(route, routeWords(person));
      setText(numbers, figures(person) || 'Nothing has been heard yet.');
      setAttribute(mute, 'aria-pressed', muted);
      const percent = String(Math.round(person.volume * 100));
      if (volume.value !== percent && document.activeElement !== volume) volume.value = percent;
      volume.title = `${percent} %`;
    },
  };
}
