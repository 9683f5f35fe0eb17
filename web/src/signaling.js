/**
 * The WebSocket's life: opened, joined, lost, opened again (PROTOCOL.md, section 3). Pure: told the time in ms, and moves
 * bytes by the mesh's carrier.
 *
 * @typedef {import('./mesh.js').Mesh} Mesh
 */

import { Liveness } from './liveness.js';
import { join, leave, ping, readServer, roster } from './messages.js';
import { SentTexts } from './sent-texts.js';
import { GLOBAL } from './session.js';
import { KINDS } from './wire.js';

const FIRST_RETRY_MS = 1500;
const NEXT_RETRY_MS = 250;
const LONGEST_RETRY_MS = 5000;
const OPEN_LIMIT_MS = 90_000;
/** A page sees no part of a message: an answer that is long on a narrow path gets twice the time with each try, up to the second. */
const JOIN_LIMIT_MS = 15_000;
const LONGEST_JOIN_LIMIT_MS = 300_000;
const MARKS_MISSED = 3;
const LONGEST_WAIT_ASKED_MS = 60_000;
/** Attempts beside a connection that does not answer: the next begins after this, or up to half of it earlier. */
const ATTEMPT_INTERVAL_MS = 1000;
/** With so many others in the room it is longer: they come back after the same outage. */
const CROWD = 8;
const CROWDS_INTERVAL_MS = 1500;
const ATTEMPTS = 3;
/** Least time between two remarks that a receiver is behind. */
const BUSY_TOLD_MS = 10_000;
const BESIDE_SPREAD_MS = 500;
/** A connection that the host will end is replaced after this share of its life, or up to the second of it later. */
const RENEWAL = 0.7;
const RENEWAL_SPREAD = 0.2;
const SHORTEST_LIFE_MS = 10_000;
/** A server that does not take the next connection is well, and is asked again after this only. */
const RENEWAL_AGAIN_MS = 10_000;
const BESIDE_JOIN_LIMIT_MS = 4000;
/** Tokens of pings that measure the way to the server begin here. */
const PATH_PINGS = 2 ** 31;
/** @type {readonly number[]} */
const VOICE_KINDS = [KINDS.VoiceData, KINDS.VoiceCopies];
/** What the server itself says of the session. @type {readonly number[]} */
const SERVER_KINDS = [
  KINDS.ClientState,
  KINDS.HandshakeResponse,
  KINDS.ErrorWrongSession,
  KINDS.DeltaClientState,
  KINDS.RemoveClient,
];
/** For how long a connection is read from which another has taken over, … */
const FORMER_READ_MS = 2000;
/** … and for how long speech is taken from it: later it has waited in a connection that was dead. */
const FORMER_VOICE_MS = 500;

/** Wait between the second refusal of a token in a row and the next join; it doubles with each further one, … */
const TOKEN_WAIT_MS = 1000;
/** … up to this. */
const LONGEST_TOKEN_WAIT_MS = 60_000;

/** The server asks for another access token. */
const TOKEN_CODES = ['token-required', 'token-invalid', 'token-expired'];

/** Refusals that trying again does not change, and those that do not matter to who has been in the room before. */
const FINAL = [
  'bad-name',
  'bad-room',
  'bad-metadata',
  'bad-field',
  'bad-json',
  'unsupported-protocol',
  ...TOKEN_CODES,
  'kicked',
  'banned',
  'room-locked',
];
const FINAL_AT_FIRST = [
  'room-full',
  'server-full',
  'room-missing',
  'room-exists',
  'password-required',
  'password-wrong',
];

const UNCONFIRMED =
  'The connection to the server ended before what you wrote last was known to have arrived.';
const LOCKED = 'A moderator has closed the room to newcomers.';
const NO_OWNER = new Map(
  Object.entries({
    later: 'The server has just started: who may moderate this room is decided within two minutes.',
    none: 'No member may moderate this room until it has been empty once: the server had just started.',
  }),
);

