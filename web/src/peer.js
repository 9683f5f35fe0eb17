/**
 * One person in one room, as the page shows and steers it: the mesh, sound and texts joined together.
 *
 * @typedef {import('./mesh.js').MeshEvent} MeshEvent
 * @typedef {import('./state.js').Phase} Phase
 * @typedef {import('./state.js').PeerState} PeerState
 */

import { BrowserCarrier } from './carrier.js';
import { ConnectCheck } from './connect-check.js';
import { prove, secret, serverOrigin, takeInstance, ticketsOf } from './identity.js';
import { Lateness } from './lateness.js';
import { Mesh } from './mesh.js';
import { fromBase64Url, toBase64Url } from './base64.js';
import { displayName, isolated, roomKey, roomName, shownName } from './names.js';
import { watchNetwork } from './network.js';
import { askForToken, currentToken } from './invitation.js';
import { PageError, hasWebRtc, locks, optional } from './optional.js';
import { BASE, roomUrl, socketUrl } from './place.js';
import { Reports } from './reports.js';
import { GROUP_PROBLEMS } from './session.js';
import { refusedGroup } from './group-name.js';
import { peerState } from './snapshot.js';
import { Sound } from './sound.js';
import { Texts } from './texts.js';
import { loadUplink, startUplink } from './uplink.js';

/** Of names that the page makes: 32 that cannot be taken for one another. */
const NAME_LETTERS = 'abcdefghjkmnpqrstuvwxyz023456789';
const CHANGE_EVERY_MS = 100;
const TICK_EVERY_MS = 20;
const BITRATE = 32_000;
/** Why a text was sent to no one. */
const UNSENT = {
  none: 'No one has read your message: no one who would was here.',
  unable: 'No one has read your message: those it was for have no key for it.',
  late: 'No one has read your message: those it was for were not ready in time. Send it again.',
};
/** How a member left, if not by itself. Not every `kicked` is a moderator's decision. @type {Record<string, string>} */
export const LEFT = { kicked: 'was put out of the room' };
const IDENTITY_REPLACED =
  'What this browser had stored of who you are was damaged: you are a new person in each room.';
const CAPABILITIES = {
  redundancy: true,
  voice_ack: true,
  reports: true,
  path_feedback: true,
  bundles: true,
  group_text: true,
  frame_ms: [10, 20, 40, 60],
};

/** What encrypts is not waited for longer; without a key in the link, the room is entered without it then. */
const [ENCRYPTION_LIMIT_MS, KEYLESS_LIMIT_MS] = [35_000, 10_000];

/** @param {number} limitMs */
function loadEncryption(limitMs) {
  /** @type {Promise<never>} */
  const late = new Promise((_, reject) => setTimeout(reject, limitMs));
  return Promise.race([encryptionModules(), late]);
}

async function encryptionModules() {
  const [{ Encryption }, { KeyRing, loadKeys }, { KnownMembers }, lock] = await Promise.all([
    import('./encryption.js'),
    import('./key-ring.js'),
    import('./known-members.js'),
    import('./view/lock.js'),
  ]);
  return { Encryption, KeyRing, KnownMembers, lock, module: await loadKeys() };
}

/** A room's key, from its form in links. @param {string} text */
function keyBytes(text) {
  const bytes = fromBase64Url(text);
  if (bytes?.length !== 16) throw new PageError('no-keys');
  return bytes;
}

/** The page's clock, in ms. It goes on while the page is frozen; while the machine sleeps it may stand still. */
const clock = () => performance.now();

/** By so much more does the time of day move on than that clock when the machine has slept longer than any server waits. */
const SLEPT_MS = 20_000;

export class Peer extends EventTarget {
  /** @type {Phase} */ #phase = 'lobby';
  /** @type {Mesh | null} */ #mesh = null;
  /** The keys of rooms, as their links have them, by the key of the room's name. @type {Map<string, string>} */
  #keys = new Map();
  /** What the room shows of its encryption, once that is loaded. @type {typeof import('./view/lock.js') | null} */
  lock = null;
  #reports = new Reports();
  /** @type {import('./state.js').Refusal | null} */ #refusal = null;
  #joinedAt = 0;
  #joiningSince = 0;
  #joins = 0;
  #release = () => {};
  #room = '';
  /** As it was asked for. */
  #name = '';
  /** The own name that the user knows of. */
  #saidName = '';
  #relayOnly = false;
  #password = '';
  #tickedAt = 0;
  #lateness = new Lateness();
  /** By how much the time of day is ahead of the page's clock. */
  #ahead = Infinity;
  #changedAt = 0;
  #pathChangedAt = -Infinity;
  #changed = true;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #timer;
  /** @type {PeerState | null} made anew when something changed */
  #state = null;

