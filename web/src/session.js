/**
 * One member of a session: joins, replicates who listens to what, addresses speech, takes in others' (PROTOCOL.md,
 * sections 7, 8 and 10). Pure: told the time in ms.
 *
 * @typedef {import('./mesh.js').Mesh} Mesh
 * @typedef {import('./wire.js').ClientInfo} ClientInfo
 * @typedef {import('./route.js').RouteState} RouteState
 * @typedef {{kind: 'group' | 'peer', name: string, group: number, closing: boolean, session: number}} OpenTarget
 * @typedef {{sequence: number, burst: {bits: number, value: number}, targets: OpenTarget[]}} Address
 * @typedef {{at: number, address: Address, frame: Uint8Array}} Recent
 * @typedef {{peer: string, sequence: number, burst: number, behind: number, pauseFollows: boolean, frame: Uint8Array,
 *   volume: number, priority: number}} Heard
 */

import { NO_ROUTE, nextRoute, shown, uses } from './route.js';
import { earlierFrame, Speaker, Stream } from './stream.js';
import { View } from './table.js';
import { decode, encode, groupId, LIMITS, utf8Length, WireError } from './wire.js';

export const GLOBAL = 'Global';
const HANDSHAKE_RETRY_MS = 5000;
const KEEP_LOST_MS = 120_000;
const PREVIOUS_VIEWS = 3;
const RETIRED_FOR_MS = 10_000;
const RECENT_FRAMES = 64;
const RESCUE_AGE_MS = 1000;
const CLOSE_WITHOUT_FRAME_MS = 60;
const ECHO_INTERVAL_MS = 20;
const STREAMS = 1024;
const CODEC = { codec: 1, frameSamples: 960, sampleRateHz: 48000 };
const RELAYED_KINDS = ['VoiceData', 'VoiceCopies', 'ReceptionReport', 'ClockProbe', 'ClockEcho'];
const PRIORITIES = ['low', 'default', 'medium', 'high'];

export class Session {
  /** @type {'offline' | 'handshaking' | 'joined'} */
  phase = 'offline';
  #askedAt = 0;
  /** @type {View | null} the session one is in, or was in last */
  current = null;
  /** @type {View[]} in which a pair may still speak */
  #previous = [];
  /** @type {Set<string>} groups one listens to, now and in every later session */
  groups = new Set([GLOBAL]);
  /** Their ids: asked for with every packet. */
  #groupIds = new Set([groupId(GLOBAL)]);
  /** @type {Map<string, {stream: Stream, heardAt: number}>} */
  #streams = new Map();
  /** @type {Map<string, RouteState>} by peer */
  #routes = new Map();
  /** @type {Recent[]} */
  #recent = [];
  /** @type {number | null} */
  #closingSince = null;
  /** Another connection took over, and the state that was asked for on it has not come. */
  #resuming = false;
  /** What came without effect, by reason. @type {Record<string, number>} */
  dropped = {};

