/**
 * How speech is sent over the paths there are: the Rust peer's own code (crates/page), as WebAssembly. This is only its
 * caller: it numbers peers, and lays lists into the module's memory.
 *
 * @typedef {{peer: string, hasLink: boolean, hasRelay: boolean, hearsPlain: boolean}} Listener a listener of the last frame, and the
 *   ways to it; `hearsPlain`: it cannot encrypt, and so is not in the relayed packet of those that can
 * @typedef {{packets: number, peer: string, number: number, padding: number}} Train probes to send to a peer
 * @typedef {{relayed: Set<string>, isFull: boolean, train: Train | null}} Decision `relayed`: whose speech goes through the
 *   relay though there is a link; `isFull`: packets queue on the uplink
 * @typedef {{buffer(): number, start(bitrate: number): void, report(...fields: number[]): void,
 *   sent(now: number, who: number, generation: number, sequence: number, bytes: number): void,
 *   acknowledged(now: number, who: number, generation: number, newest: number, earlier: number, receivedMs: number): void,
 *   probed(now: number, who: number, generation: number, roundTripMs: number): void, background_sent(bytes: number): void, relay_headers(further: number): void,
 *   relay_sent(bytes: number): void, relay_changed(): void, ping_due(now: number): number,
 *   answered(now: number, number: number): void, shook_hands(now: number, askedAt: number): void, train_arrived(...fields: number[]): void, train_sent(bytes: number): void,
 *   opening_begins(now: number): number, opening_ended(now: number, opening: number): void,
 *   frame_sent(now: number): void, is_silent(now: number): number, network_changed(): void, forget(who: number): void,
 *   link_stalled(who: number, generation: number): void,
 *   begin(now: number, listeners: number): void, update(now: number, listeners: number): number,
 *   memory: WebAssembly.Memory}} Exports
 */

const LISTENERS = 256;
const HEADER = 16;
/** Bits of the second word of a listener that is decided about. */
const [RELAYED, WANTS_COPIES] = [1, 2];

/** @type {Promise<WebAssembly.Module | null> | null} */
let compiled = null;

/** A join does not wait longer for the module. */
const LOAD_LIMIT_MS = 2000;

async function compile() {
  return WebAssembly.compileStreaming(fetch(new URL('uplink.wasm', import.meta.url)));
}

/**
 * Fetches and compiles the module; null where that is not possible, or takes long: the page goes on without. The next join
 * gets what has come meanwhile, or tries again.
 */
export function loadUplink() {
  compiled ??= compile().catch(() => (compiled = null));
  /** @type {Promise<null>} */
  const late = new Promise((resolve) => setTimeout(resolve, LOAD_LIMIT_MS, null));
  return Promise.race([compiled, late]);
}

/** The module at work, or null if this browser cannot run it. @param {ConstructorParameters<typeof Uplink>} given */
export function startUplink(...given) {
  try {
    return new Uplink(...given);
  } catch {
    return null;
  }
}

/** @param {WebAssembly.Exports} exports @param {() => void} trapped @returns {Exports} */
function guarded(exports, trapped) {
  const calls = Object.entries(exports).map(([name, value]) => [
    name,
    typeof value !== 'function'
      ? value
      : (/** @type {number[]} */ ...given) => {
          try {
            return value(...given);
          } catch {
            trapped();
            return -1;
          }
        },
  ]);
  return Object.fromEntries(calls);
}

export class Uplink {
  /** @type {Exports} */
  #wasm;
  /** @type {Map<string, number>} */
  #numbers = new Map();
  /** @type {Map<number, string>} */
  #peers = new Map();
  #next = 1;
  /** Where the lists are in the module's memory. */
  #at;
  /** @type {Map<string, {wantsCopies: boolean, frames: number}>} */
  #ways = new Map();
  bitrate;
  expectedLossPercent = 10;
  /** How far behind the frames are that go again. @type {number[]} */
  copies = [];
  /** What the uplink carries, in bit/s; null while no limit was met. @type {number | null} */
  estimate = null;
  /** Not even one relayed copy at the lowest setting fits. */
  isTooSlow = false;

  /**
   * @param {WebAssembly.Module} module
   * @param {number} bitrate at most, in bit/s
   * @param {() => void} trapped the module has failed, and is not to be used any more; calls under way give something
   */
  constructor(module, bitrate, trapped = () => {}) {
    this.#wasm = guarded(new WebAssembly.Instance(module).exports, trapped);
    this.#at = this.#wasm.buffer();
    this.#wasm.start(bitrate);
    this.bitrate = bitrate;
  }

  /** A packet of speech was given to a link. @param {number} now ms @param {string} peer @param {number} generation @param {number} sequence @param {number} bytes */
  sent(now, peer, generation, sequence, bytes) {
    this.#wasm.sent(now, this.#number(peer), generation, sequence, bytes);
  }

  /** @param {number} now @param {string} peer @param {number} generation @param {{newest: number, earlier: number, receivedMs?: number}} ack */
  acknowledged(now, peer, generation, { newest, earlier, receivedMs = -1 }) {
    this.#wasm.acknowledged(now, this.#number(peer), generation, newest, earlier, receivedMs);
  }

  /** A probe of a bound link was answered. @param {number} now @param {string} peer @param {number} generation @param {number} roundTripMs */
  probed(now, peer, generation, roundTripMs) {
    this.#wasm.probed(now, this.#number(peer), generation, roundTripMs);
  }

  /** What was sent so far for other things than speech. @param {number} bytes */
  backgroundSent(bytes) {
    this.#wasm.background_sent(bytes);
  }

  /** What the headers of a packet to the server take beyond a WebSocket on IPv4 without TLS. @param {number} further bytes */
  relayHeaders(further) {
    this.#wasm.relay_headers(further);
  }

