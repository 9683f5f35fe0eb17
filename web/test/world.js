/** A room for tests: a server that does what PROTOCOL.md says, links between meshes, and a clock that only moves when told. */

import { Encryption } from '../src/encryption.js';
import { Mesh } from '../src/mesh.js';
import { rosterHash } from '../src/roster.js';
import { decode, encode } from '../src/wire.js';

export const DELAY_MS = 10;
const STEP_MS = 5;

export class World {
  now = 1000;
  /** @type {{at: number, act: () => void}[]} */
  #queue = [];
  /** @type {FakePeer[]} */
  peers = [];
  /** Whether packets on links arrive. */
  linksWork = true;
  seed = 1;

  constructor() {
    this.server = new FakeServer(this, 7);
  }

  random() {
    this.seed = (Math.imul(this.seed, 1664525) + 1013904223) >>> 0;
    return this.seed / 2 ** 32;
  }

  /** @param {() => void} act @param {number} delayMs */
  later(act, delayMs = DELAY_MS) {
    this.#queue.push({ at: this.now + delayMs, act });
  }

  /** Lets time pass; `each` is called after each step. @param {number} ms @param {() => void} [each] */
  run(ms, each = () => {}) {
    const end = this.now + ms;
    while (this.now < end) {
      this.now += STEP_MS;
      for (const { uplink } of this.peers) uplink?.pump();
      for (;;) {
        const due = this.#queue
          .filter((item) => item.at <= this.now)
          .sort((a, b) => a.at - b.at)[0];
        if (!due) break;
        this.#queue.splice(this.#queue.indexOf(due), 1);
        due.act();
      }
      if ((this.now / STEP_MS) % 4 === 0)
        for (const peer of this.peers) if (!peer.asleep) peer.mesh.tick(this.now);
      if (this.now % 5000 === 0) this.server.mark();
      each();
    }
  }

  /** @param {string} name @param {object} [more] capabilities, … */
  join(name, more = {}) {
    const peer = new FakePeer(this, name, more);
    this.peers.push(peer);
    peer.mesh.signaling.start(this.now);
    return peer;
  }

  /** The server ends, and another begins in its place. @param {number} awayMs */
  restartServer(awayMs, session = this.server.session + 1) {
    const old = this.server;
    this.server = new FakeServer(this, session);
    this.server.isUp = false;
    old.isUp = false;
    for (const peer of this.peers) peer.socketEnds();
    this.later(() => {
      this.server.isUp = true;
    }, awayMs);
  }
}

/** What every packet costs below the session: on a link, and on the connection to the server. */
const [LINK_BYTES, SERVER_BYTES] = [85, 75];
/** An acknowledgement of the transport below a link, for each second packet. */
const SACK_BYTES = 100;
/** What a page's connection to the server holds before packets that may be lost are. */
const HELD_BYTES = 8192;

/** A narrow way up: what it cannot send at once waits, and what finds the queue full is dropped, or waits before it (TCP). */
export class Bottleneck {
  /** When all that was taken is sent. */
  #freeAt = 0;
  /** @type {{bytes: number, act: () => void}[]} */
  #held = [];
  /** Packets dropped. */
  dropped = 0;

  /** @param {World} world @param {number} bps @param {number} queueMs */
  constructor(world, bps, queueMs) {
    this.world = world;
    this.bps = bps;
    this.queueMs = queueMs;
  }

