/**
 * Signaling messages: JSON ⇄ objects (PROTOCOL.md, section 4). What the server sends is checked field by field, since the
 * page does not trust the server.
 *
 * @typedef {{relay_only: boolean, redundancy: boolean, voice_ack: boolean, reports: boolean, path_feedback?: boolean,
 *   bundles?: boolean, group_text?: boolean, e2ee?: boolean, frame_ms: number[]}} Capabilities
 * @typedef {{peer: string, client: number, run: number, name: string, metadata: Record<string, string>,
 *   capabilities: Capabilities, order: number, status?: Status, permissions?: Permission[], held_in?: string[]}} PeerInfo
 *   `held_in`: the talk groups in which a moderator holds it
 * @typedef {{muted?: true, deafened?: true, listening_only?: true, recording?: true}} Status only what is true
 * @typedef {{set: boolean, number: number}} RoomPassword `number`: how often moderators have decided about it in this session
 * @typedef {'speak' | 'listen' | 'data' | 'moderate'} Permission
 * @typedef {{kind: 'offer' | 'answer', sdp: string} | {kind: 'end-of-candidates' | 'request-offer'}
 *   | {kind: 'candidate', candidate: string, sdpMid: string | null, sdpMLineIndex: number | null}} Signal
 */

/** @type {Capabilities} */
const NO_CAPABILITIES = {
  relay_only: false,
  redundancy: false,
  voice_ack: false,
  reports: false,
  frame_ms: [],
};
const LIMITS = {
  json_message_bytes: 65536,
  binary_message_bytes: 17408,
  peers_per_room: 64,
  ping_interval_ms: 15000,
  roster_interval_ms: 5000,
  connection_lifetime_ms: 0,
};
/** @type {Permission[]} */
const PERMISSIONS = ['speak', 'listen', 'data', 'moderate'];
const STATUS = ['muted', 'deafened', 'listening_only', 'recording'];
const PEER_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

class Unreadable extends Error {}

/** @param {any} holds */
function must(holds) {
  if (!holds) throw new Unreadable();
}

/** @param {any} value @returns {string} */
function text(value) {
  must(typeof value === 'string');
  return value;
}

/** @param {any} value */
function integer(value, most = Number.MAX_SAFE_INTEGER) {
  must(Number.isInteger(value) && value >= 0 && value <= most);
  return /** @type {number} */ (value);
}

/** @param {any} value */
function peerId(value) {
  const id = text(value).toLowerCase();
  must(PEER_ID.test(id));
  return id;
}

/** @param {any} value @returns {any} */
function object(value) {
  must(value !== null && typeof value === 'object' && !Array.isArray(value));
  return value;
}

/** @param {any} value @returns {Record<string, string>} */
function metadata(value) {
  const entries = Object.entries(object(value ?? {}));
  must(entries.length <= 64);
  return Object.fromEntries(entries.map(([key, item]) => [key, text(item)]));
}

/** @param {any} value @returns {Capabilities} */
function capabilities(value) {
  const given = { ...NO_CAPABILITIES, ...object(value ?? {}) };
  const flag = (/** @type {any} */ item) => item === true;
  must(Array.isArray(given.frame_ms) && given.frame_ms.length <= 8);
  return {
    relay_only: flag(given.relay_only),
    redundancy: flag(given.redundancy),
    voice_ack: flag(given.voice_ack),
    reports: flag(given.reports),
    ...(flag(given.path_feedback) && { path_feedback: true }),
    ...(flag(given.group_text) && { group_text: true }),
    ...(flag(given.bundles) && { bundles: true }),
    ...(flag(given.e2ee) && { e2ee: true }),
    frame_ms: given.frame_ms.map((/** @type {any} */ ms) => integer(ms, 255)),
  };
}

/** @param {any} value @returns {{permissions?: Permission[]}} absent: everything but moderate */
function permissions(value) {
  if (value === undefined) return {};
  must(Array.isArray(value) && value.length <= 64);
  return { permissions: PERMISSIONS.filter((name) => value.includes(name)) };
}

