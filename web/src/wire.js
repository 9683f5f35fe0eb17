/**
 * Session packets: bytes ⇄ objects and nothing else (PROTOCOL.md, section 6).
 *
 * @typedef {{codec: number, frameSamples: number, sampleRateHz: number}} Codec
 * @typedef {{name: string, id: number, codec: Codec}} ClientInfo
 * @typedef {{kind: 'group' | 'client', id: number, positional: boolean, closing: boolean,
 *   priority: 'default' | 'low' | 'medium' | 'high', session: number, volume: number}} Target
 * @typedef {{behind: number, frame: Uint8Array}} Copy
 * @typedef {{sender: number, talkspurt: {bits: number, value: number}, sequence: number, targets: Target[],
 *   frame: Uint8Array}} Voice
 * @typedef {Voice & {pauseFollows: boolean, bundled?: number, copies: Copy[]}} VoiceCopies
 * @typedef {{sender: number, expected: number, lost: number, unrepaired: number, lossRunSixteenths: number,
 *   jitterMs: number, bufferMs: number}} Report
 * @typedef {{sender: number, train: number, received: number, spanUs: number}} BandwidthReport
 * @typedef {{sender: number, askedUs: number, receivedUs: number, sentUs: number,
 *   captured: {sequence: number, agoUs: number} | null}} ClockEcho
 */

const MAGIC = 0x8bc7;

export const LIMITS = {
  nameBytes: 64,
  roomNameBytes: 256,
  groupNameBytes: 256,
  groups: 64,
  textBytes: 4096,
  passwordBytes: 128,
  frameBytes: 1275,
  targets: 64,
  copies: 4,
  relayDestinations: 255,
  unreliableBytes: 1200,
  reliableBytes: 16384,
};

/** Kind → type number. */
export const KINDS = Object.freeze({
  ClientState: 1,
  VoiceData: 2,
  TextData: 3,
  HandshakeRequest: 4,
  HandshakeResponse: 5,
  ErrorWrongSession: 6,
  ServerRelayReliable: 7,
  ServerRelayUnreliable: 8,
  DeltaClientState: 9,
  RemoveClient: 10,
  HandshakeP2P: 11,
  VoiceAck: 32,
  Probe: 33,
  ProbeEcho: 34,
  VoiceCopies: 35,
  ReceptionReport: 36,
  ClockProbe: 37,
  ClockEcho: 38,
  GroupText: 43,
  BandwidthReport: 44,
  BandwidthProbe: 45,
  KeyPackage: 46,
  KeyRequest: 47,
  SealedText: 48,
});

/** @typedef {keyof typeof KINDS} Kind */

/** @type {Map<number, Kind>} */
const NAMES = new Map(
  Object.entries(KINDS).map(([name, type]) => [type, /** @type {Kind} */ (name)]),
);

const PRIORITIES = /** @type {const} */ (['default', 'low', 'medium', 'high']);

/** A packet that cannot be read; `code` says why, as the vectors do. */
export class WireError extends Error {
  /** @param {'NotOurs' | 'UnknownKind' | 'Truncated' | 'TrailingBytes' | 'TooLong' | 'BadValue' | 'NotText'} code */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

const strictText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const toUtf8 = new TextEncoder();

/** @param {string} text */
export const utf8Length = (text) => toUtf8.encode(text).length;

class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.source = bytes;
    this.at = 0;
  }

  /** Bytes not read yet. */
  get left() {
    return this.source.length - this.at;
  }

  /** @param {number} count */
  skip(count) {
    const at = this.at;
    if (count > this.source.length - at) throw new WireError('Truncated');
    this.at += count;
    return at;
  }

  u8() {
    return this.view.getUint8(this.skip(1));
  }
  u16() {
    return this.view.getUint16(this.skip(2));
  }
  u32() {
    return this.view.getUint32(this.skip(4));
  }
  /** Exact below 2⁵³. */
  u64() {
    return this.u32() * 2 ** 32 + this.u32();
  }

  /** @param {number} count */
  bytes(count) {
    const at = this.skip(count);
    return this.source.subarray(at, at + count);
  }

  /** @param {number} most */
  text(most) {
    const length = Math.max(this.u16() - 1, 0);
    if (length > most) throw new WireError('TooLong');
    const bytes = this.bytes(length);
    try {
      return strictText.decode(bytes);
    } catch {
      throw new WireError('NotText');
    }
  }

  /**
   * @template T
   * @param {number} count
   * @param {() => T} read
   */
  list(count, read) {
    const items = [];
    for (let n = 0; n < count; n++) items.push(read());
    return items;
  }

  end() {
    if (this.at !== this.source.length) throw new WireError('TrailingBytes');
  }
}