  get queuedMs() {
    return Math.max(this.#freeAt - this.world.now, 0);
  }

  /** @param {number} bytes @param {() => void} act when it arrives */
  packet(bytes, act) {
    if (this.queuedMs > this.queueMs) this.dropped += 1;
    else this.#send(bytes + LINK_BYTES, act);
  }

  /** @param {number} bytes @param {() => void} act when it arrives @param {boolean} isLossy */
  stream(bytes, act, isLossy) {
    if (isLossy && this.#held.reduce((sum, item) => sum + item.bytes, 0) > HELD_BYTES)
      this.dropped += 1;
    else this.#held.push({ bytes: bytes + SERVER_BYTES, act });
    this.pump();
  }

  pump() {
    while (this.#held.length > 0 && this.queuedMs <= this.queueMs) {
      const { bytes, act } = /** @type {{bytes: number, act: () => void}} */ (this.#held.shift());
      this.#send(bytes, act);
    }
  }

  /** @param {number} bytes @param {() => void} act */
  #send(bytes, act) {
    this.#freeAt = Math.max(this.#freeAt, this.world.now) + (bytes * 8000) / this.bps;
    this.world.later(act, this.#freeAt - this.world.now + DELAY_MS);
  }
}

/** A peer's id, by the first letter of its name. @param {string} name */
export const idOf = (name) =>
  `${name.toLowerCase().codePointAt(0)?.toString(16).padStart(8, '0')}-0000-8000-8000-000000000000`;

/** A description with a certificate's fingerprint. @param {string} name */
const describe = (name) =>
  `v=0\r\na=fingerprint:sha-256 ${Array.from({ length: 32 }, () => name.charCodeAt(0).toString(16).toUpperCase()).join(':')}\r\n`;

export class FakePeer {
  /** @type {any[]} */
  events = [];
  /** @type {Map<number, {open: boolean, dead: boolean}>} its connections to the server */
  sockets = new Map();
  /** Nothing passes between it and the server: neither on new connections nor, ever again, on those open when it began. */
  dark = false;
  /** A machine that sleeps: nothing runs there, and nothing arrives. */
  asleep = false;
  /** Its links that were given the other end's description: others carry nothing. @type {Set<string>} */
  described = new Set();
  /** Its way up, if that is narrow. @type {Bottleneck | null} */
  uplink = null;
  #sacks = 0;
  /** Voice packets sent on links and to the relay. */
  sent = { link: 0, relay: 0 };

  /** @param {World} world @param {string} name @param {any} more */
  constructor(world, name, { ring = null, people = null, ...more }) {
    this.world = world;
    this.id = idOf(name);
    this.name = name;
    /** What it names in descriptions of links. */
    this.sdp = ring ? describe(name) : '';
    const capabilities = {
      relay_only: false,
      redundancy: true,
      voice_ack: true,
      reports: true,
      path_feedback: true,
      bundles: true,
      frame_ms: [10, 20, 40, 60],
      ...more,
    };
    const config = {
      room: 'r',
      name,
      peer: this.id,
      proof: this.id,
      run: more.run ?? 1,
      capabilities,
      metadata: {},
      firstSequence: 65_500,
    };
    this.mesh = new Mesh(
      config,
      this,
      (event) => {
        this.events.push(event);
        // As the page does.
        if (event.type === 'clock-asked')
          this.mesh.session.sendTo(event.peer, 'ClockEcho', {
            askedUs: event.askedUs,
            receivedUs: 0,
            sentUs: 0,
            captured: null,
          });
      },
      () => world.random(),
      ring && ((mesh) => new Encryption(mesh, ring, people)),
    );
  }

  /** @param {string} type */
  count(type) {
    return this.events.filter((event) => event.type === type).length;
  }

  /** First bytes of the frames heard, of their own packets, in order. */
  get heard() {
    return this.events
      .filter((event) => event.type === 'voice' && event.heard.behind === 0)
      .map((event) => event.heard.frame[0]);
  }

  get texts() {
    return this.events
      .filter((event) => event.type === 'text')
      .map(({ group, text }) => [group, text]);
  }

  /** @param {FakePeer} other */
  route(other) {
    return this.mesh.session.route(other.id);
  }

  /** @param {number} byte */
  say(byte, pauseFollows = false, copies = /** @type {number[]} */ ([])) {
    return this.mesh.session.speak(
      this.world.now,
      new Uint8Array([byte, 1, 2]),
      pauseFollows,
      () => copies,
    );
  }

  /** The newest connection. */
  get generation() {
    return Math.max(...this.sockets.keys());
  }

  socketEnds() {
    for (const [generation, socket] of this.sockets) {
      socket.dead = true;
      this.world.later(() => this.mesh.signaling.closed(this.world.now, generation, 'it ended'));
    }
  }

  /** What is open dies without an end. */
  socketsDie() {
    for (const socket of this.sockets.values()) socket.dead = true;
  }

  /** @param {number} generation */
  works(generation) {
    const socket = this.sockets.get(generation);
    return socket !== undefined && socket.open && !socket.dead && !this.dark;
  }

  // --- what the mesh asks of its carrier ---

  /** @param {number} generation */
  openSocket(generation) {
    const socket = { open: false, dead: this.dark };
    this.sockets.set(generation, socket);
    this.world.later(() => {
      if (this.sockets.get(generation) !== socket || socket.dead || this.dark) return;
      socket.open = this.world.server.isUp;
      if (socket.open) this.mesh.signaling.opened(this.world.now, generation);
      else this.mesh.signaling.closed(this.world.now, generation, 'refused');
    });
  }

  /** @param {number} generation */
  closeSocket(generation) {
    const { server } = this.world;
    if (this.works(generation)) this.world.later(() => server.gone(this, 'lost', generation));
    this.sockets.delete(generation);
  }

  /** @param {number} generation @param {string} text */
  sendText(generation, text) {
    const { server } = this.world;
    if (this.works(generation))
      this.#up(text.length, () => server.text(this, JSON.parse(text), generation), true);
  }

  /** @param {number} bytes @param {() => void} act @param {boolean} isStream in order and without loss */
  #up(bytes, act, isStream, isLossy = false) {
    if (!this.uplink) this.world.later(act);
    else if (isStream) this.uplink.stream(bytes, act, isLossy);
    else this.uplink.packet(bytes, act);
  }

  /** @param {number} generation @param {Uint8Array} packet @param {boolean} reliable */
  sendPacket(generation, packet, reliable) {
    const { server } = this.world;
    if (packet[2] === 8) this.sent.relay += 1;
    if (this.works(generation))
      this.#up(packet.length, () => server.packet(this, packet), true, !reliable);
  }

  /** @param {string} peer @param {number} generation @param {string} role */
  openLink(peer, generation, role) {
    this.world.later(() => {
      if (this.mesh.pairs.get(peer, generation)?.state === 'opening')
        this.mesh.pairs.linkClosed(this.world.now, peer, generation, false);
    }, 15_000);
    if (role === 'offer') {
      this.world.later(() =>
        this.mesh.pairs.linkSignal(peer, generation, { kind: 'offer', sdp: this.sdp || 'offer' }),
      );
    }
  }

  /** @param {string} peer @param {number} generation @param {import('../src/messages.js').Signal} signal */
  signalLink(peer, generation, signal) {
    if ('sdp' in signal) this.described.add(`${peer} ${generation}`);
    if (signal.kind === 'offer')
      this.mesh.pairs.linkSignal(peer, generation, { kind: 'answer', sdp: this.sdp || 'answer' });
    // Whether it opens is up to the network between the two.
    if (this.world.linksWork)
      this.world.later(() => this.mesh.pairs.linkOpen(this.world.now, peer, generation), 30);
  }

  /** @param {string} peer @param {number} generation @param {string} stream @param {Uint8Array} packet */
  sendLink(peer, generation, stream, packet) {
    if (stream === 'voice') this.sent.link += 1;
    const other = this.world.peers.find((candidate) => candidate.id === peer);
    if (!this.world.linksWork) return true;
    this.#up(
      packet.length,
      () => other?.fromLink(this.id, generation, packet),
      stream === 'reliable',
    );
    return true;
  }

  /** @param {string} peer @param {number} generation @param {Uint8Array} packet */
  fromLink(peer, generation, packet) {
    if (this.asleep || !this.described.has(`${peer} ${generation}`)) return;
    if (this.#sacks++ % 2 === 1) this.uplink?.packet(SACK_BYTES - LINK_BYTES, () => {});
    this.mesh.session.fromLink(this.world.now, peer, generation, packet);
  }

  backgroundBytes = 0;

  /** @param {string} peer @param {number} generation */
  closeLink(peer, generation) {
    const other = this.world.peers.find((candidate) => candidate.id === peer);
    if (!this.world.linksWork) return;
    this.world.later(() => other?.mesh.pairs.linkClosed(this.world.now, this.id, generation, true));
  }
}

/** Rooms, introductions and relay of one room, as far as the tests need them. */
class FakeServer {
  isUp = true;
  locked = false;
  /** Every packet that came to it. @type {Uint8Array[]} */
  seen = [];
  /** @type {any[]} what joins said */
  joins = [];
  /** Where a moderator holds who joins. @type {string[]} */
  heldIn = [];
  /** When the host in front of it ends a connection; 0: never. */
  lifetimeMs = 0;
  /** How many written messages it says to have read on a connection that is taken over. @type {number | undefined} */
  textsRead;
  /** How long it takes to answer a join. */
  joinMs = 0;
  /** With what it refuses the next joins of those who are here already. @type {string | null} */
  refuses = null;
  /** Who may moderate, as `joined` says it. @type {string | undefined} */
  ownerRight;
  version = 0;
  order = 0;
  nextClient = 1;
  /** @type {Map<FakePeer, {info: any, listens: Set<string>, member: boolean, generation: number, resumed: boolean}>} */
  members = new Map();
  /** @type {Map<string, number>} */
  clients = new Map();

  /** @param {World} world @param {number} session */
  constructor(world, session) {
    this.world = world;
    this.session = session;
  }

  mark() {
    for (const peer of this.members.keys())
      this.tell(peer, { type: 'roster-mark', ...this.#roster() });
  }

  #roster() {
    return {
      version: this.version,
      hash: rosterHash([...this.members.values()].map(({ info }) => info)),
    };
  }

  /** @param {FakePeer} peer @param {object} message */
  tell(peer, message) {
    const generation = this.members.get(peer)?.generation ?? 0;
    this.world.later(
      () =>
        !peer.asleep &&
        peer.works(generation) &&
        peer.mesh.signaling.text(this.world.now, generation, JSON.stringify(message)),
    );
  }

  /** @param {FakePeer} peer @param {Uint8Array} packet */
  send(peer, packet) {
    const generation = this.members.get(peer)?.generation ?? 0;
    this.world.later(
      () =>
        !peer.asleep &&
        peer.works(generation) &&
        peer.mesh.signaling.packet(this.world.now, generation, packet),
    );
  }

  /** @param {FakePeer} but */
  others(but) {
    return [...this.members.keys()].filter((peer) => peer !== but);
  }

  /** @param {FakePeer} peer @param {string} reason @param {number | undefined} generation of the connection that ended */
  gone(peer, reason, generation = this.members.get(peer)?.generation) {
    const member = this.members.get(peer);
    if (!member || !this.isUp || member.generation !== generation) return;
    this.members.delete(peer);
    this.version += 1;
    for (const other of this.members.keys()) {
      this.tell(other, { type: 'peer-left', peer: peer.id, reason });
      this.send(other, encode('RemoveClient', this.session, { client: member.info.client }));
    }
  }

  /** @param {FakePeer} peer @param {string[]} permissions @param {boolean} [unheard] it is not told itself, as if its program did not care */
  permit(peer, permissions, unheard = false) {
    this.version += 1;
    for (const other of unheard ? this.others(peer) : this.members.keys()) {
      this.tell(other, { type: 'permissions', peer: peer.id, permissions });
    }
  }

  /** @param {FakePeer} peer @param {any} message @param {number} generation */
  text(peer, message, generation) {
    if (!this.isUp) return;
    const present = this.members.get(peer);
    if (message.type === 'join' && this.joinMs > 0 && !message.waited) {
      this.world.later(
        () => this.text(peer, { ...message, waited: true }, generation),
        this.joinMs,
      );
      return;
    }
    if (message.type === 'join') this.joins.push(message);
    if (message.type === 'join' && present && this.refuses) {
      const refused = { code: this.refuses, message: 'No.', fatal: true };
      const error = JSON.stringify({ type: 'error', ...refused });
      this.world.later(() => peer.mesh.signaling.text(this.world.now, generation, error));
      return;
    }
    if (message.type === 'join' && present && present.info.run === message.run) {
      present.generation = generation;
      present.resumed = present.member;
      const peers = this.others(peer).map((other) => this.members.get(other)?.info);
      const { client, order, metadata } = present.info;
      const joined = {
        you: peer.id,
        client,
        session: this.session,
        room: message.room,
        peers,
        order,
        limits: { connection_lifetime_ms: this.lifetimeMs },
      };
      this.tell(peer, {
        type: 'joined',
        ...joined,
        locked: this.locked,
        roster: this.#roster(),
        taken_over: { metadata, texts: this.textsRead },
      });
    } else if (message.type === 'ping') {
      this.tell(peer, { type: 'pong', token: message.token });
    } else if (message.type === 'join') {
      const client = this.clients.get(peer.id) ?? this.nextClient++;
      this.clients.set(peer.id, client);
      const { run, name, metadata, capabilities } = message;
      const info = {
        peer: peer.id,
        client,
        run,
        name,
        metadata,
        capabilities,
        order: ++this.order,
      };
      const peers = this.others(peer).map((other) => this.members.get(other)?.info);
      this.members.set(peer, {
        info,
        listens: new Set(),
        member: false,
        generation,
        resumed: false,
      });
      this.version += 1;
      const joined = {
        you: peer.id,
        client,
        session: this.session,
        room: message.room,
        peers,
        order: info.order,
        limits: { connection_lifetime_ms: this.lifetimeMs },
      };
      this.tell(peer, {
        type: 'joined',
        ...joined,
        group_text: true,
        roster: this.#roster(),
        ...(this.locked && { locked: true }),
        ...(this.ownerRight && { owner_right: this.ownerRight }),
        ...(this.heldIn.length > 0 && { held_in: this.heldIn }),
      });
      for (const other of this.others(peer)) this.tell(other, { type: 'peer-joined', peer: info });
    } else if (message.type === 'signal') {
      const to = this.others(peer).find((other) => other.id === message.to);
      if (to)
        this.tell(to, {
          type: 'signal',
          from: peer.id,
          attempt: message.attempt,
          signal: message.signal,
        });
    } else if (message.type === 'set-metadata') {
      if (!present) return;
      present.info.metadata = { ...present.info.metadata, ...message.set };
      this.version += 1;
      for (const other of this.members.keys())
        this.tell(other, { type: 'metadata', peer: peer.id, metadata: present.info.metadata });
    } else if (message.type === 'roster') {
      this.tell(peer, {
        type: 'roster',
        ...this.#roster(),
        peers: [...this.members.values()].map(({ info }) => info),
      });
    } else if (message.type === 'leave') {
      this.gone(peer, 'left');
    }
  }

  /** @param {FakePeer} peer @param {Uint8Array} bytes */
  packet(peer, bytes) {
    const own = this.members.get(peer);
    if (!own || !this.isUp) return;
    this.seen.push(bytes);
    const { kind, session, fields } = decode(bytes);
    const codec = { codec: 1, frameSamples: 960, sampleRateHz: 48000 };
    const info = { name: own.info.name, id: own.info.client, codec };
    if (kind !== 'HandshakeRequest' && session !== this.session) {
      this.send(peer, encode('ErrorWrongSession', this.session, {}));
    } else if (kind === 'HandshakeRequest') {
      const { resumed } = own;
      own.member = true;
      own.resumed = false;
      if (!resumed) own.listens = new Set(['Global']);
      const others = this.others(peer)
        .map((other) => this.members.get(other))
        .filter((member) => member?.member);
      const clients = others.map((member) => ({
        name: member?.info.name,
        id: member?.info.client,
        codec,
      }));
      this.send(
        peer,
        encode('HandshakeResponse', this.session, {
          you: info.id,
          clients,
          groups: [],
          listeners: [],
        }),
      );
      for (const member of others) {
        const client = { name: member?.info.name, id: member?.info.client, codec };
        this.send(
          peer,
          encode('ClientState', this.session, { client, groups: [...(member?.listens ?? [])] }),
        );
      }
      if (!resumed) this.#state(peer, info, own.listens);
    } else if (kind === 'ClientState') {
      own.listens = new Set(fields.groups);
      this.#state(peer, info, own.listens);
    } else if (kind === 'DeltaClientState') {
      if (fields.group === 'forbidden') {
        this.send(peer, encode(kind, session, { ...fields, joins: false }));
        return;
      }
      if (fields.joins) own.listens.add(fields.group);
      else own.listens.delete(fields.group);
      for (const other of this.others(peer)) this.send(other, bytes);
    } else if (kind === 'GroupText') {
      for (const other of this.others(peer))
        if (this.members.get(other)?.listens.has(fields.group)) this.send(other, bytes);
    } else if (kind === 'TextData') {
      for (const other of this.others(peer)) this.send(other, bytes);
    } else if (kind === 'ServerRelayUnreliable' || kind === 'ServerRelayReliable') {
      for (const other of this.others(peer)) {
        if (fields.destinations.includes(this.members.get(other)?.info.client))
          this.send(other, fields.packet.slice());
      }
    }
  }

  /** @param {FakePeer} peer @param {any} client @param {Set<string>} listens */
  #state(peer, client, listens) {
    for (const other of this.others(peer))
      this.send(other, encode('ClientState', this.session, { client, groups: [...listens] }));
  }
}