/** @param {any} value @returns {string[]} */
function groups(value) {
  must(Array.isArray(value) && value.length <= 64);
  return value.map(text);
}

/** @param {any} value @returns {Status} */
function memberStatus(value) {
  const given = object(value ?? {});
  return Object.fromEntries(
    STATUS.filter((name) => given[name] === true).map((name) => [name, true]),
  );
}

/** @param {any} value @returns {PeerInfo} */
function peerInfo(value) {
  const { peer, client, run, name, order, ...rest } = object(value);
  return {
    peer: peerId(peer),
    client: integer(client, 0xffff),
    run: integer(run, 0xffffffff),
    name: text(name),
    metadata: metadata(rest.metadata),
    capabilities: capabilities(rest.capabilities),
    order: integer(order),
    ...(rest.status !== undefined && { status: memberStatus(rest.status) }),
    ...permissions(rest.permissions),
    ...(rest.held_in && { held_in: groups(rest.held_in) }),
  };
}

/** @param {any} value @returns {PeerInfo[]} */
function peers(value) {
  must(Array.isArray(value) && value.length <= 10_000);
  return value.map(peerInfo);
}

/** @param {any} value */
function mark(value) {
  must(/^[0-9a-f]{16}$/.test(text(value?.hash)));
  return { version: integer(value.version), hash: /** @type {string} */ (value.hash) };
}

/** What everyone is sent of the room's password. @param {any} m @returns {RoomPassword} */
const password = (m) => ({
  set: m.set === true,
  number: m.number === undefined ? 0 : integer(m.number, 0xffffffff),
});

/** @param {any} value @returns {Signal} */
function signal(value) {
  const { kind, ...rest } = object(value);
  switch (kind) {
    case 'offer':
    case 'answer':
      return { kind, sdp: text(rest.sdp) };
    case 'candidate': {
      const { candidate, sdpMid = null, sdpMLineIndex = null } = rest;
      must(sdpMid === null || typeof sdpMid === 'string');
      if (sdpMLineIndex !== null) integer(sdpMLineIndex, 0xffff);
      return { kind, candidate: text(candidate), sdpMid, sdpMLineIndex };
    }
    case 'end-of-candidates':
    case 'request-offer':
      return { kind };
    default:
      throw new Unreadable();
  }
}

/** Entries that cannot be read are left out: links can do without. @param {any} value @returns {RTCIceServer[]} */
function iceServers(value) {
  must(Array.isArray(value) && value.length <= 32);
  return value.flatMap((/** @type {any} */ server) => {
    const { urls, username, credential } = server ?? {};
    if (!Array.isArray(urls) || !urls.every((url) => typeof url === 'string')) return [];
    const read = /** @type {RTCIceServer} */ ({ urls });
    if (typeof username === 'string') read.username = username;
    if (typeof credential === 'string') read.credential = credential;
    return [read];
  });
}

/** @param {any} value */
function limits(value) {
  const given = object(value ?? {});
  return Object.fromEntries(
    Object.entries(LIMITS).map(([name, usual]) => [name, integer(given[name] ?? usual)]),
  );
}

