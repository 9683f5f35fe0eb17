/** What moves a mesh's bytes in a browser: one WebSocket, and a WebRTC connection for each link. */

import { usableServers } from './ice.js';
import { RtcLink } from './link.js';
import { Openings } from './openings.js';

const SUBPROTOCOL = 'voicemesh.v1';
/** The close code of a connection from which another of this page took over. */
const TAKEN_OVER = 4001;
/** Late speech is worthless: while so much waits in the socket, packets that may be lost are. */
const LOSSY_BUFFERED = 8 * 1024;
const RELIABLE_BUFFERED = 1024 * 1024;

/** About what opening a link puts on the wire: checks and two handshakes. A page cannot count it. */
const OPENING_BYTES = 3000;
/** IPv4, TCP with timestamps, and WebSocket. */
const TEXT_HEADER_BYTES = 58;
/** Of a TLS 1.3 record: its header, the type of its content, and the tag. */
const TLS_RECORD_BYTES = 22;

/** @typedef {import('./mesh.js').Carrier} Carrier */

/** @implements {Carrier} */
export class BrowserCarrier {
  /** @type {Map<number, WebSocket>} by generation */
  #sockets = new Map();
  /** @type {Map<string, {link: RtcLink, turn: import('./openings.js').Turn}>} */
  #links = new Map();
  #openings = new Openings(
    {
      now: () => this.clock(),
      after: (ms, act) => {
        const timer = setTimeout(act, ms);
        return () => clearTimeout(timer);
      },
    },
    () => this.mesh?.uplink,
  );
  /** @type {{named: RTCIceServer[], usable: RTCIceServer[]} | null} */
  #ice = null;
  /** @type {Set<string>} remarks that were made */
  #remarks = new Set();
  backgroundBytes = 0;

  /**
   * @param {string} url of the server's WebSocket
   * @param {() => number} clock ms
   * @param {import('./connect-check.js').ConnectCheck} check asks why a socket did not open
   */
  constructor(url, clock, check) {
    this.url = url;
    this.serverHeaderBytes = url.startsWith('wss:') ? TLS_RECORD_BYTES : 0;
    this.clock = clock;
    this.check = check;
    /** @type {import('./mesh.js').Mesh | null} told what is seen here; set by the owner */
    this.mesh = null;
  }

  /** @param {number} generation */
  openSocket(generation) {
    const socket = new WebSocket(this.check.begin(this.url), SUBPROTOCOL);
    let isOpen = false;
    this.#sockets.set(generation, socket);
    socket.binaryType = 'arraybuffer';
    const signaling = () =>
      this.#sockets.get(generation) === socket ? this.mesh?.signaling : undefined;
    socket.onopen = () => {
      isOpen = true;
      this.check.opened();
      signaling()?.opened(this.clock(), generation);
    };
    socket.onclose = ({ code }) => {
      if (!isOpen) void this.check.failed();
      signaling()?.closed(
        this.clock(),
        generation,
        `the connection ended (${code})`,
        code === TAKEN_OVER,
      );
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === 'string') signaling()?.text(this.clock(), generation, data);
      else signaling()?.packet(this.clock(), generation, new Uint8Array(data));
    };
  }

  /** @param {number} generation */
  closeSocket(generation) {
    const socket = this.#sockets.get(generation);
    this.#sockets.delete(generation);
    if (!socket) return;
    socket.onopen = socket.onclose = socket.onmessage = null;
    socket.close();
  }

  /** @param {number} generation @param {string} text */
  sendText(generation, text) {
    const socket = this.#sockets.get(generation);
    if (socket?.readyState !== WebSocket.OPEN) return;
    this.backgroundBytes += text.length + TEXT_HEADER_BYTES;
    socket.send(text);
  }

  /** @param {number} generation @param {Uint8Array} packet @param {boolean} reliable */
  sendPacket(generation, packet, reliable) {
    const socket = this.#sockets.get(generation);
    if (socket?.readyState !== WebSocket.OPEN) return;
    if (socket.bufferedAmount > (reliable ? RELIABLE_BUFFERED : LOSSY_BUFFERED)) {
      // What must arrive and cannot ends the socket: the next one begins with the whole state.
      if (reliable) socket.close();
      return;
    }
    socket.send(/** @type {Uint8Array<ArrayBuffer>} */ (packet));
  }

  /** @param {string} peer @param {number} generation @param {'offer' | 'answer'} role @param {RTCIceServer[]} iceServers */
  openLink(peer, generation, role, iceServers) {
    const key = `${peer} ${generation}`;
    const turn = this.#openings.turn(role, peer);
    void turn.begun.then(() => {
      this.backgroundBytes += OPENING_BYTES;
    });
    try {
      const link = new RtcLink(role, this.#usable(iceServers), turn.begun, {
        signal: (signal) => this.mesh?.pairs.linkSignal(peer, generation, signal),
        open: () => {
          turn.end(true);
          this.mesh?.pairs.linkOpen(this.clock(), peer, generation);
        },
        packet: (packet) => this.mesh?.session.fromLink(this.clock(), peer, generation, packet),
        closed: (onPurpose) => this.#closed(key, peer, generation, onPurpose),
        turnFailed: (code) =>
          this.#remark(
            code === 701
              ? 'The server’s TURN does not answer. Whom you cannot reach directly, you talk to through the server.'
              : `The server’s TURN refuses this page (${code}). Whom you cannot reach directly, you talk to through the server.`,
          ),
      });
      this.#links.set(key, { link, turn });
    } catch {
      // No WebRTC here, or too many connections: the relay carries on.
      turn.end(false);
      queueMicrotask(() => this.#closed(key, peer, generation, false));
    }
  }

  /** @param {string} peer @param {number} generation @param {import('./messages.js').Signal} signal */
  signalLink(peer, generation, signal) {
    this.#links.get(`${peer} ${generation}`)?.link.signal(signal);
  }

  /** @param {string} peer @param {number} generation @param {'voice' | 'reliable' | 'unreliable'} stream @param {Uint8Array} packet */
  sendLink(peer, generation, stream, packet) {
    return this.#links.get(`${peer} ${generation}`)?.link.send(stream, packet) ?? false;
  }

  /** @param {string} peer @param {number} generation */
  closeLink(peer, generation) {
    const key = `${peer} ${generation}`;
    this.#links.get(key)?.link.close();
    this.#forget(key);
  }

  /** @param {string} key */
  #forget(key) {
    this.#links.get(key)?.turn.end(false);
    this.#links.delete(key);
  }

  /** Looked through once for each list. @param {RTCIceServer[]} named */
  #usable(named) {
    if (this.#ice?.named !== named) {
      const { usable, dropped } = usableServers(named);
      this.#ice = { named, usable };
      if (dropped.length > 0) {
        this.#remark(
          `The server names STUN or TURN that this browser cannot use: ${dropped.join(', ')}. It does without.`,
        );
      }
    }
    return this.#ice.usable;
  }

  /** Each only once. @param {string} text */
  #remark(text) {
    if (this.#remarks.has(text)) return;
    this.#remarks.add(text);
    this.mesh?.emit({ type: 'remark', text });
  }

  /** @param {string} key @param {string} peer @param {number} generation @param {boolean} onPurpose */
  #closed(key, peer, generation, onPurpose) {
    this.#forget(key);
    this.mesh?.pairs.linkClosed(this.clock(), peer, generation, onPurpose);
  }
}
