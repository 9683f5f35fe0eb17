/**
 * Which way speech goes to one peer, and what a link is worth (PROTOCOL.md, section 9). Pure: told the time in ms.
 *
 * @typedef {'none' | 'relayed' | 'direct'} Route
 * @typedef {{route: Route, leaving: {route: Route, until: number} | null, both: boolean, arrives: boolean}} RouteState
 * `both`: a stalled link is used beside the relay. `arrives`: whether what is sent is known to arrive.
 * @typedef {{relay: boolean, serverAnswers: boolean, both: boolean, link: 'unbound' | 'sound' | 'stalled', preferRelay?: boolean}} Means
 * `preferRelay`: the uplink has no room for one more direct copy.
 */

/** A planned move sends on both routes for so long; duplicates play once. */
export const OVERLAP_MS = 200;

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
  const prefersRelay = (means.preferRelay ?? false) && means.relay;
  if ((means.link === 'sound' && !prefersRelay) || (means.link === 'stalled' && !means.relay))
    route = 'direct';
  const leaving =
    route === state.route ? state.leaving : { route: state.route, until: now + OVERLAP_MS };
  const usable =
    leaving !== null &&
    leaving.until > now &&
    ((leaving.route === 'relayed' && means.relay) ||
      (leaving.route === 'direct' && means.link === 'sound' && !means.preferRelay));
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
