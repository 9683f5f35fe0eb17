/**
 * One person as others see them: who, whether they speak, and how well they come through. Speaking shows in the ring and the
 * meter alone: a word that comes and goes would move all cards at each breath.
 */

import { button, h, icon, meter, setAttribute, setText } from './dom.js';
import { figures, hearingWords, hue, initials, quality, qualityWords, ROUTE } from './words.js';

/** @import { Peer } from '../peer.js' */
/** @import { PersonState } from '../state.js' */

/** A circle with initials, in a colour that goes with the id. @param {string} name @param {string} id */
export function avatar(name, id) {
  const element = h('span', { className: 'avatar', ariaHidden: 'true' }, initials(name));
  element.style.setProperty('--hue', String(hue(id)));
  return element;
}

/** @param {Peer} peer @param {PersonState} first */
export function personCard(peer, first) {
  const { id } = first;
  let [muted, person] = [first.muted, first];
  const face = avatar(first.name, id);
  const level = meter();
  const called = h('strong', { dir: 'auto' });
  const tags = /** @type {const} */ (['recording', 'away'])
    .map((name) => ({ name, element: h('span', `tag ${name}`, name) }));
  const word = h('span', 'word');
  const [route, hears] = [h('span'), h('span')];
  const numbers = figures(first).map(([term]) => h('div', {}, h('dt', {}, term), h('dd')));
  const mute = button('icon', () => peer.setPersonMuted(id, !muted), { test: 'person-mute' }, icon('speaker'));
  const volume = h('input', {
    type: 'range', min: '0', max: '200', step: '5', test: 'person-volume',
    oninput: () => peer.setVolume(id, Number(volume.value) / 100),
  });
  const percent = h('small', { ariaHidden: 'true' });
  const muteAll = h('button', { type: 'button', onclick: () => person.decide?.(person.mutedForAll ? 'unmute' : 'mute'), test: 'mute-all' });
  const decisions = [['kick', 'Put out'], ['ban', 'Keep out for an hour'], ['make-owner', 'Let moderate in my place']]
    .map(([action, label]) => h('button', { type: 'button', onclick: () => person.decide?.(action), test: action }, label));
  const moderation = h('div', { className: 'name', hidden: true, test: 'moderation' }, muteAll, ...decisions);
  const element = h('li', { className: 'person', test: 'person', 'data-id': id },
    face,
    h('div', 'who', h('div', 'name', called, ...tags.map((tag) => tag.element)), level.element),
    h('details', 'quality',
      h('summary', {}, word, ' · ', route, hears),
      h('dl', {}, ...numbers),
      h('div', 'controls', mute, volume, percent),
      moderation));
  return {
    element,
    level,
    /** @param {PersonState} now */
    update(now) {
      person = now;
      moderation.hidden = person.decide === null;
      setText(muteAll, person.mutedForAll ? 'Let be heard again' : 'Mute for all');
      const { name } = person;
      muted = person.muted;
      if (element.dataset.name !== name) {
        element.dataset.name = name;
        called.textContent = called.title = name;
        face.textContent = initials(name);
        mute.ariaLabel = mute.title = `Mute ${name} for me`;
        volume.ariaLabel = `Volume of ${name}`;
      }
      const how = quality(person);
      setAttribute(element, 'data-route', person.route);
      setAttribute(element, 'data-speaking', person.speaking);
      setAttribute(element, 'data-quality', how);
      for (const tag of tags) tag.element.hidden = !person[tag.name];
      setText(word, qualityWords(person));
      setText(route, ROUTE[person.route]);
      const hearing = hearingWords(person);
      setText(hears, hearing && ` · ${hearing}`);
      figures(person).forEach(([, figure], at) => setText(numbers[at].children[1], figure));
      setAttribute(mute, 'aria-pressed', muted);
      const loud = `${Math.round(person.volume * 100)}`;
      if (volume.value !== loud && document.activeElement !== volume) volume.value = loud;
      setText(percent, `${loud} %`);
      setAttribute(volume, 'aria-valuetext', `${loud} %`);
    },
  };
}
