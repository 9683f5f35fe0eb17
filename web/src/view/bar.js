/** What one does oneself: mute, deafen, hold to talk, settings, leave; by button and by key. */

import { button, h, icon, meter, setAttribute, setText, toggle } from './dom.js';
import { closeDialog, keepPointer, keepScreenOn, openDialog } from '../optional.js';
import { avatar, paint } from './person.js';
import { devices, voice } from './sound.js';
import { initials, ownWords } from './words.js';

/** @import { App } from './view.js' */

const TYPING = 'input:not([type]), textarea, select, dialog';
const PRESSES = 'button, summary';

/** @param {App} app */
export function bar(app) {
  const { peer, settings, tell } = app;
  const level = meter();
  const tag = h('span', 'tag');
  const enable = button(
    'text',
    () => peer.sound.setInput(settings.input),
    {},
    'Turn on my microphone',
  );
  const mute = control('Mute', 'microphone', () => peer.sound.setMuted(!peer.state.muted));
  const hold = control('Push to talk', 'hold', () => {
    settings.change({
      activation: settings.activation === 'push-to-talk' ? 'voice' : 'push-to-talk',
    });
    peer.sound.setActivation(settings.activation);
  });
  const deafen = control('Deafen', 'headphones', () =>
    peer.sound.setDeafened(!peer.state.deafened),
  );
  const dialog = settingsDialog(app);
  const open = control('Settings', 'settings', dialog.show);
  const leave = control('Leave', 'leave', () => peer.leave());
  let byPointer = false;
  let held = '';

  /** @param {string} by what is held; '' when it is let go */
  function talk(by) {
    if (held === by) return;
    held = by;
    if (by !== '' && peer.state.muted) tell('You are muted. Unmute to be heard.');
    peer.sound.setTalking(by !== '');
  }
  const release = () => talk('');
  const key = h('span', 'key');
  const words = h('span');
  const ptt = h(
    'button',
    {
      type: 'button',
      className: 'ptt',
      test: 'ptt',
      onpointerdown: (event) => {
        if (event.button !== 0) return;
        keepPointer(ptt, event.pointerId);
        talk('pointer');
      },
      onlostpointercapture: release,
      oncontextmenu: (/** @type {Event} */ event) => event.preventDefault(),
      // Screen readers and the like can click but not hold: for them it stays pressed until the next click.
      onclick: (event) => event.detail === 0 && talk(held ? '' : 'click'),
    },
    words,
    key,
  );

  /** @param {KeyboardEvent} event */
  function keyDown(event) {
    const { code, key: letters, ctrlKey, metaKey, altKey, repeat } = event;
    if (code === 'Tab') byPointer = false;
    const target = event.target instanceof Element ? event.target : document.body;
    if (
      target.closest(TYPING) ||
      ((ctrlKey || metaKey || altKey) && !/^(Control|Meta|Alt)/.test(code))
    )
      return;
    const presses = code === 'Space' || code === 'Enter';
    if (!ptt.hidden && (code === settings.key || (presses && target === ptt))) {
      // A button that was reached by keys is pressed; one that was merely clicked last is not.
      if (presses && target !== ptt && !byPointer && target.closest(PRESSES)) return;
      event.preventDefault();
      if (!repeat) talk(code);
    } else if (settings.shortcuts && !repeat) {
      // Other alphabets have the letters on the same keys.
      const letter = letters > '\x7f' ? code.replace('Key', '') : letters.toUpperCase();
      if (letter === 'M') mute.click();
      else if (letter === 'D') deafen.click();
    }
  }

  /** Wherever it is let go: the focus may have moved on meanwhile. @param {KeyboardEvent} event */
  function keyUp(event) {
    if (held !== event.code) return;
    event.preventDefault();
    release();
  }

  const ends = new AbortController();
  const { signal } = ends;
  addEventListener(
    'pointerdown',
    () => {
      byPointer = true;
    },
    { signal, capture: true },
  );
  addEventListener('keydown', keyDown, { signal });
  addEventListener('keyup', keyUp, { signal });
  addEventListener('blur', release, { signal });
  keepAwake(signal);

  // An access token may name another than the one that was asked for.
  let { name } = peer.state;
  const face = avatar(name);
  const shownName = h('strong', { dir: 'auto', test: 'own-name' }, name);
  const me = h(
    'div',
    'me',
    face,
    h('div', 'who', h('div', 'name', shownName, tag), level.element, enable),
  );
  const element = h(
    'footer',
    { className: 'bar', ariaLabel: 'You' },
    dialog.element,
    me,
    h('div', 'acts', ptt, mute, hold, deafen, open, leave),
  );
  return {
    element,
    showSettings: dialog.show,
    /** @param {number | undefined} hue */
    paint: (hue) => paint(face, hue),
    update() {
      const { microphone, muted, deafened, activation, talking, speaking } = peer.state;
      const silent = microphone !== 'on';
      const doing = ownWords(peer.state);
      if (peer.state.name !== name) {
        ({ name } = peer.state);
        setText(shownName, name);
        setText(face, initials(name));
      }
      setText(tag, doing);
      tag.hidden = doing === '';
      setAttribute(me, 'data-speaking', speaking);
      mute.hidden = hold.hidden = silent;
      setAttribute(hold, 'aria-pressed', activation === 'push-to-talk');
      level.element.hidden = silent;
      enable.hidden = microphone !== 'none';
      setAttribute(mute, 'aria-pressed', muted);
      setAttribute(deafen, 'aria-pressed', deafened);
      mute.title = settings.shortcuts ? 'Mute (M)' : 'Mute';
      deafen.title = settings.shortcuts ? 'Deafen (D)' : 'Deafen';
      ptt.hidden = activation !== 'push-to-talk' || silent;
      if (ptt.hidden) release();
      setAttribute(ptt, 'aria-pressed', talking);
      setText(words, talking ? 'Talking…' : 'Hold to talk');
      setText(key, settings.keyName);
      dialog.update();
    },
    frame() {
      level.set(peer.sound.levels().own);
      dialog.frame();
    },
    close() {
      release();
      ends.abort();
      dialog.close();
    },
  };
}