  /**
   * @param {{storage: import('./optional.js').Store, url?: string, room?: string, key?: string | null}} options
   *   `key`: of `room`, as in the link by which this page came
   */
  constructor({ storage, url, room = '', key = null }) {
    super();
    if (key !== null) this.#keys.set(roomKey(room), key);
    this.storage = storage;
    this.url = url ?? socketUrl();
    this.check = new ConnectCheck(BASE, { clock, changed: () => this.#show() });
    this.texts = new Texts(clock, () => this.#show());
    this.sound = new Sound(clock, storage, {
      encoded: (encoded) => this.#speak(encoded),
      ticked: (now) => this.#tick(now),
      changed: () => this.#show(),
      notice: (kind, text) => this.#notice(kind, text),
    });
    addEventListener('pagehide', () => {
      if (this.#phase !== 'lobby') this.#end('left');
    });
    const mesh = () => this.#mesh;
    const [changed, lost] = [() => this.#pathChanged(false), () => mesh()?.pathLost(clock())];
    watchNetwork({ changed, lost, shown: () => mesh()?.signaling.shown(clock()) });
  }

  /** What there is to show. */
  get state() {
    return (this.#state ??= this.#snapshot());
  }

  /** Whether a room's link has a key. @param {string} room */
  isPrivate(room) {
    return this.#keys.has(roomKey(room));
  }

  /** The link to a room, with its key if it has one. @param {string} room */
  linkOf(room) {
    const key = this.#keys.get(roomKey(room));
    return roomUrl(room) + (key === undefined ? '' : `#k=${key}`);
  }

  /** Makes a room of a random name with a key, which no server gets to know. @returns {string} its name */
  createPrivateRoom() {
    const letters = Array.from(
      crypto.getRandomValues(new Uint8Array(12)),
      (byte) => NAME_LETTERS[byte % NAME_LETTERS.length],
    );
    const room = `private-${letters.join('')}`;
    this.#keys.set(roomKey(room), toBase64Url(crypto.getRandomValues(new Uint8Array(16))));
    return room;
  }

  /** @param {{room: string, name: string, relayOnly: boolean, microphone: boolean, password?: string}} options */
  async join({
    room,
    name,
    relayOnly,
    microphone,
    password = room === this.#room ? this.#password : '',
  }) {
    if (this.#phase === 'joining' || this.#phase === 'joined' || this.#phase === 'reconnecting')
      return;
    const joins = ++this.#joins;
    this.#phase = 'joining';
    this.#refusal = this.lock = null;
    this.#joinedAt = 0;
    [this.#room, this.#name, this.#relayOnly] = [
      shownName(roomName(room), room),
      shownName(displayName(name), 'Guest'),
      relayOnly || !hasWebRtc(),
    ];
    this.#saidName = this.#name;
    this.#password = password;
    this.#show();
    // Sound is opened within the click, since browsers want one; the server is asked meanwhile.
    const [sound, module] = [this.sound.open(), loadUplink()];
    sound.catch(() => {}); // It is waited for below.
    const key = this.#keys.get(roomKey(room));
    const encryption = loadEncryption(key === undefined ? KEYLESS_LIMIT_MS : ENCRYPTION_LIMIT_MS);
    encryption.catch(() => {});
    this.sound.begin(microphone);
    try {
      const taken = await takeInstance(roomKey(room), locks());
      if (joins !== this.#joins) return taken.release();
      this.#release = taken.release;
      const own = secret(this.storage, () => this.#notice('identity-replaced', IDENTITY_REPLACED));
      const place = /** @type {const} */ ([serverOrigin(this.url), roomKey(room), taken.instance]);
      const { proof, peer } = await prove(own, ...place);
      const [uplink] = await Promise.all([module, sound]);
      if (joins !== this.#joins) return;
      const keyed = { secret: own, peer, roomKey: key === undefined ? null : keyBytes(key) };
      const sealed = await this.#encrypted(encryption, keyed, place);
      if (joins === this.#joins) this.#start(proof, peer, uplink, sealed);
    } catch (error) {
      if (joins === this.#joins)
        this.#refuse(
          error instanceof PageError ? error.name : 'failed',
          error instanceof Error ? error.message : String(error),
        );
    }
  }

  /**
   * What seals in this room. Without it nothing is said where the room has a key; elsewhere this page is one that cannot encrypt.
   * @param {ReturnType<typeof loadEncryption>} loading
   * @param {{secret: Uint8Array, peer: string, roomKey: Uint8Array | null}} own
   * @param {readonly [origin: string, room: string, instance: number]} place
   */
  async #encrypted(loading, own, [origin, room, instance]) {
    const joins = this.#joins;
    const loaded = await loading.catch(() => null);
    const seed = crypto.getRandomValues(new Uint8Array(32));
    const identity = { ...own, origin, room, instance, seed };
    // When the calls under way are over: nothing is sealed or opened in them any more.
    const failed = () =>
      queueMicrotask(() => {
        // Not another stay than its own.
        if (ring && joins === this.#joins) this.#refuse('keys-failed', '');
      });
    const ring =
      loaded && optional(() => new loaded.KeyRing(loaded.module, identity, failed), null);
    if (!loaded || !ring) {
      if (own.roomKey) throw new PageError(loaded ? 'keys-failed' : 'no-keys');
      // Which says so.
      import('./view/lock.js').then(
        (lock) => (this.lock = lock),
        () => {},
      );
      return null;
    }
    const people = new loaded.KnownMembers(this.storage, own.peer);
    return (/** @type {Mesh} */ mesh) => {
      this.lock = loaded.lock;
      return new loaded.Encryption(mesh, ring, people);
    };
  }

  /** Lets a person whose program cannot encrypt hear this page, and so the server, or no more. @param {string} personId @param {string | null} shown its name as the user was asked about it; null: no more */
  allowUnencrypted(personId, shown) {
    this.#mesh?.encryption?.allow(personId, shown);
    this.#show();
  }

  /** One's own id in this room; '' before joining. */
  get ownId() {
    return this.#mesh?.config.peer ?? '';
  }

  /** Back to before joining. */
  reset() {
    this.#end('lobby');
  }

  leave() {
    if (this.#phase === 'lobby' || this.#phase === 'left') return;
    this.texts.forget();
    this.#end('left');
  }

  /** Decides about the room, or about a person. @param {import('./moderation.js').Action} action @param {import('./moderation.js').About} [about] */
  decide(action, about) {
    this.#mesh?.moderation.decide(action, about);
  }

  /** @param {string} text @param {string | null} personId null: the room */
  sendText(text, personId = null) {
    this.texts.send(this.#mesh, this.#ownName, text, personId);
  }

  /** A text with a room's key, if it can be sent now. @param {string} text @param {string} personId */
  invite(text, personId) {
    return this.texts.invite(this.#mesh, text, personId);
  }

  /** @param {string} name */
  joinGroup(name) {
    this.#mustBeFree(name);
    const result = this.#mesh?.session.joinGroup(name) ?? 'ok';
    if (result !== 'ok') throw new Error(GROUP_PROBLEMS[result]);
    this.#show();
  }

  /** @param {string} name */
  leaveGroup(name) {
    this.#mesh?.session.leaveGroup(name);
    this.#show();
  }

  /** @param {string} name @param {boolean} speak */
  speakTo(name, speak) {
    if (speak) this.#mustBeFree(name);
    if (!(this.#mesh?.session.address(clock(), 'group', name, speak) ?? true)) {
      throw new Error('You can speak to at most 64 groups at a time.');
    }
    this.#show();
  }

  /** Throws where a moderator holds this page in other groups. @param {string} group */
  #mustBeFree(group) {
    const held = this.#mesh?.roster.heldIn ?? [];
    if (held.length > 0 && !held.includes(group)) throw new Error(refusedGroup(group, held));
  }

  /** A microphone that was tried before joining is closed. */
  stopPreview() {
    if (this.#phase === 'lobby' || this.#phase === 'left') this.sound.closeMicrophone('none');
  }

  /** The server is tried at once. */
  retryNow() {
    this.#mesh?.signaling.reconnectNow(clock());
  }

  // --- the room -----------------------------------------------------------------------------------------------------

  /** @param {string} proof @param {string} peer @param {WebAssembly.Module | null} uplink @param {((mesh: Mesh) => import('./encryption.js').Encryption) | null} encrypted */
  #start(proof, peer, uplink, encrypted) {
    const [run, first] = crypto.getRandomValues(new Uint32Array(2));
    const carrier = new BrowserCarrier(this.url, clock, this.check);
    const capabilities = { ...CAPABILITIES, relay_only: this.#relayOnly };
    const about = {
      room: this.#room,
      name: this.#name,
      peer,
      proof,
      run,
      metadata: {},
      status: this.sound.status,
      password: this.#password,
      token: currentToken(),
      ...ticketsOf(peer, this.#password),
    };
    const config = { ...about, capabilities, firstSequence: first & 0xffff };
    const emit = (/** @type {MeshEvent} */ event) => this.#onMeshEvent(event);
    const mesh = new Mesh(config, carrier, emit, Math.random, encrypted);
    carrier.mesh = mesh;
    if (uplink)
      mesh.uplink = startUplink(uplink, BITRATE, () => {
        mesh.uplink = null;
      });
    this.#mesh = mesh;
    this.#joiningSince = clock();
    this.#lateness = new Lateness();
    this.#reports.begin();
    this.texts.open(peer);
    // Beside the audio thread's ticks, which stop where sound may not play.
    this.#timer = setInterval(() => {
      this.sound.output.turned();
      this.#tick(clock());
    }, TICK_EVERY_MS);
    mesh.signaling.start(clock());
  }

  /** @param {Phase} phase */
  #end(phase) {
    this.#joins += 1;
    this.#phase = phase;
    clearInterval(this.#timer);
    this.#mesh?.signaling.leave(clock());
    this.#mesh = null;
    this.#reports.end();
    this.sound.end();
    this.#release();
    this.#release = () => {};
    this.#show();
  }

  /** @param {string} code @param {string} message @param {number} [retryAfterMs] */
  #refuse(code, message, retryAfterMs = 0) {
    this.#refusal = { code, message, retryAt: retryAfterMs > 0 ? clock() + retryAfterMs : null };
    this.#end('refused');
  }

  /** @param {MeshEvent} event */
  #onMeshEvent(event) {
    switch (event.type) {
      case 'voice':
        return this.sound.hear(event.heard);
      case 'report':
        return this.#reports.reported(clock(), event.peer, event.report);
      case 'clock-asked':
        return this.#reports.asked(clock(), this.#mesh, event.peer, event.askedUs);
      case 'clock-told':
        return this.#reports.handleEcho(
          clock(),
          this.#mesh,
          this.sound.playback,
          event.peer,
          event.echo,
        );
      case 'text':
        return this.texts.came(this.#nameOf(event.peer), event);
      case 'joined':
        if (this.#phase === 'joining') this.#joinedAt = clock();
        this.#phase = 'joined';
        if (event.again) this.#notice('server-back', 'The server is back.');
        this.#renamed();
        return this.#show();
      case 'server-away':
        if (this.#phase === 'joined') {
          this.#phase = 'reconnecting';
          this.#joiningSince = clock();
          this.#notice('server-away', 'The server cannot be reached for now.');
        }
        return this.#show();
      case 'refused':
        return this.#refuse(event.code, event.message, event.retryAfterMs);
      case 'replaced':
        return this.#end('replaced');
      case 'token-needed':
        return askForToken({ room: this.#room, code: event.code }, (token) =>
          this.#mesh?.signaling.tokenGiven(clock(), token),
        );
      case 'peer-joined':
        // Who was there already is no news.
        if (this.#phase !== 'joining')
          this.#notice('joined', `${isolated(this.#nameOf(event.peer))} is here.`);
        return this.#show();
      case 'peer-left':
        this.sound.playback?.remove(event.peer);
        this.#reports.forget(event.peer);
        if (event.reason === 'kicked' && this.#mesh?.moderation.putsOut(event.peer))
          return this.#show();
        if (event.reason !== 'restarted')
          this.#notice('left', `${isolated(event.name)} ${LEFT[event.reason] ?? 'has left'}.`);
        return this.#show();
      case 'group-refused':
        this.#notice('group-refused', refusedGroup(event.group, this.#mesh?.roster.heldIn ?? []));
        return this.#show();
      case 'text-unread': {
        const to = 'peer' in event.to ? event.to.peer : null;
        const detail = { text: event.text, to, why: UNSENT[event.why] };
        this.dispatchEvent(new CustomEvent('text-refused', { detail }));
        return this.#show();
      }
      case 'remark':
        return this.#notice('remark', event.text);
      case 'warned': {
        const refused = this.texts.refused(this.#mesh, event.code, event.text);
        // To send it again would change nothing.
        const why = event.code === 'not-permitted' ? event.message : null;
        // It has a key, which is not to stand in a field that anyone could be sent.
        if (refused?.isInvite)
          this.#notice('uninvited', `${isolated(this.#nameOf(refused.to))} did not get the link.`);
        else if (refused)
          this.dispatchEvent(new CustomEvent('text-refused', { detail: { ...refused, why } }));
        return this.#show();
      }
      default:
        return this.#show();
    }
  }

  /** Called by the audio thread's ticks and by a timer. @param {number} now */
  #tick(now) {
    if (now >= this.#tickedAt + TICK_EVERY_MS - 5) {
      this.#tickedAt = now;
      this.#lateness.ticked(now, !document.hidden);
      const ahead = Date.now() - now;
      if (ahead > this.#ahead + SLEPT_MS) this.#pathChanged(true);
      this.#ahead = ahead;
      this.sound.playback?.tick(now);
      this.#mesh?.tick(now);
      this.#mesh?.ownStatus.set(this.sound.status);
      this.#sendFeedback(now);
    }
    if (now >= this.#changedAt + CHANGE_EVERY_MS && (this.#changed || this.#mesh)) {
      this.#changedAt = now;
      this.#changed = false;
      this.#state = null;
      this.dispatchEvent(new Event('change'));
    }
  }

  /** @param {boolean} slept */
  #pathChanged(slept) {
    this.#pathChangedAt = clock();
    this.#mesh?.pathChanged(this.#pathChangedAt, slept);
  }

  /** At once what people do, else with the next tick. */
  #show() {
    this.#changed = true;
    this.#state = null;
    queueMicrotask(() => {
      if (!this.#changed) return;
      this.#changed = false;
      this.#changedAt = clock();
      this.dispatchEvent(new Event('change'));
    });
  }

  /** @param {string} kind @param {string} text */
  #notice(kind, text) {
    this.dispatchEvent(new CustomEvent('notice', { detail: { kind, text } }));
  }

  // --- speech ------------------------------------------------------------------------------------------------------

  /** @param {number} now */
  #sendFeedback(now) {
    const mesh = this.#mesh;
    const { capture, output, playback } = this.sound;
    if (!mesh || !playback) return;
    this.#reports.send(now, mesh, playback, output.plays);
    capture?.encoder.follow(now, mesh.uplink ?? this.#reports.feedback.plan(now));
  }

  /** @param {import('./capture.js').Encoded} encoded */
  #speak({ frame, capturedAt, pauseFollows }) {
    const session = this.#mesh?.session;
    if (!session) return;
    const sequence = session.speaker.nextSequence;
    this.#reports.hearers.spoke();
    session.speak(clock(), frame, pauseFollows, (peer) => this.#reports.feedback.copiesFor(peer));
    this.#reports.answers.captured = { sequence, at: capturedAt };
  }

  // --- what is shown ------------------------------------------------------------------------------------------------

  /** @returns {PeerState} */
  #snapshot() {
    const busy = this.#phase === 'joining' || this.#phase === 'reconnecting';
    const about = {
      phase: this.#phase,
      refusal: this.#refusal,
      joinedAt: this.#joinedAt,
      room: this.#room,
      name: this.#ownName,
      relayOnly: this.#relayOnly,
      messages: this.texts.messages,
      problem: busy ? this.check.problem : null,
    };
    const now = clock();
    const times = {
      // The server is waited for when what the page itself needs is there.
      waitsSince: busy && this.#mesh ? this.#joiningSince : null,
      pathChangedAt: this.#pathChangedAt,
      deviceBusy: this.#lateness.isBusy(now),
    };
    return peerState(now, about, times, this.#mesh, this.sound, this.#reports);
  }

  get #ownName() {
    return this.#mesh?.roster.ownName ?? this.#name;
  }

  /** Says so if the server has entered this page under another name than the last one. */
  #renamed() {
    const name = this.#ownName;
    if (name === this.#saidName) return;
    this.#saidName = name;
    const by = currentToken() ? 'your token' : 'the server';
    this.#notice('renamed', `You are here as ${isolated(name)}, as ${by} says.`);
  }

  /** @param {string | null} peer */
  #nameOf(peer) {
    return this.#mesh?.roster.members.get(peer ?? '')?.label ?? 'A person';
  }
}
