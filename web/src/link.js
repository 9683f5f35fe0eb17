/**
 * One WebRTC connection to one peer: three negotiated data channels, opened by signals, never repaired (PROTOCOL.md,
 * section 9). The mesh decides when links come and go; this only carries.
 *
 * @typedef {import('./messages.js').Signal} Signal
 * @typedef {'voice' | 'reliable' | 'unreliable'} StreamName
 * @typedef {object} LinkEvents
 * @property {(signal: Signal) => void} signal for the other end
 * @property {() => void} open
 * @property {(packet: Uint8Array) => void} packet
 * @property {(onPurpose: boolean) => void} closed once, and nothing after it
 * @property {(code: number) => void} turnFailed no TURN server gives an address
 */

import { leadsToOneMachine, TurnWatch } from './ice.js';

/** From its turn until a link is open. */
const OPEN_LIMIT_MS = 15_000;
/** An answering link that has not had its turn by then is closed: its offerer would give up while it opens. */
const ANSWER_WAIT_MS = 10_000;
/** After the first error of TURN, until it counts: another interface may still get an address. */
const TURN_PATIENCE_MS = 2000;
const DESCRIPTION_BYTES = 16_384;
const CANDIDATE_BYTES = 512;
/** Of one link, described and trickled together: each has this browser send to an address of the other end's choice. */
const CANDIDATES = 10;
const SIGNALS_HELD = 64;
const LOSSY_BYTES = 1456;
const PIECE_BYTES = 1023;
const RELIABLE_BYTES = 16_384;
/** Speech that the network does not take waits here; the oldest is dropped. */
const VOICE_QUEUE = 8;
/** What the browser may hold of lossy packets before they wait in that queue. */
const VOICE_BUFFERED = 4096;
const RELIABLE_BUFFERED = 16_384;

const LAST = 0;
const MORE = 1;
const READY = 2;

export class RtcLink {
  #closed = false;
  #open = false;
  /** @type {Promise<void>} descriptions and candidates are taken one after the other */
  #chain;
  #signals = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  timer;
  /** @type {RTCIceCandidateInit[]} that came before the description they belong to */
  #early = [];
  /** @type {Uint8Array[]} */
  #queue = [];
  /** @type {number[] | null} a packet in pieces; null when it grew too large and is skipped */
  #pieces = [];
  #turn = new TurnWatch();
  #candidates = 0;

  /**
   * @param {'offer' | 'answer'} role
   * @param {RTCIceServer[]} iceServers
   * @param {Promise<void>} turn when it may begin
   * @param {LinkEvents} events
   */
  constructor(role, iceServers, turn, events) {
    this.role = role;
    this.events = events;
    this.pc = new RTCPeerConnection({ iceServers });
    const lossy = { negotiated: true, ordered: false, maxRetransmits: 0 };
    this.channels = {
      voice: this.pc.createDataChannel('voice', { ...lossy, id: 0 }),
      reliable: this.pc.createDataChannel('reliable', { negotiated: true, id: 1 }),
      unreliable: this.pc.createDataChannel('unreliable', { ...lossy, id: 2 }),
    };
    for (const [name, channel] of Object.entries(this.channels)) {
      channel.binaryType = 'arraybuffer';
      channel.onopen = () => this.#channelOpen();
      channel.onclose = () => this.#end(true);
      channel.onmessage = ({ data }) => this.#message(/** @type {StreamName} */ (name), data);
    }
    this.channels.voice.bufferedAmountLowThreshold = VOICE_BUFFERED / 2;
    this.channels.voice.onbufferedamountlow = () => this.#flush();
    // A channel that the other end opens in band is none of ours.
    this.pc.ondatachannel = () => this.#end(false);
    this.pc.onicecandidate = ({ candidate }) => this.#candidate(candidate);
    this.pc.onicecandidateerror = (event) => {
      if (this.#turn.error(event)) setTimeout(() => this.#tellTurn(), TURN_PATIENCE_MS);
    };
    this.pc.onconnectionstatechange = () => {
      if (['failed', 'closed'].includes(this.pc.connectionState)) this.#end(false);
    };
    if (role === 'answer') this.timer = setTimeout(() => this.#end(false), ANSWER_WAIT_MS);
    this.#chain = turn.then(() => {
      clearTimeout(this.timer);
      if (!this.#closed) this.timer = setTimeout(() => this.#end(false), OPEN_LIMIT_MS);
    });
    if (role === 'offer') this.#later(() => this.#describe('offer'));
  }

  /** What the other end says. @param {Signal} signal */
  signal(signal) {
    if (this.#closed || this.#signals >= SIGNALS_HELD) return;
    this.#signals += 1;
    this.#later(async () => {
      this.#signals -= 1;
      if (signal.kind === 'offer' || signal.kind === 'answer') await this.#remote(signal);
      else if (signal.kind === 'candidate') await this.#add(signal);
    });
  }

