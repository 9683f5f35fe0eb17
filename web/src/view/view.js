/** Everything that is seen: one screen for each phase, kept in step with the peer. */

import { askForToken, isTokenCode } from '../invitation.js';
import { button, h, logo } from './dom.js';
import { lobby } from './lobby.js';
import { room as roomScreen } from './room.js';
import { Settings } from './settings.js';
import { chime } from './sounds.js';
import { ending, unsupported } from './words.js';

/** @import { Peer } from '../peer.js' */
/** @typedef {{peer: Peer, settings: Settings, tell: (text: string) => void}} App `tell`: says something for a moment */
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
  if (peer && support === null) return run(peer, root, room, storage);
  root.setAttribute('data-phase', 'unsupported');
  root.replaceChildren(message(unsupported(support), null).element);
}

/** @param {Peer} peer @param {HTMLElement} root @param {string} room @param {Storage} storage */
function run(peer, root, room, storage) {
  const settings = new Settings(storage);
  peer.preferInput(settings.input);
  void peer.setOutput(settings.output);
  peer.setActivation(settings.activation);
  peer.setProcessing(settings.processing);

  const notices = h('div', { className: 'notices', test: 'notice', role: 'status' });
  const place = h('div', 'screen');
  root.replaceChildren(place, notices);
  const tell = (/** @type {string} */ text) => {
    const notice = h('p', { dir: 'auto' }, text);
    notices.append(notice);
    if (notices.children.length > 3) notices.firstElementChild?.remove();
    setTimeout(() => notice.remove(), NOTICE_MS);
  };

  const app = { peer, settings, tell };
  /** @type {Screen | null} */
  let screen = null;
  let shown = '';

  function update() {
    const { phase } = peer.state;
    const kind = phase === 'lobby' || phase === 'joining' ? 'lobby' : phase === 'joined' || phase === 'reconnecting' ? 'room' : phase;
    const before = shown;
    if (kind !== before) {
      screen?.close?.();
      screen = make(kind, before === '');
      place.replaceChildren(screen.element);
      shown = kind;
    }
    screen?.update();
    if (kind !== before && before !== '') screen?.focus();
    root.setAttribute('data-phase', phase);
  }

  /** @param {string} kind @param {boolean} isFirst @returns {Screen} */
  function make(kind, isFirst) {
    const { state } = peer;
    document.title = kind === 'room' ? `${state.room} · voicemesh` : 'voicemesh';
    if (kind === 'lobby') return lobby(app, state.room || room, isFirst && room !== '');
    if (kind === 'room') return roomScreen(app);
    const asks = kind !== 'replaced' && state.refusal?.code.startsWith('password');
    const secret = asks ? h('input', { type: 'password', ariaLabel: 'Password', placeholder: 'Password', maxLength: 128, test: 'password' }) : null;
    const again = () => peer.join({
      room: state.room, name: state.name, relayOnly: settings.relayOnly, microphone: !settings.silent,
      ...(secret && { password: secret.value }),
    });
    const { code = '' } = state.refusal ?? {};
    if (isTokenCode(code)) askForToken({ room: state.room, code }, again);
    return message(ending(state), h('div', 'stack tight', secret,
      button('primary', again, { test: 'rejoin' }, kind === 'replaced' ? 'Take it back' : 'Join again'),
      button('quiet', () => peer.reset(), { test: 'back' }, 'Change name or room')));
  }

  peer.addEventListener('change', update);
  peer.addEventListener('notice', (event) => {
    const { kind, text } = /** @type {CustomEvent} */ (event).detail;
    tell(text);
    if (settings.sounds && !peer.state.deafened) void chime(kind, settings.output);
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

/** @param {[string, string]} words @param {HTMLElement | null} actions @returns {Screen} */
function message([title, text], actions) {
  const heading = h('h1', { tabIndex: -1 }, title);
  return {
    element: h('main', 'lobby', h('div', 'card ending', logo(48), heading, h('p', {}, text), actions)),
    focus: () => heading.focus(),
    update: () => {},
  };
}
