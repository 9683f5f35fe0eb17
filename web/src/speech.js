/**
 * Speech on its way to its listeners, by each one's route (PROTOCOL.md, sections 8 and 9). Pure: takes the time in ms.
 *
 * @typedef {import('./session.js').Session} Session
 * @typedef {{kind: 'group' | 'peer', name: string, group: number, closing: boolean, session: number}} OpenTarget
 * @typedef {{sequence: number, talkspurt: {bits: number, value: number}, targets: OpenTarget[]}} Address
 * @typedef {{at: number, address: Address, frame: Uint8Array}} Recent
 * @typedef {(peer: string) => number[]} CopiesFor how far behind the frames are that a listener is sent again
 * @typedef {{peer: string, relay: number | null, link: import('./pairs.js').Link | null}} Remote
 */

import { NO_ROUTE, uses } from './route.js';
import { earlierFrame, sameAddress, VoiceTargets } from './stream.js';
import { encode, LIMITS } from './wire.js';

const RECENT_FRAMES = 64;
const RESCUE_AGE_MS = 1000;
const CLOSE_WITHOUT_FRAME_MS = 60;
/** The most frames that share a packet, and how long one waits for others. */
const FRAMES_PER_PACKET = 4;
const LONGEST_BUNDLE_WAIT_MS = 100;
/** Session bytes of a BandwidthProbe beside its padding. */
const PROBE_HEADER_BYTES = 12;
/** What a relay packet adds: its header, its count and length, and two bytes for each destination. */
const RELAY_BYTES = 10;

export class Speech {
  /** @type {Recent[]} */
  #recent = [];
  /** @type {number | null} */
  #closingSince = null;
  /** How many of the latest frames wait to share a packet with the next, by listener. @type {Map<string, number>} */
  #waiting = new Map();
  /** The listeners of the last frame. @type {import('./uplink.js').Listener[]} */
  #listeners = [];
  /** The last frame had listeners. */
  #isHeard = false;
  /** Whose speech is relayed though a link could carry it: the uplink has no room for another copy. @type {Set<string>} */
  relayed = new Set();
  /** Packets queue on the uplink: a link that stalls is full rather than dead. */
  isFull = false;

  /** @param {Session} session @param {number} firstSequence */
  constructor(session, firstSequence) {
    this.session = session;
    this.mesh = session.mesh;
    this.speaker = new VoiceTargets(firstSequence);
  }

