/**
 * One person in one room, as the page shows and steers it: the mesh, the microphone and the speaker joined together.
 *
 * @typedef {import('./mesh.js').MeshEvent} MeshEvent
 * @typedef {import('./state.js').Phase} Phase
 * @typedef {import('./state.js').MicrophoneState} MicrophoneState
 * @typedef {import('./state.js').Message} Message
 * @typedef {import('./state.js').PeerState} PeerState
 */

import { BrowserCarrier } from './carrier.js';
import { Capture } from './capture.js';
import { ChatLog } from './chat-log.js';
import { ConnectCheck } from './connect-check.js';
import { soundDevices } from './devices.js';
import { prove, secret, serverOrigin, takeInstance, ticketsOf } from './identity.js';
import { LastText } from './last-text.js';
import { Mesh } from './mesh.js';
import { isolated } from './moderation.js';
import { displayName, roomKey, roomName, shownName } from './names.js';
import { watchNetwork } from './network.js';
import { currentToken } from './invitation.js';
import {
  PageError,
  hasWebRtc,
  isMicrophoneBlocked,
  locks,
  mediaDevices,
  onDeviceChange,
} from './optional.js';
import { CaptureContext, Output } from './output.js';
import { BASE, socketUrl } from './place.js';
import { Playback } from './playback.js';
import { Reports } from './reports.js';
import { GLOBAL, GROUP_PROBLEMS } from './session.js';
import { refusedGroup } from './group-name.js';
import { groups, ownStatus, people } from './snapshot.js';
import { loadUplink, startUplink } from './uplink.js';
import { Volumes } from './volumes.js';
import { LIMITS, utf8Length } from './wire.js';

const CHANGE_EVERY_MS = 100;
const TICK_EVERY_MS = 20;
const WAKING_AFTER_MS = 5000;
const BITRATE = 32_000;
/** How a member left, if not by itself. Not every `kicked` is a moderator's decision. @type {Record<string, string>} */
export const LEFT = { kicked: 'was put out of the room' };
const CAPABILITIES = {
  redundancy: true,
  voice_ack: true,
  reports: true,
  path_feedback: true,
  bundles: true,
  group_text: true,
  frame_ms: [10, 20, 40, 60],
};

/** The page's clock, in ms. It goes on while the page is frozen; while the machine sleeps it may stand still. */
const clock = () => performance.now();

/** Which of the groups that one speaks to a text goes to: who is in several of them would get it several times. @param {string[]} spoken */
const writtenTo = (spoken) => (spoken.includes(GLOBAL) ? [GLOBAL] : spoken);
/** By so much more does the time of day move on than that clock when the machine has slept longer than any server waits. */
const SLEPT_MS = 20_000;
/** For so long after a change of network, what is measured is put down to it. */
const NETWORK_NEW_MS = 10_000;

export class Peer extends EventTarget {
  /** @type {Phase} */ #phase = 'lobby';
  /** @type {Mesh | null} */ #mesh = null;
  #output = new Output(() => this.#outputChanged());
  /** @type {CaptureContext | null} */ #captureContext = null;
  /** @type {Capture | null} */ #capture = null;
  /** @type {Playback | null} */ #playback = null;
  #reports = new Reports();
  #chat = new ChatLog(globalThis);
  #lastText = new LastText();
  #deafened = false;
  #overall = 1;
  #inputId = '';
  #wantsMicrophone = false;
  /** @type {MicrophoneState} */ #microphone = 'none';
  /** @type {import('./state.js').Refusal | null} */ #refusal = null;
  #joinedAt = 0;
  #joiningSince = 0;
  #joins = 0;
  #release = () => {};
  #room = '';
  #name = '';
  #relayOnly = false;
  #password = '';
  #tickedAt = 0;
  /** By how much the time of day is ahead of the page's clock. */
  #ahead = Infinity;
  #changedAt = 0;
  #pathChangedAt = -Infinity;
  #changed = true;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #timer;
  /** @type {PeerState | null} made anew when something changed */
  #state = null;

