/** Before joining: who one is, which room, and whether one can be heard. */

import { h, toggle } from './dom.js';
import { soundSettings } from './settings.js';
import { banner } from './words.js';

/** @typedef {import('../peer.js').Peer} Peer */
/** @typedef {import('./settings.js').Settings} Settings */

/**
 * @param {Peer} peer
 * @param {Settings} settings
 * @param {string} room the address's; '' lets one choose
 */
export function lobby(peer, settings, room) {
  const nameInput = h('input', {
    id: 'name', 'data-test': 'name', value: settings.name, required: true, maxLength: 64, autocomplete: 'nickname', placeholder: 'What others see',
  });
  const roomInput = h('input', {
    id: 'room', 'data-test': 'room', value: room, required: true, maxLength: 256, autocomplete: 'off', placeholder: 'Any name that you agree on',
  });
  const relayOnly = toggle('Talk through the server only', settings.relayOnly, (on) => settings.change({ relayOnly: on }),
    { 'data-test': 'relay-only', 'aria-describedby': 'relay-hint' });
  const sound = soundSettings(peer, settings, { preview: true });
  const status = h('p', { class: 'banner', role: 'status' });
  const join = h('button', { type: 'submit', class: 'primary', 'data-test': 'join' }, 'Join');
  const silent = h('button', { type: 'button', class: 'quiet', 'data-test': 'join-silent', onclick: () => enter(false) }, 'Join without a microphone');

  /** @param {boolean} microphone */
  function enter(microphone) {
    if (!form.reportValidity()) return;
    const name = nameInput.value.trim();
    settings.change({ name });
    history.replaceState(null, '', `/r/${encodeURIComponent(roomInput.value)}`);
    void peer.join({ room: roomInput.value, name, relayOnly: settings.relayOnly, microphone });
  }

  const form = h('form', {
    class: 'card stack',
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      enter(true);
    },
  },
  h('div', { class: 'field' }, h('label', { for: 'name' }, 'Your name'), nameInput),
  h('div', { class: 'field' }, h('label', { for: 'room' }, 'Room'), roomInput),
  h('div', { class: 'actions' }, join, silent),
  status,
  h('details', { 'data-test': 'settings' }, h('summary', {}, 'Sound and microphone'), sound.element),
  h('div', { class: 'privacy' }, relayOnly.element,
    h('p', { class: 'hint', id: 'relay-hint' },
      'People who talk directly see each other’s network address. Through the server only, nobody in the room sees yours; it takes a little longer.')));

  const element = h('main', { class: 'lobby' },
    h('header', { class: 'brand' }, h('img', { src: new URL('../icon.svg', import.meta.url).href, alt: '', width: 56, height: 56 }),
      h('h1', {}, room ? `Join “${room}”` : 'voicemesh'),
      h('p', {}, 'Talk to the people in a room, directly from browser to browser.')),
    form,
    h('p', { class: 'hint foot' }, 'At a terminal the same room is ', h('code', {}, `voicemesh join ${room || 'ROOM'} --server ${location.origin.replace(/^http/, 'ws')}`), '.'));

  return {
    element,
    focus: () => (nameInput.value ? join : nameInput).focus(),
    update() {
      const { phase } = peer.state;
      sound.update();
      join.disabled = silent.disabled = phase === 'joining';
      const words = phase === 'joining' ? banner(peer.state) : '';
      if (status.textContent !== words) status.textContent = words;
      status.hidden = words === '';
    },
    frame: () => sound.frame(),
    close: () => sound.close(),
  };
}