/** How long after a refusal another token is tried, by the refusals in a row (PROTOCOL.md, section 4). @param {number} refusals */
export const tokenWaitMs = (refusals) =>
  refusals > 1 ? Math.min(TOKEN_WAIT_MS * 2 ** (refusals - 2), LONGEST_TOKEN_WAIT_MS) : 0;

export class Signaling {
  /** @type {'stopped' | 'waiting' | 'opening' | 'joining' | 'joined'} */
  phase = 'stopped';
  /** When `phase` ends by itself: the next try, or the end of patience. */
  #until = 0;
  #joinLimitMs = JOIN_LIMIT_MS;
  /** When the connection in use is replaced, before the host ends it. */
  #renewalAt = Infinity;
  /** An attempt that was begun for that alone may be under way. */
  #isRenewing = false;
  /** When each connection began to be opened: a host in front of the server counts from then. @type {Map<number, number>} */
  #begunAt = new Map();
  /**
   * The connection from which the one in use has taken over. `wasStale`: the machine slept, and the server had not answered since.
   * `texts` and `read`: what was written there, and how many of these the server has read.
   * @type {{generation: number, since: number, wasStale: boolean, texts: SentTexts, read: number} | null}
   */
  #former = null;
  /** The page was asked for a token for the next connection, while one is in use. */
  #askedForToken = false;
  /** The token of the latest join, the latest that was refused, how many in a row, and when the last of them. @type {{joined?: string | undefined, refused?: string | undefined, refusals: number, at: number}} */
  #tokens = { refusals: 0, at: 0 };
  #silenceLimitMs = 16_000;
  /** The connection in use. */
  #generation = 0;
  #generations = 0;
  #failures = 0;
  #toldBusyAt = -Infinity;
  /** The session and number of the move that was carried out last. @type {string | undefined} */
  #lastMove;
  hasJoined = false;
  /** @type {number | null} */
  awaySince = null;
  /** @type {Liveness | null} while joined */
  #liveness = null;
  /** @type {{opening: number[], joining: {generation: number, since: number} | null, nextAt: number | null}} */
  #beside = { opening: [], joining: null, nextAt: null };
  /** @type {number | null} when the path changed; until the connection in use has answered since, it is taken for dead */
  #urgentSince = null;
  /** @type {number | null} when the machine woke, until the server has answered since */
  #wokeAt = null;
  /** As of the last tick. */
  #now = 0;
  #texts = new SentTexts();
  /** Of the message that was written last. */
  #textSerial = 0;

  /** @param {Mesh} mesh */
  constructor(mesh) {
    this.mesh = mesh;
  }

  get isOpen() {
    return this.phase === 'joining' || this.phase === 'joined';
  }

  /** As of the last tick. */
  get now() {
    return this.#now;
  }

  get isJoined() {
    return this.phase === 'joined';
  }

  /** Whether what is relayed is known to arrive. */
  get reachesServer() {
    return this.#liveness === null || !this.#liveness.silent;
  }

  /** The path has changed and the connection in use has not answered since. */
  get isUrgent() {
    return this.#urgentSince !== null;
  }

  /** Whether the server has answered something that was sent at `since` or later. @param {number} since */
  answeredSince(since) {
    const liveness = this.#liveness;
    return liveness !== null && (liveness.unsupported || liveness.answered >= since);
  }

  /** When the next connection is tried, if one waits. */
  get retryAt() {
    return this.phase === 'waiting' ? this.#until : null;
  }

  /** @param {number} now */
  start(now) {
    this.awaySince = now;
    this.phase = 'waiting';
    this.#until = now;
    this.tick(now);
  }

