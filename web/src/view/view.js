/** Everything that is seen: one screen for each phase, kept in step with the peer. */

import { askForToken, isTokenCode } from '../invitation.js';
import { abilities, beforeDrawing } from '../optional.js';
import { tokenWaitMs } from '../signaling.js';
import { button, h, logo, setText } from './dom.js';
import { watchErrors } from './own-errors.js';
import { lobby } from './lobby.js';
import { room as roomScreen } from './room.js';
import { Settings } from './settings.js';
import { chime } from './sounds.js';
import {
  ending,
  FAILURE,
  OWN_FAILURE,
  passwordFault,
  remedy,
  unsupported,
  waitWords,
} from './words.js';

/** @import { Peer } from '../peer.js' */
/** @typedef {{peer: Peer, settings: Settings, able: import('../optional.js').Abilities, tell: (text: string, kind?: string) => void, open: (room: string) => void}} App `tell`: says something for a moment. `open`: shows the lobby of a room */
/** @typedef {{element: HTMLElement, focus: () => void, update: () => void, frame?: () => void, close?: () => void}} Screen */

const NOTICE_MS = 6000;
/** These stand in the room's alerts as long as they last. */
const IN_ALERTS = ['server-away', 'microphone-lost'];
/** Each drawing of a meter costs, and more of them in a second are not seen. */
const METERS_EVERY_MS = 45;

/**
 * @param {Peer | null} peer null where this browser cannot talk
 * @param {{root: HTMLElement, room: string, support: string | null, storage: import('../optional.js').Store, lasts: boolean}} options
 *   `lasts`: whether what is stored is there at the next visit
 */
export function show(peer, { root, room, support, storage, lasts }) {
  root.setAttribute('data-test', 'phase');
  if (peer && support === null) return run(peer, root, room, storage, lasts);
  root.setAttribute('data-phase', 'unsupported');
  root.replaceChildren(message(unsupported(support), null).element);
}

/** The page could not begin: at least there are words. @param {HTMLElement} root @param {unknown} error */
export function showFailure(root, error) {
  root.setAttribute('data-test', 'phase');
  root.setAttribute('data-phase', 'unsupported');
  root.replaceChildren(
    message(
      FAILURE,
      button('primary', () => location.reload(), {}, 'Reload'),
      error instanceof Error ? error.message : String(error),
    ).element,
  );
}

