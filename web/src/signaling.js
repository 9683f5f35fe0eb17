/**
 * The WebSocket's life: opened, joined, lost, opened again (PROTOCOL.md, section 3). Pure: told the time in ms, and moves
 * bytes by the mesh's carrier.
 *
 * @typedef {import('./mesh.js').Mesh} Mesh
 */

import { join, leave, readServer, roster } from './messages.js';

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 5000;
const OPEN_LIMIT_MS = 90_000;
const JOIN_LIMIT_MS = 15_000;
const MARKS_MISSED = 3;
const LONGEST_WAIT_ASKED_MS = 60_000;

/** Refusals that trying again does not change, and those that do not matter to who has been in the room before. */
const FINAL = ['bad-name', 'bad-room', 'bad-metadata', 'bad-field', 'bad-json', 'unsupported-protocol'];
const FINAL_AT_FIRST = [
  'room-full', 'server-full', 'room-missing', 'room-exists', 'password-required', 'password-wrong', 'password-wait',
];

export class Signaling {
  /** @type {'stopped' | 'waiting' | 'opening' | 'joining' | 'joined'} */
  phase = 'stopped';
  /** When `phase` ends by itself: the next try, or the end of patience. */
  #until = 0;
  #silenceLimitMs = 16_000;
  #generation = 0;
  #failures = 0;
  hasJoined = false;
  /** @type {number | null} */
  awaySince = null;

  /** @param {Mesh} mesh */
  constructor(mesh) {
    this.mesh = mesh;
  }

  get isOpen() {
    return this.phase === 'joining' || this.phase === 'joined';
  }

  get isJoined() {
    return this.phase === 'joined';
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
    if (this.phase === 'stopped' || now < this.#until) return;
    if (this.phase === 'waiting') {
      this.#generation += 1;
      this.phase = 'opening';
      this.#until = now + OPEN_LIMIT_MS;
      this.mesh.carrier.openSocket(this.#generation);
    } else if (this.phase === 'opening') {
      this.lost(now, 'it does not answer');
    } else if (this.phase === 'joining') {
      this.lost(now, 'it does not answer the join');
    } else {
      this.lost(now, 'nothing comes from it any more');
    }
  }

  /** Nobody waits any longer: the network came back, or the page woke. @param {number} now */
  hurry(now) {
    if (this.phase === 'waiting') this.#until = now;
    this.tick(now);
  }

  /** The machine slept: the server has given this connection up. @param {number} now */
  woke(now) {
    if (this.isOpen) this.lost(now, 'the machine slept');
    this.hurry(now);
  }

  /** @param {number} now @param {number} generation */
  opened(now, generation) {
    if (generation !== this.#generation || this.phase !== 'opening') return;
    this.phase = 'joining';
    this.#until = now + JOIN_LIMIT_MS;
    const { room, name, proof, run, capabilities, metadata, password } = this.mesh.config;
    this.send(join({ room, name, proof, run, capabilities, metadata, presence: 'either', ...(password && { password }) }));
    this.mesh.session.connected(now);
  }

  /** @param {number} now @param {number} generation @param {string} why */
  closed(now, generation, why) {
    if (generation === this.#generation && this.phase !== 'stopped' && this.phase !== 'waiting') this.lost(now, why);
  }

  /** @param {number} now @param {number} generation @param {Uint8Array} packet */
  packet(now, generation, packet) {
    if (generation !== this.#generation || !this.isOpen) return;
    this.#heard(now);
    this.mesh.session.fromServer(now, packet);
  }

  /** @param {number} now @param {number} generation @param {string} json */
  text(now, generation, json) {
    if (generation !== this.#generation || !this.isOpen) return;
    this.#heard(now);
    const message = readServer(json);
    const { mesh } = this;
    switch (message?.type) {
      case 'joined': return this.#joined(now, message);
      case 'peer-joined': return this.isJoined ? mesh.roster.joined(now, message.peer) : undefined;
      case 'peer-left': return this.isJoined ? mesh.roster.left(now, message.peer, message.reason) : undefined;
      case 'metadata': return mesh.roster.metadata(message.peer, message.metadata);
      case 'signal': return mesh.pairs.signaled(now, message.from, message.attempt, message.signal);
      case 'roster-mark':
        if (this.isJoined && !mesh.roster.matches(message)) this.send(roster());
        return undefined;
      case 'roster':
        if (this.isJoined) mesh.roster.set(now, message.peers, message);
        return undefined;
      case 'ice-servers':
        if (this.isJoined) mesh.iceServers = message.ice_servers;
        return undefined;
      case 'error': return this.#refused(now, message);
      case 'going-away': return this.lost(now, 'it is going away', message.retry_after_ms);
      case 'replaced':
        this.stop(now);
        mesh.pairs.dropAll(now);
        return mesh.emit({ type: 'replaced' });
      default: return undefined;
    }
  }

  /** @param {object} message */
  send(message) {
    if (this.isOpen) this.mesh.carrier.sendText(JSON.stringify(message));
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
    this.mesh.carrier.closeSocket();
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
    this.mesh.carrier.closeSocket();
    this.awaySince ??= now;
    const longest = Math.min(FIRST_RETRY_MS * 2 ** Math.min(this.#failures, 8), LONGEST_RETRY_MS);
    const asked = Math.min(atLeastMs, LONGEST_WAIT_ASKED_MS);
    const retryInMs = Math.max(longest * (0.5 + 0.5 * this.mesh.random()), asked);
    this.#failures += 1;
    this.phase = 'waiting';
    this.#until = now + retryInMs;
    this.mesh.emit({ type: 'server-away', why, retryInMs });
  }

  /** @param {number} now */
  #heard(now) {
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
    this.phase = 'joined';
    this.#failures = 0;
    this.hasJoined = true;
    this.awaySince = null;
    const markMs = Math.min(Math.max(joined.limits.roster_interval_ms, 100), 60_000);
    this.#silenceLimitMs = MARKS_MISSED * markMs + 1000;
    this.#heard(now);
    const { mesh } = this;
    mesh.iceServers = joined.ice_servers;
    mesh.serverRelayOnly = joined.relay_only;
    if (joined.relay_only) mesh.pairs.dropAll(now);
    const { config } = mesh;
    const own = {
      peer: joined.you, client: joined.client, run: config.run, name: config.name, metadata: config.metadata,
      capabilities: config.capabilities, order: joined.order,
    };
    mesh.roster.session = joined.session;
    mesh.roster.set(now, [...joined.peers, own], joined.roster);
    mesh.emit({ type: 'joined', again: wasAway, others: joined.peers.length });
    mesh.pairs.tick(now);
  }

  /** @param {number} now @param {any} error */
  #refused(now, { code, message, fatal, retry_after_ms: retryAfterMs = 0 }) {
    if (!fatal) {
      this.mesh.emit({ type: 'warned', code, message });
    } else if (FINAL.includes(code) || (!this.hasJoined && FINAL_AT_FIRST.includes(code))) {
      this.stop(now);
      this.mesh.pairs.dropAll(now);
      this.mesh.emit({ type: 'refused', code, message });
    } else {
      this.lost(now, message, retryAfterMs);
    }
  }
}
