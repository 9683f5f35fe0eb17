/**
 * One peer in one room: signaling, roster, links and session as one machine. Pure: a carrier moves its bytes and hands in what
 * it saw, with the time (ms); so it runs the same over real sockets and in a test.
 *
 * @typedef {import('./messages.js').Capabilities} Capabilities
 * @typedef {import('./messages.js').Signal} Signal
 * @typedef {{room: string, name: string, peer: string, proof: string, run: number, capabilities: Capabilities,
 *   metadata: Record<string, string>, firstSequence: number, password?: string, ticket?: string,
 *   token?: string | null, status?: import('./messages.js').Status, keepTicket?: (ticket: string) => void}} Config
 *
 * @typedef {object} Carrier
 * @property {(generation: number) => void} openSocket
 * @property {(generation: number) => void} closeSocket
 * @property {(generation: number, text: string) => void} sendText
 * @property {(generation: number, packet: Uint8Array, reliable: boolean) => void} sendPacket
 * @property {(peer: string, generation: number, role: 'offer' | 'answer', iceServers: RTCIceServer[]) => void} openLink
 * @property {(peer: string, generation: number, signal: Signal) => void} signalLink
 * @property {(peer: string, generation: number, stream: 'voice' | 'reliable' | 'unreliable', packet: Uint8Array) => boolean} sendLink
 * @property {(peer: string, generation: number) => void} closeLink
 * @property {number} backgroundBytes sent so far for other things than packets
 * @property {number} [serverHeaderBytes] what TLS adds to a packet to the server
 *
 * @typedef {{type: 'joined', again: boolean, others: number} | {type: 'server-away', why: string, retryInMs: number}
 *   | {type: 'refused', code: string, message: string, retryAfterMs: number} | {type: 'warned', code: string, message: string, text?: number}
 *   | {type: 'remark', text: string} | {type: 'replaced'} | {type: 'members'} | {type: 'token-needed', code: string} | {type: 'group-refused', group: string}
 *   | {type: 'peer-joined', peer: string} | {type: 'metadata', peer: string}
 *   | {type: 'peer-left', peer: string, name: string, reason: string}
 *   | {type: 'route', peer: string, route: import('./route.js').Route}
 *   | {type: 'voice', heard: import('./session.js').Heard}
 *   | {type: 'report', peer: string, report: import('./wire.js').Report}
 *   | {type: 'clock-asked', peer: string, askedUs: number}
 *   | {type: 'clock-told', peer: string, echo: import('./wire.js').ClockEcho}
 *   | {type: 'text', peer: string, group: string | null | undefined, text: string}
 *   | {type: 'encryption', peer: string, encryption: import('./member-encryption.js').MemberEncryption}
 *   | {type: 'text-unread', text: string, to: import('./waiting-texts.js').Recipient, why: import('./waiting-texts.js').Unsent}} MeshEvent
 *   `encryption`: a member's is another. `text-unread`: it was sent to no one
 */

import { Moderation } from './moderation.js';
import { OwnStatus } from './own-status.js';
import { Pairs } from './pairs.js';
import { Roster } from './roster.js';
import { Session } from './session.js';
import { Signaling } from './signaling.js';

export class Mesh {
  /** @type {RTCIceServer[]} */
  iceServers = [];
  serverRelayOnly = false;
  serverTakesGroupText = false;
  serverTakesStatus = false;
  /** What speech follows; null where there is none: then it is sent as if there were room. @type {import('./uplink.js').Uplink | null} */
  uplink = null;

  /**
   * @param {Config} config
   * @param {Carrier} carrier
   * @param {(event: MeshEvent) => void} emit
   * @param {() => number} random from 0 to 1
   * @param {((mesh: Mesh) => import('./encryption.js').Encryption) | null} [encrypted] everything that is said is sealed
   */
  constructor(config, carrier, emit, random, encrypted = null) {
    const { capabilities } = config;
    this.config = encrypted ? { ...config, capabilities: { ...capabilities, e2ee: true } } : config;
    this.carrier = carrier;
    this.emit = emit;
    this.random = random;
    this.roster = new Roster(this);
    /** Null where this browser could not load what encrypts. */
    this.encryption = encrypted ? encrypted(this) : null;
    this.pairs = new Pairs(this);
    this.session = new Session(this, config.firstSequence);
    this.signaling = new Signaling(this);
    this.ownStatus = new OwnStatus(this);
    this.moderation = new Moderation(this);
  }

  /**
   * Sends a packet of the session on a link, sealed where the room is encrypted. False if the link does not take it, or nothing
   * is sent to this peer.
   * @param {string} peer @param {number} generation @param {'voice' | 'reliable' | 'unreliable'} stream @param {Uint8Array} packet
   */
  sendLink(peer, generation, stream, packet) {
    const { carrier, encryption, signaling } = this;
    const sent = encryption ? encryption.sealForLink(signaling.now, peer, packet) : packet;
    return sent !== null && carrier.sendLink(peer, generation, stream, sent);
  }

  /** The own name, as the server is sent it. */
  get sentName() {
    return this.encryption?.sentName ?? this.config.name;
  }

  /** What sealing adds to a packet, as a rule. */
  get sealingBytes() {
    return this.encryption?.overheadBytes ?? 0;
  }

  /**
   * The machine has another network, or slept: connections may be dead, and attempts at links in vain.
   * @param {number} now
   * @param {boolean} slept what arrives first may be old
   */
  pathChanged(now, slept = false) {
    for (const link of this.pairs.all()) link.health.doubt(now);
    this.uplink?.networkChanged();
    this.signaling.pathChanged(now, slept);
    this.pairs.renewAll(now);
    this.tick(now);
  }

  /** There is no network. @param {number} now */
  pathLost(now) {
    for (const link of this.pairs.all()) link.health.doubt(now);
    this.signaling.pathLost(now);
    this.session.refreshRoutes(now);
  }

  /** Runs all timers. Call every few tens of milliseconds. @param {number} now */
  tick(now) {
    this.signaling.tick(now);
    this.ownStatus.tick(now);
    this.roster.tick(now);
    this.encryption?.tick(now);
    this.pairs.tick(now);
    this.pairs.care(now);
    this.session.tick(now);
  }
}
