/**
 * What the page shows of one person in one room.
 *
 * @typedef {{code: string, message: string, retryAt: number | null}} Refusal `retryAt`: by the page's clock; null where no time is known
 * @typedef {'lobby' | 'joining' | 'joined' | 'reconnecting' | 'left' | 'refused' | 'replaced'} Phase
 * @typedef {'none' | 'asking' | 'on' | 'denied' | 'blocked' | 'missing' | 'lost' | 'failed' | 'unavailable'} MicrophoneState
 * @typedef {{from: string, to: string, mine: boolean, text: string, at: number, group?: boolean, person?: boolean}} Message
 *   `to`: 'room', 'me' (from one person to this one), or the name of a group (with `group`) or of a person (with `person`)
 * @typedef {{echo: boolean, noise: boolean, gain: boolean}} Processing
 * @typedef {'voice' | 'push-to-talk' | 'always'} Activation
 * @typedef {{id: string, name: string, speaking: boolean, route: import('./route.js').Route, roundTripMs: number | null,
 *   lossPercent: number | null, delayMs: number | null, volume: number, muted: boolean, recording: boolean,
 *   groups: string[], away: boolean, mayNot: import('./messages.js').Permission[], silenced: boolean,
 *   status: import('./messages.js').Status, hearsMe: boolean | null, silentMs: number, cannotDecode: boolean,
 *   encryption: import('./member-encryption.js').MemberEncryption | null, met: import('./known-members.js').Met}} PersonState `met`: whether this browser has met the person's key in this room. `encryption`: null where neither the person nor this page encrypts. `hearsMe`: null where it is not known. `silenced`: a moderator took the permission to speak away while this page was here. `silentMs`: for how long nothing has come through, neither from nor to this person
 * @typedef {{name: string, members: number, listening: boolean, speaking: boolean}} GroupState
 * @typedef {{name: string, staying: ReadonlySet<string>}} KeyHolder `staying`: the ids of who else was here when it was put out
 * @typedef {{phase: Phase, refusal: Refusal | null, joinedAt: number, room: string, name: string, waking: boolean,
 *   retryInMs: number | null, relayOnly: boolean, serverRelayOnly: boolean, microphone: MicrophoneState, cannotEncode: false | 'late' | 'refused',
 *   microphoneLabel: string, channels: {count: number, heard: number}, monitored: boolean, muted: boolean, activation: Activation, processing: Processing, deafened: boolean,
 *   talking: boolean, speaking: boolean, people: PersonState[], groups: GroupState[], messages: readonly Message[],
 *   output: import('./output.js').OutputState, uploadTooSlow: boolean, problem: import('./connect-check.js').Problem | null,
 *   networkChanged: boolean, deviceBusy: boolean, moderates: boolean, locked: boolean, banned: {id: string, name: string}[], left: {id: string, name: string}[], heldIn: readonly string[], silenced: boolean, mayNot: import('./messages.js').Permission[],
 *   keyHolder: KeyHolder | null, safetyCode: string | null}} PeerState
 *   `keyHolder`: whom this page has put out last of a private room, whose link they still have.
 *   `safetyCode`: what the members of an encrypted room compare; null in a room without a key.
 *   `mayNot`: what this page lacks of the usual permissions. `locked`: newcomers are not let in. `banned`: by this page.
 *   `left`: members who left lately, whom a moderator can still keep out. `heldIn`: the groups in which a moderator holds this page.
 *   `cannotEncode`: the browser's encoder refuses what the microphone hears, or gives nothing of it back; `cannotDecode`: its decoder refuses what a person says.
 *   `channels`: of the microphone, and the one that is heard, counted from 1; 0: the mean of all.
 *   `networkChanged`: just now, so that what was measured is not how it will be; `deviceBusy`: what was measured tells of this
 *   device, not of networks
 */

export {};