/** @param {Peer} peer @param {HTMLElement} root @param {string} room @param {import('../optional.js').Store} storage @param {boolean} lasts */
function run(peer, root, room, storage, lasts) {
  const settings = new Settings(storage);
  peer.sound.preferInput(settings.input);
  void peer.sound.setOutput(settings.output);
  peer.sound.setOverallVolume(settings.volume);
  peer.sound.setActivation(settings.activation);
  peer.sound.setProcessing(settings.processing);
  peer.sound.setChannel(settings.channel);

  const notices = h('div', { className: 'notices', test: 'notice', role: 'status' });
  const place = h('div', 'screen');
  const errors = watchErrors(() => peer.leave());
  root.replaceChildren(errors.element, place, notices);
  const tell = (/** @type {string} */ text, kind = '') => {
    const notice = h('p', {}, h('span', {}, text));
    // Many who come at once are not a list of notices.
    if (kind !== '') notices.querySelector(`[data-kind="${kind}"]`)?.remove();
    notice.dataset.kind = kind;
    notices.append(notice);
    if (notices.children.length > 3) notices.firstElementChild?.remove();
    setTimeout(() => notice.remove(), NOTICE_MS);
  };

  const able = abilities(lasts, () => update());
  const app = { peer, settings, able, tell, open };
  /** @type {Screen | null} */
  let screen = null;
  let shown = '';
  /** Access tokens that were refused one after another. */
  let refusedTokens = 0;

  function update() {
    const { phase } = peer.state;
    const kind =
      phase === 'lobby' || phase === 'joining'
        ? 'lobby'
        : phase === 'joined' || phase === 'reconnecting'
          ? 'room'
          : phase;
    const before = shown;
    if (kind !== before) {
      errors.hide();
      errors.guarded(() => screen?.close?.());
      shown = kind;
      screen = begun(kind, before === '') ?? failed();
      if (before !== '') errors.guarded(() => screen?.focus());
    } else {
      errors.guarded(() => screen?.update());
    }
    root.setAttribute('data-phase', phase);
  }

  /** Another screen, shown as it is now; null where that fails. @param {string} kind @param {boolean} isFirst */
  function begun(kind, isFirst) {
    const made = errors.guarded(() => make(kind, isFirst));
    const isShown = errors.guarded(() => {
      if (!made) return false;
      place.replaceChildren(made.element);
      made.update();
      return true;
    });
    if (isShown) return made;
    errors.guarded(() => made?.close?.());
    return null;
  }

  /** The lobby of another room. @param {string} named */
  function open(named) {
    errors.guarded(() => screen?.close?.());
    screen = lobby(app, named, true);
    place.replaceChildren(screen.element);
    screen.update();
    screen.focus();
  }

  /** In place of a screen that could not be made: one who cannot see the room is not heard there. @returns {Screen} */
  function failed() {
    peer.sound.closeMicrophone('none');
    const reload = button('primary', () => location.reload(), { test: 'reload' }, 'Reload');
    const leave = button('quiet', () => peer.leave(), { test: 'leave' }, 'Leave the room');
    const isInside = peer.state.phase === 'joined' || peer.state.phase === 'reconnecting';
    errors.hide();
    const screen = message(
      OWN_FAILURE,
      h('div', 'stack tight', reload, isInside ? leave : null),
      errors.details,
    );
    place.replaceChildren(screen.element);
    return screen;
  }

  /** @param {string} kind @param {boolean} isFirst @returns {Screen} */
  function make(kind, isFirst) {
    const { state } = peer;
    document.title = kind === 'room' ? `${state.room} · voicemesh` : 'voicemesh';
    if (kind === 'lobby') return lobby(app, state.room || room, isFirst && room !== '');
    if (kind === 'room') {
      refusedTokens = 0;
      return roomScreen(app);
    }
    const asks = kind !== 'replaced' && state.refusal?.code.startsWith('password');
    /** @type {HTMLInputElement | null} */
    const secret = asks
      ? h('input', {
          type: 'password',
          ariaLabel: 'Password',
          placeholder: 'Password',
          test: 'password',
          oninput: () => secret?.setCustomValidity(passwordFault(secret.value)),
        })
      : null;
    const again = () =>
      void peer.join({
        room: state.room,
        name: state.name,
        relayOnly: settings.relayOnly,
        microphone: !settings.silent,
        ...(secret && { password: secret.value }),
      });
    const { code = '' } = state.refusal ?? {};
    if (isTokenCode(code)) {
      refusedTokens += 1;
      const waitMs = tokenWaitMs(refusedTokens);
      const { refusal } = state;
      askForToken({ room: state.room, code }, () =>
        setTimeout(() => peer.state.refusal === refusal && again(), waitMs),
      );
    }
    const helps = remedy(code);
    const look = (/** @type {string} */ what) => (what === helps ? 'primary' : 'quiet');
    const join = h(
      'button',
      { type: 'submit', className: look('again'), test: 'rejoin' },
      kind === 'replaced' ? 'Take it back' : asks ? 'Join' : 'Join again',
    );
    const back = button(
      look('change'),
      () => peer.reset(),
      { test: 'back' },
      'Change name or room',
    );
    const reload = button('primary', () => location.reload(), { test: 'reload' }, 'Reload');
    // Browsers send no form whose button may not be pressed yet.
    let joins = false;
    secret?.addEventListener('keydown', (event) => {
      joins ||= event.key === 'Enter' && !event.repeat && join.disabled && secret.value !== '';
    });
    // Typing cancels the pending join.
    secret?.addEventListener('input', () => {
      joins = false;
    });
    const form = h(
      'form',
      {
        className: 'stack tight',
        onsubmit: (event) => {
          event.preventDefault();
          if (!join.disabled) again();
        },
      },
      secret,
      ...(helps === 'change'
        ? [back, join]
        : helps === 'reload'
          ? [reload, join, back]
          : [join, back]),
    );
    // The browser's own words about what the page could not do.
    const details = state.refusal?.code === 'failed' ? state.refusal.message : '';
    const screen = message(ending(state), form, details);
    // What is left of a ban.
    if (!secret) return { ...screen, frame: () => screen.say(ending(state)[1]) };
    return {
      ...screen,
      focus: () => secret.focus(),
      frame() {
        const waitMs = (state.refusal?.retryAt ?? 0) - performance.now();
        join.disabled = waitMs > 0;
        setText(join, waitWords(joins ? 'Joining' : 'Join', waitMs));
        if (!joins || join.disabled) return;
        joins = false;
        if (secret.reportValidity()) again();
      },
    };
  }

  peer.addEventListener('change', update);
  peer.addEventListener('notice', (event) => {
    const { kind, text } = /** @type {CustomEvent} */ (event).detail;
    if (!IN_ALERTS.includes(kind)) tell(text, kind === 'joined' || kind === 'left' ? kind : '');
    if (settings.sounds && !peer.state.deafened) void chime(kind, settings.output);
  });
  let drawnAt = 0;
  const frame = (/** @type {number} */ now) => {
    beforeDrawing(frame);
    if (now < drawnAt + METERS_EVERY_MS) return;
    drawnAt = now;
    errors.guarded(() => screen?.frame?.());
  };
  beforeDrawing(frame);
  update();
}

/**
 * @param {[string, string]} words @param {HTMLElement | null} actions
 * @param {string} [details] for a report, folded
 * @returns {Screen & {say: (text: string) => void}}
 */
function message([title, text], actions, details = '') {
  const heading = h('h1', { tabIndex: -1 }, title);
  const why = h('p', {}, text);
  const folded = details && h('details', {}, h('summary', {}, 'Details'), h('p', {}, details));
  return {
    element: h('main', 'lobby', h('div', 'card ending', logo(48), heading, why, actions, folded)),
    say: (words) => setText(why, words),
    focus: () => heading.focus(),
    update: () => {},
  };
}