  /** @param {Mesh} mesh @param {number} firstSequence */
  constructor(mesh, firstSequence) {
    this.mesh = mesh;
    this.speaker = new Speaker(firstSequence);
    this.speaker.open('group', GLOBAL);
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
    return shown(this.#routes.get(peer) ?? NO_ROUTE);
  }

  /** @param {number} now */
  connected(now) {
    this.phase = 'handshaking';
    this.#askedAt = now;
    this.mesh.signaling.sendPacket(encode('HandshakeRequest', null, { codec: CODEC, name: this.mesh.config.name }), true);
  }

  /** Another connection took over: the state is asked for anew, and until it comes the old one holds. */
  resumed() {
    this.#resuming = true;
    this.mesh.signaling.sendPacket(encode('HandshakeRequest', null, { codec: CODEC, name: this.mesh.config.name }), true);
  }

  /** @param {number} now */
  disconnected(now) {
    this.#resuming = false;
    this.phase = 'offline';
    this.refreshRoutes(now);
  }

  /** @param {number} now */
  tick(now) {
    if (this.phase === 'handshaking' && now >= this.#askedAt + HANDSHAKE_RETRY_MS) this.connected(now);
    if (this.#closingSince !== null && now >= this.#closingSince + CLOSE_WITHOUT_FRAME_MS) {
      this.speak(now, new Uint8Array(0));
    }
    const spoken = new Set();
    for (const { common } of this.mesh.pairs.all()) if (common) spoken.add(common.session);
    this.#previous = this.#previous.filter((view) =>
      spoken.has(view.session) || now < (view.retiredAt ?? now) + RETIRED_FOR_MS);
    for (const [client, { until }] of this.current?.kept ?? []) if (now >= until) this.current?.kept.delete(client);
    this.refreshRoutes(now);
  }

  // --- what one does ------------------------------------------------------------------------------------------------

  /** Begins to listen to a group. @param {string} name @returns {'ok' | 'too-long' | 'taken' | 'too-many'} */
  joinGroup(name) {
    if (this.groups.has(name)) return 'ok';
    if (utf8Length(name) > LIMITS.groupNameBytes) return 'too-long';
    const id = groupId(name);
    const inUse = this.isJoined ? (this.current?.nameOf(id) ?? null) : null;
    if ((inUse !== null && inUse !== name) || [...this.groups].some((own) => groupId(own) === id)) return 'taken';
    if (this.groups.size >= LIMITS.groups) return 'too-many';
    this.groups.add(name);
    this.#groupIds.add(id);
    this.#tellGroup(name, true);
    return 'ok';
  }

  /** @param {string} name */
  leaveGroup(name) {
    if (!this.groups.delete(name)) return;
    this.#groupIds.delete(groupId(name));
    this.#tellGroup(name, false);
  }

  /** @param {number} now @param {'group' | 'peer'} kind @param {string} name @param {boolean} open */
  address(now, kind, name, open) {
    if (open) return this.speaker.open(kind, name);
    this.speaker.close(kind, name);
    if (this.speaker.isClosing) this.#closingSince ??= now;
    return true;
  }

  /** False if there is no way now. @param {number} now @param {string} text @param {{group: string} | {peer: string}} to */
  sendText(now, text, to) {
    const view = this.current;
    if (!view || !this.isJoined) return false;
    const client = 'peer' in to ? this.mesh.roster.clientOf(view.session, to.peer) : null;
    if ('peer' in to && client === null) return false;
    const recipient = 'peer' in to ? { kind: 'client', id: client } : { kind: 'group', id: groupId(to.group) };
    const packet = encode('TextData', view.session, { sender: view.you, recipient, text });
    this.mesh.signaling.sendText(now, packet);
    return true;
  }

  /**
   * Sends one frame to everyone whom the open targets address, each by its route. Says how many those are.
   * @param {number} now
   * @param {Uint8Array} frame
   * @param {boolean} pauseFollows
   * @param {(peer: string) => number[]} copiesFor how far behind the frames are that a listener is sent again
   */
  speak(now, frame, pauseFollows = false, copiesFor = () => []) {
    const address = this.speaker.nextFrame();
    if (!address) return 0;
    if (!this.speaker.isClosing) this.#closingSince = null;
    const audience = this.#audience(address.targets);
    /** @type {Map<string, Uint8Array | null>} */
    const packets = new Map();
    /** @type {Map<string, number[]>} form → clients of the relay */
    const relayed = new Map();
    for (const { peer, relay, link } of audience) {
      const form = this.#form(peer, pauseFollows, copiesFor(peer));
      const state = this.#routes.get(peer) ?? NO_ROUTE;
      let served = false;
      if (link?.common && uses(state, 'direct')) {
        const packet = this.#packet(packets, link.common.session, form, address, frame, pauseFollows);
        if (packet && this.mesh.carrier.sendLink(peer, link.generation, 'voice', packet)) {
          served = true;
          if (this.mesh.roster.capabilities(peer)?.voice_ack) link.health.sent(now, address.sequence);
        }
      }
      if (relay !== null && (uses(state, 'relayed') || !served)) {
        relayed.set(form, [...(relayed.get(form) ?? []), relay]);
      }
    }
    const session = this.isJoined ? this.current?.session : undefined;
    if (session !== undefined) {
      for (const [form, clients] of relayed) {
        const packet = this.#packet(packets, session, form, address, frame, pauseFollows);
        if (packet) this.#relay(session, clients, packet);
      }
    }
    this.#recent.push({ at: now, address, frame });
    if (this.#recent.length > RECENT_FRAMES) this.#recent.shift();
    return audience.length;
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
      if (this.mesh.carrier.sendLink(peer, link.generation, 'unreliable', packet)) return;
    }
    const client = this.#relayAddress(peer);
    if (client === null || !this.current) return;
    const { session, you } = this.current;
    this.#relay(session, [client], encode(kind, session, { ...fields, sender: you }));
  }

  /** A link did not deliver these frames: they go through the relay. @param {number} now @param {string} peer @param {number[]} sequences */
  rescue(now, peer, sequences) {
    const client = this.#relayAddress(peer);
    if (client === null || !this.current || sequences.length === 0) return;
    for (const { at, address, frame } of this.#recent) {
      if (now > at + RESCUE_AGE_MS || !sequences.includes(address.sequence)) continue;
      const packet = this.#packet(new Map(), this.current.session, '', address, frame, false);
      if (packet) this.#relay(this.current.session, [client], packet);
    }
  }

  // --- what arrives -------------------------------------------------------------------------------------------------

  /** @param {number} now @param {Uint8Array} bytes */
  fromServer(now, bytes) {
    this.#guarded(() => this.#fromServer(now, bytes));
  }

  /** @param {number} now @param {string} peer @param {number} generation @param {Uint8Array} bytes */
  fromLink(now, peer, generation, bytes) {
    this.#guarded(() => this.#fromLink(now, peer, generation, bytes));
  }

  /** @param {number} now */
  rosterChanged(now) {
    this.mesh.pairs.judgeWaiting(now);
    this.refreshRoutes(now);
    this.mesh.emit({ type: 'members' });
  }

  /** @param {string} peer */
  forgetPeer(peer) {
    this.#streams.delete(peer);
    this.#routes.delete(peer);
    this.speaker.close('peer', peer);
  }

  /** @param {number} now */
  refreshRoutes(now) {
    const { pairs, roster, signaling } = this.mesh;
    for (const peer of roster.members.keys()) {
      const link = pairs.bound(peer);
      const before = this.#routes.get(peer) ?? NO_ROUTE;
      const after = nextRoute(before, now, {
        relay: this.#relayAddress(peer) !== null,
        serverAnswers: signaling.reachesServer,
        both: link !== null && link.health.stalledSince !== null && !signaling.answeredSince(link.health.stalledSince),
        link: link === null ? 'unbound' : link.health.stalled ? 'stalled' : 'sound',
      });
      if (after === before) continue;
      this.#routes.set(peer, after);
      if (shown(after) !== shown(before)) this.mesh.emit({ type: 'route', peer, route: shown(after) });
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
    if (kind === 'HandshakeResponse') return this.#welcome(now, session, fields);
    if (kind === 'ErrorWrongSession') return this.#wrongSession(now, session);
    const view = this.current;
    if (!view || !this.isJoined) return 'Unexpected';
    if (session !== view.session) return 'WrongSession';
    switch (kind) {
      case 'ClientState': return this.#clientState(now, view, fields);
      case 'DeltaClientState': return this.#delta(view, fields);
      case 'RemoveClient': return this.#removeClient(now, view, fields.client);
      case 'TextData': return this.#text(view, fields);
      default: {
        if (!RELAYED_KINDS.includes(kind)) return 'Misplaced';
        const peer = this.mesh.roster.peerOf(session, fields.sender);
        if (peer === null || fields.sender === view.you || !view.members.has(fields.sender)) return 'WrongSender';
        return this.#fromPeer(now, peer, view, kind, fields);
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
      link.health.heardAt = now;
      return this.mesh.pairs.handshake(now, link, session, fields.client);
    }
    if (fields.sender === undefined || kind === 'TextData') return 'Misplaced';
    const view = this.#viewOf(session);
    if (!view) return 'WrongSession';
    const speaker = link.remoteIn(session) ?? this.mesh.roster.clientOf(session, peer);
    if (fields.sender === view.you || fields.sender !== speaker) return 'WrongSender';
    link.health.heardAt = now;
    switch (kind) {
      case 'VoiceAck': return link.health.acknowledged(now, fields.newest);
      case 'ProbeEcho': return link.health.answered(now, fields.token);
      case 'Probe': {
        if (now < link.echoedAt + ECHO_INTERVAL_MS) return 'TooManyProbes';
        link.echoedAt = now;
        const echo = encode('ProbeEcho', session, { sender: view.you, token: fields.token });
        this.mesh.carrier.sendLink(peer, generation, 'unreliable', echo);
        return undefined;
      }
      case 'VoiceData':
      case 'VoiceCopies':
        link.ack.received(now, fields.sequence);
        return this.#fromPeer(now, peer, view, kind, fields);
      default: return this.#fromPeer(now, peer, view, kind, fields);
    }
  }

  /**
   * From somebody who has been established.
   * @param {number} now @param {string} peer @param {View} view @param {string} kind @param {any} fields @returns {string | void}
   */
  #fromPeer(now, peer, view, kind, fields) {
    switch (kind) {
      case 'VoiceData':
      case 'VoiceCopies': return this.#voice(now, peer, view, fields);
      case 'ReceptionReport': return this.mesh.emit({ type: 'report', peer, report: fields });
      case 'ClockProbe': return this.mesh.emit({ type: 'clock-asked', peer, askedUs: fields.askedUs });
      case 'ClockEcho': return this.mesh.emit({ type: 'clock-told', peer, echo: fields });
      default: return 'Misplaced';
    }
  }

  /**
   * Heard if one of the targets is this client or a group that it listens to, and if it is new.
   * @param {number} now @param {string} peer @param {View} view @param {any} fields @returns {string | void}
   */
  #voice(now, peer, view, fields) {
    const reaches = fields.targets.filter((/** @type {import('./wire.js').Target} */ target) =>
      target.kind === 'client' ? target.id === view.you : this.#groupIds.has(target.id));
    if (reaches.length === 0) return 'NotAddressed';
    const heard = this.#stream(peer);
    const place = heard.stream.accept(now, fields.sequence, fields.burst);
    if (!place) return 'Stale';
    heard.heardAt = now;
    const volume = Math.max(...reaches.map((/** @type {any} */ target) => target.volume)) / 127.5;
    const priority = Math.max(...reaches.map((/** @type {any} */ target) => PRIORITIES.indexOf(target.priority)));
    const common = { peer, burst: place.burst, volume, priority };
    for (const { behind, frame } of fields.copies ?? []) {
      const sequence = place.sequence - behind;
      if (frame.length > 0 && !heard.stream.hasSeen(sequence)) {
        this.mesh.emit({ type: 'voice', heard: { ...common, sequence, behind, pauseFollows: false, frame } });
      }
    }
    const pauseFollows = fields.pauseFollows ?? false;
    this.mesh.emit({ type: 'voice', heard: { ...common, sequence: place.sequence, behind: 0, pauseFollows, frame: fields.frame } });
    return undefined;
  }

  /** The extended number of a peer's frame. @param {string} peer @param {number} sequence */
  extend(peer, sequence) {
    return this.#streams.get(peer)?.stream.extend(sequence) ?? null;
  }

  /** @param {string} peer */
  #stream(peer) {
    let heard = this.#streams.get(peer);
    if (!heard) {
      if (this.#streams.size >= STREAMS) {
        const [[oldest]] = [...this.#streams].sort((a, b) => a[1].heardAt - b[1].heardAt);
        this.#streams.delete(oldest);
      }
      this.#streams.set(peer, heard = { stream: new Stream(), heardAt: 0 });
    }
    return heard;
  }

  /** @param {number} now @param {number} session @param {any} response @returns {string | void} */
  #welcome(now, session, { you, clients, groups, listeners }) {
    const isMember = this.#resuming || this.phase === 'joined';
    const former = isMember && this.current?.session === session && this.current.you === you ? this.current : null;
    if (this.phase !== 'handshaking' && !former) return 'Unexpected';
    this.#resuming = false;
    const view = new View(session, you);
    view.members.set(you, { name: this.mesh.config.name, groups: this.groups });
    for (const info of clients) if (info.id !== you) view.members.set(info.id, { name: info.name, groups: new Set() });
    const names = new Map(groups.map((/** @type {string} */ name) => [groupId(name), name]));
    for (const { group, clients: ids } of listeners) {
      const name = names.get(group);
      if (name === undefined) continue;
      for (const id of ids) if (id !== you) view.members.get(id)?.groups.add(name);
    }
    // After a takeover, or in place of updates that were not sent: whom the answer does not list follows, if the roster knows it.
    for (const [id, member] of former?.members ?? []) {
      if (!view.members.has(id) && this.mesh.roster.peerOf(session, id) !== null) view.members.set(id, member);
    }
    this.#retire(now, view);
    this.phase = 'joined';
    const client = { name: this.mesh.config.name, id: you, codec: CODEC };
    this.mesh.signaling.sendPacket(encode('ClientState', session, { client, groups: [...this.groups] }), true);
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
      this.#previous = [...this.#previous.filter((former) => former.session !== old.session), old].slice(-PREVIOUS_VIEWS);
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
    view.kept.delete(client.id);
    view.members.set(client.id, { name: client.name, groups: new Set(groups.slice(0, LIMITS.groups)) });
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
    const group = [...this.groups].find((name) => groupId(name) === recipient.id);
    if (recipient.kind === 'client' ? recipient.id !== view.you : group === undefined) return 'NotAddressed';
    return this.mesh.emit({ type: 'text', peer, group: recipient.kind === 'client' ? null : group, text });
  }

  // --- helpers ------------------------------------------------------------------------------------------------------

  /** @param {number} session */
  #viewOf(session) {
    if (this.current?.session === session) return this.current;
    return this.#previous.find((view) => view.session === session) ?? null;
  }

