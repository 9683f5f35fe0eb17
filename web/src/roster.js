/**
 * Who is in the room. A peer that the server lost is kept while a link reaches it, and no arrival or departure is reported
 * twice (PROTOCOL.md, sections 4 and 10). Pure: the time in ms is handed in.
 *
 * @typedef {import('./mesh.js').Mesh} Mesh
 * @typedef {import('./messages.js').PeerInfo} PeerInfo
 * @typedef {{info: PeerInfo, label: string, client: number | null, lost: {at: number, until: number, byLink: boolean} | null,
 *   silenced?: boolean}} Member `silenced`: the permission to speak was taken away while this page was here
 * `label`: the name, and the beginning of the id if it looks like another's
 */

import { receivedName, shortIds } from './names.js';
import { GLOBAL } from './session.js';

const KEEP_LINKED_MS = 120_000;
const KEEP_RETURNING_MS = 10_000;
const RELEASED = 'You may choose your talk groups again, and are with everyone now.';
const RELEASED_ELSEWHERE = 'You may choose your talk groups again.';
/** More than any server lets into a room; beyond, newcomers are not taken in. */
const MOST_MEMBERS = 10_000;

/** @param {PeerInfo | null | undefined} info @param {import('./messages.js').Permission} what */
function allows(info, what) {
  return info?.permissions ? info.permissions.includes(what) : what !== 'moderate';
}

export class Roster {
  /** @type {Map<string, Member>} everyone else */
  members = new Map();
  /** @type {Map<number, string>} client id → peer id in the current session */
  #clients = new Map();
  /** @type {PeerInfo | null} */
  #own = null;
  #version = 0;
  session = 0;

  /** @param {Mesh} mesh */
  constructor(mesh) {
    this.mesh = mesh;
  }

  /** This page, as the others see it. */
  get own() {
    return this.#own;
  }

  /** Whether this page's permission to speak was taken away while it was here. */
  ownSilenced = false;

  /** @param {string} peer */
  isLost(peer) {
    const member = this.members.get(peer);
    return !member || member.lost !== null;
  }

  /** A peer's client id in a session. @param {number} session @param {string} peer */
  clientOf(session, peer) {
    return session === this.session ? (this.members.get(peer)?.client ?? null) : null;
  }

  /** @param {number} session @param {number} client */
  peerOf(session, client) {
    return session === this.session ? (this.#clients.get(client) ?? null) : null;
  }

  /** @param {string} peer */
  capabilities(peer) {
    return this.members.get(peer)?.info.capabilities ?? null;
  }

  /** What a member, or this page itself, may do. @param {string | null} peer null: this page @param {import('./messages.js').Permission} what */
  may(peer, what) {
    const info = peer === null ? this.#own : this.members.get(peer)?.info;
    return allows(info, what);
  }

  /** Whether a member listens at all. @param {string} peer */
  listens(peer) {
    return this.may(peer, 'listen') && !this.members.get(peer)?.info.status?.deafened;
  }

  /** What a member, or this page itself, may not do that members usually may. @param {string | null} peer */
  lacking(peer) {
    return /** @type {const} */ (['speak', 'listen', 'data']).filter(
      (what) => !this.may(peer, what),
    );
  }

  /** @param {number} now @param {string} peer @param {import('./messages.js').Permission[]} permissions */
  permissions(now, peer, permissions) {
    this.#version += 1;
    const isOwn = peer === this.mesh.config.peer;
    const member = this.members.get(peer);
    const info = isOwn ? this.#own : member?.info;
    if (!info) return;
    const former = { ...info };
    info.permissions = permissions;
    this.#permitted(isOwn ? null : peer, former, info);
    this.mesh.session.rosterChanged(now);
    this.mesh.emit({ type: 'metadata', peer });
  }

  /** @param {number} now @param {string} peer @param {string[]} groups in which a moderator holds it; none: nowhere */
  held(now, peer, groups) {
    const info = peer === this.mesh.config.peer ? this.#own : this.members.get(peer)?.info;
    if (!info) return;
    const former = info.held_in ?? [];
    info.held_in = groups;
    // What was said while it could not be heard is no loss.
    this.mesh.session.interrupt(peer);
    // Where to, a `move` has said.
    if (info === this.#own) this.#released(former, groups);
    this.mesh.session.rosterChanged(now);
  }

  /** The own name as the others see it: an access token may name another than the one that was asked for. */
  get ownName() {
    return this.#own?.name ?? this.mesh.config.name;
  }

  /** The groups in which a moderator holds this page; none: nowhere. */
  get heldIn() {
    return this.#own?.held_in ?? [];
  }

  /** @param {string[]} former @param {string[]} groups in which this page is held from now on */
  #released(former, groups) {
    if (former.length === 0 || groups.length > 0) return;
    this.mesh.emit({
      type: 'remark',
      text: this.mesh.session.groups.has(GLOBAL) ? RELEASED : RELEASED_ELSEWHERE,
    });
  }

  /** A page that was loaded anew, or was away, goes where it is held. @param {number} now @param {string[]} former @param {string[]} groups */
  #heldByRoster(now, former, groups) {
    this.#released(former, groups);
    const { session } = this.mesh;
    const listens = [...session.groups];
    const isThere = listens.length > 0 && listens.every((name) => groups.includes(name));
    if (groups.length > 0 && !isThere) session.moveTo(now, groups);
  }

