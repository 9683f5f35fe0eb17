/**
 * What the page itself did wrong, in one place: an exception that no other part has caught is written to the console once,
 * and a line says so as long as one stays, with what can be done.
 */

import { BASE } from '../place.js';
import { button, h } from './dom.js';
import { OWN_ERROR } from './words.js';

/** Beyond these, another exception is not written down. */
const MOST_WRITTEN = 20;

/** @param {unknown} error */
const wordsOf = (error) =>
  error instanceof Error ? `${error.name}: ${error.message}` : `${error}`;

/** @param {() => void} leave the room */
export function watchErrors(leave) {
  /** @type {Set<string>} */
  const written = new Set();
  const folded = h('p');
  const element = h(
    'div',
    { className: 'alert own-error', role: 'alert', hidden: true, test: 'own-error' },
    h('p', {}, OWN_ERROR),
    button('primary', () => location.reload(), { test: 'own-error-reload' }, 'Reload'),
    button('quiet', leave, { test: 'own-error-leave' }, 'Leave'),
    h('details', {}, h('summary', {}, 'Details'), folded),
  );

  /** @param {unknown} error */
  function met(error) {
    folded.textContent = wordsOf(error);
    element.hidden = false;
  }

  // What no caller has caught, in a click for example: the browser itself writes it to the console.
  addEventListener('error', ({ filename, error }) => {
    if (filename.startsWith(BASE.href)) met(error);
  });
  addEventListener('unhandledrejection', ({ reason }) => {
    // Extensions run here as well, and what they do is theirs.
    if (reason instanceof Error && reason.stack?.includes(BASE.href)) met(reason);
  });

  return {
    element,
    /** Of the last one. */
    get details() {
      return folded.textContent ?? '';
    },
    /** Another place says it. */
    hide: () => void (element.hidden = true),
    /** What an act gives; null where it throws. @template T @param {() => T} act */
    guarded(act) {
      try {
        return act();
      } catch (error) {
        const words = wordsOf(error);
        if (written.size < MOST_WRITTEN && !written.has(words)) {
          written.add(words);
          console.error(error);
        }
        met(error);
        return null;
      }
    },
  };
}