  /** A peer's id at the server that relays to it now. @param {string} peer */
  #relayAddress(peer) {
    if (!this.isJoined || !this.current) return null;
    const client = this.mesh.roster.clientOf(this.current.session, peer);
    return client !== null && this.current.members.has(client) ? client : null;
  }

  /** Everyone whom these targets address, once each. @param {OpenTarget[]} targets */
  #audience(targets) {
    const audience = [];
    for (const peer of this.mesh.roster.members.keys()) {
      const link = this.mesh.pairs.bound(peer);
      const relay = this.#relayAddress(peer);
      const view = relay === null ? (link?.common && this.#viewOf(link.common.session)) : this.current;
      const client = relay ?? link?.common?.remote ?? null;
      if (!view || client === null) continue;
      const addressed = targets.some(({ kind, name }) => kind === 'peer' ? name === peer : view.listens(client, name));
      if (addressed) audience.push({ peer, relay, link });
    }
    return audience;
  }

  /** What a listener is sent: '' VoiceData, '|' with the pause mark only, '2,4|' with copies. @param {string} peer @param {boolean} pauseFollows @param {number[]} copies */
  #form(peer, pauseFollows, copies) {
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
    if (packet === undefined) made.set(key, packet = this.#write(session, form, address, frame, pauseFollows));
    return packet;
  }

  /** @param {number} session @param {string} form @param {Address} address @param {Uint8Array} frame @param {boolean} pauseFollows */
  #write(session, form, address, frame, pauseFollows) {
    const view = this.#viewOf(session);
    if (!view) return null;
    const isCurrent = view === this.current;
    const targets = address.targets.flatMap(({ kind, name, group, closing, session: opening }) => {
      const id = kind === 'group' ? group : isCurrent ? this.mesh.roster.clientOf(session, name) : null;
      const link = kind === 'peer' && id === null ? this.mesh.pairs.bound(name) : null;
      const known = id ?? (link?.common?.session === session ? link.common.remote : null);
      return known === null ? [] : [{
        kind: kind === 'group' ? 'group' : 'client', id: known, positional: false, closing, priority: 'default',
        session: opening, volume: 128,
      }];
    });
    const voice = { sender: view.you, burst: address.burst, sequence: address.sequence, targets, frame };
    if (form === '') return encode('VoiceData', session, voice);
    let copies = form.slice(0, -1).split(',').filter(Boolean).map(Number).flatMap((behind) => {
      const earlier = earlierFrame(this.#recent, address, behind);
      return earlier ? [{ behind, frame: earlier }] : [];
    });
    for (;;) {
      const packet = encode('VoiceCopies', session, { ...voice, pauseFollows, copies });
      // With one destination around it, it has to fit into what the relay carries.
      if (packet.length + 12 <= LIMITS.unreliableBytes || copies.length === 0) return packet;
      copies = copies.slice(0, -1);
    }
  }

  /** @param {number} session @param {number[]} clients @param {Uint8Array} packet */
  #relay(session, clients, packet) {
    const room = Math.min(Math.max(Math.floor((LIMITS.unreliableBytes - 10 - packet.length) / 2), 1), LIMITS.relayDestinations);
    for (let at = 0; at < clients.length; at += room) {
      const relay = { destinations: clients.slice(at, at + room), packet };
      this.mesh.signaling.sendPacket(encode('ServerRelayUnreliable', session, relay), false);
    }
  }

  /** @param {string} group @param {boolean} joins */
  #tellGroup(group, joins) {
    if (!this.isJoined || !this.current) return;
    const { session, you } = this.current;
    this.mesh.signaling.sendPacket(encode('DeltaClientState', session, { joins, client: you, group }), true);
    this.mesh.emit({ type: 'members' });
  }
}
