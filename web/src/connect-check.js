/**
 * Why the server's WebSocket did not open. A browser does not say it, so the page asks over HTTP what became of its attempt:
 * `connect-check` tells a refusal, a proxy that does not pass WebSockets on, and a server that is away apart.
 *
 * @typedef {'offline' | 'unreachable' | 'slow' | 'gateway' | 'busy' | 'cookies' | 'origin' | 'no-upgrade' | 'protocol' | 'redirect'
 *   | 'blocked' | 'stranger'} ProblemKind
 * @typedef {{kind: ProblemKind, host?: string, status?: number}} Problem
 */

import { hex } from './identity.js';
import { isOffline as deviceIsOffline } from './optional.js';

/** A server that is awake answers by then. */
const PATIENCE_MS = 4000;
/** At most so often: each failed attempt asks. */
const EVERY_MS = 2000;

/** What an answer over HTTP tells. @param {number} status @param {any} answer `null` where it is not the server's own @returns {Problem | null} */
export function problemOf(status, answer) {
  if (status === 502 || status === 504) return { kind: 'gateway', status };
  if (status === 503) return { kind: 'busy', status };
  if (status === 431 || status === 400) return { kind: 'cookies', status };
  // It may be an older server, or a page of something in between.
  if (answer?.server !== 'voicemesh') return { kind: 'stranger', status };
  if (answer.attempt === 'no-upgrade' || answer.attempt === 'protocol')
    return { kind: answer.attempt };
  if (answer.origin === 'refused') return { kind: 'origin', host: String(answer.host) };
  // It came and was answered, and closed afterwards: that is said elsewhere.
  if (answer.attempt === 'origin') return null;
  return { kind: 'blocked' };
}

export class ConnectCheck {
  /** @type {Problem | null} what is known of the newest attempt */
  problem = null;
  #attempt = '';
  #askedAt = -Infinity;
  #asks = 0;

  /**
   * @param {URL} base
   * @param {{changed: () => void, clock: () => number, fetch?: typeof fetch, isOffline?: () => boolean}} of
   */
  constructor(
    base,
    { changed, clock, fetch: ask = (...what) => fetch(...what), isOffline = deviceIsOffline },
  ) {
    this.base = base;
    this.changed = changed;
    this.clock = clock;
    this.fetch = ask;
    this.isOffline = isOffline;
  }

  /** Names an attempt for the server. @param {string} socketUrl */
  begin(socketUrl) {
    this.#attempt = hex(crypto.getRandomValues(new Uint8Array(16)));
    return `${socketUrl}?attempt=${this.#attempt}`;
  }

  /** The socket is open. */
  opened() {
    this.#asks += 1;
    this.#say(null);
  }

  /** The socket closed without having opened. */
  async failed() {
    if (this.isOffline()) return this.#say({ kind: 'offline' });
    const now = this.clock();
    if (now < this.#askedAt + EVERY_MS) return undefined;
    this.#askedAt = now;
    const asks = ++this.#asks;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), PATIENCE_MS);
    /** @type {Problem | null} */
    let problem;
    try {
      // POST, because only then a browser names the page's origin to its own server.
      const url = new URL(`connect-check?attempt=${this.#attempt}`, this.base);
      const response = await this.fetch(url, {
        method: 'POST',
        cache: 'no-store',
        redirect: 'manual',
        signal: abort.signal,
      });
      problem =
        response.type === 'opaqueredirect'
          ? { kind: 'redirect' }
          : problemOf(response.status, await response.json().catch(() => null));
    } catch {
      problem = { kind: abort.signal.aborted ? 'slow' : 'unreachable' };
    }
    clearTimeout(timer);
    if (asks === this.#asks) this.#say(problem);
    return undefined;
  }

  /** @param {Problem | null} problem */
  #say(problem) {
    this.problem = problem;
    this.changed();
  }
}