class Writer {
  constructor() {
    this.buffer = new Uint8Array(128);
    this.view = new DataView(this.buffer.buffer);
    this.at = 0;
  }

  /** @param {number} count */
  grow(count) {
    const at = this.at;
    this.at += count;
    if (this.at > this.buffer.length) {
      const larger = new Uint8Array(Math.max(this.at, 2 * this.buffer.length));
      larger.set(this.buffer);
      this.buffer = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }

  // What grows makes another buffer, and so comes first.
  /** @param {number} value */
  u8(value) {
    const at = this.grow(1);
    this.view.setUint8(at, value);
  }
  /** @param {number} value */
  u16(value) {
    const at = this.grow(2);
    this.view.setUint16(at, value);
  }
  /** @param {number} value */
  u32(value) {
    const at = this.grow(4);
    this.view.setUint32(at, value);
  }
  /** @param {number} value */
  u64(value) {
    this.u32(Math.floor(value / 2 ** 32));
    this.u32(value % 2 ** 32);
  }
  /** @param {Uint8Array} bytes */
  bytes(bytes) {
    const at = this.grow(bytes.length);
    this.buffer.set(bytes, at);
  }
  /**
   * @param {string} text
   * @param {number} most
   */
  text(text, most) {
    const bytes = toUtf8.encode(cut(text, most));
    this.u16(bytes.length + 1);
    this.bytes(bytes);
  }

  done() {
    return this.buffer.slice(0, this.at);
  }
}

/**
 * The longest beginning of a text that has at most `most` bytes and ends with a whole character.
 * @param {string} text
 * @param {number} most
 */
export function cut(text, most) {
  const bytes = new Uint8Array(most);
  const { read } = toUtf8.encodeInto(text, bytes);
  return text.slice(0, read);
}

/** @param {Reader} r */
const readCodec = (r) => ({ codec: r.u8(), frameSamples: r.u32(), sampleRateHz: r.u32() });
/**
 * @param {Writer} w
 * @param {Codec} codec
 */
function writeCodec(w, codec) {
  w.u8(codec.codec);
  w.u32(codec.frameSamples);
  w.u32(codec.sampleRateHz);
}

/**
 * @param {Reader} r
 * @returns {ClientInfo}
 */
const readInfo = (r) => ({ name: r.text(LIMITS.nameBytes), id: r.u16(), codec: readCodec(r) });
/**
 * @param {Writer} w
 * @param {ClientInfo} info
 */
function writeInfo(w, info) {
  w.text(info.name, LIMITS.nameBytes);
  w.u16(info.id);
  writeCodec(w, info.codec);
}

/**
 * @param {Reader} r
 * @returns {Omit<Voice, 'frame'>}
 */
function readVoiceHeader(r) {
  const sender = r.u16();
  const options = r.u8();
  const talkspurt =
    options & 0x80 ? { bits: 7, value: options & 0x7f } : { bits: 2, value: options & 3 };
  const sequence = r.u16();
  const count = r.u16();
  if (count > LIMITS.targets) throw new WireError('TooLong');
  const targets = r.list(count, () => readTarget(r));
  return { sender, talkspurt, sequence, targets };
}
/**
 * @param {Writer} w
 * @param {Omit<Voice, 'frame'>} voice
 */
function writeVoiceHeader(w, { sender, talkspurt, sequence, targets }) {
  w.u16(sender);
  w.u8(talkspurt.bits === 7 ? 0x80 | talkspurt.value : talkspurt.value);
  w.u16(sequence);
  w.u16(targets.length);
  for (const target of targets) writeTarget(w, target);
}

/**
 * @param {Reader} r
 * @returns {Target}
 */
function readTarget(r) {
  const bits = r.u16();
  return {
    kind: bits & 1 ? 'client' : 'group',
    id: r.u16(),
    positional: (bits & 2) !== 0,
    closing: (bits & 4) !== 0,
    priority: PRIORITIES[(bits >> 3) & 3],
    session: (bits >> 5) & 3,
    volume: bits >> 8,
  };
}
/**
 * @param {Writer} w
 * @param {Target} target
 */
function writeTarget(w, target) {
  const flags =
    (target.kind === 'client' ? 1 : 0) | (target.positional ? 2 : 0) | (target.closing ? 4 : 0);
  w.u16(
    flags |
      (PRIORITIES.indexOf(target.priority) << 3) |
      (target.session << 5) |
      (target.volume << 8),
  );
  w.u16(target.id);
}

/** @param {Reader} r */
function frameLength(r) {
  const length = r.u16();
  if (length > LIMITS.frameBytes) throw new WireError('TooLong');
  return length;
}

/** @param {Reader} r */
function readRelay(r) {
  return { destinations: r.list(r.u8(), () => r.u16()), packet: r.bytes(r.u16()) };
}
/**
 * @param {Writer} w
 * @param {{destinations: number[], packet: Uint8Array}} relay
 */
function writeRelay(w, { destinations, packet }) {
  w.u8(destinations.length);
  for (const id of destinations) w.u16(id);
  w.u16(packet.length);
  w.bytes(packet);
}

/** @param {Reader} r */
const readProbe = (r) => ({ sender: r.u16(), token: r.u32() });
/**
 * @param {Writer} w
 * @param {{sender: number, token: number}} probe
 */
function writeProbe(w, probe) {
  w.u16(probe.sender);
  w.u32(probe.token);
}

/** @type {Record<Kind, (r: Reader) => object>} */
const READ = {
  ClientState: (r) => ({
    client: readInfo(r),
    groups: r.list(r.u16(), () => r.text(LIMITS.groupNameBytes)),
  }),
  VoiceData: (r) => ({ ...readVoiceHeader(r), frame: r.bytes(frameLength(r)) }),
  VoiceCopies(r) {
    const header = readVoiceHeader(r);
    const marks = r.u8();
    if ((marks & 7) > LIMITS.copies) throw new WireError('TooLong');
    const heads = r.list(marks & 7, () => ({ behind: r.u8(), length: r.u16() }));
    const bundled = (marks >> 3) & 3;
    const has = (/** @type {number} */ behind) => heads.some((head) => head.behind === behind);
    if (has(0) || [1, 2, 3].slice(0, bundled).some((behind) => !has(behind)))
      throw new WireError('BadValue');
    const length = frameLength(r);
    if (heads.some((head) => head.length > LIMITS.frameBytes)) throw new WireError('TooLong');
    const copies = heads.map((head) => ({ behind: head.behind, frame: r.bytes(head.length) }));
    const more = bundled > 0 ? { bundled } : {};
    return {
      ...header,
      pauseFollows: (marks & 0x80) !== 0,
      ...more,
      copies,
      frame: r.bytes(length),
    };
  },
  TextData(r) {
    const kind = r.u8();
    if (kind > 1) throw new WireError('BadValue');
    const sender = r.u16();
    const recipient = { kind: kind === 0 ? 'group' : 'client', id: r.u16() };
    return { sender, recipient, text: r.text(LIMITS.textBytes) };
  },
  GroupText: (r) => ({
    sender: r.u16(),
    group: r.text(LIMITS.groupNameBytes),
    text: r.text(LIMITS.textBytes),
  }),
  HandshakeRequest: (r) => ({ codec: readCodec(r), name: r.text(LIMITS.nameBytes) }),
  HandshakeResponse: (r) => ({
    you: r.u16(),
    clients: r.list(r.u16(), () => readInfo(r)),
    groups: r.list(r.u16(), () => r.text(LIMITS.groupNameBytes)),
    listeners: r.list(r.u16(), () => ({ group: r.u16(), clients: r.list(r.u8(), () => r.u16()) })),
  }),
  ErrorWrongSession: () => ({}),
  ServerRelayReliable: readRelay,
  ServerRelayUnreliable: readRelay,
  DeltaClientState(r) {
    const flag = r.u8();
    if (flag > 1) throw new WireError('BadValue');
    return { joins: flag === 1, client: r.u16(), group: r.text(LIMITS.groupNameBytes) };
  },
  RemoveClient: (r) => ({ client: r.u16() }),
  HandshakeP2P: (r) => ({ client: r.u16() }),
  VoiceAck: (r) => ({
    sender: r.u16(),
    newest: r.u16(),
    earlier: r.u32(),
    ...(r.left > 0 ? { receivedMs: r.u32() } : {}),
  }),
  BandwidthProbe(r) {
    const probe = { sender: r.u16(), train: r.u16(), packets: r.u8(), padding: r.left };
    if (probe.packets < 2 || probe.packets > 8) throw new WireError('BadValue');
    if (probe.padding > 1100) throw new WireError('TooLong');
    r.bytes(probe.padding);
    return probe;
  },
  BandwidthReport(r) {
    const report = { sender: r.u16(), train: r.u16(), received: r.u8(), spanUs: r.u32() };
    if (report.received < 1 || report.received > 8) throw new WireError('BadValue');
    return report;
  },
  KeyPackage: (r) => ({
    sender: r.u16(),
    announcement: r.bytes(r.u8()),
    package: r.bytes(r.left),
  }),
  KeyRequest: (r) => ({ sender: r.u16() }),
  SealedText(r) {
    const sender = r.u16();
    const key = r.u8();
    if (key > 1) throw new WireError('BadValue');
    return { sender, key: key === 1 ? 'pair' : 'sender', sealed: r.bytes(r.left) };
  },
  Probe: readProbe,
  ProbeEcho: readProbe,
  ReceptionReport(r) {
    const report = {
      sender: r.u16(),
      expected: r.u16(),
      lost: r.u16(),
      unrepaired: r.u16(),
      lossRunSixteenths: r.u16(),
      jitterMs: r.u16(),
      bufferMs: r.u16(),
    };
    if (report.lost > report.expected || report.unrepaired > report.lost)
      throw new WireError('BadValue');
    return report;
  },
  ClockProbe: (r) => ({ sender: r.u16(), askedUs: r.u64() }),
  ClockEcho(r) {
    const [sender, askedUs, receivedUs, sentUs] = [r.u16(), r.u64(), r.u64(), r.u64()];
    const [sequence, agoUs] = [r.u16(), r.u32()];
    if (sentUs < receivedUs) throw new WireError('BadValue');
    return {
      sender,
      askedUs,
      receivedUs,
      sentUs,
      captured: agoUs === 0xffffffff ? null : { sequence, agoUs },
    };
  },
};

/** @type {Record<Kind, (w: Writer, fields: any) => void>} */
const WRITE = {
  ClientState(w, { client, groups }) {
    writeInfo(w, client);
    w.u16(groups.length);
    for (const group of groups) w.text(group, LIMITS.groupNameBytes);
  },
  VoiceData(w, voice) {
    writeVoiceHeader(w, voice);
    w.u16(voice.frame.length);
    w.bytes(voice.frame);
  },
  VoiceCopies(w, voice) {
    writeVoiceHeader(w, voice);
    w.u8(voice.copies.length | (voice.pauseFollows ? 0x80 : 0) | ((voice.bundled ?? 0) << 3));
    for (const { behind, frame } of voice.copies) {
      w.u8(behind);
      w.u16(frame.length);
    }
    w.u16(voice.frame.length);
    for (const { frame } of voice.copies) w.bytes(frame);
    w.bytes(voice.frame);
  },
  TextData(w, { sender, recipient, text }) {
    w.u8(recipient.kind === 'group' ? 0 : 1);
    w.u16(sender);
    w.u16(recipient.id);
    w.text(text, LIMITS.textBytes);
  },
  GroupText(w, { sender, group, text }) {
    w.u16(sender);
    w.text(group, LIMITS.groupNameBytes);
    w.text(text, LIMITS.textBytes);
  },
  HandshakeRequest(w, { codec, name }) {
    writeCodec(w, codec);
    w.text(name, LIMITS.nameBytes);
  },
  HandshakeResponse(w, { you, clients, groups, listeners }) {
    w.u16(you);
    w.u16(clients.length);
    for (const client of clients) writeInfo(w, client);
    w.u16(groups.length);
    for (const group of groups) w.text(group, LIMITS.groupNameBytes);
    w.u16(listeners.length);
    for (const { group, clients: ids } of listeners) {
      w.u16(group);
      w.u8(ids.length);
      for (const id of ids) w.u16(id);
    }
  },
  ErrorWrongSession() {},
  ServerRelayReliable: writeRelay,
  ServerRelayUnreliable: writeRelay,
  DeltaClientState(w, { joins, client, group }) {
    w.u8(joins ? 1 : 0);
    w.u16(client);
    w.text(group, LIMITS.groupNameBytes);
  },
  RemoveClient: (w, { client }) => w.u16(client),
  HandshakeP2P: (w, { client }) => w.u16(client),
  VoiceAck(w, { sender, newest, earlier, receivedMs }) {
    w.u16(sender);
    w.u16(newest);
    w.u32(earlier);
    if (receivedMs !== undefined) w.u32(receivedMs);
  },
  BandwidthProbe(w, { sender, train, packets, padding }) {
    w.u16(sender);
    w.u16(train);
    w.u8(packets);
    w.bytes(new Uint8Array(padding));
  },
  BandwidthReport(w, { sender, train, received, spanUs }) {
    w.u16(sender);
    w.u16(train);
    w.u8(received);
    w.u32(spanUs);
  },
  KeyPackage(w, { sender, announcement, package: keys }) {
    w.u16(sender);
    w.u8(announcement.length);
    w.bytes(announcement);
    w.bytes(keys);
  },
  KeyRequest: (w, { sender }) => w.u16(sender),
  SealedText(w, { sender, key, sealed }) {
    w.u16(sender);
    w.u8(key === 'pair' ? 1 : 0);
    w.bytes(sealed);
  },
  Probe: writeProbe,
  ProbeEcho: writeProbe,
  ReceptionReport(w, report) {
    for (const field of [
      'sender',
      'expected',
      'lost',
      'unrepaired',
      'lossRunSixteenths',
      'jitterMs',
      'bufferMs',
    ]) {
      w.u16(report[field]);
    }
  },
  ClockProbe(w, { sender, askedUs }) {
    w.u16(sender);
    w.u64(askedUs);
  },
  ClockEcho(w, { sender, askedUs, receivedUs, sentUs, captured }) {
    w.u16(sender);
    for (const us of [askedUs, receivedUs, sentUs]) w.u64(us);
    w.u16(captured ? captured.sequence : 0);
    w.u32(captured ? captured.agoUs : 0xffffffff);
  },
};

/**
 * Reads a packet. Byte fields are views into `bytes`.
 * @param {Uint8Array} bytes
 * @returns {{kind: Kind, session: number | null, fields: any}}
 * @throws {WireError}
 */
export function decode(bytes) {
  const r = new Reader(bytes);
  if (bytes.length < 3 || r.u16() !== MAGIC) throw new WireError('NotOurs');
  const kind = NAMES.get(r.u8());
  if (!kind) throw new WireError('UnknownKind');
  const session = kind === 'HandshakeRequest' ? null : r.u32();
  const fields = READ[kind](r);
  r.end();
  return { kind, session, fields };
}

/**
 * @param {Kind} kind
 * @param {number | null} session null for HandshakeRequest only
 * @param {object} fields
 */
export function encode(kind, session, fields) {
  const w = new Writer();
  w.u16(MAGIC);
  w.u8(KINDS[kind]);
  if (session !== null) w.u32(session);
  WRITE[kind](w, fields);
  return w.done();
}

/**
 * FNV-1a over the name's UTF-16 code units, folded to 16 bits.
 * @param {string} name
 */
export function groupId(name) {
  let hash = 2166136261;
  for (let n = 0; n < name.length; n++) {
    const unit = name.charCodeAt(n);
    hash = Math.imul(hash ^ (unit >> 8), 16777619);
    hash = Math.imul(hash ^ (unit & 0xff), 16777619);
  }
  return ((hash >>> 16) * 5791 + (hash & 0xffff) * 7639) % 65536;
}