  /** Speech was given to the relay. @param {number} bytes */
  relaySent(bytes) {
    this.#wasm.relay_sent(bytes);
  }

  /** There is another connection to the server. */
  relayChanged() {
    this.#wasm.relay_changed();
  }

  /** The server answered a handshake. @param {number} now @param {number} askedAt */
  shookHands(now, askedAt) {
    this.#wasm.shook_hands(now, askedAt);
  }

  /** The number of a ping that is to follow the speech on its way to the server. @param {number} now */
  pingDue(now) {
    const number = this.#wasm.ping_due(now);
    return number < 0 ? null : number;
  }

  /** @param {number} now @param {number} number of the ping that the server answered */
  answered(now, number) {
    this.#wasm.answered(now, number);
  }

  /** @param {number} now @param {string} peer @param {import('./wire.js').Report} report */
  reported(now, peer, { expected, lost, unrepaired, lossRunSixteenths, bufferMs }) {
    this.#wasm.report(
      now,
      this.#number(peer),
      expected,
      lost,
      unrepaired,
      lossRunSixteenths,
      bufferMs,
    );
  }

  /** @param {number} now @param {string} peer @param {import('./wire.js').BandwidthReport} report */
  trainArrived(now, peer, { train, received, spanUs }) {
    this.#wasm.train_arrived(now, this.#number(peer), train, received, spanUs);
  }

  /** The train that was decided on was given to the link whole. @param {number} bytes of each packet */
  trainSent(bytes) {
    this.#wasm.train_sent(bytes);
  }

  /** @param {number} now */
  frameSent(now) {
    this.#wasm.frame_sent(now);
  }

  /** Nothing was sent for a while: `begin` comes before the next frame. @param {number} now */
  isSilent(now) {
    return this.#wasm.is_silent(now) !== 0;
  }

  /** The number of a link that begins to open now, or less than zero: none may for so many ms. @param {number} now */
  openingBegins(now) {
    return this.#wasm.opening_begins(now);
  }

  /** A link is open, or gone. @param {number} now @param {number} opening its number */
  openingEnded(now, opening) {
    this.#wasm.opening_ended(now, opening);
  }

  /** Another network: nothing is known of its uplink. */
  networkChanged() {
    this.#wasm.network_changed();
  }

  /** A link stalled without congestion: what became of its last packets says nothing. @param {string} peer @param {number} generation */
  linkStalled(peer, generation) {
    this.#wasm.link_stalled(this.#number(peer), generation);
  }

  /** @param {string} peer */
  forget(peer) {
    const number = this.#numbers.get(peer);
    if (number === undefined) return;
    this.#wasm.forget(number);
    this.#numbers.delete(peer);
    this.#peers.delete(number);
    this.#ways.delete(peer);
  }

  /** Speech begins: decides how its first frame goes. @param {number} now @param {Listener[]} listeners @returns {Decision} */
  begin(now, listeners) {
    this.#wasm.begin(now, this.#write(listeners));
    return this.#read();
  }

  /** Decides how the next frames go; null while it is not time to. @param {number} now @param {Listener[]} listeners */
  update(now, listeners) {
    return this.#wasm.update(now, this.#write(listeners)) ? this.#read() : null;
  }

  /** How far behind the frames are that a listener is sent again. @param {string} peer */
  copiesFor(peer) {
    return this.#ways.get(peer)?.wantsCopies ? this.copies : [];
  }

  /** How many frames share a packet to a listener. @param {string} peer */
  framesPerPacket(peer) {
    return this.#ways.get(peer)?.frames ?? 1;
  }

  /** Listeners are compared by these numbers. @param {string} peer */
  #number(peer) {
    let number = this.#numbers.get(peer);
    if (number === undefined) {
      number = this.#next;
      this.#next = (this.#next + 1) >>> 0;
      this.#numbers.set(peer, number);
      this.#peers.set(number, peer);
    }
    return number;
  }

  /** The module's memory may have grown, and is another array then. */
  get #words() {
    return new Uint32Array(this.#wasm.memory.buffer, this.#at, HEADER + 2 * LISTENERS);
  }

  /** @param {Listener[]} listeners */
  #write(listeners) {
    const told = listeners
      .slice(0, LISTENERS)
      .flatMap(({ peer, hasLink, hasRelay, hearsPlain }) => [
        this.#number(peer),
        Number(hasLink) + 2 * Number(hasRelay) + 4 * Number(hearsPlain),
      ]);
    this.#words.set(told);
    return told.length / 2;
  }

  /** The layout is that of `Sender::write` in crates/page/src/sender.rs. @returns {Decision} */
  #read() {
    const [
      isFull,
      packets,
      to,
      number,
      padding,
      bitrate,
      expectedLoss,
      copies,
      estimate,
      isTooSlow,
      count,
    ] = this.#words;
    this.bitrate = bitrate;
    this.expectedLossPercent = expectedLoss;
    this.copies = [0, 8, 16, 24].map((shift) => (copies >>> shift) & 0xff).filter(Boolean);
    this.estimate = estimate === 0 ? null : estimate;
    this.isTooSlow = isTooSlow !== 0;
    this.#ways.clear();
    const relayed = new Set();
    for (let at = 0; at < count; at++) {
      const [who, ways] = this.#words.subarray(HEADER + 2 * at);
      const peer = this.#peers.get(who) ?? '';
      if (ways & RELAYED) relayed.add(peer);
      this.#ways.set(peer, { wantsCopies: (ways & WANTS_COPIES) !== 0, frames: ways >>> 8 });
    }
    const peer = this.#peers.get(to);
    return {
      relayed,
      isFull: isFull !== 0,
      train: packets > 0 && peer !== undefined ? { packets, peer, number, padding } : null,
    };
  }
}