  /**
   * @param {StreamName} stream
   * @param {Uint8Array} packet
   * @returns {boolean} whether it was taken
   */
  send(stream, packet) {
    const channel = this.channels[stream];
    if (this.#closed || !this.#open || channel.readyState !== 'open') return false;
    try {
      if (stream === 'reliable') return this.#sendPieces(packet);
      if (packet.length > LOSSY_BYTES) return false;
      if (stream === 'unreliable') {
        if (channel.bufferedAmount <= VOICE_BUFFERED) send(channel, packet);
        return true;
      }
      if (this.#queue.length === VOICE_QUEUE) this.#queue.shift();
      this.#queue.push(packet);
      this.#flush();
      return true;
    } catch {
      return false;
    }
  }

  close() {
    this.#end(true, false);
  }

  /** @param {() => Promise<void>} step */
  #later(step) {
    this.#chain = this.#chain
      .then(() => (this.#closed ? undefined : step()))
      .catch(() => this.#end(false));
  }

  /** @param {'offer' | 'answer'} kind */
  async #describe(kind) {
    await this.pc.setLocalDescription(
      kind === 'offer' ? await this.pc.createOffer() : await this.pc.createAnswer(),
    );
    const sdp = this.pc.localDescription?.sdp;
    if (sdp && !this.#closed) this.events.signal({ kind, sdp });
  }

  /** @param {{kind: 'offer' | 'answer', sdp: string}} description */
  async #remote({ kind, sdp }) {
    const expected = this.role === 'offer' ? 'answer' : 'offer';
    if (kind !== expected || this.pc.remoteDescription) return;
    // One section, and that for data: a description with sound or pictures would have the browser open more.
    if (
      sdp.length > DESCRIPTION_BYTES ||
      sdp.split('\nm=').length !== 2 ||
      !sdp.includes('\nm=application')
    ) {
      this.#end(false);
      return;
    }
    const lines = sdp.split('\n');
    const isCandidate = (/** @type {string} */ line) => line.startsWith('a=candidate:');
    await this.pc.setRemoteDescription({
      type: kind,
      sdp: lines.filter((line) => !isCandidate(line)).join('\n'),
    });
    if (kind === 'offer') await this.#describe('answer');
    for (const line of lines.filter(isCandidate))
      await this.#add({
        candidate: line.slice('a='.length).trim(),
        sdpMid: null,
        sdpMLineIndex: 0,
      });
    for (const candidate of this.#early.splice(0))
      await this.pc.addIceCandidate(candidate).catch(() => {});
  }

  /** @param {{candidate: string, sdpMid: string | null, sdpMLineIndex: number | null}} signal */
  async #add({ candidate, sdpMid, sdpMLineIndex }) {
    if (
      candidate.length > CANDIDATE_BYTES ||
      this.#candidates >= CANDIDATES ||
      !leadsToOneMachine(candidate)
    )
      return;
    this.#candidates += 1;
    const init = { candidate, sdpMid: sdpMid || '0', sdpMLineIndex };
    if (this.pc.remoteDescription) await this.pc.addIceCandidate(init).catch(() => {});
    else this.#early.push(init);
  }

  /** @param {RTCIceCandidate | null} candidate */
  #candidate(candidate) {
    if (this.#closed) return;
    this.#turn.candidate(candidate);
    if (!candidate || candidate.candidate === '') {
      this.events.signal({ kind: 'end-of-candidates' });
    } else if (candidate.protocol !== 'tcp') {
      const { sdpMid, sdpMLineIndex } = candidate;
      this.events.signal({
        kind: 'candidate',
        candidate: candidate.candidate,
        sdpMid: sdpMid ?? '0',
        sdpMLineIndex,
      });
    }
  }

  /** Also of a link that is over by now: the next one meets the same servers. */
  #tellTurn() {
    const { failure } = this.#turn;
    if (failure !== null) this.events.turnFailed(failure);
  }

