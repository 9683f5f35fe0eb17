/**
 * One member of a session: joins, replicates who listens to what, addresses speech, takes in others' (PROTOCOL.md,
 * sections 7, 8 and 10). Pure: told the time in ms.
 *
 * @typedef {import('./mesh.js').Mesh} Mesh
 * @typedef {import('./wire.js').ClientInfo} ClientInfo
 * @typedef {import('./route.js').RouteState} RouteState
 * @typedef {{peer: string, sequence: number, talkspurt: number, behind: number, pauseFollows: boolean, frame: Uint8Array,
 *   volume: number, priority: number, goesOnRelayed?: boolean}} Heard `goesOnRelayed`: it came through the server, and more is to follow
 */

import { Answering } from './answering.js';
import { isDark, NO_ROUTE, nextRoute, shown } from './route.js';
import { Speech } from './speech.js';
import { Streams } from './stream.js';
import { View } from './table.js';
import { WaitingTexts } from './waiting-texts.js';
import { decode, encode, groupId, LIMITS, utf8Length, WireError } from './wire.js';

export const GLOBAL = 'Global';
/** Why a group is not joined, in words. */
export const GROUP_PROBLEMS = {
  'too-long': 'A group\u2019s name can have at most 256 bytes.',
  taken: 'Another group here is too much like this one. Please choose another name.',
  'too-many': 'You can listen to at most 64 groups.',
};
const HANDSHAKE_RETRY_MS = 5000;
const KEEP_LOST_MS = 120_000;
const PREVIOUS_VIEWS = 3;
const RETIRED_FOR_MS = 10_000;
const ECHO_INTERVAL_MS = 20;
const CODEC = { codec: 1, frameSamples: 960, sampleRateHz: 48000 };
const RELAYED_KINDS = ['VoiceData', 'VoiceCopies', 'ReceptionReport', 'ClockProbe', 'ClockEcho'];
const PRIORITIES = ['low', 'default', 'medium', 'high'];

/** Only peers that answer questions send these. @param {string} kind */
const isAnswer = (kind) => kind === 'ClockEcho' || kind === 'ReceptionReport';

/** After a packet of speech nothing follows for a while. @param {any} fields */
const endsSpeech = ({ pauseFollows = false, targets }) =>
  pauseFollows || targets.every((/** @type {any} */ target) => target.closing);

