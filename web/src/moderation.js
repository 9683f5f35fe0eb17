/** What this member decides about others and the room, and how it went (PROTOCOL.md, section 15). */

import { quotedGroups } from './group-name.js';
import { isolated } from './names.js';
import { decide } from './messages.js';
import { GLOBAL } from './session.js';

/** @typedef {import('./mesh.js').Mesh} Mesh */
/** @typedef {'mute' | 'unmute' | 'kick' | 'ban' | 'unban' | 'move' | 'lock' | 'unlock' | 'set-password' | 'make-owner'} Action */
/** @typedef {{peer?: string, groups?: string[], password?: string}} About */

const BAN_SECONDS = 3600;
/** Members who have left can be banned for so long, as the server remembers them. */
const LEFT_MS = 300_000;
const MOST_LEFT = 64;
/** As many as a room has; the oldest is forgotten first. */
const MOST_BANNED = 256;
/** Decisions that wait for an answer; the oldest is forgotten first. */
const MOST_OPEN = 32;
/** A decision that is not answered by then has failed. */
const ANSWER_LIMIT_MS = 10_000;

/** What has been done, said by its name. @type {Record<Action, (name: string, about: About & {hasLeft?: boolean}) => string>} */
const DONE = {
  mute: (name) => `${name} is muted for all.`,
  unmute: (name) => `${name} can be heard again.`,
  kick: (name) => `${name} was put out of the room, and may come back.`,
  ban: (name, { hasLeft }) =>
    `${name} ${hasLeft ? 'has left' : 'was put out of the room'}, and is kept out for an hour.`,
  unban: (name) => `${name} may come back.`,
  move: (name, { groups = [] }) =>
    `${name} was moved to ${groups.includes(GLOBAL) ? 'everyone' : quotedGroups(groups)}.`,
  lock: () => 'The room is closed to newcomers.',
  unlock: () => 'Newcomers are let in again.',
  'set-password': (_, { password }) =>
    password ? 'Newcomers need the password from now on.' : 'The room has no password any more.',
  'make-owner': (name) => `${name} moderates this room now.`,
};

/** What a `password` message says. */
const PASSWORD = {
  set: 'A moderator has given the room a password: newcomers need it.',
  changed: 'A moderator has changed the room’s password.',
  removed: 'The room has no password any more.',
};

/** Why it was not done. @type {Record<string, string>} */
const REFUSED = {
  'not-moderator': 'You may not moderate this room.',
  'unknown-peer': 'This person has left.',
  'too-late': 'This person left too long ago.',
  'password-wait': 'The server checks one password at a time. Try again in a few seconds.',
};

const STILL_HAS_KEY = ' They still have this room\u2019s link.';

export class Moderation {
  /** Whether the room is closed to newcomers. */
  locked = false;
  /** What is known of the room's password, and in which session. @type {{set: boolean, number: number, session: number | null} | null} */
  #password = null;
  /** What is said of it, should one's own decision not have been the cause. */
  #passwordNews = '';
  #request = 0;
  /** Whom this page has banned: they are gone from the roster. `until`: by the page's clock. @type {Map<string, {name: string, until: number}>} */
  #banned = new Map();
  /** Who has left, and when the server knew it; the latest last. @type {Map<string, {name: string, at: number}>} */
  #left = new Map();
  /** @type {Map<number, {action: Action, about: About & {hasLeft?: boolean}, name: string, hasKey: boolean, others: ReadonlySet<string>, at: number}>} by request; `hasKey`: of an encrypted room, as it has shown; `others`: who else is here */
  #open = new Map();
  /** What else was decided here, in this session. @type {{muted: Set<string>, moved: Set<string>, locked: boolean, password: boolean}} */
  #held = { muted: new Set(), moved: new Set(), locked: false, password: false };
  /** @type {number | null} */
  #session = null;
  /** Who was put out of an encrypted room last, and still has its link: another one is offered to those who stay. @type {import('./state.js').KeyHolder | null} */
  keyHolder = null;
  /** Who was put out last, until that one leaves. */
  #putOut = '';

