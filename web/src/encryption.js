/**
 * End-to-end encryption of what members say to each other (PROTOCOL.md, section 18), as crates/mesh does it: accepts
 * announcements, distributes keys, seals and opens packets between the session and the carrier, and names. The session handles plain
 * packets only. What is not sealed here and would have to be is not sent, but speech for those who were allowed it as it is.
 * Loaded when a room is entered. Pure: told the time in ms.
 *
 * @typedef {import('./mesh.js').Mesh} Mesh
 * @typedef {import('./key-ring.js').KeyRing} KeyRing
 * @typedef {import('./member-encryption.js').MemberEncryption} MemberEncryption
 */

import { fromBase64Url, toBase64Url } from './base64.js';
import { authenticated, tagged } from './fingerprints.js';
import { isSealed, LABELS } from './key-ring.js';
import { isLeftOut, stateOf } from './member-encryption.js';
import { setMetadata } from './messages.js';
import { decode, encode, KINDS, LIMITS } from './wire.js';

/** The key under which a member publishes its announcement. */
const ANNOUNCEMENT_KEY = 'e2ee';
/** The key under which a member publishes its name, sealed, … */
const NAME_KEY = 'e2ee-name';
/** … and what the server calls it. */
const PLACEHOLDER_NAME = 'Member';
/** Pair secrets computed in one turn: a few ms of work. */
const AGREEMENTS_PER_TURN = 3;
/** Those of who is there already, when this page comes: its first words are for them. */
const AGREEMENTS_AT_JOIN = 8;
/** Members are checked at least this often. */
const RECHECK_MS = 1000;
/** A member without keys for so long is shown as such. */
const LATE_MS = 3000;
/** A member is asked for keys, and given keys that it asks for, at most once in this time. */
const REQUEST_MS = 1000;
/** Another run of a member is accepted at most once in this time. */
const RESTART_MS = 1000;
/** So many announcements in packages are refused of a member within `REQUEST_MS`; further ones are not looked at. */
const MOST_REFUSED = 4;
/** Packages have what they call for done at once, unless that was so within this time: then the next tick does it. */
const TURN_MS = 20;