export class Session {
  /** @type {'offline' | 'handshaking' | 'joined'} */
  phase = 'offline';
  #askedAt = 0;
  /** Which of several requests an answer belongs to is not known. */
  #askedAgain = false;
  /** @type {View | null} the session one is in, or was in last */
  current = null;
  /** @type {View[]} in which a pair may still speak */
  #previous = [];
  /** @type {Set<string>} groups one listens to, now and in every later session */
  groups = new Set([GLOBAL]);
  /** Their ids: asked for with every packet. */
  #groupIds = new Set([groupId(GLOBAL)]);
  #streams = new Streams();
  #answering = new Answering();
  /** @type {Map<string, RouteState>} by peer */
  #routes = new Map();
  /** Since when the shown route is what it is, by peer. @type {Map<string, number>} */
  #shownSince = new Map();
  /** @type {number | null} since when the server has not answered */
  #darkSince = null;
  /** That is long enough to do without it. */
  isDark = false;
  /** Another connection took over, and the state that was asked for on it has not come. */
  #resuming = false;
  /** In an encrypted room. */
  #waitingTexts = new WaitingTexts(
    (peer, to) => this.#reader(peer, to),
    (now, waiting, readers) => this.#relayText(now, waiting, readers),
    (text, to, why) => this.mesh.emit({ type: 'text-unread', text, to, why }),
  );
  /** What came without effect, by reason. @type {Record<string, number>} */
  dropped = {};

  /** @param {Mesh} mesh @param {number} firstSequence */
  constructor(mesh, firstSequence) {
    this.mesh = mesh;
    this.speech = new Speech(this, firstSequence);
    this.speaker.open('group', GLOBAL);
  }

  get speaker() {
    return this.speech.speaker;
  }

  get isJoined() {
    return this.phase === 'joined';
  }

  /** Whether a session is one that was left. @param {number} session */
  wasIn(session) {
    return this.#previous.some((view) => view.session === session);
  }

  /** @param {string} peer */
  route(peer) {
    return shown(this.routeState(peer) ?? NO_ROUTE);
  }

  /** Since when nothing has been known to come through to a peer, and from it; null while something is. @param {string} peer */
  silentSince(peer) {
    return this.route(peer) === 'none' ? (this.#shownSince.get(peer) ?? null) : null;
  }

  /** @param {string} peer */
  routeState(peer) {
    return this.#routes.get(peer) ?? null;
  }

  /** @param {number} now */
  connected(now) {
    this.#askedAgain = this.phase === 'handshaking';
    this.phase = 'handshaking';
    this.#askedAt = now;
    this.mesh.uplink?.relayChanged();
    this.mesh.signaling.sendPacket(
      encode('HandshakeRequest', null, { codec: CODEC, name: this.mesh.sentName }),
      true,
    );
  }

  /** Another connection took over: the state is asked for anew, and until it comes the old one holds. */
  resumed() {
    this.#resuming = true;
    this.mesh.uplink?.relayChanged();
    this.mesh.signaling.sendPacket(
      encode('HandshakeRequest', null, { codec: CODEC, name: this.mesh.sentName }),
      true,
    );
  }

  /** @param {number} now */
  disconnected(now) {
    this.#resuming = false;
    this.phase = 'offline';
    this.refreshRoutes(now);
  }

  /** @param {number} now */
  tick(now) {
    if (this.phase === 'handshaking' && now >= this.#askedAt + HANDSHAKE_RETRY_MS)
      this.connected(now);
    this.speech.tick(now);
    const spoken = new Set();
    for (const { common } of this.mesh.pairs.all()) if (common) spoken.add(common.session);
    this.#previous = this.#previous.filter(
      (view) => spoken.has(view.session) || now < (view.retiredAt ?? now) + RETIRED_FOR_MS,
    );
    for (const [client, { until }] of this.current?.kept ?? [])
      if (now >= until) this.current?.kept.delete(client);
    this.#waitingTexts.tick(now);
    this.#askRelayed(now);
    this.refreshRoutes(now);
  }

  /** In an encrypted room, keys have come, or were given. @param {number} now */
  keysChanged(now) {
    this.#waitingTexts.tick(now);
    this.mesh.emit({ type: 'members' });
  }

  /** Speech is relayed to a peer. @param {number} now @param {string} peer */
  relayed(now, peer) {
    this.#answering.used(now, peer);
  }

  /** Asks those whom the relay alone reaches, and from whom nothing comes. @param {number} now */
  #askRelayed(now) {
    const { pairs, roster, signaling } = this.mesh;
    if (!this.isJoined || !this.current || !signaling.reachesServer) {
      this.#answering.excuseAll(now);
      return;
    }
    const { session, you } = this.current;
    const only = [];
    for (const peer of roster.members.keys()) {
      if (this.relayAddress(peer) === null) continue;
      const link = pairs.bound(peer);
      if (!link) only.push(peer);
      else if (link.health.stalled) this.#answering.stalled(now, peer, link.health.heardAt);
    }
    this.#answering.onlyWays(now, only);
    for (const peer of this.#answering.questions(now)) {
      const client = this.relayAddress(peer);
      if (client === null || !roster.capabilities(peer)?.reports) continue;
      const askedUs = Math.round(now * 1000);
      this.speech.relay(session, [client], encode('ClockProbe', session, { sender: you, askedUs }));
    }
  }

  // --- what one does ------------------------------------------------------------------------------------------------

  /** Begins to listen to a group. @param {string} name @returns {'ok' | 'too-long' | 'taken' | 'too-many'} */
  joinGroup(name) {
    if (this.groups.has(name)) return 'ok';
    if (utf8Length(name) > LIMITS.groupNameBytes) return 'too-long';
    const id = groupId(name);
    const isShared =
      this.isJoined && !this.mesh.serverTakesGroupText && (this.current?.isShared(name) ?? false);
    if (isShared || [...this.groups].some((own) => groupId(own) === id)) return 'taken';
    if (this.groups.size >= LIMITS.groups) return 'too-many';
    this.groups.add(name);
    this.#groupIds.add(id);
    this.interrupt();
    this.#tellGroup(name, true);
    return 'ok';
  }

  /** @param {string} name */
  leaveGroup(name) {
    if (!this.groups.delete(name)) return;
    this.#groupIds.delete(groupId(name));
    this.interrupt();
    this.#tellGroup(name, false);
  }

  /** A moderator has moved this page: it listens and speaks to these groups, and to no other. @param {number} now @param {string[]} groups */
  moveTo(now, groups) {
    const spoken = this.speaker.openTargets.flatMap(({ kind, name }) =>
      kind === 'group' ? name : [],
    );
    for (const group of new Set([...this.groups, ...spoken])) {
      if (groups.includes(group)) continue;
      this.leaveGroup(group);
      this.address(now, 'group', group, false);
    }
    for (const group of groups) {
      this.joinGroup(group);
      this.address(now, 'group', group, true);
    }
  }

  /** A speaker, or all, may have spoken to others than this listener for a while: that is no loss. @param {string} [peer] */
  interrupt(peer) {
    this.#streams.interrupt(peer);
  }

  /** @param {number} now @param {'group' | 'peer'} kind @param {string} name @param {boolean} open */
  address(now, kind, name, open) {
    return this.speech.address(now, kind, name, open);
  }

  /** False if there is no way now. @param {number} now @param {string} text @param {{group: string} | {peer: string}} to @param {(serial: number) => void} [sent] told the number of each message in which it goes, now or later */
  sendText(now, text, to, sent = () => {}) {
    const view = this.current;
    if (!view || !this.isJoined || !this.mesh.roster.may(null, 'data')) return false;
    const client = 'peer' in to ? this.mesh.roster.clientOf(view.session, to.peer) : null;
    if ('peer' in to && client === null) return false;
    if (this.mesh.encryption) {
      if (this.isKeptFrom(to)) return false;
      const members = 'peer' in to ? [to.peer] : this.mesh.roster.members.keys();
      this.#waitingTexts.add(now, to, text, members, sent);
      return true;
    }
    const recipient =
      'peer' in to ? { kind: 'client', id: client } : { kind: 'group', id: groupId(to.group) };
    const packet =
      'group' in to && this.mesh.serverTakesGroupText
        ? encode('GroupText', view.session, { sender: view.you, group: to.group, text })
        : encode('TextData', view.session, { sender: view.you, recipient, text });
    this.mesh.signaling.sendText(now, packet, sent);
    return true;
  }

  /** A text comes back: to those for whom it still waits it is not sent. @param {(serial: number) => void} sent as given with it */
  cancelText(sent) {
    this.#waitingTexts.cancel(sent);
  }

  /** Sends a text to one member of an encrypted room only if it can be sealed and relayed now: it does not wait. @param {number} now @param {string} text @param {string} peer @param {(serial: number) => void} sent */
  sendNow(now, text, peer, sent) {
    const to = { peer };
    return (
      this.mesh.roster.may(null, 'data') &&
      !this.isKeptFrom(to) &&
      this.#reader(peer, to) === 'ready' &&
      this.#relayText(now, { to, text, sent }, [peer])
    );
  }

  /**
   * Whether this page is held in groups so that it may not write to someone. Of sealed texts the server cannot see all that this
   * depends on; of others it says so itself. @param {import('./waiting-texts.js').Recipient} to
   */
  isKeptFrom(to) {
    const { encryption, roster } = this.mesh;
    const view = this.current;
    if (!encryption || !view || roster.heldIn.length === 0) return false;
    if ('group' in to) return !roster.heldIn.includes(to.group);
    const client = roster.clientOf(view.session, to.peer) ?? -1;
    return (
      !roster.may(to.peer, 'moderate') &&
      roster.isHeldElsewhere(null, (group) => view.listens(client, group))
    );
  }

  /** @param {string} peer @param {import('./waiting-texts.js').Recipient} to @returns {import('./waiting-texts.js').Reader} */
  #reader(peer, to) {
    const { encryption, roster } = this.mesh;
    if (!encryption || !roster.members.has(peer)) return 'gone';
    const client = this.relayAddress(peer);
    const isDeaf =
      'group' in to && client !== null && !(this.current?.listens(client, to.group) ?? false);
    if (isDeaf) return 'deaf';
    const reader = encryption.textReader(peer);
    return client === null && reader === 'ready' ? 'soon' : reader;
  }

  /** @param {number} now @param {Pick<import('./waiting-texts.js').Waiting, 'to' | 'text' | 'sent'>} waiting @param {string[]} readers @returns {boolean} whether it is on its way */
  #relayText(now, { text, to, sent }, readers) {
    const { encryption, signaling } = this.mesh;
    const view = this.current;
    if (!encryption || !view || !this.isJoined) return false;
    const packet =
      'group' in to
        ? encode('GroupText', view.session, { sender: view.you, group: to.group, text })
        : encode('TextData', view.session, {
            sender: view.you,
            recipient: { kind: 'client', id: this.relayAddress(to.peer) ?? 0 },
            text,
          });
    const sealed = encryption.sealText(now, packet, readers, 'peer' in to);
    for (const one of sealed) signaling.sendText(now, one, sent);
    return sealed.length > 0;
  }

  /** @param {number} now @param {Uint8Array} frame @param {boolean} [pauseFollows] @param {import('./speech.js').CopiesFor} [copiesFor] */
  speak(now, frame, pauseFollows, copiesFor) {
    return this.speech.speak(now, frame, pauseFollows, copiesFor);
  }

  /**
   * Sends a packet of our own types, that may be lost, by the way that speech takes to a peer.
   * @param {string} peer
   * @param {import('./wire.js').Kind} kind
   * @param {object} fields without `sender`
   */
  sendTo(peer, kind, fields) {
    const link = this.mesh.pairs.bound(peer);
    if (link?.common && !link.health.stalled) {
      const { session, you } = link.common;
      const packet = encode(kind, session, { ...fields, sender: you });
      if (this.mesh.sendLink(peer, link.generation, 'unreliable', packet)) return;
    }
    const client = this.relayAddress(peer);
    if (client === null || !this.current) return;
    const { session, you } = this.current;
    this.speech.relay(session, [client], encode(kind, session, { ...fields, sender: you }));
  }

  // --- what arrives -------------------------------------------------------------------------------------------------

  /** @param {number} now @param {Uint8Array} bytes */
  fromServer(now, bytes) {
    const { encryption } = this.mesh;
    this.#guarded(() => {
      const packet = encryption ? encryption.openFromServer(now, bytes) : bytes;
      return packet ? this.#fromServer(now, packet) : undefined;
    });
  }

  /** @param {number} now @param {string} peer @param {number} generation @param {Uint8Array} bytes */
  fromLink(now, peer, generation, bytes) {
    const { encryption, pairs } = this.mesh;
    this.#guarded(() => {
      if (!encryption) return this.#fromLink(now, peer, generation, bytes);
      const link = pairs.get(peer, generation);
      if (!link) return 'Unexpected';
      const sequence = encryption.acknowledgedOnly(peer, bytes);
      if (sequence !== null) {
        link.health.heard(now);
        return link.ack.received(now, sequence);
      }
      const packet = encryption.openFromLink(now, peer, bytes);
      return packet ? this.#fromLink(now, peer, generation, packet) : undefined;
    });
  }

  /** @param {number} now */
  rosterChanged(now) {
    this.mesh.pairs.judgeWaiting(now);
    this.refreshRoutes(now);
    this.mesh.emit({ type: 'members' });
  }

  /** @param {string} peer */
  forgetPeer(peer) {
    this.#streams.forget(peer);
    this.#routes.delete(peer);
    this.#shownSince.delete(peer);
    this.#answering.forget(peer);
    this.mesh.uplink?.forget(peer);
    this.speaker.close('peer', peer);
  }

  /** @param {number} now */
  refreshRoutes(now) {
    const { pairs, roster, signaling } = this.mesh;
    this.#darkSince = signaling.reachesServer ? null : (this.#darkSince ?? now);
    this.isDark = isDark(now, this.#darkSince);
    for (const peer of roster.members.keys()) {
      const link = pairs.bound(peer);
      const before = this.#routes.get(peer) ?? NO_ROUTE;
      if (!this.#shownSince.has(peer)) this.#shownSince.set(peer, now);
      const after = nextRoute(before, now, {
        relay: this.relayAddress(peer) !== null,
        serverAnswers: signaling.reachesServer && !this.#answering.isSilent(now, peer),
        both:
          (link?.health.deadSince ?? null) !== null &&
          !signaling.answeredSince(link?.health.deadSince ?? 0),
        preferRelay: this.speech.relayed.has(peer),
        darkSince: this.#darkSince,
        link: link === null ? 'unbound' : link.health.stalled ? 'stalled' : 'sound',
      });
      if (after === before) continue;
      this.#routes.set(peer, after);
      if (shown(after) === shown(before)) continue;
      this.#shownSince.set(peer, now);
      this.mesh.emit({ type: 'route', peer, route: shown(after) });
    }
  }

  /** @param {() => string | void} take */
  #guarded(take) {
    let reason;
    try {
      reason = take();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      reason = error.code;
    }
    if (reason) this.dropped[reason] = (this.dropped[reason] ?? 0) + 1;
  }

  /** @param {number} now @param {Uint8Array} bytes @returns {string | void} why it was dropped */
  #fromServer(now, bytes) {
    const { kind, session, fields } = decode(bytes);
    if (session === null) return 'WrongSession';
    if (kind === 'HandshakeResponse') return this.#handleHandshakeResponse(now, session, fields);
    if (kind === 'ErrorWrongSession') return this.#wrongSession(now, session);
    const view = this.current;
    if (!view || !this.isJoined) return 'Unexpected';
    if (session !== view.session) return 'WrongSession';
    switch (kind) {
      case 'ClientState':
        return this.#clientState(now, view, fields);
      case 'DeltaClientState':
        return this.#delta(view, fields);
      case 'RemoveClient':
        return this.#removeClient(now, view, fields.client);
      case 'TextData':
        return this.#text(view, fields);
      case 'GroupText':
        return this.#groupText(view, fields);
      default: {
        if (!RELAYED_KINDS.includes(kind)) return 'Misplaced';
        const peer = this.mesh.roster.peerOf(session, fields.sender);
        if (peer === null || fields.sender === view.you || !view.members.has(fields.sender))
          return 'WrongSender';
        this.#answering.heard(now, peer, isAnswer(kind));
        return this.#fromPeer(now, peer, view, kind, fields, true);
      }
    }
  }

  /**
   * On a link identity is the link's peer: a packet that names anybody else is dropped.
   * @param {number} now @param {string} peer @param {number} generation @param {Uint8Array} bytes @returns {string | void}
   */
  #fromLink(now, peer, generation, bytes) {
    const link = this.mesh.pairs.get(peer, generation);
    if (!link) return 'Unexpected';
    const { kind, session, fields } = decode(bytes);
    if (session === null) return 'WrongSession';
    if (kind === 'HandshakeP2P') {
      link.health.heard(now);
      return this.mesh.pairs.handshake(now, link, session, fields.client);
    }
    if (fields.sender === undefined || kind === 'TextData' || kind === 'GroupText')
      return 'Misplaced';
    const view = this.viewOf(session);
    if (!view) return 'WrongSession';
    const speaker = link.remoteIn(session) ?? this.mesh.roster.clientOf(session, peer);
    if (fields.sender === view.you || fields.sender !== speaker) return 'WrongSender';
    link.health.heard(now);
    this.#answering.heard(now, peer, isAnswer(kind));
    switch (kind) {
      case 'VoiceAck':
        this.mesh.uplink?.acknowledged(now, peer, generation, fields);
        return link.health.acknowledged(now, fields.newest);
      case 'ProbeEcho': {
        const roundTripMs = link.health.answered(now, fields.token);
        if (roundTripMs !== undefined) this.mesh.uplink?.probed(now, peer, generation, roundTripMs);
        return;
      }
      case 'Probe': {
        if (now < link.echoedAt + ECHO_INTERVAL_MS) return 'TooManyProbes';
        link.echoedAt = now;
        const echo = encode('ProbeEcho', session, { sender: view.you, token: fields.token });
        return void this.mesh.sendLink(peer, generation, 'unreliable', echo);
      }
      case 'BandwidthProbe':
        return link.train.received(now, fields);
      case 'BandwidthReport':
        return this.mesh.uplink?.trainArrived(now, peer, fields);
      case 'VoiceData':
      case 'VoiceCopies':
        link.ack.received(now, fields.sequence);
        return this.#fromPeer(now, peer, view, kind, fields);
      default:
        return this.#fromPeer(now, peer, view, kind, fields);
    }
  }

  /**
   * A packet from an established peer.
   * @param {number} now @param {string} peer @param {View} view @param {string} kind @param {any} fields @param {boolean} [isRelayed] @returns {string | void}
   */
  #fromPeer(now, peer, view, kind, fields, isRelayed = false) {
    switch (kind) {
      case 'VoiceData':
      case 'VoiceCopies':
        if (!this.mesh.roster.may(peer, 'speak')) return 'NotPermitted';
        if (this.mesh.roster.isHeldElsewhere(peer, (group) => this.groups.has(group)))
          return 'NotPermitted';
        if (isRelayed) this.#answering.spoke(now, peer, endsSpeech(fields));
        return this.#voice(now, peer, view, fields, isRelayed);
      case 'ReceptionReport':
        this.mesh.uplink?.reported(now, peer, fields);
        return this.mesh.emit({ type: 'report', peer, report: fields });
      case 'ClockProbe':
        return this.mesh.emit({ type: 'clock-asked', peer, askedUs: fields.askedUs });
      case 'ClockEcho':
        return this.mesh.emit({ type: 'clock-told', peer, echo: fields });
      default:
        return 'Misplaced';
    }
  }

  /**
   * Heard if one of the targets is this client or a group that it listens to, and if it is new.
   * @param {number} now @param {string} peer @param {View} view @param {any} fields @param {boolean} isRelayed @returns {string | void}
   */
  #voice(now, peer, view, fields, isRelayed) {
    const reaches = fields.targets.filter((/** @type {import('./wire.js').Target} */ target) =>
      target.kind === 'client' ? target.id === view.you : this.#groupIds.has(target.id),
    );
    if (reaches.length === 0) return 'NotAddressed';
    const stream = this.#streams.of(peer);
    stream.reachedBy(`${reaches[0].kind} ${reaches[0].id} ${reaches[0].session}`, fields.sequence);
    const volume = Math.max(...reaches.map((/** @type {any} */ target) => target.volume)) / 127.5;
    const priority = Math.max(
      ...reaches.map((/** @type {any} */ target) => PRIORITIES.indexOf(target.priority)),
    );
    const { copies = [], bundled = 0 } = /** @type {import('./wire.js').VoiceCopies} */ (fields);
    // Sent in this packet for the first time, oldest first.
    for (let behind = bundled; behind > 0; behind--) {
      const frame = copies.find((copy) => copy.behind === behind)?.frame;
      const place =
        frame && stream.accept(now, (fields.sequence - behind) & 0xffff, fields.talkspurt);
      if (place)
        this.mesh.emit({
          type: 'voice',
          heard: { peer, ...place, volume, priority, behind: 0, pauseFollows: false, frame },
        });
    }
    const place = stream.accept(now, fields.sequence, fields.talkspurt);
    if (!place) return 'Stale';
    const isLast = reaches.every((/** @type {any} */ target) => target.closing);
    if (isLast) stream.interrupt('by-speaker');
    const common = { peer, talkspurt: place.talkspurt, volume, priority };
    for (const { behind, frame } of copies) {
      const sequence = place.sequence - behind;
      if (behind > bundled && frame.length > 0 && !stream.hasSeen(sequence)) {
        this.mesh.emit({
          type: 'voice',
          heard: { ...common, sequence, behind, pauseFollows: false, frame },
        });
      }
    }
    const pauseFollows = fields.pauseFollows ?? false;
    this.mesh.emit({
      type: 'voice',
      heard: {
        ...common,
        sequence: place.sequence,
        behind: 0,
        pauseFollows,
        frame: fields.frame,
        goesOnRelayed: isRelayed && !isLast && !pauseFollows,
      },
    });
    return undefined;
  }

  /** The extended number of a peer's frame. @param {string} peer @param {number} sequence */
  extend(peer, sequence) {
    return this.#streams.extend(peer, sequence);
  }

  /** @param {number} now @param {number} session @param {any} response @returns {string | void} */
  #handleHandshakeResponse(now, session, { you, clients, groups, listeners }) {
    const isMember = this.#resuming || this.phase === 'joined';
    const former =
      isMember && this.current?.session === session && this.current.you === you
        ? this.current
        : null;
    if (this.phase !== 'handshaking' && !former) return 'Unexpected';
    if (!former && !this.#askedAgain) this.mesh.uplink?.shookHands(now, this.#askedAt);
    this.#resuming = false;
    const view = new View(session, you);
    view.members.set(you, { name: this.mesh.config.name, groups: this.groups });
    for (const info of clients)
      if (info.id !== you) view.members.set(info.id, { name: info.name, groups: new Set() });
    const names = new Map(groups.map((/** @type {string} */ name) => [groupId(name), name]));
    for (const { group, clients: ids } of listeners) {
      const name = names.get(group);
      if (name === undefined) continue;
      for (const id of ids) if (id !== you) view.members.get(id)?.groups.add(name);
    }
    // After a takeover, or in place of updates that were not sent: whom the answer does not list follows, if the roster knows it.
    for (const [id, member] of former?.members ?? []) {
      if (!view.members.has(id) && this.mesh.roster.peerOf(session, id) !== null)
        view.members.set(id, member);
    }
    if (!former) this.interrupt();
    this.#retire(now, view);
    this.phase = 'joined';
    const client = { name: this.mesh.sentName, id: you, codec: CODEC };
    this.mesh.signaling.sendPacket(
      encode('ClientState', session, { client, groups: [...this.groups] }),
      true,
    );
    this.mesh.pairs.greet(now);
    this.refreshRoutes(now);
    return this.mesh.emit({ type: 'members' });
  }

  /** Puts a new view in place of the current one. @param {number} now @param {View} view */
  #retire(now, view) {
    const old = this.current;
    this.current = view;
    if (!old) return;
    if (old.session !== view.session) {
      old.retiredAt = now;
      this.#previous = [
        ...this.#previous.filter((former) => former.session !== old.session),
        old,
      ].slice(-PREVIOUS_VIEWS);
      return;
    }
    // Who came back to the same session finds those who are lost to the server but linked still kept.
    for (const { common } of this.mesh.pairs.all()) {
      if (common?.session !== old.session || view.members.has(common.remote)) continue;
      const member = old.members.get(common.remote) ?? old.kept.get(common.remote);
      if (member) view.kept.set(common.remote, { ...member, until: now + KEEP_LOST_MS });
    }
  }

  /** @param {number} now @param {number} session @returns {string | void} */
  #wrongSession(now, session) {
    if (!this.isJoined || this.current?.session === session) return 'Unexpected';
    this.connected(now);
    this.refreshRoutes(now);
    return undefined;
  }

  /** @param {number} now @param {View} view @param {{client: ClientInfo, groups: string[]}} state @returns {string | void} */
  #clientState(now, view, { client, groups }) {
    if (client.id === view.you) return 'Unexpected';
    const isNew = !view.members.has(client.id);
    const peer = isNew ? this.mesh.roster.peerOf(view.session, client.id) : null;
    if (peer !== null) this.interrupt(peer);
    view.kept.delete(client.id);
    view.members.set(client.id, {
      name: client.name,
      groups: new Set(groups.slice(0, LIMITS.groups)),
    });
    if (isNew) {
      this.mesh.pairs.judgeWaiting(now);
      this.refreshRoutes(now);
    }
    return this.mesh.emit({ type: 'members' });
  }

  /** @param {View} view @param {{joins: boolean, client: number, group: string}} delta @returns {string | void} */
  #delta(view, { joins, client, group }) {
    if (client === view.you) {
      if (joins || !this.groups.delete(group)) return 'Unexpected';
      this.#groupIds.delete(groupId(group));
      return this.mesh.emit({ type: 'group-refused', group });
    }
    const groups = view.members.get(client)?.groups;
    if (!groups || (joins && groups.size >= LIMITS.groups)) return 'Unexpected';
    if (joins) groups.add(group);
    else groups.delete(group);
    return this.mesh.emit({ type: 'members' });
  }

  /** @param {number} now @param {View} view @param {number} client @returns {string | void} */
  #removeClient(now, view, client) {
    const member = view.members.get(client);
    if (client === view.you || !member) return 'Unexpected';
    view.members.delete(client);
    for (const { common } of this.mesh.pairs.all()) {
      if (common?.session === view.session && common.remote === client) {
        view.kept.set(client, { ...member, until: now + KEEP_LOST_MS });
      }
    }
    this.refreshRoutes(now);
    return this.mesh.emit({ type: 'members' });
  }

  /** @param {View} view @param {any} text @returns {string | void} */
  #text(view, { sender, recipient, text }) {
    const peer = this.mesh.roster.peerOf(view.session, sender);
    if (peer === null || sender === view.you) return 'WrongSender';
    if (!this.mesh.roster.may(peer, 'data')) return 'NotPermitted';
    if (this.#mayNotWrite(peer, recipient.kind === 'client' ? null : recipient.id))
      return 'NotPermitted';
    const group = [...this.groups].find((name) => groupId(name) === recipient.id);
    const isForUs =
      recipient.kind === 'client'
        ? recipient.id === view.you
        : group !== undefined && !view.isShared(group);
    if (!isForUs) return 'NotAddressed';
    return this.mesh.emit({
      type: 'text',
      peer,
      group: recipient.kind === 'client' ? null : group,
      text,
    });
  }

  /** Of sealed texts a server cannot see where a member that is held in groups writes. @param {string} peer @param {number | null} group its id; null: to this page alone */
  #mayNotWrite(peer, group) {
    const { encryption, roster } = this.mesh;
    if (!encryption) return false;
    return group === null
      ? !roster.may(null, 'moderate') && roster.isHeldElsewhere(peer, (own) => this.groups.has(own))
      : roster.isHeldElsewhere(peer, (held) => groupId(held) === group);
  }

  /** @param {View} view @param {any} text @returns {string | void} */
  #groupText(view, { sender, group, text }) {
    const peer = this.mesh.roster.peerOf(view.session, sender);
    if (peer === null || sender === view.you) return 'WrongSender';
    if (!this.mesh.roster.may(peer, 'data')) return 'NotPermitted';
    if (this.#mayNotWrite(peer, groupId(group))) return 'NotPermitted';
    if (!this.groups.has(group)) return 'NotAddressed';
    return this.mesh.emit({ type: 'text', peer, group, text });
  }

  // --- helpers ------------------------------------------------------------------------------------------------------

  /** @param {number} session */
  viewOf(session) {
    return [this.current, ...this.#previous].find((view) => view?.session === session) ?? null;
  }

  /** A peer's id at the server that relays to it now. @param {string} peer */
  relayAddress(peer) {
    if (!this.isJoined || !this.current) return null;
    const client = this.mesh.roster.clientOf(this.current.session, peer);
    return client !== null && this.current.members.has(client) ? client : null;
  }

  /** @param {string} group @param {boolean} joins */
  #tellGroup(group, joins) {
    if (!this.isJoined || !this.current) return;
    const { session, you } = this.current;
    this.mesh.signaling.sendPacket(
      encode('DeltaClientState', session, { joins, client: you, group }),
      true,
    );
    this.mesh.emit({ type: 'members' });
  }
}