/** @param {string} words @param {'microphone' | 'headphones' | 'settings' | 'leave' | 'hold'} picture @param {() => void} act */
function control(words, picture, act) {
  return button(
    'control',
    act,
    { test: words.toLowerCase().replaceAll(' ', '-') },
    icon(picture),
    h('span', {}, words),
  );
}

/** Phones lock themselves, and may take the microphone away. @param {AbortSignal} signal */
function keepAwake(signal) {
  // Where it is not possible, or the battery is low, the screen goes dark as ever.
  const ask = async () => {
    const lock = await keepScreenOn();
    if (signal.aborted) void lock?.release();
    else signal.addEventListener('abort', () => lock?.release());
  };
  document.addEventListener('visibilitychange', ask, { signal });
  void ask();
}

/** @param {App} app */
function settingsDialog(app) {
  const { peer, settings } = app;
  const found = devices(app, false);
  const how = voice(app, 'room');
  const done = button('primary', () => closeDialog(element), {}, 'Done');
  /** @type {HTMLDialogElement} */
  const element = h(
    'dialog',
    { ariaLabel: 'Settings', onclose: () => peer.sound.setMonitored(false) },
    h(
      'div',
      'stack',
      h('div', 'check', h('h2', {}, 'Settings'), done),
      found.element,
      how.element,
      h(
        'fieldset',
        {},
        h('legend', {}, 'This page'),
        toggle(
          'A sound when people come or go, and for a message while this page is hidden',
          settings.sounds,
          (sounds) => settings.change({ sounds }),
          { test: 'sounds' },
        ),
        h(
          'div',
          'keyboard',
          toggle('Keys: M mutes, D deafens', settings.shortcuts, (shortcuts) =>
            settings.change({ shortcuts }),
          ),
        ),
      ),
    ),
  );
  const update = () => {
    if (!element.open) return;
    found.update();
    how.update();
  };
  return {
    element,
    update,
    show() {
      openDialog(element);
      update();
    },
    frame: () => {
      if (element.open) found.frame();
    },
    close: found.close,
  };
}
