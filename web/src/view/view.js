/** Everything that is seen: one screen for each phase, kept in step with the peer. */

import { h } from './dom.js';
import { lobby } from './lobby.js';
import { room as roomScreen } from './room.js';
import { Settings } from './settings.js';
import { chime } from './sounds.js';
import { ending, UNSUPPORTED } from './words.js';

/** @typedef {import('../peer.js').Peer} Peer */
/** @typedef {{element: HTMLElement, focus: () => void, update: () => void, frame?: () => void, close?: () => void}} Screen */

const NOTICE_MS = 6000;
/** Each drawing of a meter costs, and more of them in a second are not seen. */
const METERS_EVERY_MS = 45;

/**
 * @param {Peer | null} peer null where this browser cannot talk
 * @param {{root: HTMLElement, room: string, support: string | null, storage: Storage}} options
 */
export function show(peer, { root, room, support, storage }) {
  root.setAttribute('data-test', 'phase');
  if (!peer || support !== null) {
    root.setAttribute('data-phase', 'unsupported');
    const [title, words] = UNSUPPORTED[support ?? ''] ?? UNSUPPORTED['no-worklet'];
    root.replaceChildren(message(title, words, null).element);
    return;
  }
  const settings = new Settings(storage);
  peer.preferInput(settings.input);
  void peer.setOutput(settings.output);
  peer.setActivation(settings.activation);
  peer.setProcessing(settings.processing);

  const notice = h('div', { class: 'notice', 'data-test': 'notice', role: 'status', 'aria-live': 'polite' });
  const place = h('div', { class: 'screen' });
  root.replaceChildren(place, notice);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let noticeEnds;
  const tell = (/** @type {string} */ text) => {
    notice.textContent = text;
    clearTimeout(noticeEnds);
    noticeEnds = setTimeout(() => { notice.textContent = ''; }, NOTICE_MS);
  };

  /** @type {Screen | null} */
  let screen = null;
  let shown = '';
  /** @param {string} phase */
  const kindOf = (phase) => {
    if (phase === 'lobby' || phase === 'joining') return 'lobby';
    return phase === 'joined' || phase === 'reconnecting' ? 'room' : 'ended';
  };

  function update() {
    const { phase } = /** @type {Peer} */ (peer).state;
    const kind = kindOf(phase);
    if (kind !== shown || (kind === 'ended' && root.getAttribute('data-phase') !== phase)) {
      screen?.close?.();
      const first = shown === '';
      shown = kind;
      screen = make(kind);
      place.replaceChildren(screen.element);
      if (!first) screen.focus();
    }
    root.setAttribute('data-phase', phase);
    screen?.update();
  }

  /** @param {string} kind @returns {Screen} */
  function make(kind) {
    const here = /** @type {Peer} */ (peer);
    if (kind === 'lobby') return lobby(here, settings, here.state.room || room);
    document.title = kind === 'room' ? `${here.state.room} · voicemesh` : 'voicemesh';
    if (kind === 'room') return roomScreen(here, settings, tell);
    const [title, words] = ending(here.state);
    const { room: left, name } = here.state;
    const again = h('button', {
      type: 'button', class: 'primary', 'data-test': 'rejoin',
      onclick: () => void here.join({ room: left, name, relayOnly: settings.relayOnly, microphone: true }),
    }, here.state.phase === 'replaced' ? 'Take it back here' : 'Join again');
    const other = h('button', { type: 'button', class: 'quiet', 'data-test': 'back', onclick: () => here.reset() }, 'Change name or room');
    return message(title, words, h('div', { class: 'actions' }, again, other));
  }

  peer.addEventListener('change', update);
  peer.addEventListener('notice', (event) => {
    const { kind, text } = /** @type {CustomEvent} */ (event).detail;
    tell(text);
    if (settings.sounds && (kind === 'joined' || kind === 'left') && peer.state.phase === 'joined') chime(kind);
  });
  // A button that was clicked does not keep the focus, so that the key to talk is not its own.
  root.addEventListener('click', (event) => {
    const button = event.target instanceof Element ? event.target.closest('button') : null;
    if (event.detail > 0 && button && button === document.activeElement) button.blur();
  });
  let drawnAt = 0;
  const frame = (/** @type {number} */ now) => {
    if (now >= drawnAt + METERS_EVERY_MS) {
      drawnAt = now;
      screen?.frame?.();
    }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  update();
}

/** @param {string} title @param {string} words @param {HTMLElement | null} actions @returns {Screen} */
function message(title, words, actions) {
  const heading = h('h1', { tabIndex: -1 }, title);
  const element = h('main', { class: 'lobby' }, h('div', { class: 'card stack ending' }, heading, h('p', {}, words), actions));
  return { element, focus: () => heading.focus(), update: () => {} };
}
