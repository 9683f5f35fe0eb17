/** In the room: people, groups, chat, and what one does oneself. */

import { chat } from './chat.js';
import { h, icon, keyed, meter, setAttribute, setText, toggle } from './dom.js';
import { groups } from './groups.js';
import { avatar, personRow } from './person.js';
import { soundSettings } from './settings.js';
import { banner, keyName } from './words.js';

/** @typedef {import('../peer.js').Peer} Peer */
/** @typedef {import('../peer.js').PersonState} PersonState */
/** @typedef {import('./settings.js').Settings} Settings */

const TABS = /** @type {const} */ ([['people', 'People'], ['chat', 'Chat'], ['groups', 'Groups']]);

/** @param {Peer} peer @param {Settings} settings @param {(text: string) => void} tell */
export function room(peer, settings, tell) {
  const { room: roomName, name } = peer.state;
  const list = h('ul', { class: 'plain-list people-list' });
  const showPeople = keyed(list, (/** @type {PersonState} */ person) => person.id, (person) => personRow(peer, person));
  /** @type {Map<string, ReturnType<typeof personRow>>} */
  let rows = new Map();
  const alone = h('p', { class: 'hint empty' }, 'Nobody else is here yet. Send somebody the link.');
  const talk = chat(peer, tell);
  const groupList = groups(peer, tell);
  const status = h('div', { class: 'banner', role: 'status' });
  const statusText = h('span', {});
  const resume = h('button', { type: 'button', class: 'primary', onclick: () => peer.resumePlayback() }, 'Play sound');
  const retry = h('button', { type: 'button', class: 'quiet', onclick: () => void peer.setInput(settings.input) }, 'Try the microphone again');
  status.append(statusText, resume, retry);

  const mine = meter('Your own level');
  const ownTag = h('span', { class: 'tag speaking' }, 'you are heard');
  const mute = control('mute', 'microphone', () => peer.setMuted(!peer.state.muted));
  const deafen = control('deafen', 'headphones', () => peer.setDeafened(!peer.state.deafened));
  const ptt = h('button', {
    type: 'button', class: 'ptt', 'data-test': 'ptt',
    onpointerdown: (/** @type {PointerEvent} */ event) => {
      ptt.setPointerCapture(event.pointerId);
      peer.setTalking(true);
    },
    onpointerup: () => peer.setTalking(false),
    onpointercancel: () => peer.setTalking(false),
    onkeydown: (/** @type {KeyboardEvent} */ event) => [' ', 'Enter'].includes(event.key) && !event.repeat && peer.setTalking(true),
    onkeyup: (/** @type {KeyboardEvent} */ event) => [' ', 'Enter'].includes(event.key) && peer.setTalking(false),
    onblur: () => peer.setTalking(false),
  });
  const dialog = settingsDialog(peer, settings);
  const open = h('button', { type: 'button', class: 'icon', 'data-test': 'settings', 'aria-label': 'Settings', title: 'Settings', onclick: () => dialog.show() }, icon('settings'));
  const leave = h('button', { type: 'button', class: 'icon danger', 'data-test': 'leave', 'aria-label': 'Leave the room', title: 'Leave', onclick: () => peer.leave() }, icon('leave'));
  const copy = h('button', { type: 'button', class: 'quiet', 'data-test': 'copy-link', onclick: () => void copyLink() }, icon('link'), h('span', {}, 'Copy invite link'));
  const privacy = h('span', { class: 'hint privacy-word' });

  const unread = h('span', { class: 'unread', hidden: true });
  let unreadCount = 0;
  const tabs = h('nav', { class: 'tabs', 'aria-label': 'Parts of the room' }, ...TABS.map(([id, words]) =>
    h('button', { type: 'button', 'data-tab': id, 'aria-pressed': String(id === 'people'), onclick: () => showTab(id) }, words, id === 'chat' ? unread : null)));
  const element = h('div', { class: 'room', 'data-tab': 'people' },
    h('header', { class: 'top' }, h('h1', { tabIndex: -1 }, roomName), privacy, copy),
    status, tabs,
    h('main', { class: 'parts' },
      h('section', { class: 'people card', 'aria-label': 'People' }, h('h2', {}, 'People'), alone, list),
      groupList.element, talk.element),
    h('footer', { class: 'bar', 'aria-label': 'You' },
      h('div', { class: 'me' }, avatar(name, peer.ownId), h('div', {}, h('div', { class: 'name' }, h('strong', {}, name), ownTag), mine.element)),
      ptt, mute, deafen, open, leave),
    dialog.element);

  /** @param {'mute' | 'deafen'} hook @param {'microphone' | 'headphones'} picture @param {() => void} act */
  function control(hook, picture, act) {
    return h('button', { type: 'button', class: 'icon', 'data-test': hook, 'aria-pressed': 'false', onclick: act }, icon(picture));
  }

  /** @param {string} id */
  function showTab(id) {
    element.setAttribute('data-tab', id);
    for (const button of tabs.children) setAttribute(button, 'aria-pressed', button.getAttribute('data-tab') === id);
    if (id === 'chat') unreadCount = 0;
    unread.hidden = true;
  }

  async function copyLink() {
    const link = `${location.origin}/r/${encodeURIComponent(roomName)}`;
    try {
      await navigator.clipboard.writeText(link);
      tell('The link is copied. Whoever opens it is in this room.');
    } catch {
      tell(`The link is ${link}`);
    }
  }

  /** @param {KeyboardEvent} event @param {boolean} down */
  function key(event, down) {
    const target = event.target instanceof Element ? event.target : document.body;
    if (target.closest('input:not([type=checkbox]):not([type=range]), textarea, select, dialog') || event.ctrlKey || event.metaKey || event.altKey) return;
    const { activation, muted, deafened } = peer.state;
    if (activation === 'push-to-talk' && event.code === settings.key) {
      // A key that a focused button takes for itself stays the button's.
      if (['Space', 'Enter'].includes(event.code) && target.closest('button, summary, input')) return;
      event.preventDefault();
      if (!event.repeat) peer.setTalking(down);
    } else if (down && !event.repeat && event.code === 'KeyM') {
      peer.setMuted(!muted);
    } else if (down && !event.repeat && event.code === 'KeyD') {
      peer.setDeafened(!deafened);
    }
  }
  const keyDown = (/** @type {KeyboardEvent} */ event) => key(event, true);
  const keyUp = (/** @type {KeyboardEvent} */ event) => key(event, false);
  const released = () => peer.setTalking(false);
  addEventListener('keydown', keyDown);
  addEventListener('keyup', keyUp);
  addEventListener('blur', released);

  return {
    element,
    focus: () => element.querySelector('h1')?.focus(),
    update() {
      const state = peer.state;
      rows = showPeople(state.people);
      alone.hidden = state.people.length > 0;
      groupList.update();
      const fresh = talk.update();
      if (element.getAttribute('data-tab') !== 'chat') unreadCount += fresh;
      unread.hidden = unreadCount === 0 || element.getAttribute('data-tab') === 'chat';
      setText(unread, String(unreadCount));
      setText(statusText, banner(state));
      status.hidden = statusText.textContent === '';
      resume.hidden = !state.playbackBlocked;
      retry.hidden = !['denied', 'missing', 'lost', 'failed'].includes(state.microphone) || state.phase !== 'joined' || state.playbackBlocked;
      setText(privacy, state.serverRelayOnly ? 'Everyone talks through the server here'
        : state.relayOnly ? 'Nobody here sees your network address' : 'Directly connected people see your network address');
      ownTag.hidden = !state.speaking;
      setAttribute(mute, 'aria-pressed', state.muted);
      label(mute, state.muted ? 'Unmute (M)' : 'Mute (M)');
      setAttribute(deafen, 'aria-pressed', state.deafened);
      label(deafen, state.deafened ? 'Hear the others again (D)' : 'Hear nobody (D)');
      ptt.hidden = state.activation !== 'push-to-talk';
      setAttribute(ptt, 'aria-pressed', state.talking);
      setText(ptt, state.talking ? 'Talking' : `Hold to talk (${keyName(settings.key)})`);
      dialog.update();
    },
    frame() {
      const { own, people } = peer.levels();
      mine.set(own);
      for (const [id, row] of rows) row.level.set(people.get(id) ?? 0);
      dialog.frame();
    },
    close() {
      removeEventListener('keydown', keyDown);
      removeEventListener('keyup', keyUp);
      removeEventListener('blur', released);
      dialog.close();
    },
  };
}

/** @param {HTMLElement} button @param {string} words */
function label(button, words) {
  setAttribute(button, 'aria-label', words);
  setAttribute(button, 'title', words);
}

/** @param {Peer} peer @param {Settings} settings */
function settingsDialog(peer, settings) {
  const sound = soundSettings(peer, settings, { preview: false });
  const chimes = toggle('Play a sound when somebody comes or goes', settings.sounds, (on) => settings.change({ sounds: on }), { 'data-test': 'sounds' });
  const close = h('button', { type: 'button', class: 'primary', onclick: () => element.close() }, 'Done');
  const element = h('dialog', { 'aria-label': 'Settings' },
    h('div', { class: 'stack' }, h('h2', {}, 'Settings'), sound.element, chimes.element,
      h('p', { class: 'hint' }, 'Keys: M mutes, D deafens, and the key you chose talks while you hold it.'), close));
  return {
    element,
    show: () => element.showModal(),
    update: () => { if (element.open) sound.update(); },
    frame: () => { if (element.open) sound.frame(); },
    close: () => sound.close(),
  };
}