  /** Whether no listener of these groups hears a member, or this page, since it is held in others. @param {string | null} peer null: this page @param {(group: string) => boolean} listens */
  isHeldElsewhere(peer, listens) {
    const held = (peer === null ? this.#own : this.members.get(peer)?.info)?.held_in ?? [];
    return held.length > 0 && !held.some(listens);
  }

  /**
   * What follows from a member's permissions, or this page's own, that may have changed.
   * @param {string | null} peer null: this page @param {PeerInfo} former @param {PeerInfo} info
   */
  #permitted(peer, former, info) {
    const member = peer === null ? null : this.members.get(peer);
    const [could, can] = [allows(former, 'speak'), allows(info, 'speak')];
    const silenced =
      !can && (could || (peer === null ? this.ownSilenced : (member?.silenced ?? false)));
    // What was said while it could not be heard is no loss.
    if (peer !== null && could !== can) this.mesh.session.interrupt(peer);
    if (peer === null && allows(former, 'listen') !== allows(info, 'listen'))
      this.mesh.session.interrupt();
    if (peer === null)
      this.mesh.moderation.permitted(allows(former, 'moderate'), allows(info, 'moderate'));
    if (peer === null) this.ownSilenced = silenced;
    else if (member) member.silenced = silenced;
  }

  /** Whether the server's roster is what this one holds. @param {{version: number, hash: string}} mark */
  matches(mark) {
    const present = [...this.members.values()]
      .filter((member) => !member.lost)
      .map((member) => member.info);
    return (
      mark.version === this.#version &&
      mark.hash === rosterHash(this.#own ? [...present, this.#own] : present)
    );
  }

  /**
   * The server's whole word on who is here.
   * @param {number} now
   * @param {PeerInfo[]} infos oneself included
   * @param {{version: number}} mark
   */
  set(now, infos, mark) {
    const [former, own] = [this.#own, infos.find((info) => info.peer === this.mesh.config.peer)];
    this.#own = own ? { ...own, name: this.#nameOf(own) } : former;
    if (former && own) this.#permitted(null, former, own);
    if (own) this.#heldByRoster(now, former?.held_in ?? [], own.held_in ?? []);
    this.#clients.clear();
    this.#arrive(now, infos);
    const listed = new Set(infos.map((info) => info.peer));
    for (const [peer, member] of [...this.members]) {
      if (listed.has(peer)) continue;
      member.client = null;
      if (!member.lost) this.#lose(now, peer, KEEP_RETURNING_MS);
    }
    this.#version = mark.version;
    this.mesh.session.rosterChanged(now);
  }

  /** @param {number} now @param {PeerInfo} info */
  joined(now, info) {
    this.#version += 1;
    this.#arrive(now, [info]);
    this.mesh.session.rosterChanged(now);
  }

  /** @param {number} now @param {string} peer @param {string} reason */
  left(now, peer, reason) {
    this.#version += 1;
    if (reason === 'lost') this.#lose(now, peer, 0);
    else if (reason === 'replaced') this.#lose(now, peer, KEEP_RETURNING_MS);
    else this.giveUp(now, peer, reason);
  }

  /** @param {{peer: string, metadata: Record<string, string>, changes?: number}} message */
  metadata({ peer, metadata, changes = 1 }) {
    this.#version += changes;
    const member = this.members.get(peer);
    if (!member) return;
    member.info.metadata = metadata;
    this.mesh.emit({ type: 'metadata', peer });
  }

  /** @param {string} peer @param {import('./messages.js').Status} status */
  status(peer, status) {
    this.#version += 1;
    const member = this.members.get(peer);
    if (!member) return;
    member.info.status = status;
    this.mesh.emit({ type: 'metadata', peer });
  }

  /** @param {number} now */
  tick(now) {
    const { awaySince } = this.mesh.signaling;
    const unreachable = awaySince !== null && now >= awaySince + KEEP_LINKED_MS;
    for (const [peer, { lost }] of [...this.members]) {
      const linked = this.mesh.pairs.hasOpenLink(peer);
      if (lost ? now >= lost.until || (lost.byLink && !linked) : unreachable && !linked)
        this.giveUp(now, peer, 'lost');
    }
  }

  /** Gone from server and links, and told so. @param {number} now @param {string} peer @param {string} reason */
  giveUp(now, peer, reason) {
    this.mesh.pairs.drop(now, peer);
    const member = this.members.get(peer);
    if (!member) return;
    this.members.delete(peer);
    for (const [client, named] of this.#clients) if (named === peer) this.#clients.delete(client);
    this.#label();
    this.mesh.session.forgetPeer(peer);
    if (reason !== 'restarted')
      this.mesh.moderation.left(member.lost?.at ?? now, peer, member.label);
    this.mesh.emit({ type: 'peer-left', peer, name: member.label, reason });
  }

  /** Tells apart those whose names look alike, the own name included. */
  #label() {
    const own = this.#own ? [this.#own] : [];
    const infos = [...own, ...[...this.members.values()].map((member) => member.info)];
    const ids = shortIds(
      infos.map(({ peer, name }) => [peer, name]),
      this.#relabel,
    );
    for (const [peer, member] of this.members) {
      const id = ids.get(peer);
      member.label = member.info.name + (id === undefined ? '' : `#${id}`);
    }
  }

  #relabel = () => {
    this.#label();
    this.mesh.emit({ type: 'members' });
  };

  /** @param {PeerInfo} info */
  #nameOf(info) {
    return receivedName(this.mesh.encryption?.nameOf(info) ?? info.name, info.peer);
  }