  /** @param {Mesh} mesh */
  constructor(mesh) {
    this.mesh = mesh;
  }

  /** Whether this member may decide. */
  get isAllowed() {
    return this.mesh.roster.may(null, 'moderate');
  }

  /** Who is kept out of the room, as far as this page decided it. @param {number} now */
  banned(now) {
    for (const [id, { until }] of this.#banned) if (now >= until) this.#banned.delete(id);
    return [...this.#banned].map(([id, { name }]) => ({ id, name }));
  }

  /** A member is gone. @param {number} at when the server said so, by the page's clock @param {string} peer @param {string} label */
  left(at, peer, label) {
    this.#left.delete(peer);
    this.#left.set(peer, { name: label, at });
    if (this.#left.size > MOST_LEFT) this.#left.delete(this.#left.keys().next().value ?? '');
  }

  /** Who has left lately and can still be kept out, the latest first. @param {number} now */
  leftLately(now) {
    for (const [id, { at }] of this.#left)
      if (now >= at + LEFT_MS || this.mesh.roster.members.has(id)) this.#left.delete(id);
    return [...this.#left]
      .filter(([id]) => !this.#banned.has(id))
      .map(([id, { name }]) => ({ id, name }))
      .reverse();
  }

  /** This page's right to moderate may have changed. @param {boolean} could @param {boolean} can */
  permitted(could, can) {
    // Who hands it on reads that by itself.
    if (could === can || [...this.#open.values()].some(({ action }) => action === 'make-owner'))
      return;
    this.mesh.emit({
      type: 'remark',
      text: can ? 'You may moderate this room.' : 'You may no longer moderate this room.',
    });
  }

  /** @param {Action} action @param {About} [about] */
  decide(action, about = {}) {
    if (!this.mesh.signaling.isJoined) {
      this.#notDone('The server cannot be reached for now.');
      return;
    }
    const request = ++this.#request;
    const peer = about.peer ?? '';
    const { encryption, roster } = this.mesh;
    const member = roster.members.get(peer);
    const name =
      isolated((member?.label ?? this.#left.get(peer)?.name) || '') ||
      (this.#banned.get(peer)?.name ?? '');
    this.#open.set(request, {
      action,
      about: { ...about, ...(action === 'ban' && !member && { hasLeft: true }) },
      name,
      hasKey: encryption?.hadKey(peer) ?? false,
      others: new Set([...roster.members.keys()].filter((id) => id !== peer)),
      at: this.mesh.signaling.now,
    });
    if (this.#open.size > MOST_OPEN) this.#open.delete(this.#open.keys().next().value ?? 0);
    this.mesh.signaling.send(
      decide(action, request, { ...about, ...(action === 'ban' && { seconds: BAN_SECONDS }) }),
    );
  }

  /** @param {number} now @param {number} request */
  done(now, request) {
    const decision = this.#take(request);
    if (!decision) return;
    const { action, about, name, hasKey, others } = decision;
    const peer = about.peer ?? '';
    if (action === 'ban' || action === 'unban') this.#banned.delete(peer);
    if (action === 'ban') this.#banned.set(peer, { name, until: now + BAN_SECONDS * 1000 });
    if (this.#banned.size > MOST_BANNED)
      this.#banned.delete(this.#banned.keys().next().value ?? '');
    if ((action === 'ban' && !about.hasLeft) || action === 'kick') this.#putOut = peer;
    const held = this.#held;
    if (action === 'mute' && held.muted.size < MOST_BANNED) held.muted.add(peer);
    if (action === 'unmute') held.muted.delete(peer);
    if (action === 'move' && about.groups?.includes(GLOBAL)) held.moved.delete(peer);
    else if (action === 'move' && held.moved.size < MOST_BANNED) held.moved.add(peer);
    if (action === 'lock' || action === 'unlock') held.locked = action === 'lock';
    if (action === 'set-password') held.password = Boolean(about.password);
    if (action === 'set-password') this.#passwordNews = '';
    // The next join brings it along, should the server have forgotten it.
    if (action === 'set-password') this.mesh.config.password = about.password ?? '';
    const keepsKey = hasKey && (action === 'kick' || action === 'ban');
    if (keepsKey) this.keyHolder = { name, staying: others };
    const text = DONE[action](name, about) + (keepsKey ? STILL_HAS_KEY : '');
    this.mesh.emit({ type: 'remark', text });
  }

  /** Whether a member who is put out is so by such a decision, of which something is said by itself. @param {string} peer */
  putsOut(peer) {
    const isLast = this.#putOut === peer;
    if (isLast) this.#putOut = '';
    return (
      isLast ||
      [...this.#open.values()].some(
        ({ action, about }) => about.peer === peer && (action === 'kick' || action === 'ban'),
      )
    );
  }

  /** In the room, in this session: if it has begun anew, what was decided in it may have ended. @param {number} now @param {number} session */
  joined(now, session) {
    const isSame = this.#session === null || this.#session === session;
    this.#session = session;
    if (isSame) return;
    const { muted, moved, locked, password } = this.#held;
    this.#held = { muted: new Set(), moved: new Set(), locked: false, password: false };
    const ended = [
      muted.size > 0 && 'mutes for all have ended',
      moved.size > 0 && 'moves to groups have ended',
      locked && 'the lock has ended',
      this.banned(now).length > 0 && 'bans have ended if the server was started again',
      password && 'the password has ended if the server was started again without a secret',
    ].filter(Boolean);
    if (ended.length > 0)
      this.mesh.emit({ type: 'remark', text: `The room has begun anew: ${ended.join(', ')}.` });
  }

  /** @param {{request?: number, code: string, message: string}} error @returns {boolean} whether it answers a decision */
  refused({ request, code, message }) {
    const decision = request === undefined ? null : this.#take(request);
    if (!decision) return false;
    const isLate = code === 'unknown-peer' && decision.about.hasLeft;
    this.#notDone(REFUSED[isLate ? 'too-late' : code] ?? `The server said: “${message}”.`);
    return true;
  }

  /**
   * The room has this password now, or none; what a lost connection did not bring shows at the next join. Who decides it reads
   * the answer to that. @param {{set: boolean, number: number}} password
   */
  passwordIs({ set, number }) {
    const known = this.#password;
    const session = this.mesh.roster.session;
    this.#password = { set, number, session };
    if (!known) return;
    const isOther = set && known.session === session && known.number !== number;
    if (known.set === set && !isOther) return;
    const text = !set ? PASSWORD.removed : known.set ? PASSWORD.changed : PASSWORD.set;
    if (this.#decidesPassword) this.#passwordNews = text;
    else this.mesh.emit({ type: 'remark', text });
  }

  get #decidesPassword() {
    return [...this.#open.values()].some(({ action }) => action === 'set-password');
  }

  /** What was not said of the password because it could have been one's own doing, and was not. */
  #tellPassword() {
    if (this.#passwordNews === '' || this.#decidesPassword) return;
    this.mesh.emit({ type: 'remark', text: this.#passwordNews });
    this.#passwordNews = '';
  }

  /** Gives up decisions that are not answered. @param {number} now */
  tick(now) {
    for (const [request, { at }] of this.#open) {
      if (now < at + ANSWER_LIMIT_MS) continue;
      this.#open.delete(request);
      this.#notDone('The server did not answer in time.');
    }
  }

  /** The connection has ended, and answers on their way with it. */
  disconnected() {
    if (this.#open.size === 0) return;
    this.#open.clear();
    this.mesh.emit({
      type: 'remark',
      text: 'The connection ended before the server answered: what you decided last may not have been done.',
    });
    this.#tellPassword();
  }

  /** @param {string} why */
  #notDone(why) {
    this.mesh.emit({ type: 'remark', text: `That was not done. ${why}` });
    this.#tellPassword();
  }

  /** @param {number} request */
  #take(request) {
    const decision = this.#open.get(request) ?? null;
    this.#open.delete(request);
    return decision;
  }
}