  /** Of a packet that may be lost, before it is sealed. */
  get #mostBytes() {
    return LIMITS.unreliableBytes - (this.mesh.encryption?.mostOverheadBytes ?? 0);
  }

  /** How many heard the last frame. */
  get listeners() {
    return this.#listeners.length;
  }

  /** @param {number} now @param {'group' | 'peer'} kind @param {string} name @param {boolean} open */
  address(now, kind, name, open) {
    if (open) return this.speaker.open(kind, name);
    this.speaker.close(kind, name);
    if (this.speaker.isClosing) this.#closingSince ??= now;
    return true;
  }

  /** @param {number} now */
  tick(now) {
    if (this.#closingSince !== null && now >= this.#closingSince + CLOSE_WITHOUT_FRAME_MS)
      this.speak(now, new Uint8Array(0));
    const newest = this.#recent[this.#recent.length - 1];
    if (this.#waiting.size > 0 && now >= newest.at + LONGEST_BUNDLE_WAIT_MS) this.#flush(now);
    const { uplink, signaling } = this.mesh;
    if (!uplink) {
      // None is followed, or none any more.
      this.#follow(now, { relayed: new Set(), isFull: false, train: null });
      return;
    }
    const ping = uplink.pingDue(now);
    if (ping !== null) signaling.pingPath(ping);
    if (uplink.isSilent(now)) {
      this.isFull = false;
      return;
    }
    uplink.backgroundSent(this.mesh.carrier.backgroundBytes);
    uplink.relayHeaders((this.mesh.carrier.serverHeaderBytes ?? 0) + this.mesh.sealingBytes);
    const decision = uplink.update(now, this.#listeners);
    if (decision) this.#follow(now, decision);
  }

  /**
   * Sends one frame to everyone whom the open targets address, each by its route. Says how many those are.
   * @param {number} now @param {Uint8Array} frame @param {boolean} pauseFollows
   * @param {CopiesFor} copiesFor where no uplink is followed
   */
  speak(now, frame, pauseFollows = false, copiesFor = () => []) {
    const { uplink } = this.mesh;
    if (uplink?.isSilent(now)) {
      this.#note(this.#audience(this.speaker.nextTargets));
      this.#follow(now, uplink.begin(now, this.#listeners));
    }
    const address = this.speaker.nextFrame();
    if (!address) return 0;
    if (!this.speaker.isClosing) this.#closingSince = null;
    const before = this.#recent[this.#recent.length - 1];
    if (before && !sameAddress(before.address, address)) this.#flush(now);
    const audience = this.#audience(address.targets);
    // What is sent to no listener is no loss of those who listen next.
    if (audience.length === 0 && this.#isHeard) this.speaker.endTalkspurt();
    this.#isHeard = audience.length > 0;
    this.#note(audience);
    const mustLeave =
      pauseFollows || frame.length === 0 || address.targets.some(({ closing }) => closing);
    /** @type {[Remote, string][]} */
    const to = [];
    for (const remote of audience) {
      const { peer } = remote;
      const frames = this.mesh.roster.capabilities(peer)?.bundles
        ? (uplink?.framesPerPacket(peer) ?? 1)
        : 1;
      const waiting = this.#waiting.get(peer) ?? 0;
      const length = Math.min(frames, FRAMES_PER_PACKET);
      // Packets end at multiples of their length, whenever a listener was added, so that one relayed packet serves all.
      const isLast = address.sequence % length === length - 1;
      if (waiting + 1 < length && !isLast && !mustLeave) {
        this.#waiting.set(peer, waiting + 1);
        continue;
      }
      this.#waiting.delete(peer);
      const copies = frames > 1 ? [] : uplink ? uplink.copiesFor(peer) : copiesFor(peer);
      to.push([remote, this.#form(peer, pauseFollows, copies, waiting)]);
    }
    this.#transmit(now, to, address, frame, pauseFollows);
    if (audience.length > 0) this.#recent.push({ at: now, address, frame });
    if (this.#recent.length > RECENT_FRAMES) this.#recent.shift();
    uplink?.frameSent(now);
    return audience.length;
  }

  /** A link did not deliver these packets: their frames go through the relay. @param {number} now @param {string} peer @param {import('./health.js').SpeechPacket[]} packets */
  rescue(now, peer, packets) {
    const client = this.session.relayAddress(peer);
    const { current } = this.session;
    if (client === null || !current || packets.length === 0) return;
    for (const { at, address, frame } of this.#recent) {
      const lost = packets.find(({ sequence }) => sequence === address.sequence);
      if (now > at + RESCUE_AGE_MS || !lost) continue;
      const form = this.#form(peer, false, [], lost.frames - 1);
      const packet = this.#packet(new Map(), current.session, form, address, frame, false);
      if (packet) this.relay(current.session, [client], packet);
    }
  }

  /** @param {number} session @param {number[]} clients @param {Uint8Array} packet @returns {number} bytes sent */
  relay(session, clients, packet) {
    const room = Math.min(
      Math.max(Math.floor((this.#mostBytes - RELAY_BYTES - packet.length) / 2), 1),
      LIMITS.relayDestinations,
    );
    let bytes = 0;
    for (let at = 0; at < clients.length; at += room) {
      const relay = encode('ServerRelayUnreliable', session, {
        destinations: clients.slice(at, at + room),
        packet,
      });
      this.mesh.signaling.sendPacket(relay, false);
      bytes += relay.length;
    }
    return bytes;
  }

  /** @param {number} now @param {import('./uplink.js').Decision} decision */
  #follow(now, { relayed, isFull, train }) {
    this.isFull = isFull;
    if (
      relayed.size !== this.relayed.size ||
      [...relayed].some((peer) => !this.relayed.has(peer))
    ) {
      this.relayed = relayed;
      this.session.refreshRoutes(now);
    }
    if (!train) return;
    const link = this.mesh.pairs.bound(train.peer);
    if (!link?.common || !this.mesh.roster.capabilities(train.peer)?.path_feedback) return;
    const { packets, number, padding } = train;
    const probe = encode('BandwidthProbe', link.common.session, {
      sender: link.common.you,
      train: number,
      packets,
      padding,
    });
    for (let packet = 0; packet < packets; packet++) {
      if (!this.mesh.sendLink(train.peer, link.generation, 'unreliable', probe)) return;
    }
    this.mesh.uplink?.trainSent(PROBE_HEADER_BYTES + padding);
  }

  /** Sends frames that wait for others to share a packet with: no other comes, or to other listeners. @param {number} now */
  #flush(now) {
    const newest = this.#recent[this.#recent.length - 1];
    const waiting = this.#waiting;
    this.#waiting = new Map();
    if (waiting.size === 0) return;
    /** @type {[Remote, string][]} */
    const to = this.#audience(newest.address.targets).flatMap((remote) => {
      const frames = waiting.get(remote.peer);
      return frames === undefined ? [] : [[remote, this.#form(remote.peer, false, [], frames - 1)]];
    });
    this.#transmit(now, to, newest.address, newest.frame, false);
  }

  /** @param {number} now @param {[Remote, string][]} to @param {Address} address @param {Uint8Array} frame @param {boolean} pauseFollows */
  #transmit(now, to, address, frame, pauseFollows) {
    const { mesh } = this;
    const { roster, uplink } = mesh;
    /** @type {Map<string, Uint8Array | null>} */
    const packets = new Map();
    /** @type {Map<string, number[]>} form → clients of the relay */
    const relayed = new Map();
    // A full queue on the way drops the last packets of a burst: it is another listener's turn each time.
    const first = to.length > 0 ? address.sequence % to.length : 0;
    for (const [{ peer, relay, link }, form] of [...to.slice(first), ...to.slice(0, first)]) {
      const state = this.session.routeState(peer) ?? NO_ROUTE;
      let served = false;
      if (link?.common && uses(state, 'direct')) {
        const packet = this.#packet(
          packets,
          link.common.session,
          form,
          address,
          frame,
          pauseFollows,
        );
        if (packet && mesh.sendLink(peer, link.generation, 'voice', packet)) {
          served = true;
          if (roster.capabilities(peer)?.voice_ack) {
            const frames = form.endsWith('+') ? form.split(',').length + 1 : 1;
            link.health.sent(now, address.sequence, frames);
            const bytes = packet.length + mesh.sealingBytes;
            uplink?.sent(now, peer, link.generation, address.sequence, bytes);
          }
        }
      }
      if (relay !== null && (uses(state, 'relayed') || !served)) {
        relayed.set(form, [...(relayed.get(form) ?? []), relay]);
        this.session.relayed(now, peer);
      }
    }
    const session = this.session.isJoined ? this.session.current?.session : undefined;
    if (session === undefined) return;
    for (const [form, clients] of relayed) {
      const packet = this.#packet(packets, session, form, address, frame, pauseFollows);
      if (!packet) continue;
      const bytes = this.relay(session, clients, packet);
      uplink?.relaySent(bytes);
    }
  }

  /** @param {Remote[]} audience */
  #note(audience) {
    this.#listeners = audience.map(({ peer, relay, link }) => ({
      peer,
      hasLink: !!link?.common && !link.health.stalled,
      hasRelay: relay !== null && !this.session.isDark,
      hearsPlain: this.mesh.encryption?.isAccepted(peer) === false,
    }));
  }

  /** Everyone whom these targets address and who may listen, once each. @param {OpenTarget[]} targets @returns {Remote[]} */
  #audience(targets) {
    /** @type {Remote[]} */
    const audience = [];
    for (const peer of this.mesh.roster.members.keys()) {
      const remote = this.#addressed(peer, targets);
      if (remote) audience.push(remote);
    }
    return audience;
  }

  /** Whether what is said now is for a member, and the member may hear it. @param {string} peer */
  isFor(peer) {
    return this.#addressed(peer, this.speaker.openTargets) !== null;
  }

  /** @param {string} peer @param {OpenTarget[]} targets @returns {Remote | null} */
  #addressed(peer, targets) {
    const { encryption, roster } = this.mesh;
    if (!roster.may(null, 'speak') || !roster.may(peer, 'listen')) return null;
    if (encryption && !encryption.isHeardBy(peer)) return null;
    const link = this.mesh.pairs.bound(peer);
    const relay = this.session.relayAddress(peer);
    const view =
      relay === null
        ? link?.common && this.session.viewOf(link.common.session)
        : this.session.current;
    const client = relay ?? link?.common?.remote ?? null;
    if (
      !view ||
      client === null ||
      roster.isHeldElsewhere(null, (name) => view.listens(client, name))
    )
      return null;
    const isMeant = targets.some(({ kind, name }) =>
      kind === 'peer' ? name === peer : view.listens(client, name),
    );
    return isMeant ? { peer, relay, link } : null;
  }

  /**
   * What a listener is sent: '' VoiceData, '|' with the pause mark only, '2,4|' with copies, '1,2+' with the two frames
   * before, which have waited.
   * @param {string} peer @param {boolean} pauseFollows @param {number[]} copies @param {number} waiting
   */
  #form(peer, pauseFollows, copies, waiting) {
    if (waiting > 0) return `${[1, 2, 3].slice(0, waiting).join()}+`;
    if (!this.mesh.roster.capabilities(peer)?.redundancy) return '';
    return copies.length > 0 ? `${copies.join()}|` : pauseFollows ? '|' : '';
  }

  /**
   * @param {Map<string, Uint8Array | null>} made
   * @param {number} session @param {string} form @param {Address} address @param {Uint8Array} frame @param {boolean} pauseFollows
   */
  #packet(made, session, form, address, frame, pauseFollows) {
    const key = `${session} ${form}`;
    let packet = made.get(key);
    if (packet === undefined)
      made.set(key, (packet = this.#write(session, form, address, frame, pauseFollows)));
    return packet;
  }

  /** @param {number} session @param {string} form @param {Address} address @param {Uint8Array} frame @param {boolean} pauseFollows */
  #write(session, form, address, frame, pauseFollows) {
    const view = this.session.viewOf(session);
    if (!view) return null;
    const isCurrent = view === this.session.current;
    const targets = address.targets.flatMap(({ kind, name, group, closing, session: opening }) => {
      const id =
        kind === 'group' ? group : isCurrent ? this.mesh.roster.clientOf(session, name) : null;
      const link = kind === 'peer' && id === null ? this.mesh.pairs.bound(name) : null;
      const known = id ?? (link?.common?.session === session ? link.common.remote : null);
      return known === null
        ? []
        : [
            {
              kind: kind === 'group' ? 'group' : 'client',
              id: known,
              positional: false,
              closing,
              priority: 'default',
              session: opening,
              volume: 128,
            },
          ];
    });
    const voice = {
      sender: view.you,
      talkspurt: address.talkspurt,
      sequence: address.sequence,
      targets,
      frame,
    };
    if (form === '') return encode('VoiceData', session, voice);
    let copies = form
      .slice(0, -1)
      .split(',')
      .filter(Boolean)
      .map(Number)
      .flatMap((behind) => {
        const earlier = earlierFrame(this.#recent, address, behind);
        return earlier ? [{ behind, frame: earlier }] : [];
      });
    for (;;) {
      const bundled = form.endsWith('+') ? copies.length : 0;
      const packet = encode('VoiceCopies', session, { ...voice, pauseFollows, bundled, copies });
      // With one destination around it, it has to fit into what the relay carries.
      if (packet.length + RELAY_BYTES + 2 <= this.#mostBytes || copies.length === 0) return packet;
      copies = copies.slice(0, -1);
    }
  }
}