const HEADER_BYTES = 7;
const TEXT_CLEAR_BYTES = HEADER_BYTES + 3;
const MOST_ANNOUNCEMENT_TEXT = 340;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Null if it is no text. @param {Uint8Array} bytes */
function textOf(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

/** @type {readonly number[]} */
const VOICE_KINDS = [KINDS.VoiceData, KINDS.VoiceCopies];
/** The game's bytes: DataSegment, DataMessage, DataAck, DataReset. */
const DATA_KINDS = [39, 40, 41, 42];
/** @type {readonly number[]} */
const TEXT_KINDS = [KINDS.TextData, KINDS.GroupText];
/** @type {readonly number[]} */
const RELAY_KINDS = [KINDS.ServerRelayReliable, KINDS.ServerRelayUnreliable];
/** What may be read on its way, or is sealed by then. Everything else is sealed, or neither sent nor taken. @type {readonly number[]} */
const CLEAR_KINDS = [
  KINDS.ClientState,
  KINDS.HandshakeRequest,
  KINDS.HandshakeResponse,
  KINDS.ErrorWrongSession,
  KINDS.DeltaClientState,
  KINDS.RemoveClient,
  KINDS.HandshakeP2P,
  KINDS.VoiceAck,
  KINDS.Probe,
  KINDS.ProbeEcho,
  KINDS.ReceptionReport,
  KINDS.ClockProbe,
  KINDS.ClockEcho,
  KINDS.BandwidthReport,
  KINDS.BandwidthProbe,
  KINDS.KeyPackage,
  KINDS.KeyRequest,
  KINDS.SealedText,
];

/** What is known of a member besides its keys. */
class Known {
  /** Since when it has been without keys. @type {number | null} */
  keylessSince = null;
  /** What it published last, and the session in which that was looked at. @type {{session: number, text: string} | null} */
  published = null;
  /** @type {import('./key-ring.js').Refusal | null} */
  refusal = null;
  /** When an announcement that came too soon after a restart is read again. */
  retryAt = -Infinity;
  /** @type {MemberEncryption | null} */
  encryption = null;
  /** In which stay, and under which name, it may hear what is said here as it is, and so may the server: that is what the user was asked about. @type {string | null} */
  allowedAs = null;
  /** What it published of a recording, and whether that is authentic. @type {{said: string, is: boolean} | null} */
  recording = null;
  /** It can open what is sealed here now. */
  wasGivenKeys = false;
  /** There was no way for its package. */
  isUndelivered = false;
  askedAt = -Infinity;
  answeredAt = -Infinity;
  /** Announcements in its packages that were refused since then. */
  refused = 0;
  refusedAt = -Infinity;
}

export class Encryption {
  /** What a sealed payload takes more than a plain one, in bytes, at most, … */
  mostOverheadBytes = 22;
  /** … and as a rule: an SFrame header of three or four bytes, and the tag. */
  overheadBytes = 20;
  #ring;
  #mesh;
  /** @type {Map<string, Known>} */
  #known = new Map();
  /** Whose announcements are accepted. @type {Set<string>} */
  #accepted = new Set();
  /** Pair secrets are still to be computed. */
  #isAgreeing = false;
  /** Packages came, are asked for, or wait for a way. */
  #isStale = true;
  /** When the ring is looked at next, if nothing happens before. */
  #due = -Infinity;
  #turnedAt = -Infinity;
  /** As of the newest call: the ring's time does not go back. */
  #now = 0;
  /** The session for which this page has announced itself. */
  #announced = 0;
  /** What a packet for everyone became on links: one for all of them. @type {WeakMap<Uint8Array, Uint8Array>} */
  #sealed = new WeakMap();
  #people;
  /** Who is new since last time, or has another key than then. @type {Map<string, import('./known-members.js').Met>} */
  #met = new Map();
  /** What the members compare. */
  safetyCode;

  /**
   * @param {Mesh} mesh @param {KeyRing} ring of its peer id in its room
   * @param {import('./known-members.js').KnownMembers | null} people whom this browser has met
   */
  constructor(mesh, ring, people = null) {
    this.#people = people;
    this.#mesh = mesh;
    this.#ring = ring;
    this.safetyCode = ring.safetyCode();
  }

  get hasRoomKey() {
    return this.#ring.hasRoomKey;
  }

  /** What the server is sent as this page's name; null: the name. */
  get sentName() {
    return this.hasRoomKey ? PLACEHOLDER_NAME : null;
  }

  /** The own name, behind a byte: 1 if an access token may have another. */
  get #named() {
    const { name, token } = this.#mesh.config;
    return new TextEncoder().encode((token ? '\x01' : '\0') + name);
  }

  /** What a join says otherwise in a room with a key. */
  get inJoin() {
    if (!this.hasRoomKey) return {};
    const sealed = this.#ring.sealValue(this.#mesh.config.peer, NAME_KEY, this.#named);
    return { name: PLACEHOLDER_NAME, metadata: { [NAME_KEY]: sealed } };
  }

  /**
   * A name as those with the key read it. The server's counts only for who says to have an access token.
   * @param {import('./messages.js').PeerInfo} info
   */
  nameOf({ peer, name, metadata }) {
    if (!this.hasRoomKey) return name;
    const isOwn = peer === this.#mesh.config.peer;
    const named = isOwn
      ? this.#named
      : this.#ring.openValue(peer, NAME_KEY, metadata[NAME_KEY] ?? '');
    if (!named) return PLACEHOLDER_NAME;
    const isTokens = named[0] === 1 && name !== PLACEHOLDER_NAME;
    return isTokens ? name : (textOf(named.subarray(1)) ?? PLACEHOLDER_NAME);
  }

  /** Whether a member says so in its metadata, in a room with a key under its seal. @param {import('./messages.js').PeerInfo} info */
  isRecording({ peer, metadata }) {
    const said = metadata.recording;
    if (said === undefined) return false;
    if (!this.hasRoomKey) return !isSealed(said);
    const known = this.#of(peer);
    if (known.recording?.said !== said) {
      const plain = this.#ring.openValue(peer, 'recording', said);
      known.recording = { said, is: plain !== null && textOf(plain) !== null };
    }
    return known.recording.is;
  }

  /** @param {string} peer */
  isAccepted(peer) {
    return this.#accepted.has(peer);
  }

  /** Whether speech is sent to a member. @param {string} peer */
  isHeardBy(peer) {
    return this.isAccepted(peer) || this.#isAllowed(peer);
  }

  /**
   * Lets a member whose program cannot encrypt hear what is said here, and so the server, or no more; until it leaves. In rooms with
   * a key, and for those who have encrypted, this changes nothing.
   * @param {string} peer @param {string | null} shown the name that the user was shown, which counts if it still is that; null: no more
   */
  allow(peer, shown) {
    const member = this.#mesh.roster.members.get(peer);
    if (!member || !this.#takesPlain(peer)) return;
    this.#of(peer).allowedAs = member.label === shown ? stayOf(member.info) : null;
    this.#reportChanges();
  }

  /** Its announcement was not refused: then it says to encrypt. @param {string} peer */
  #isAllowed(peer) {
    const known = this.#known.get(peer);
    if (!known || known.allowedAs === null || known.refusal !== null) return false;
    const member = this.#mesh.roster.members.get(peer);
    return !!member && known.allowedAs === stayOf(member.info) && this.#takesPlain(peer);
  }

  /**
   * Whether what a member says is taken as it is. Who has encrypted before goes on doing so, or the server could put itself in its
   * place.
   * @param {string} peer
   */
  #takesPlain(peer) {
    const { roster } = this.#mesh;
    return (
      !this.hasRoomKey &&
      roster.members.has(peer) &&
      roster.capabilities(peer)?.e2ee !== true &&
      !this.#ring.standing(peer).wasAccepted
    );
  }

  /** Whether a member, who may have left since, has shown to have this room's key. @param {string} peer */
  hadKey(peer) {
    return this.hasRoomKey && this.#ring.standing(peer).wasAccepted;
  }

  /** A member's, as of the last turn. @param {string} peer @returns {MemberEncryption} */
  stateOf(peer) {
    return this.#known.get(peer)?.encryption ?? this.#stateOf(peer);
  }

  /** Whether this browser has met a member in this room before. @param {string} peer */
  metAs(peer) {
    return this.#met.get(peer) ?? 'known';
  }

  /** Texts wait for the keys that let a member read them. @param {string} peer @returns {'ready' | 'soon' | 'never'} */
  textReader(peer) {
    if (this.#known.get(peer)?.wasGivenKeys) return 'ready';
    return ['waiting', 'encrypted', 'verified'].includes(this.stateOf(peer).state)
      ? 'soon'
      : 'never';
  }

  /** @param {number} now */
  #clock(now) {
    this.#now = Math.max(this.#now, now);
    return this.#now;
  }

  /** This page is in a session: those who are there, and who come later, must know its identity key. @param {number} now @param {Record<string, string>} [published] what the server says that this page has published, if it was here before */
  joined(now, published) {
    const { session } = this.#mesh.roster;
    const announcement = toBase64Url(this.#ring.announcement(session));
    if (published?.[ANNOUNCEMENT_KEY] !== announcement)
      this.#mesh.signaling.send(setMetadata({ [ANNOUNCEMENT_KEY]: announcement }));
    this.#announced = session;
    const identity = this.#ring.identity();
    if (identity) this.#people?.entered(identity);
    this.#isStale = true;
    this.#turn(this.#clock(now), AGREEMENTS_AT_JOIN);
  }

  /** Follows the roster, and sends keys to whom they are owed. @param {number} now */
  tick(now) {
    this.#turn(this.#clock(now), AGREEMENTS_PER_TURN);
  }

  /** @param {number} now @param {number} agreements */
  #turn(now, agreements) {
    const { session, own } = this.#mesh.roster;
    // Nothing goes out in a session ahead of the announcement.
    if (!own || session === 0 || this.#announced !== session) return;
    const hasChanged = this.#follow(now, session);
    if (!hasChanged && !this.#isStale && !this.#isAgreeing && now < this.#due) return;
    this.#isStale = false;
    this.#turnedAt = now;
    this.#ring.update(now);
    this.#isAgreeing = true;
    for (let done = 0; done < agreements && this.#isAgreeing; done++)
      this.#isAgreeing = this.#ring.agreeNext();
    this.#sendPackages(session, own.client);
    this.#reportChanges();
    const retries = [...this.#known.values()].map(({ retryAt }) => retryAt);
    this.#due = Math.min(
      now + RECHECK_MS,
      this.#ring.nextTimer,
      ...retries.filter((at) => at > now),
    );
  }

  /** @param {number} now @param {number} session @returns {boolean} whether anything is another than before */
  #follow(now, session) {
    const { members } = this.#mesh.roster;
    let hasChanged = false;
    for (const peer of this.#accepted) {
      if (members.has(peer)) continue;
      this.#ring.removeMember(now, peer);
      this.#accepted.delete(peer);
      hasChanged = true;
    }
    for (const peer of this.#known.keys()) if (!members.has(peer)) this.#known.delete(peer);
    let isOther = hasChanged;
    for (const [peer, { info }] of members) {
      const text = info.metadata[ANNOUNCEMENT_KEY];
      const known = this.#of(peer);
      isOther ||= known.encryption === null;
      if (known.allowedAs !== null && !this.#isAllowed(peer)) {
        // Not if it has its name, or no way to encrypt, once more.
        known.allowedAs = null;
        isOther = true;
      }
      if (text === undefined || now < known.retryAt) continue;
      if (known.published?.session === session && known.published.text === text) continue;
      const isReadable = text.length <= MOST_ANNOUNCEMENT_TEXT;
      const announcement = (isReadable && fromBase64Url(text)) || new Uint8Array(0);
      const { change, refusal } = this.#ring.setMember(now, session, peer, announcement);
      isOther = true;
      if (refusal === 'too-soon') {
        known.retryAt = now + RESTART_MS;
        continue;
      }
      [known.published, known.retryAt, known.refusal] = [{ session, text }, -Infinity, refusal];
      if (change) this.#accepted.add(peer);
      hasChanged ||= change === 'joined';
    }
    if (hasChanged) this.safetyCode = this.#ring.safetyCode();
    return isOther;
  }

  /** @param {string} peer */
  #of(peer) {
    let known = this.#known.get(peer);
    if (!known) this.#known.set(peer, (known = new Known()));
    return known;
  }

  /** @param {number} session @param {number} you */
  #sendPackages(session, you) {
    for (const [peer, known] of this.#known) {
      if (known.isUndelivered && this.#hasWay(peer)) {
        known.isUndelivered = false;
        this.#ring.sendKeysAgain(peer);
      }
      this.#isStale ||= known.isUndelivered;
    }
    for (;;) {
      const given = this.#ring.pollPackage();
      if (!given) return;
      const fields = {
        sender: you,
        announcement: this.#ring.announcement(session),
        package: given.package,
      };
      if (this.#send(given.peer, encode('KeyPackage', session, fields))) continue;
      this.#of(given.peer).isUndelivered = true;
      this.#isStale = true;
    }
  }

  #reportChanges() {
    let hasChanged = false;
    for (const [peer, known] of this.#known) {
      const encryption = this.#stateOf(peer);
      known.keylessSince =
        encryption.state === 'waiting' ? (known.keylessSince ?? this.#now) : null;
      const before = known.encryption;
      known.encryption = encryption;
      const { wasGivenKeys } = this.#ring.standing(peer);
      hasChanged ||= wasGivenKeys !== known.wasGivenKeys;
      known.wasGivenKeys = wasGivenKeys;
      if (JSON.stringify(before) === JSON.stringify(encryption)) continue;
      hasChanged = true;
      const identity = this.#met.has(peer) ? null : this.#ring.identity(peer);
      if (identity && this.#people) this.#met.set(peer, this.#people.meet(peer, identity));
      this.#mesh.emit({ type: 'encryption', peer, encryption });
    }
    if (hasChanged) this.#mesh.session.keysChanged(this.#now);
  }

  /** @param {string} peer @returns {MemberEncryption} */
  #stateOf(peer) {
    const since = this.#known.get(peer)?.keylessSince ?? Infinity;
    const state = stateOf(
      this.#ring.standing(peer),
      this.#known.get(peer)?.refusal ?? null,
      this.#mesh.roster.capabilities(peer)?.e2ee === true,
      this.#ring.hasRoomKey,
      this.#now >= since + LATE_MS,
    );
    if (this.hasRoomKey) return state;
    if (state.state === 'unable')
      return {
        state: 'plain',
        isAllowed: this.#isAllowed(peer),
        encryptedBefore: this.#people?.hasMet(peer) === true,
      };
    return state.state === 'refused' && state.why === 'room-key-missing'
      ? { state: 'only-theirs', hasRoomKey: true }
      : state;
  }

  // --- ways for keys -------------------------------------------------------------------------------------------------

  /** @param {string} peer */
  #relayAddress(peer) {
    const { roster, signaling } = this.#mesh;
    return signaling.isJoined ? roster.clientOf(roster.session, peer) : null;
  }

  /** @param {string} peer */
  #hasWay(peer) {
    return this.#relayAddress(peer) !== null || this.#mesh.pairs.newestOpen(peer) !== null;
  }

  /** Through the server while it answers, otherwise on a link. False without either. @param {string} to @param {Uint8Array} packet */
  #send(to, packet) {
    const { roster, signaling, pairs, carrier } = this.#mesh;
    const [client, link] = [this.#relayAddress(to), pairs.newestOpen(to)];
    if (client !== null && (signaling.reachesServer || link === null)) {
      const relay = { destinations: [client], packet };
      signaling.sendPacket(encode('ServerRelayReliable', roster.session, relay), true);
      return true;
    }
    return link !== null && carrier.sendLink(to, link.generation, 'reliable', packet);
  }

  // --- links ---------------------------------------------------------------------------------------------------------

  /** A member without the room's key cannot authenticate its end, and nothing is said to it. @param {string} peer */
  mayLink(peer) {
    return !this.hasRoomKey || !isLeftOut(this.stateOf(peer));
  }

  /** @param {string} to @param {number} attempt @param {import('./messages.js').Signal} signal */
  tagged(to, attempt, signal) {
    if (!this.hasRoomKey) return signal;
    const { session } = this.#mesh.roster;
    return tagged(signal, (fingerprint) =>
      this.#ring.tagFingerprint(session, to, attempt, fingerprint),
    );
  }

  /** Null for a description that was not made by this member for this attempt. @param {string} from @param {number} attempt @param {import('./messages.js').Signal} signal */
  authenticated(from, attempt, signal) {
    if (!this.hasRoomKey) return signal;
    const { session } = this.#mesh.roster;
    return authenticated(signal, (fingerprint, tag) =>
      this.#ring.verifyFingerprint(session, from, attempt, fingerprint, tag),
    );
  }

  // --- what is sealed ------------------------------------------------------------------------------------------------

  /** What one member is sent on a link; null if it is sent nothing. @param {number} now @param {string} to @param {Uint8Array} packet */
  sealForLink(now, to, packet) {
    const part = sealedPart(packet);
    if (part === 'none') return packet;
    if (part === null) return null;
    if (!this.isAccepted(to)) return isVoice(packet) && this.#isAllowed(to) ? packet : null;
    if (part.forOne) return this.#seal(now, packet, part.clearBytes, to);
    const made = this.#sealed.get(packet);
    if (made) return made;
    const sealed = this.#seal(now, packet, part.clearBytes, null);
    if (sealed) this.#sealed.set(packet, sealed);
    return sealed;
  }

  /** What the server is sent in place of a packet: none, one or several. @param {number} now @param {Uint8Array} packet @returns {Uint8Array[]} */
  sealForServer(now, packet) {
    // Texts are relayed, sealed: what goes to the server could be read there. Speech goes to it in a relay packet only.
    if (!RELAY_KINDS.includes(packet[2])) return sealedPart(packet) === 'none' ? [packet] : [];
    const { kind: relay, session, fields } = decode(packet);
    const inside = /** @type {Uint8Array} */ (fields.packet);
    const part = sealedPart(inside);
    if (part === 'none') return [packet];
    if (part === null || session === null) return [];
    const { roster } = this.#mesh;
    /** @type {{client: number, peer: string}[]} */
    const all = fields.destinations.flatMap((/** @type {number} */ client) => {
      const peer = roster.peerOf(session, client);
      return peer === null ? [] : [{ client, peer }];
    });
    const to = all.filter(({ peer }) => this.isAccepted(peer));
    const plain = isVoice(inside)
      ? all.filter(({ peer }) => !this.isAccepted(peer) && this.#isAllowed(peer))
      : [];
    const wrap = (/** @type {number[]} */ destinations, /** @type {Uint8Array | null} */ sealed) =>
      sealed ? [encode(relay, session, { destinations, packet: sealed })] : [];
    const clients = (/** @type {typeof all} */ members) => members.map(({ client }) => client);
    const packets = plain.length > 0 ? wrap(clients(plain), inside) : [];
    if (part.forOne)
      packets.push(
        ...to.flatMap(({ client, peer }) =>
          wrap([client], this.#seal(now, inside, part.clearBytes, peer)),
        ),
      );
    else if (to.length > 0)
      packets.push(...wrap(clients(to), this.#seal(now, inside, part.clearBytes, null)));
    return packets;
  }

  /**
   * A text as it is sent to the server: sealed, for these members.
   * @param {number} now @param {Uint8Array} text a TextData or GroupText @param {string[]} to @param {boolean} forOne
   * @returns {Uint8Array[]} what can be read by no one is not sent
   */
  sealText(now, text, to, forOne) {
    const { roster } = this.#mesh;
    const { session, fields } = decode(text);
    if (session === null) return [];
    const head = { sender: fields.sender, key: forOne ? 'pair' : 'sender' };
    const secret = new Uint8Array(1 + text.length - HEADER_BYTES);
    secret[0] = text[2];
    secret.set(text.subarray(HEADER_BYTES), 1);
    const plain = encode('SealedText', session, { ...head, sealed: secret });
    const clients = to.flatMap((peer) =>
      this.isAccepted(peer) ? (roster.clientOf(session, peer) ?? []) : [],
    );
    if (clients.length === 0 || (forOne && to.length !== 1)) return [];
    const packet = this.#clockedSeal(
      now,
      LABELS.data,
      plain,
      TEXT_CLEAR_BYTES,
      forOne ? to[0] : null,
    );
    if (!packet) return [];
    const packets = [];
    for (let at = 0; at < clients.length; at += LIMITS.relayDestinations) {
      const destinations = clients.slice(at, at + LIMITS.relayDestinations);
      packets.push(encode('ServerRelayReliable', session, { destinations, packet }));
    }
    return packets;
  }

  /** @param {number} now @param {Uint8Array} packet @param {number} clearBytes @param {string | null} to */
  #seal(now, packet, clearBytes, to) {
    const label = isVoice(packet) ? LABELS.voice : LABELS.data;
    return this.#clockedSeal(now, label, packet, clearBytes, to);
  }

  /** @param {number} now @param {number} label @param {Uint8Array} packet @param {number} clearBytes @param {string | null} to */
  #clockedSeal(now, label, packet, clearBytes, to) {
    return this.#ring.seal(this.#clock(now), label, packet, clearBytes, to);
  }

  // --- what is opened ------------------------------------------------------------------------------------------------

  /** What the session is to read of a packet from the server; null: nothing. @param {number} now @param {Uint8Array} packet */
  openFromServer(now, packet) {
    return this.#open(this.#clock(now), packet, this.#sender(packet));
  }

  /** The same of a packet on a member's link. @param {number} now @param {string} peer @param {Uint8Array} packet */
  openFromLink(now, peer, packet) {
    // Written messages come through the server only.
    if (TEXT_KINDS.includes(packet[2]) || packet[2] === KINDS.SealedText) return null;
    return this.#open(this.#clock(now), packet, peer);
  }

  /**
   * The sequence number of speech on a link from a member whose announcement is not accepted. It is not heard, but
   * acknowledged: otherwise the member would take the link for a stalled one.
   * @param {string} peer @param {Uint8Array} packet
   */
  acknowledgedOnly(peer, packet) {
    const isOf = isVoice(packet) && !this.isAccepted(peer) && !this.#takesPlain(peer);
    return isOf && packet.length >= HEADER_BYTES + 5 ? (packet[10] << 8) | packet[11] : null;
  }

  /** Who says to have sent a packet that came through the server. @param {Uint8Array} packet */
  #sender(packet) {
    const { roster } = this.#mesh;
    const at = HEADER_BYTES + (packet[2] === KINDS.TextData ? 1 : 0);
    if (packet.length < at + 2) return null;
    const session = new DataView(packet.buffer, packet.byteOffset).getUint32(3);
    return session === 0 ? null : roster.peerOf(session, (packet[at] << 8) | packet[at + 1]);
  }

  /** @param {number} now @param {Uint8Array} packet @param {string | null} from */
  #open(now, packet, from) {
    const kind = packet[2];
    if (kind === KINDS.KeyPackage || kind === KINDS.KeyRequest || kind === KINDS.SealedText) {
      if (from === null || !this.#mesh.roster.members.has(from)) return null;
      const { session, fields } = decode(packet);
      if (kind === KINDS.KeyPackage) this.#takePackage(now, from, fields);
      else if (kind === KINDS.KeyRequest) this.#giveAgain(now, from);
      else return this.#openText(now, packet, session ?? 0, fields, from);
      return null;
    }
    const part = sealedPart(packet);
    if (part === 'none') return packet;
    if (from === null) return null;
    if ((part !== null || TEXT_KINDS.includes(kind)) && this.#takesPlain(from))
      // The game's bytes could not be acknowledged.
      return DATA_KINDS.includes(kind) ? null : packet;
    if (part === null) return null;
    const label = isVoice(packet) ? LABELS.voice : LABELS.data;
    const { clearBytes, forOne } = part;
    const plain = this.#opened(now, label, packet, clearBytes, from, forOne);
    if (!plain) return null;
    const whole = new Uint8Array(clearBytes + plain.length);
    whole.set(packet.subarray(0, clearBytes));
    whole.set(plain, clearBytes);
    return whole;
  }

  /**
   * The packet in which the server would have passed on a text, if the seal is the one that its recipients call for.
   * @param {number} now @param {Uint8Array} packet @param {number} session @param {{sender: number, key: string}} head @param {string} from
   */
  #openText(now, packet, session, { sender, key }, from) {
    const forOne = key === 'pair';
    const plain = this.#opened(now, LABELS.data, packet, TEXT_CLEAR_BYTES, from, forOne);
    if (!plain || !TEXT_KINDS.includes(plain[0])) return null;
    const text = new Uint8Array(HEADER_BYTES - 1 + plain.length);
    text.set(packet.subarray(0, HEADER_BYTES));
    text[2] = plain[0];
    text.set(plain.subarray(1), HEADER_BYTES);
    const { kind, fields } = decode(text);
    const isForOne = kind === 'TextData' && fields.recipient.kind === 'client';
    return fields.sender === sender && isForOne === forOne && session !== 0 ? text : null;
  }

  /** @param {number} now @param {number} label @param {Uint8Array} packet @param {number} clearBytes @param {string} from @param {boolean} forOne */
  #opened(now, label, packet, clearBytes, from, forOne) {
    const plain = this.#ring.open(now, label, packet, clearBytes, from, forOne);
    if (plain !== 'no-key') return plain;
    if (this.#mesh.roster.capabilities(from)?.e2ee) this.#ask(now, from);
    return null;
  }

  /** A member gives its keys. @param {number} now @param {string} from @param {{announcement: Uint8Array, package: Uint8Array}} given */
  #takePackage(now, from, { announcement, package: keys }) {
    const known = this.#of(from);
    if (now >= known.refusedAt + REQUEST_MS) known.refused = 0;
    if (known.refused >= MOST_REFUSED) return;
    // It may be ahead of the announcement that the server distributes, or the answer to a question about one that is known.
    const { session } = this.#mesh.roster;
    const { change, refusal } = this.#ring.setMember(now, session, from, announcement);
    // The package is sealed for that run, and is asked for when it is accepted.
    if (refusal === 'too-soon') return;
    if (change) {
      known.refusal = null;
      this.#accepted.add(from);
      if (change === 'joined') this.safetyCode = this.#ring.safetyCode();
    } else if (!this.isAccepted(from)) {
      if (known.refused === 0) known.refusedAt = now;
      known.refused += 1;
      this.#isStale ||= known.refusal !== refusal;
      known.refusal = refusal;
      return;
    }
    if (!this.#ring.acceptPackage(now, from, keys) && change !== 'joined' && change !== 'restarted')
      return;
    this.#isStale = true;
    if (now >= this.#turnedAt + TURN_MS) this.#turn(now, AGREEMENTS_PER_TURN);
  }

  /** A member lacks keys. @param {number} now @param {string} to */
  #giveAgain(now, to) {
    const known = this.#known.get(to);
    if (!known || now < known.answeredAt + REQUEST_MS) return;
    known.answeredAt = now;
    this.#isStale = true;
    this.#ring.sendKeysAgain(to);
    this.#turn(now, AGREEMENTS_PER_TURN);
  }

  /** Something came that this page has no key for. @param {number} now @param {string} from */
  #ask(now, from) {
    const { session, own, members } = this.#mesh.roster;
    if (!own || !members.has(from)) return;
    const known = this.#of(from);
    // What was refused is refused again.
    if (known.refusal !== null && !this.isAccepted(from)) return;
    if (now < known.askedAt + REQUEST_MS) return;
    known.askedAt = now;
    this.#send(from, encode('KeyRequest', session, { sender: own.client }));
  }
}