  /** @param {number} now @param {PeerInfo[]} infos */
  #arrive(now, infos) {
    const events = infos.flatMap((info) => this.#takeIn(now, info) ?? []);
    // Once for all of them, and before any of them is named.
    if (events.some(({ type }) => type === 'peer-joined')) this.#label();
    for (const event of events) this.mesh.emit(event);
  }

  /** @param {number} now @param {PeerInfo} info @returns {import('./mesh.js').MeshEvent | undefined} */
  #takeIn(now, info) {
    const { peer } = info;
    if (peer === this.mesh.config.peer) return undefined;
    const known = this.members.get(peer);
    if (known && known.info.run !== info.run) this.giveUp(now, peer, 'restarted');
    if (!this.members.has(peer) && this.members.size >= MOST_MEMBERS) return undefined;
    const former = this.#clients.get(info.client);
    const nameless = former === undefined || former === peer ? undefined : this.members.get(former);
    if (nameless) nameless.client = null;
    this.#clients.set(info.client, peer);
    const isNew = !this.members.has(peer);
    const name = this.#nameOf(info);
    this.members.set(peer, {
      ...known,
      info: { ...info, name },
      label: known?.label ?? name,
      client: info.client,
      lost: null,
    });
    if (known && !isNew) this.#permitted(peer, known.info, info);
    return { type: isNew ? 'peer-joined' : 'metadata', peer };
  }

  /** @param {number} now @param {string} peer @param {number} graceMs */
  #lose(now, peer, graceMs) {
    const linked = this.mesh.pairs.hasOpenLink(peer);
    const member = this.members.get(peer);
    if (!member) return;
    member.lost = {
      at: member.lost?.at ?? now,
      until: now + (linked ? KEEP_LINKED_MS : graceMs),
      byLink: linked && graceMs === 0,
    };
    if (!linked && graceMs === 0) this.giveUp(now, peer, 'lost');
    else this.mesh.emit({ type: 'metadata', peer });
  }
}

const FNV_BASIS = 0xcbf29ce484222325n;
const FNV_PRIME = 0x100000001b3n;

/** @param {PeerInfo[]} infos everyone, in any order */
export function rosterHash(infos) {
  let hash = FNV_BASIS;
  const sorted = [...infos].sort((a, b) => a.order - b.order);
  for (const { peer, client, run, order } of sorted) {
    const text = peer.replaceAll('-', '') + digits(client, 4) + digits(run, 8) + digits(order, 16);
    for (let at = 0; at < text.length; at += 2) {
      hash = BigInt.asUintN(64, (hash ^ BigInt(parseInt(text.slice(at, at + 2), 16))) * FNV_PRIME);
    }
  }
  return hash.toString(16).padStart(16, '0');
}

/** @param {number} value @param {number} length */
const digits = (value, length) => value.toString(16).padStart(length, '0');