  /** @param {{storage: import('./optional.js').Store, url?: string}} options */
  constructor({ storage, url }) {
    super();
    this.storage = storage;
    this.url = url ?? socketUrl();
    this.check = new ConnectCheck(BASE, { clock, changed: () => this.#show() });
    this.volumes = new Volumes(storage);
    this.controls = {
      muted: false,
      activation: /** @type {'voice' | 'push-to-talk' | 'always'} */ ('voice'),
      processing: { echo: true, noise: true, gain: true },
      channel: 0,
    };
    addEventListener('pagehide', () => {
      if (this.#phase !== 'lobby') this.#end('left');
    });
    const mesh = () => this.#mesh;
    const [changed, lost] = [() => this.#pathChanged(false), () => mesh()?.pathLost(clock())];
    watchNetwork({ changed, lost, shown: () => mesh()?.signaling.shown(clock()) });
    onDeviceChange(() => this.#devicesChanged());
  }

  /** What there is to show. */
  get state() {
    return (this.#state ??= this.#snapshot());
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
    this.#refusal = null;
    [this.#room, this.#name, this.#relayOnly] = [
      shownName(roomName(room), room),
      shownName(displayName(name), 'Guest'),
      relayOnly || !hasWebRtc(),
    ];
    [this.#password, this.#joiningSince] = [password, clock()];
    this.#wantsMicrophone = microphone;
    this.#show();
    // Sound is opened within the click, since browsers want one; the server is asked meanwhile.
    const [sound, module] = [this.#openSound(), loadUplink()];
    sound.catch(() => {}); // It is waited for below.
    if (microphone && !this.#capture?.isOpen) void this.#openMicrophone();
    else if (!microphone) this.#closeMicrophone('none');
    try {
      const taken = await takeInstance(roomKey(room), locks());
      if (joins !== this.#joins) return taken.release();
      this.#release = taken.release;
      const { proof, peer } = await prove(
        secret(this.storage),
        serverOrigin(this.url),
        roomKey(room),
        taken.instance,
      );
      const [uplink] = await Promise.all([module, sound]);
      if (joins === this.#joins) this.#start(proof, peer, uplink);
    } catch (error) {
      if (joins === this.#joins)
        this.#refuse(
          error instanceof PageError ? error.name : 'failed',
          error instanceof Error ? error.message : String(error),
        );
    }
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
    this.#chat.forget();
    this.#end('left');
  }

  /** @param {boolean} muted */
  setMuted(muted) {
    this.controls.muted = muted;
    if (this.#capture) this.#capture.muted = muted;
    this.#show();
  }

  /** @param {number} volume overall, 0 to 2 */
  setOverallVolume(volume) {
    this.#overall = volume;
    if (this.#playback) this.#playback.overall.gain.value = volume;
  }

  /** @param {boolean} deafened */
  setDeafened(deafened) {
    this.#deafened = deafened;
    this.#playback?.setDeafened(deafened);
    this.#show();
  }

  /** @param {'voice' | 'push-to-talk' | 'always'} activation */
  setActivation(activation) {
    this.controls.activation = activation;
    if (this.#capture) this.#capture.activation = activation;
    this.#show();
  }

  /** @param {boolean} talking */
  setTalking(talking) {
    this.#capture?.setTalking(talking);
    this.#show();
  }

  /** @param {string} id @param {number} volume */
  setVolume(id, volume) {
    this.#setPerson(id, { volume: Math.min(Math.max(volume, 0), 2) });
  }

  /** @param {string} id @param {boolean} muted */
  setPersonMuted(id, muted) {
    this.#setPerson(id, { muted });
  }

  /** Decides about the room, or about a person. @param {import('./moderation.js').Action} action @param {import('./moderation.js').About} [about] */
  decide(action, about) {
    this.#mesh?.moderation.decide(action, about);
  }

  /** @param {string} text @param {string | null} personId null: the room */
  sendText(text, personId = null) {
    if (utf8Length(text) > LIMITS.textBytes)
      throw new Error(`A message can have at most ${LIMITS.textBytes} bytes.`);
    const session = this.#mesh?.session;
    const person = personId === null ? undefined : this.#mesh?.roster.members.get(personId);
    if (personId !== null && !person) throw new Error('This person has left.');
    const groups = session
      ? writtenTo(
          session.speaker.openTargets.flatMap(({ kind, name }) => (kind === 'group' ? name : [])),
        )
      : [];
    if (session && !person && groups.length === 0)
      throw new Error(
        'You speak to no group, so no one would read it. Speak to a group first, or choose a person.',
      );
    const to = person ? [{ peer: person.info.peer }] : groups.map((group) => ({ group }));
    if (!session || !to.every((one) => session.sendText(clock(), text, one))) {
      throw new Error('The server is away: messages can be sent when it is back.');
    }
    this.#lastText.sent(clock(), text, person ? personId : null);
    const group = person || groups.includes(GLOBAL) ? null : groups.join(', ');
    this.#message({
      from: this.#name,
      to: person ? person.label : (group ?? 'room'),
      mine: true,
      text,
      at: Date.now(),
      ...(group !== null && { group: true }),
    });
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

  /** @param {{echo: boolean, noise: boolean, gain: boolean}} processing */
  setProcessing(processing) {
    this.controls.processing = { ...processing };
    if (this.#capture) this.#capture.processing = this.controls.processing;
    if (this.#capture?.isOpen) void this.#openMicrophone();
    this.#show();
  }

  /** The microphone's channel that is heard, counted from 1; 0: automatic. @param {number} channel */
  setChannel(channel) {
    this.controls.channel = channel;
    if (this.#capture) this.#capture.channel = channel;
    this.#show();
  }

  /** Whether one hears one's own microphone. @param {boolean} on */
  setMonitored(on) {
    this.#capture?.monitor(on);
    this.#show();
  }

  devices() {
    return soundDevices();
  }

  /** @param {string} id */
  async setInput(id) {
    this.#inputId = id;
    this.#wantsMicrophone = true;
    await this.#openMicrophone();
  }

  /** Which microphone is opened when one is. @param {string} id */
  preferInput(id) {
    this.#inputId = id;
  }

  /** @param {string} id */
  async setOutput(id) {
    await this.#output.choose(id);
  }

  async startPreview() {
    await this.#openMicrophone();
  }

  stopPreview() {
    if (this.#phase === 'lobby' || this.#phase === 'left') this.#closeMicrophone('none');
  }

  levels() {
    const people = new Map(
      [...(this.#playback?.ears ?? [])].map(([id, ear]) => [
        id,
        this.#output.plays ? ear.level : 0,
      ]),
    );
    return { own: this.#capture?.level ?? 0, people };
  }

  /** The server is tried at once. */
  retryNow() {
    this.#mesh?.signaling.hurry(clock());
  }

  resumePlayback() {
    this.#output.resume();
  }

  // --- the room -----------------------------------------------------------------------------------------------------

  /** @param {string} proof @param {string} peer @param {WebAssembly.Module | null} uplink */
  #start(proof, peer, uplink) {
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
      status: ownStatus(this.#microphone, this.controls.muted, this.#deafened),
      password: this.#password,
      token: currentToken(),
      ...ticketsOf(peer, this.#password),
    };
    const config = { ...about, capabilities, firstSequence: first & 0xffff };
    const mesh = new Mesh(config, carrier, (event) => this.#happened(event), Math.random);
    carrier.mesh = mesh;
    if (uplink)
      mesh.uplink = startUplink(uplink, BITRATE, () => {
        mesh.uplink = null;
      });
    this.#mesh = mesh;
    this.#reports.begin();
    this.#chat.open(peer);
    // Beside the audio thread's ticks, which stop where sound may not play.
    this.#timer = setInterval(() => {
      this.#output.turned();
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
    this.#closeMicrophone('none');
    this.#playback?.end();
    this.#capture?.end();
    this.#output.suspend();
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
  #happened(event) {
    switch (event.type) {
      case 'voice':
        return this.#hear(event.heard);
      case 'report':
        return this.#reports.reported(clock(), event.peer, event.report);
      case 'clock-asked':
        return this.#reports.asked(clock(), this.#mesh, event.peer, event.askedUs);
      case 'clock-told':
        return this.#reports.told(clock(), this.#mesh, this.#playback, event.peer, event.echo);
      case 'text':
        return this.#textCame(event);
      case 'joined':
        if (this.#phase === 'joining') this.#joinedAt = clock();
        this.#phase = 'joined';
        if (event.again) this.#notice('server-back', 'The server is back.');
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
      case 'peer-joined':
        // Who was there already is no news.
        if (this.#phase !== 'joining')
          this.#notice('joined', `${isolated(this.#nameOf(event.peer))} is here.`);
        return this.#show();
      case 'peer-left':
        this.#playback?.remove(event.peer);
        this.#reports.forget(event.peer);
        if (event.reason === 'kicked' && this.#mesh?.moderation.putsOut(event.peer))
          return this.#show();
        if (event.reason !== 'restarted')
          this.#notice('left', `${isolated(event.name)} ${LEFT[event.reason] ?? 'has left'}.`);
        return this.#show();
      case 'group-refused':
        this.#notice('group-refused', refusedGroup(event.group, this.#mesh?.roster.heldIn ?? []));
        return this.#show();
      case 'remark':
        return this.#notice('remark', event.text);
      case 'warned': {
        const refused = this.#lastText.refused(clock(), event.code);
        if (refused) this.dispatchEvent(new CustomEvent('text-refused', { detail: refused }));
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
      const ahead = Date.now() - now;
      if (ahead > this.#ahead + SLEPT_MS) this.#pathChanged(true);
      this.#ahead = ahead;
      this.#playback?.tick(now);
      this.#mesh?.tick(now);
      this.#mesh?.ownStatus.set(ownStatus(this.#microphone, this.controls.muted, this.#deafened));
      this.#listen(now);
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

  // --- hearing ------------------------------------------------------------------------------------------------------

  /** @param {import('./session.js').Heard} heard */
  #hear(heard) {
    if (!this.#playback) return;
    const isNew = !this.#playback.ears.has(heard.peer);
    this.#playback.receive(clock(), heard);
    if (isNew) this.#applyVolume(heard.peer);
  }

  /** @param {number} now */
  #listen(now) {
    const mesh = this.#mesh;
    if (!mesh || !this.#playback) return;
    this.#reports.send(now, mesh, this.#playback, this.#output.plays);
    this.#capture?.encoder.follow(now, mesh.uplink ?? this.#reports.feedback.plan(now));
  }

  /** @param {string} id @param {Partial<{volume: number, muted: boolean}>} change */
  #setPerson(id, change) {
    this.volumes.set(id, change);
    this.#applyVolume(id);
    this.#show();
  }

  /** @param {string} id */
  #applyVolume(id) {
    this.#playback?.setGain(id, this.volumes.gain(id));
  }

  // --- text ---------------------------------------------------------------------------------------------------------

  /** @param {Extract<MeshEvent, {type: 'text'}>} event */
  #textCame({ peer, group, text }) {
    const to = group === null ? 'me' : group === GLOBAL || group === undefined ? 'room' : group;
    this.#message({ from: this.#nameOf(peer), to, mine: false, text, at: Date.now() });
  }

  /** @param {Message} message */
  #message(message) {
    this.#chat.add(message);
    this.#show();
  }

  // --- sound --------------------------------------------------------------------------------------------------------

  /** What microphone and speaker need, made at the first need. */
  async #openSound() {
    const context = await this.#output.open();
    if (this.#playback) return;
    this.#playback = new Playback(context, clock, (now) => {
      this.#output.ticked();
      this.#tick(now);
    });
    this.#playback.setDeafened(this.#deafened);
    this.setOverallVolume(this.#overall);
    this.#capture = new Capture(context, clock, {
      encoded: (encoded) => this.#speak(encoded),
      lost: () => this.#microphoneLost(),
      ticked: (now) => this.#tick(now),
    });
    Object.assign(this.#capture, this.controls);
    this.#captureContext = new CaptureContext(this.#output, this.#capture);
    this.#outputChanged();
  }

  #outputChanged() {
    this.#show();
    // A microphone may have gone with the speaker.
    if (this.#captureContext?.follow()) void this.#devicesChanged();
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

  /** @returns {Promise<void>} */
  async #openMicrophone() {
    if (!mediaDevices()) return this.#closeMicrophone('unavailable');
    if (this.#microphone !== 'on') this.#microphone = 'asking';
    this.#show();
    try {
      await this.#openSound();
      await this.#capture?.open(this.#inputId);
      if (this.#capture?.isOpen) this.#microphone = 'on';
    } catch (error) {
      const name = error instanceof DOMException ? error.name : '';
      if (name === 'OverconstrainedError' && this.#inputId !== '') {
        // The one chosen is gone: the default will do.
        this.#inputId = '';
        return this.#openMicrophone();
      }
      const denied = name === 'NotAllowedError' || name === 'SecurityError';
      this.#closeMicrophone(
        denied
          ? isMicrophoneBlocked()
            ? 'blocked'
            : 'denied'
          : ['NotFoundError', 'OverconstrainedError'].includes(name)
            ? 'missing'
            : 'failed',
      );
    }
    this.#show();
    return undefined;
  }

  /** @param {MicrophoneState} state */
  #closeMicrophone(state) {
    this.#capture?.close();
    this.#microphone = state;
    this.#show();
  }

  #microphoneLost() {
    this.#microphone = 'lost';
    this.#notice('microphone-lost', 'The microphone is gone. Plug it in again, or choose another.');
    this.#show();
    this.#devicesChanged();
  }

  async #devicesChanged() {
    this.#show();
    void this.#output.devicesChanged();
    if (!this.#wantsMicrophone || !['lost', 'missing'].includes(this.#microphone)) return;
    const { inputs } = await this.devices();
    if (inputs.length === 0 || !['lost', 'missing'].includes(this.#microphone)) return;
    await this.#openMicrophone();
    if (/** @type {string} */ (this.#microphone) === 'on')
      this.#notice('microphone-back', 'The microphone works again.');
  }

  // --- what is shown ------------------------------------------------------------------------------------------------

  /** @returns {PeerState} */
  #snapshot() {
    const now = clock();
    const mesh = this.#mesh;
    const { muted, activation, processing } = this.controls;
    const busy = this.#phase === 'joining' || this.#phase === 'reconnecting';
    const problem = busy ? this.check.problem : null;
    const retryAt = mesh?.signaling.retryAt ?? null;
    return {
      phase: this.#phase,
      refusal: this.#refusal,
      joinedAt: this.#joinedAt,
      room: this.#room,
      name: this.#name,
      waking:
        busy && now > this.#joiningSince + WAKING_AFTER_MS && (problem?.kind ?? 'slow') === 'slow',
      retryInMs: retryAt === null ? null : Math.max(retryAt - now, 0),
      relayOnly: this.#relayOnly,
      serverRelayOnly: mesh?.serverRelayOnly ?? false,
      microphone: this.#microphone,
      microphoneLabel: this.#capture?.label ?? '',
      channels: this.#capture?.channels ?? { count: 1, heard: 0 },
      monitored: this.#capture?.isMonitored ?? false,
      muted,
      activation,
      processing,
      deafened: this.#deafened,
      talking: this.#capture?.talking ?? false,
      speaking: this.#capture?.sending ?? false,
      people: mesh
        ? people(
            mesh,
            this.#playback,
            this.#output.plays ? this.#reports.clocks : new Map(),
            this.#reports.hearers,
            this.volumes,
            now,
            this.#microphone === 'on' && !muted,
          )
        : [],
      groups: mesh ? groups(mesh, this.#deafened) : [],
      messages: this.#chat.messages,
      output: this.#output.state,
      uploadTooSlow: mesh?.uplink?.isTooSlow ?? false,
      problem,
      networkChanged: now < this.#pathChangedAt + NETWORK_NEW_MS,
      moderates: mesh?.moderation.isAllowed ?? false,
      locked: mesh?.moderation.locked ?? false,
      banned: mesh?.moderation.banned(now) ?? [],
      left: mesh?.moderation.leftLately(now) ?? [],
      heldIn: mesh?.roster.heldIn ?? [],
      silenced: mesh?.roster.ownSilenced ?? false,
      mayNot: mesh?.roster.lacking(null) ?? [],
    };
  }

  /** @param {string} peer */
  #nameOf(peer) {
    return this.#mesh?.roster.members.get(peer)?.label ?? 'A person';
  }
}
