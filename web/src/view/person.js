/**
 * One person as others see them: who, whether they speak, and how well they come through. Speaking shows in the ring and the
 * meter alone: a word that comes and goes would move all cards at each breath.
 */

import { button, h, icon, meter, setAttribute, setText } from './dom.js';
import { personModeration } from './moderation.js';
import {
  figures,
  groupWords,
  hearingWords,
  initials,
  quality,
  QUALITY,
  reasonWords,
  ROUTE,
  statusWords,
} from './words.js';

/** @import { App } from './view.js' */
/** @import { PersonState } from '../state.js' */

/** A circle with initials. @param {string} name */
export const avatar = (name) =>
  h('span', { className: 'avatar', ariaHidden: 'true' }, initials(name));

/** @param {HTMLElement} face an avatar @param {number | undefined} hue in degrees */
export function paint(face, hue = 0) {
  if (face.dataset.hue === String(hue)) return;
  face.dataset.hue = String(hue);
  face.style.setProperty('--hue', String(hue));
}

/** Without the id that tells it from another name. @param {string} label */
const bare = (label) => label.replace(/#[0-9a-f]+$/, '');

/** @param {App} app @param {PersonState} first */
export function personCard(app, first) {
  const { peer } = app;
  const { id } = first;
  let { muted } = first;
  const face = avatar(bare(first.name));
  const level = meter();
  const called = h('strong', { dir: 'auto' });
  const status = h('span', { className: 'tag', test: 'status' });
  const within = h('span', { className: 'tag', dir: 'auto', test: 'person-groups' });
  const recording = h('span', 'tag recording', 'recording');
  const word = h('span', 'word');
  const about = ['reason', 'route', 'hearing'].map(() => h('span'));
  const summary = h('summary', {}, word, h('span', 'about-quality', ...about));
  const numbers = figures(first).map(([term]) => h('div', {}, h('dt', {}, term), h('dd')));
  const mute = button(
    'icon',
    () => peer.sound.setPersonMuted(id, !muted),
    { test: 'person-mute' },
    icon('speaker'),
  );
  const volume = h('input', {
    type: 'range',
    min: '0',
    max: '200',
    step: '5',
    test: 'person-volume',
    oninput: () => peer.sound.setVolume(id, Number(volume.value) / 100),
  });
  const percent = h('small', { ariaHidden: 'true' });
  const moderation = personModeration(app, first);
  const element = h(
    'li',
    { className: 'person', test: 'person', 'data-id': id },
    face,
    h('div', 'who', h('div', 'name', called, status, within, recording), level.element),
    h(
      'details',
      'quality',
      summary,
      h('dl', {}, ...numbers),
      h('div', 'controls', mute, volume, percent),
      moderation.element,
    ),
  );
  return {
    element,
    level,
    face,
    /** @param {PersonState} person */
    update(person) {
      const { name } = person;
      muted = person.muted;
      moderation.update(person);
      if (element.dataset.name !== name) {
        element.dataset.name = name;
        called.textContent = called.title = name;
        face.textContent = initials(bare(name));
        mute.ariaLabel = mute.title = `Mute ${name} for me`;
        volume.ariaLabel = `Volume of ${name}`;
      }
      const how = quality(person, peer.state.output);
      setAttribute(element, 'data-route', person.route);
      setAttribute(element, 'data-speaking', person.speaking);
      setAttribute(element, 'data-quality', how);
      const words = [
        statusWords(person, peer.lock?.keyWords(person)),
        person.muted ? 'muted for you' : '',
      ]
        .filter(Boolean)
        .join(', ');
      setText(status, words);
      status.hidden = words === '';
      const groups = groupWords(person);
      setText(within, groups);
      within.title = groups;
      within.hidden = groups === '';
      recording.hidden = !person.recording;
      setText(word, QUALITY[how]);
      const said = [reasonWords(person, peer.state), ROUTE[person.route], hearingWords(person)];
      // What is wrong stands in a row as well, where the rest is folded.
      const isGrave = [how === 'poor' || person.cannotDecode, false, person.hearsMe === false];
      // A row may cut it off.
      summary.title = [QUALITY[how], ...said].filter(Boolean).join(' · ');
      said.forEach((part, at) => {
        setText(about[at], part && ` · ${part}`);
        setAttribute(about[at], 'data-grave', isGrave[at] && part !== '');
      });
      setAttribute(
        element,
        'data-grave',
        said.some((part, at) => isGrave[at] && part !== ''),
      );
      figures(person).forEach(([, figure], at) => setText(numbers[at].children[1], figure));
      setAttribute(mute, 'aria-pressed', muted);
      const loud = `${Math.round(person.volume * 100)}`;
      if (volume.value !== loud && document.activeElement !== volume) volume.value = loud;
      setText(percent, `${loud} %`);
      setAttribute(volume, 'aria-valuetext', `${loud} %`);
    },
  };
}
