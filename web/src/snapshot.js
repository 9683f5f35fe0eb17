/** What there is to show of a room, read off its parts. */

import { onlyTheirs } from './member-encryption.js';
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
 * @param {boolean} isOpen this page sends what one says
 * @returns {import('./state.js').PersonState[]}
 */
export function people(
  { roster, session, pairs, encryption },
  playback,
  clocks,
  hearers,
  volumes,
  now,
  isOpen,
) {
  const members = [...roster.members.values()].sort((a, b) => a.info.order - b.info.order);
  return members.map(({ info, label, client, lost, silenced }) => {
    const remote = playback?.remotes.get(info.peer);
    const loss = remote?.loss ?? null;
    return {
      id: info.peer,
      name: label,
      speaking: remote?.speaks(now) ?? false,
      cannotDecode: remote?.fails ?? false,
      route: session.route(info.peer),
      roundTripMs: rounded(pairs.bound(info.peer)?.health.roundTripMs),
      lossPercent: loss === null ? null : Math.round(loss * 1000) / 10,
      delayMs: rounded(clocks.get(info.peer)?.settledMs),
      ...volumes.get(info.peer),
      recording:
        (encryption?.isRecording(info) ?? info.metadata.recording !== undefined) ||
        info.status?.recording === true,
      groups: client === null ? [] : [...(session.current?.members.get(client)?.groups ?? [])],
      away: lost !== null,
      hearsMe:
        isOpen && roster.capabilities(info.peer)?.reports && client !== null
          ? hearers.hears(now, info.peer, session.speech.isFor(info.peer))
          : null,
      status: info.status ?? {},
      mayNot: roster.lacking(info.peer),
      silenced: silenced ?? false,
      encryption: encryption ? encryption.stateOf(info.peer) : onlyTheirs(info.metadata),
      met: encryption?.metAs(info.peer) ?? 'known',
      silentMs: Math.max(now - (session.silentSince(info.peer) ?? now), 0),
    };
  });
}

/**
 * Every group with a listener, and those that this page listens or speaks to. Who is deafened is not counted.
 * @param {import('./mesh.js').Mesh} mesh
 * @param {boolean} deafened
 * @returns {import('./state.js').GroupState[]}
 */
export function groups({ session, roster }, deafened) {
  const spoken = new Set(session.speaker.openTargets.map((target) => target.name));
  const members = new Map([GLOBAL, ...session.groups, ...spoken].map((name) => [name, 0]));
  for (const [client, { groups: listened }] of session.current?.members ?? []) {
    const peer =
      client === session.current?.you ? null : roster.peerOf(session.current?.session ?? 0, client);
    if (peer === null ? deafened : !roster.listens(peer)) continue;
    for (const name of listened) members.set(name, (members.get(name) ?? 0) + 1);
  }
  return [...members].map(([name, count]) => ({
    name,
    members: count,
    listening: session.groups.has(name),
    speaking: spoken.has(name),
  }));
}

/** The status of this page that the others see. @param {boolean} isHeard unless muted @param {boolean} muted @param {boolean} deafened by choice or without a speaker @returns {import('./messages.js').Status} */
export function ownStatus(isHeard, muted, deafened) {
  return {
    ...(muted && isHeard && { muted: true }),
    ...(deafened && { deafened: true }),
    ...(!isHeard && { listening_only: true }),
  };
}

/** A server that takes longer to answer is taken for one that was asleep. */
const WAKING_AFTER_MS = 5000;
/** For so long after a change of network, what is measured is put down to it. */
const NETWORK_NEW_MS = 10_000;

/**
 * Everything that there is to show.
 * @param {number} now
 * @param {Pick<import('./state.js').PeerState, 'phase' | 'refusal' | 'joinedAt' | 'room' | 'name' | 'relayOnly' | 'messages' | 'problem'>} about
 * @param {{waitsSince: number | null, pathChangedAt: number, deviceBusy: boolean}} times since when the server is waited for, if it is; when the
 *   network changed; whether this device is too busy for the page
 * @param {Mesh | null} mesh
 * @param {import('./sound.js').Sound} sound
 * @param {import('./reports.js').Reports} reports
 * @returns {import('./state.js').PeerState}
 */
export function peerState(
  now,
  about,
  { waitsSince, pathChangedAt, deviceBusy },
  mesh,
  sound,
  reports,
) {
  const { capture, deafened, microphone, output, playback, volumes } = sound;
  const { muted, activation, processing } = sound.controls;
  const retryAt = mesh?.signaling.retryAt ?? null;
  const clocks = output.plays ? reports.clocks : new Map();
  const { cannotEncode } = sound;
  const isOpen = microphone === 'on' && !muted && !cannotEncode;
  const isSlow = (about.problem?.kind ?? 'slow') === 'slow';
  return {
    ...about,
    waking: waitsSince !== null && now > waitsSince + WAKING_AFTER_MS && isSlow,
    retryInMs: retryAt === null ? null : Math.max(retryAt - now, 0),
    serverRelayOnly: mesh?.serverRelayOnly ?? false,
    microphone,
    cannotEncode,
    microphoneLabel: capture?.label ?? '',
    channels: capture?.channels ?? { count: 1, heard: 0 },
    monitored: capture?.isMonitored ?? false,
    muted,
    activation,
    processing,
    deafened,
    talking: capture?.talking ?? false,
    speaking: capture?.sending ?? false,
    people: mesh ? people(mesh, playback, clocks, reports.hearers, volumes, now, isOpen) : [],
    groups: mesh ? groups(mesh, deafened) : [],
    output: output.state,
    uploadTooSlow: mesh?.uplink?.isTooSlow ?? false,
    networkChanged: now < pathChangedAt + NETWORK_NEW_MS,
    deviceBusy,
    moderates: mesh?.moderation.isAllowed ?? false,
    locked: mesh?.moderation.locked ?? false,
    banned: mesh?.moderation.banned(now) ?? [],
    left: mesh?.moderation.leftLately(now) ?? [],
    heldIn: mesh?.roster.heldIn ?? [],
    silenced: mesh?.roster.ownSilenced ?? false,
    mayNot: mesh?.roster.lacking(null) ?? [],
    keyHolder: mesh?.moderation.keyHolder ?? null,
    safetyCode: mesh?.encryption?.safetyCode ?? null,
  };
}