  /** @param {number} now */
  tick(now) {
    this.#now = now;
    this.mesh.moderation.tick(now);
    if (this.#former && now >= this.#former.since + FORMER_READ_MS) this.#closeFormer();
    this.#tickLiveness(now);
    if (this.phase === 'stopped' || now < this.#until) return;
    if (this.phase === 'waiting') {
      this.phase = 'opening';
      this.#until = now + OPEN_LIMIT_MS;
      this.#generation = this.#openNext(now);
    } else if (this.phase === 'opening') {
      this.lost(now, 'it does not answer');
    } else if (this.phase === 'joining') {
      this.#joinLimitMs = Math.min(2 * this.#joinLimitMs, LONGEST_JOIN_LIMIT_MS);
      this.lost(now, 'it does not answer the join');
    } else {
      this.lost(now, 'nothing comes from it any more');
    }
  }

  /** Ends the wait for the next attempt: the network came back, or the page woke. @param {number} now */
  reconnectNow(now) {
    if (this.phase === 'waiting') this.#until = now;
    this.tick(now);
  }

  /** The page is looked at again: it may have slept, and its connection with it. @param {number} now */
  shown(now) {
    this.reconnectNow(now);
    this.ask(now);
  }

  /** There is no network: nothing is known to arrive. @param {number} now */
  pathLost(now) {
    if (this.#liveness) this.#liveness.silent = this.#liveness.lost = true;
    this.ask(now);
  }

  /** Another network, or a machine that slept: another connection is opened at once. @param {number} now @param {boolean} slept */
  pathChanged(now, slept) {
    // What is overdue by now is lost first: the next connection does not wait then either.
    this.tick(now);
    this.reconnectNow(now);
    if (!this.isJoined) return;
    this.#urgentSince = now;
    if (slept) this.#wokeAt = now;
    this.#beside.nextAt = now;
    this.ask(now);
  }

  /** Asks whether the server answers. @param {number} now */
  ask(now) {
    const token = this.#liveness?.ask(now) ?? null;
    if (token !== null) this.send(ping(token));
  }

  /** Follows speech on its way to the server, to see how long it takes. @param {number} number */
  pingPath(number) {
    if (this.isJoined && !this.#liveness?.unsupported) this.send(ping(PATH_PINGS + number));
  }

  /** A written message: kept until it is known to have arrived. @param {number} now @param {Uint8Array} packet @param {(serial: number) => void} sent told its serial, from 1 on, whichever connection it takes */
  sendText(now, packet, sent) {
    this.sendPacket(packet, true);
    if (!this.isJoined) return;
    this.#textSerial += 1;
    sent(this.#textSerial);
    this.#texts.push(now, this.#textSerial, packet);
    this.ask(now);
  }

  /** @param {Uint8Array} packet @param {boolean} reliable */
  sendPacket(packet, reliable) {
    if (!this.isOpen) return;
    if (!reliable) this.#liveness?.used(this.#now);
    const { carrier, encryption } = this.mesh;
    for (const sent of encryption ? encryption.sealForServer(this.#now, packet) : [packet])
      carrier.sendPacket(this.#generation, sent, reliable);
  }

  /** @param {number} now @param {number} generation */
  opened(now, generation) {
    if (this.#beside.opening.includes(generation)) {
      this.#beside.opening = this.#beside.opening.filter((other) => other !== generation);
      this.#closeOpening();
      this.#beside.joining = { generation, since: now };
      this.#join(generation);
      return;
    }
    if (generation !== this.#generation || this.phase !== 'opening') return;
    this.phase = 'joining';
    this.#until = now + this.#joinLimitMs;
    this.#join(generation);
    this.mesh.session.connected(now);
  }

  /** @param {number} generation */
  #join(generation) {
    const { room, name, proof, run, capabilities, metadata, password, ticket, token, status } =
      this.mesh.config;
    this.mesh.ownStatus.joining();
    this.#tokens.joined = token ?? undefined;
    const about = {
      room,
      name,
      proof,
      run,
      capabilities,
      metadata,
      presence: /** @type {const} */ ('either'),
      ...this.mesh.encryption?.inJoin,
    };
    this.mesh.carrier.sendText(
      generation,
      JSON.stringify(
        join({
          ...about,
          ...(password && { password }),
          ...(ticket && { ticket }),
          ...(token && { token }),
          ...(status && Object.keys(status).length > 0 && { status }),
        }),
      ),
    );
  }

  /**
   * @param {number} now @param {number} generation @param {string} why
   * @param {boolean} takenOver by another connection of this page
   */
  closed(now, generation, why, takenOver = false) {
    const beside = this.#beside;
    if (beside.opening.includes(generation) || beside.joining?.generation === generation) {
      this.#besideClosed(generation);
      return;
    }
    if (generation === this.#former?.generation) {
      this.#closeFormer();
      return;
    }
    // The answer to the join that took over is on its way on the other connection.
    if (takenOver && beside.joining) return;
    if (generation === this.#generation && this.phase !== 'stopped' && this.phase !== 'waiting')
      this.lost(now, why);
  }

  /** @param {number} now @param {number} generation @param {Uint8Array} packet */
  packet(now, generation, packet) {
    if (generation === this.#former?.generation) {
      this.#formerPacket(now, packet, this.#former);
      return;
    }
    if (generation !== this.#generation || !this.isOpen) return;
    this.#heard(now);
    if (VOICE_KINDS.includes(packet[2])) {
      // After sleep, speech that comes before the answer to a question has waited since before.
      if (this.#wokeAt !== null) return;
      this.#liveness?.used(now);
    }
    this.mesh.session.fromServer(now, packet);
  }

  /**
   * On the connection from which another has taken over: what members sent is still taken. What the server says of the room there
   * is older than the answer to the join. @param {number} now @param {Uint8Array} packet @param {{since: number, wasStale: boolean}} former
   */
  #formerPacket(now, packet, { since, wasStale }) {
    const kind = packet[2];
    if (SERVER_KINDS.includes(kind)) return;
    if (VOICE_KINDS.includes(kind) && (wasStale || now >= since + FORMER_VOICE_MS)) return;
    this.mesh.session.fromServer(now, packet);
  }

  /** Answers to decisions and written messages that were sent before another connection took over. @param {number} now @param {string} json */
  #formerText(now, json) {
    const message = readServer(json);
    if (message?.type === 'moderated') this.mesh.moderation.done(now, message.request);
    if (message?.type !== 'error' || message.fatal || this.mesh.moderation.refused(message)) return;
    const { code, message: why, text } = message;
    // What the server has not read was sent again, and is refused again.
    if (text === undefined || !this.#former || text > this.#former.read) return;
    this.mesh.emit({
      type: 'warned',
      code,
      message: why,
      text: this.#former.texts.refused(text),
    });
  }

  /** @param {number} now @param {number} generation @param {string} json */
  text(now, generation, json) {
    if (this.#beside.joining?.generation === generation)
      return this.#textBeside(now, generation, json);
    if (generation === this.#former?.generation) return this.#formerText(now, json);
    if (generation !== this.#generation || !this.isOpen) return undefined;
    this.#heard(now);
    const message = readServer(json);
    const { mesh } = this;
    switch (message?.type) {
      case 'joined':
        return this.#joined(now, message);
      case 'peer-joined':
        if (!this.isJoined) return undefined;
        mesh.roster.joined(now, message.peer);
        return mesh.encryption?.tick(now);
      case 'peer-left':
        return this.isJoined ? mesh.roster.left(now, message.peer, message.reason) : undefined;
      case 'status':
        return this.isJoined ? mesh.roster.status(message.peer, message.status) : undefined;
      case 'permissions':
        return this.isJoined
          ? mesh.roster.permissions(now, message.peer, message.permissions)
          : undefined;
      case 'held':
        return this.isJoined ? mesh.roster.held(now, message.peer, message.groups) : undefined;
      case 'metadata':
        mesh.roster.metadata(message);
        return mesh.encryption?.tick(now);
      case 'signal':
        return mesh.pairs.signaled(now, message.from, message.attempt, message.signal);
      case 'roster-mark':
        if (this.isJoined && !mesh.roster.matches(message)) this.send(roster());
        return undefined;
      case 'roster':
        if (this.isJoined) mesh.roster.set(now, message.peers, message);
        return undefined;
      case 'ice-servers':
        if (this.isJoined) mesh.iceServers = message.ice_servers;
        return undefined;
      case 'move':
        return this.#moved(message);
      case 'password':
        return this.mesh.moderation.passwordIs(message);
      case 'locked':
        return this.#lockChanged(message.locked);
      case 'moderated':
        return mesh.moderation.done(now, message.request);
      case 'ticket':
        return this.#keepTicket(message.ticket);
      case 'pong':
        return this.#answered(now, message.token);
      case 'error':
        return this.#refused(now, message);
      case 'going-away':
        return this.lost(now, 'it is about to stop', message.retry_after_ms);
      case 'replaced':
        this.stop(now);
        mesh.pairs.dropAll(now);
        return mesh.emit({ type: 'replaced' });
      default:
        return undefined;
    }
  }

  /** @param {object} message */
  send(message) {
    if (this.isOpen) this.mesh.carrier.sendText(this.#generation, JSON.stringify(message));
  }

  /** For good. @param {number} now */
  leave(now) {
    this.send(leave());
    this.mesh.pairs.dropAll(now);
    this.stop(now);
  }

  /** @param {number} now */
  stop(now) {
    if (this.isOpen) this.mesh.session.disconnected(now);
    this.#closeAll();
    this.phase = 'stopped';
    this.awaySince = null;
  }

  /**
   * The next connection waits longer each time, and not for the same moment as everyone else's.
   * @param {number} now
   * @param {string} why
   */
  lost(now, why, atLeastMs = 0) {
    if (this.isOpen) this.mesh.session.disconnected(now);
    this.#textsLost();
    this.#closeAll();
    this.awaySince ??= now;
    const longest = Math.min(NEXT_RETRY_MS * 2 ** Math.min(this.#failures, 8), LONGEST_RETRY_MS);
    const asked = Math.min(atLeastMs, LONGEST_WAIT_ASKED_MS);
    const random = this.mesh.random();
    const waitMs = this.#failures === 0 ? FIRST_RETRY_MS * random : longest * (0.5 + 0.5 * random);
    const retryInMs = Math.max(waitMs, asked);
    this.#failures += 1;
    this.phase = 'waiting';
    this.#until = now + retryInMs;
    this.mesh.emit({ type: 'server-away', why, retryInMs });
  }

  /** The connection is gone, and whether what was written last has arrived is not known. */
  #textsLost() {
    if (this.#texts.isUnconfirmed) this.mesh.emit({ type: 'remark', text: UNCONFIRMED });
  }

  /** Everything that is open, and all that was known of it. */
  #closeAll() {
    this.#closeBeside();
    this.#closeFormer();
    if (this.#generation !== 0) this.mesh.carrier.closeSocket(this.#generation);
    this.#begunAt.clear();
    this.#forgetConnection();
    this.mesh.moderation.disconnected();
  }

  #forgetConnection() {
    this.#liveness = null;
    this.#wokeAt = null;
    this.#texts = new SentTexts();
  }

  #closeOpening() {
    for (const generation of this.#beside.opening.splice(0)) {
      this.#begunAt.delete(generation);
      this.mesh.carrier.closeSocket(generation);
    }
  }

  #closeBeside() {
    this.#closeOpening();
    if (this.#beside.joining) this.mesh.carrier.closeSocket(this.#beside.joining.generation);
    this.#beside = { opening: [], joining: null, nextAt: null };
    this.#urgentSince = null;
  }

  /** @param {number} generation */
  #besideClosed(generation) {
    const beside = this.#beside;
    beside.opening = beside.opening.filter((other) => other !== generation);
    if (beside.joining?.generation === generation) beside.joining = null;
    this.#begunAt.delete(generation);
    this.mesh.carrier.closeSocket(generation);
  }

  /** Asks where it is due, and opens connections beside one that does not answer. @param {number} now */
  #tickLiveness(now) {
    const liveness = this.#liveness;
    if (!liveness || !this.isJoined) return;
    const { ask, beside: silent } = liveness.update(now);
    if (ask) this.ask(now);
    const beside = this.#beside;
    if (
      beside.joining &&
      now >= beside.joining.since + BESIDE_JOIN_LIMIT_MS + 4 * liveness.roundTripMs
    ) {
      this.#besideClosed(beside.joining.generation);
    }
    const isDue = now >= this.#renewalAt;
    this.#isRenewing &&= beside.opening.length > 0;
    if (!silent && !this.isUrgent && !isDue) {
      if (this.#isRenewing) return;
      this.#closeOpening();
      beside.nextAt = null;
      return;
    }
    if (beside.joining) return;
    if (!silent && !this.isUrgent) {
      [this.#renewalAt, this.#isRenewing] = [now + RENEWAL_AGAIN_MS, true];
      beside.opening.push(this.#openNext(now));
      return;
    }
    beside.nextAt ??= now + BESIDE_SPREAD_MS * this.mesh.random();
    if (now < beside.nextAt) return;
    const isCrowd = this.mesh.roster.members.size >= CROWD;
    const usual = isCrowd ? CROWDS_INTERVAL_MS : ATTEMPT_INTERVAL_MS;
    const interval = Math.max(usual, 2 * liveness.roundTripMs);
    beside.nextAt = now + interval * (0.5 + 0.5 * this.mesh.random());
    if (beside.opening.length >= ATTEMPTS) this.#besideClosed(beside.opening[0]);
    beside.opening.push(this.#openNext(now));
  }

  /** @param {number} now @returns {number} the number of another connection */
  #openNext(now) {
    this.#generations += 1;
    this.#begunAt.set(this.#generations, now);
    this.mesh.carrier.openSocket(this.#generations);
    return this.#generations;
  }

  #closeFormer() {
    if (this.#former) this.mesh.carrier.closeSocket(this.#former.generation);
    this.#former = null;
  }

  /**
   * The page has another token: the next connection is opened with it at once, if one waits for it; after more refusals in a row than
   * one, later each time. The token that was refused changes nothing. @param {number} now @param {string} token
   */
  tokenGiven(now, token) {
    const { refused, refusals, at } = this.#tokens;
    if (this.#askedForToken && token === refused) return;
    this.mesh.config.token = token;
    const waitMs = tokenWaitMs(refusals);
    if (this.#askedForToken && this.#renewalAt < Infinity)
      this.#renewalAt = Math.max(now, at + waitMs);
    this.#askedForToken = false;
    this.tick(now);
  }

  /** @param {number} now @param {number} token */
  #answered(now, token) {
    if (token >= PATH_PINGS) {
      this.mesh.uplink?.answered(now, token - PATH_PINGS);
      return;
    }
    const askedAt = this.#liveness?.answer(now, token) ?? null;
    if (askedAt === null) return;
    this.#texts.confirmed(askedAt);
    if (this.#urgentSince !== null && askedAt >= this.#urgentSince) this.#urgentSince = null;
    if (this.#wokeAt !== null && askedAt >= this.#wokeAt) this.#wokeAt = null;
  }

  /**
   * On a connection beside the one in use, whose join is sent.
   * @param {number} now @param {number} generation @param {string} json
   */
  #textBeside(now, generation, json) {
    const message = readServer(json);
    if (message?.type === 'joined') return this.#joinedBeside(now, generation, message);
    const isRefused = message?.type === 'error' && message.fatal;
    if (isRefused || message?.type === 'going-away') this.#besideClosed(generation);
    // The connection in use goes on; the token is asked for at once, and not again before there is one.
    if (isRefused && TOKEN_CODES.includes(message.code)) {
      const { joined, refused, refusals, at } = this.#tokens;
      // The same one again is no further answer of the page.
      const isNew = refusals === 0 || joined !== refused;
      this.#tokens = {
        refused: joined,
        refusals: isNew ? refusals + 1 : refusals,
        at: isNew ? now : at,
      };
      if (!this.#askedForToken) this.mesh.emit({ type: 'token-needed', code: message.code });
      this.#askedForToken = true;
    }
    return undefined;
  }

  /** @param {number} now @param {number} generation @param {any} joined */
  #joinedBeside(now, generation, joined) {
    const { mesh } = this;
    const isSame =
      joined.session === mesh.roster.session && joined.client === mesh.roster.own?.client;
    const texts = this.#texts;
    const read = joined.taken_over?.texts ?? 0;
    this.#beside.joining = null;
    if (!joined.taken_over || !isSame) {
      mesh.session.disconnected(now);
      this.#textsLost();
    }
    if (joined.taken_over && isSame) {
      this.#closeBeside();
      this.#closeFormer();
      const wasStale = this.#wokeAt !== null;
      this.#former = { generation: this.#generation, since: now, wasStale, texts, read };
      this.#forgetConnection();
    } else {
      const begunAt = this.#begunAt.get(generation) ?? now;
      this.#closeAll();
      this.#begunAt.set(generation, begunAt);
    }
    this.#generation = generation;
    this.phase = 'joining';
    if (!joined.taken_over || !isSame) {
      this.awaySince ??= now;
      mesh.session.connected(now);
      this.#joined(now, joined);
      return;
    }
    this.#enter(now, joined);
    mesh.encryption?.joined(now, joined.taken_over.metadata);
    // What the server has read of the former connection it has passed on.
    for (const { serial, packet } of texts.unread(read)) {
      this.sendPacket(packet, true);
      this.#texts.push(now, serial, packet);
    }
    if (this.#texts.isUnconfirmed) this.ask(now);
    mesh.session.resumed();
    mesh.pairs.renewUnsettled(now);
    mesh.pairs.tick(now);
  }

  /** @param {number} now */
  #heard(now) {
    this.#liveness?.heard(now);
    if (this.isJoined) this.#until = now + this.#silenceLimitMs;
  }

  /** @param {number} now @param {any} joined */
  #joined(now, joined) {
    if (this.phase !== 'joining') return;
    if (joined.session === 0 || joined.you !== this.mesh.config.peer) {
      this.lost(now, 'its answer makes no sense');
      return;
    }
    const wasAway = this.hasJoined;
    this.#enter(now, joined);
    this.mesh.encryption?.joined(now);
    this.mesh.emit({ type: 'joined', again: wasAway, others: joined.peers.length });
    const remark = NO_OWNER.get(joined.owner_right);
    if (remark) this.mesh.emit({ type: 'remark', text: remark });
    this.mesh.pairs.renewUnsettled(now);
    this.mesh.pairs.tick(now);
  }

  /** What a join's answer says is so from now on. @param {number} now @param {any} joined */
  #enter(now, joined) {
    this.#liveness = new Liveness(now);
    [this.#askedForToken, this.#tokens] = [false, { refusals: 0, at: 0 }];
    this.mesh.ownStatus.joined();
    this.phase = 'joined';
    this.#joinLimitMs = JOIN_LIMIT_MS;
    this.#failures = 0;
    this.hasJoined = true;
    this.awaySince = null;
    const markMs = Math.min(Math.max(joined.limits.roster_interval_ms, 100), 60_000);
    this.#silenceLimitMs = MARKS_MISSED * markMs + 1000;
    const lifeMs = joined.limits.connection_lifetime_ms;
    const share = RENEWAL + RENEWAL_SPREAD * this.mesh.random();
    this.#isRenewing = false;
    const begunAt = this.#begunAt.get(this.#generation) ?? now;
    this.#begunAt = new Map([[this.#generation, begunAt]]);
    this.#renewalAt =
      lifeMs > 0
        ? Math.max(
            begunAt + Math.max(lifeMs, SHORTEST_LIFE_MS) * share,
            now + SHORTEST_LIFE_MS * RENEWAL,
          )
        : Infinity;
    this.#heard(now);
    const { mesh } = this;
    this.#keepTicket(joined.ticket);
    mesh.iceServers = joined.ice_servers;
    mesh.moderation.locked = joined.locked ?? false;
    [mesh.serverRelayOnly, mesh.serverTakesGroupText, mesh.serverTakesStatus] = [
      joined.relay_only,
      joined.group_text ?? false,
      joined.status ?? false,
    ];
    if (joined.relay_only) mesh.pairs.dropAll(now);
    const { config } = mesh;
    const own = {
      peer: joined.you,
      client: joined.client,
      run: config.run,
      name: joined.name ?? config.name,
      metadata: config.metadata,
      capabilities: config.capabilities,
      order: joined.order,
      ...(joined.permissions && { permissions: joined.permissions }),
      ...(joined.held_in && { held_in: joined.held_in }),
    };
    mesh.roster.session = joined.session;
    mesh.roster.set(now, [...joined.peers, own], joined.roster);
    mesh.moderation.joined(now, joined.session);
    mesh.moderation.passwordIs(joined.password ?? { set: false, number: 0 });
  }

  /** @param {boolean} locked */
  #lockChanged(locked) {
    if (locked === this.mesh.moderation.locked) return;
    this.mesh.moderation.locked = locked;
    // To a moderator, the answer to the decision says so.
    if (this.mesh.moderation.isAllowed) this.mesh.emit({ type: 'members' });
    else this.mesh.emit({ type: 'remark', text: locked ? LOCKED : 'Newcomers are let in again.' });
  }

  /**
   * A moderator asks this page to listen and speak to these groups only. After a join the server repeats the last move, which
   * may have been lost. @param {{groups: string[], number?: number}} move
   */
  #moved({ groups, number }) {
    const move = number === undefined ? undefined : `${this.mesh.roster.session} ${number}`;
    if (move && move === this.#lastMove) return;
    this.#lastMove = move;
    this.mesh.session.moveTo(this.#now, groups);
    // Where it is held elsewhere, or was until now, that is said of this.
    const isHeld = this.mesh.roster.heldIn.length > 0 || !groups.includes(GLOBAL);
    if (!isHeld) this.mesh.emit({ type: 'remark', text: 'A moderator has moved you to everyone.' });
  }

  /** @param {string} code */
  #lacksPassword(code) {
    return code === 'password-required' && !this.mesh.config.password;
  }

  /** The newest is shown at the next join. @param {string | undefined} ticket */
  #keepTicket(ticket) {
    if (ticket === undefined) return;
    this.mesh.config.ticket = ticket;
    this.mesh.config.keepTicket?.(ticket);
  }

  /** @param {number} now @param {any} error */
  #refused(now, { code, message, fatal, request, text, retry_after_ms: retryAfterMs = 0 }) {
    if (!fatal && code === 'unknown-type' && this.#liveness?.refused()) return;
    if (!fatal && this.mesh.moderation.refused({ request, code, message })) return;
    if (!fatal) {
      const serial = text === undefined ? undefined : this.#texts.refused(text);
      this.mesh.emit({ type: 'warned', code, message, text: serial });
      if (code === 'receiver-busy' && now >= this.#toldBusyAt + BUSY_TOLD_MS) {
        this.#toldBusyAt = now;
        this.mesh.emit({
          type: 'remark',
          text: 'The connection of one person is too slow for what you write: a part of it does not reach them.',
        });
      }
    } else if (code === 'password-wait') {
      // No failure: those are served first who come back when they were told to.
      const failures = this.#failures;
      const afterMs =
        Math.min(retryAfterMs, LONGEST_WAIT_ASKED_MS) * (1 + 0.5 * this.mesh.random());
      this.lost(now, message, afterMs);
      [this.#failures, this.#until] = [failures, now + afterMs];
    } else if (
      FINAL.includes(code) ||
      (FINAL_AT_FIRST.includes(code) && !this.hasJoined) ||
      this.#lacksPassword(code)
    ) {
      this.stop(now);
      this.mesh.pairs.dropAll(now);
      this.mesh.emit({ type: 'refused', code, message, retryAfterMs });
    } else {
      this.lost(now, message, retryAfterMs);
    }
  }
}