/** @type {Record<string, (message: any) => object>} */
const READ = {
  joined: (m) => ({
    you: peerId(m.you),
    client: integer(m.client, 0xffff),
    session: integer(m.session, 0xffffffff),
    room: text(m.room),
    ...(m.name !== undefined && { name: text(m.name) }),
    peers: peers(m.peers),
    order: integer(m.order),
    ice_servers: iceServers(m.ice_servers ?? []),
    limits: limits(m.limits),
    relay_only: m.relay_only === true,
    roster: mark(m.roster),
    ...(m.group_text === true && { group_text: true }),
    ...(m.status === true && { status: true }),
    ...permissions(m.permissions),
    ...(m.held_in && { held_in: groups(m.held_in) }),
    ...(m.room_metadata && { room_metadata: metadata(m.room_metadata) }),
    ...(m.ticket !== undefined && { ticket: text(m.ticket) }),
    ...(m.locked === true && { locked: true }),
    ...(m.password !== undefined && { password: password(object(m.password)) }),
    ...(m.owner_right !== undefined && { owner_right: text(m.owner_right) }),
    ...(m.taken_over && {
      taken_over: {
        metadata: metadata(object(m.taken_over).metadata),
        ...(m.taken_over.texts !== undefined && { texts: integer(m.taken_over.texts, 0xffffffff) }),
      },
    }),
  }),
  'peer-joined': (m) => ({ peer: peerInfo(m.peer) }),
  'peer-left': (m) => ({ peer: peerId(m.peer), reason: text(m.reason) }),
  metadata: (m) => ({
    peer: peerId(m.peer),
    metadata: metadata(m.metadata),
    ...(m.changes !== undefined && { changes: integer(m.changes) }),
  }),
  permissions: (m) => ({ peer: peerId(m.peer), ...permissions(m.permissions ?? null) }),
  status: (m) => ({ peer: peerId(m.peer), status: memberStatus(m.status) }),
  'metadata-set': (m) => ({ request: integer(m.request, 0xffffffff) }),
  moderated: (m) => ({ request: integer(m.request, 0xffffffff) }),
  move: (m) => ({
    groups: groups(m.groups),
    ...(m.number !== undefined && { number: integer(m.number, 0xffffffff) }),
  }),
  held: (m) => ({ peer: peerId(m.peer), groups: groups(m.groups ?? []) }),
  locked: (m) => ({ locked: m.locked === true }),
  password,
  'room-metadata': (m) => ({ metadata: metadata(m.metadata) }),
  signal: (m) => ({
    from: peerId(m.from),
    attempt: integer(m.attempt, 0xffffffff),
    signal: signal(m.signal),
  }),
  'roster-mark': mark,
  roster: (m) => ({ ...mark(m), peers: peers(m.peers) }),
  error(m) {
    const error = {
      code: text(m.code),
      message: text(m.message),
      fatal: m.fatal === true,
      ...(m.request !== undefined && { request: integer(m.request, 0xffffffff) }),
      ...(m.peer !== undefined && { peer: peerId(m.peer) }),
      ...(m.text !== undefined && { text: integer(m.text, 0xffffffff) }),
    };
    return m.retry_after_ms === undefined
      ? error
      : { ...error, retry_after_ms: integer(m.retry_after_ms) };
  },
  'ice-servers': (m) => ({ ice_servers: iceServers(m.ice_servers) }),
  ticket: (m) => ({ ticket: text(m.ticket) }),
  'going-away': (m) => ({ retry_after_ms: integer(m.retry_after_ms ?? 0) }),
  replaced: () => ({}),
  pong: (m) => ({ token: integer(m.token, 0xffffffff) }),
};

/**
 * Reads what the server says; null for what this page does not understand, which it skips.
 * @param {string} json
 * @returns {any}
 */
export function readServer(json) {
  try {
    const message = object(JSON.parse(json));
    const read = Object.hasOwn(READ, message.type) ? READ[message.type] : null;
    return read && { type: message.type, ...read(message) };
  } catch {
    return null;
  }
}

/**
 * What a page says to the server.
 * @param {{room: string, name: string, proof: string, run: number, capabilities: Capabilities,
 *   metadata: Record<string, string>, presence: 'either' | 'must-exist' | 'must-not-exist', password?: string, ticket?: string,
 *   token?: string, status?: Status}} about
 */
export const join = (about) => ({ type: 'join', protocol: 1, ...about });
/**
 * @param {string} to
 * @param {number} attempt
 * @param {Signal} what
 */
export const signalTo = (to, attempt, what) => ({ type: 'signal', to, attempt, signal: what });
/** @param {Record<string, string | null>} set */
export const setMetadata = (set) => ({ type: 'set-metadata', set });
/** @param {Status} about */
export const status = (about) => ({ type: 'status', ...about });
export const roster = () => ({ type: 'roster' });
/** @param {number} token */
export const ping = (token) => ({ type: 'ping', token });
/** @param {string} action @param {number} request @param {object} about */
export const decide = (action, request, about) => ({ type: 'moderate', request, action, ...about });
export const leave = () => ({ type: 'leave' });