  /** The answerer says that its channels are there; the offerer sends nothing before it has heard that. */
  #channelOpen() {
    if (
      this.#closed ||
      Object.values(this.channels).some((channel) => channel.readyState !== 'open')
    )
      return;
    if (this.role !== 'answer') return;
    send(this.channels.reliable, new Uint8Array([READY]));
    this.#opened();
  }

  #opened() {
    if (this.#open) return;
    this.#open = true;
    clearTimeout(this.timer);
    this.events.open();
  }

  /** @param {StreamName} stream @param {unknown} data */
  #message(stream, data) {
    if (this.#closed || !(data instanceof ArrayBuffer) || data.byteLength === 0) return;
    this.#opened();
    const bytes = new Uint8Array(data);
    if (stream !== 'reliable') {
      this.events.packet(bytes);
      return;
    }
    const flag = bytes[0];
    if (flag !== LAST && flag !== MORE) return;
    const size = (this.#pieces?.length ?? 0) + bytes.length - 1;
    if (size > RELIABLE_BYTES) this.#pieces = null;
    for (const byte of bytes.subarray(1)) this.#pieces?.push(byte);
    if (flag === LAST) {
      const packet = this.#pieces && Uint8Array.from(this.#pieces);
      this.#pieces = [];
      if (packet) this.events.packet(packet);
    }
  }

  #flush() {
    const channel = this.channels.voice;
    while (
      this.#queue.length > 0 &&
      channel.readyState === 'open' &&
      channel.bufferedAmount <= VOICE_BUFFERED
    ) {
      send(channel, /** @type {Uint8Array} */ (this.#queue.shift()));
    }
  }

  /** @param {Uint8Array} packet */
  #sendPieces(packet) {
    const channel = this.channels.reliable;
    if (packet.length > RELIABLE_BYTES || channel.bufferedAmount > RELIABLE_BUFFERED) return false;
    for (let at = 0; at < packet.length; at += PIECE_BYTES) {
      const piece = packet.subarray(at, at + PIECE_BYTES);
      const message = new Uint8Array(piece.length + 1);
      message[0] = at + PIECE_BYTES < packet.length ? MORE : LAST;
      message.set(piece, 1);
      send(channel, message);
    }
    return true;
  }

  /** @param {boolean} onPurpose */
  #end(onPurpose, tell = true) {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.timer);
    for (const channel of Object.values(this.channels)) {
      channel.onopen = channel.onclose = channel.onmessage = channel.onbufferedamountlow = null;
      channel.close();
    }
    this.pc.ondatachannel =
      this.pc.onicecandidate =
      this.pc.onicecandidateerror =
      this.pc.onconnectionstatechange =
        null;
    this.pc.close();
    if (tell) this.events.closed(onPurpose);
  }
}

/** @param {RTCDataChannel} channel @param {Uint8Array} bytes */
function send(channel, bytes) {
  channel.send(/** @type {Uint8Array<ArrayBuffer>} */ (bytes));
}