/** @param {import('./messages.js').PeerInfo} info */
const stayOf = ({ run, name }) => `${run} ${name}`;

/** @param {Uint8Array} packet */
const isVoice = (packet) => VOICE_KINDS.includes(packet[2]);

/**
 * How speech or a game's bytes are sealed: the bytes of the packet that stay readable, and whether the key is the pair's. 'none'
 * for types that are sent as they are, null for what is neither: a text, or what is not known.
 * @param {Uint8Array} packet sealed or not
 */
function sealedPart(packet) {
  if (packet.length < HEADER_BYTES || packet[0] !== 0x8b || packet[1] !== 0xc7) return null;
  if (CLEAR_KINDS.includes(packet[2])) return 'none';
  if (DATA_KINDS.includes(packet[2]))
    return packet.length < HEADER_BYTES + 2 ? null : { clearBytes: HEADER_BYTES + 2, forOne: true };
  if (!VOICE_KINDS.includes(packet[2])) return null;
  // Sender, options, sequence; the number of targets; four bytes for each.
  const counted = HEADER_BYTES + 7;
  const count = (packet[counted - 2] << 8) | packet[counted - 1];
  const clearBytes = counted + 4 * count;
  if (packet.length < counted || count > LIMITS.targets || packet.length < clearBytes) return null;
  return { clearBytes, forOne: count === 1 && (packet[counted + 1] & 1) !== 0 };
}
