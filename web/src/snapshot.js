/** What there is to show of a room, read off its parts. */

import { GLOBAL } from './session.js';

/** @typedef {import('./mesh.js').Mesh} Mesh */

/** @param {number | null | undefined} ms */
const rounded = (ms) => (ms === null || ms === undefined ? null : Math.round(ms));

/**
 * The others, in order of arrival.
 * @param {Mesh} mesh
 * @param {import('./playback.js').Playback | null} playback
 * @param {Map<string, import('./clocks.js').Clock>} clocks
 * @param {import('./hearers.js').Hearers} hearers
 * @param {import('./volumes.js').Volumes} volumes
 * @param {number} now
 * @returns {import('./state.js').PersonState[]}
 */
export function people({ roster, session, pairs, signaling }, playback, clocks, hearers, volumes, now) {
  const members = [...roster.members.values()].sort((a, b) => a.info.order - b.info.order);
  return members.map(({ info, client, lost }) => {
    const ear = playback?.ears.get(info.peer);
    const loss = ear?.loss ?? null;
    return {
      id: info.peer, name: info.name, speaking: ear?.speaks(now) ?? false, route: session.route(info.peer),
      roundTripMs: rounded(pairs.bound(info.peer)?.health.roundTripMs),
      lossPercent: loss === null ? null : Math.round(loss * 1000) / 10,
      delayMs: rounded(clocks.get(info.peer)?.delayMs),
      ...volumes.get(info.peer), recording: info.metadata.recording !== undefined,
      groups: client === null ? [] : [...(session.current?.members.get(client)?.groups ?? [])], away: lost !== null,
      hearsMe: roster.capabilities(info.peer)?.reports && client !== null ? hearers.hears(now, info.peer) : null,
      mutedForAll: !roster.may(info.peer, 'speak'),
      decide: roster.may(null, 'moderate') ? (action) => signaling.decide(action, info.peer) : null,
      silentMs: Math.max(now - (session.silentSince(info.peer) ?? now), 0),
    };
  });
}

/**
 * Every group that somebody listens to, and those that one listens or speaks to oneself.
 * @param {import('./session.js').Session} session
 * @returns {import('./state.js').GroupState[]}
 */
export function groups(session) {
  const spoken = new Set(session.speaker.openTargets.map((target) => target.name));
  const members = new Map([GLOBAL, ...session.groups, ...spoken].map((name) => [name, 0]));
  for (const { groups: listened } of session.current?.members.values() ?? []) {
    for (const name of listened) members.set(name, (members.get(name) ?? 0) + 1);
  }
  return [...members].map(([name, count]) =>
    ({ name, members: count, listening: session.groups.has(name), speaking: spoken.has(name) }));
}
