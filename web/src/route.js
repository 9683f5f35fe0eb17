/**
 * Which way speech goes to one peer, and what a link is worth (PROTOCOL.md, section 9). Pure: told the time in ms.
 *
 * @typedef {'none' | 'relayed' | 'direct'} Route
 * @typedef {{route: Route, leaving: {route: Route, until: number} | null, both: boolean, arrives: boolean}} RouteState
 * `both`: a stalled link is used beside the relay. `arrives`: whether what is sent is known to arrive.
 * @typedef {{relay: boolean, serverAnswers: boolean, both: boolean, link: 'unbound' | 'sound' | 'stalled', preferRelay?: boolean, darkSince?: number | null}} Means
 * `preferRelay`: the uplink has no room for one more direct copy. `darkSince`: since when the server has not answered.
 */

/** A planned move sends on both routes for so long; duplicates play once. */
export const OVERLAP_MS = 200;

/** A server that has not answered for so long relays nothing; sooner, the uplink may be what is full. */
export const DARK_AFTER_MS = 3000;

/**
 * Whether a server that has not answered since then is taken to be away.
 * @param {number} now
 * @param {number | null} [darkSince]
 */
export const isDark = (now, darkSince = null) =>
  darkSince !== null && now >= darkSince + DARK_AFTER_MS;

/** @type {RouteState} */
export const NO_ROUTE = Object.freeze({
  route: 'none',
  leaving: null,
  both: false,
  arrives: false,
});

/**
 * Direct when the link is sound, else relayed, else whatever the link still does.
 * @param {RouteState} state
 * @param {number} now
 * @param {Means} means
 * @returns {RouteState}
 */
export function nextRoute(state, now, means) {
  /** @type {Route} */
  let route = means.relay ? 'relayed' : 'none';
  const prefersRelay = (means.preferRelay ?? false) && means.relay && !isDark(now, means.darkSince);
  if ((means.link === 'sound' && !prefersRelay) || (means.link === 'stalled' && !means.relay))
    route = 'direct';
  const leaving =
    route === state.route ? state.leaving : { route: state.route, until: now + OVERLAP_MS };
  const usable =
    leaving !== null &&
    leaving.until > now &&
    ((leaving.route === 'relayed' && means.relay) ||
      (leaving.route === 'direct' && means.link === 'sound' && !prefersRelay));
  const both = means.both && means.link === 'stalled';
  const arrives =
    route === 'relayed' ? means.serverAnswers : route === 'direct' && means.link === 'sound';
  const isSame = route === state.route && both === state.both && arrives === state.arrives;
  if (isSame && (usable || state.leaving === null)) return state;
  return { route, leaving: usable ? leaving : null, both, arrives };
}

/** The route to show: none while nothing is known to arrive. @param {RouteState} state */
export const shown = (state) => (state.arrives ? state.route : 'none');

/**
 * @param {RouteState} state
 * @param {Route} route
 */
export const uses = (state, route) =>
  state.route === route || state.leaving?.route === route || (state.both && route === 'direct');
