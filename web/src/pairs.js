/**
 * Links to others, attempt by attempt, and the handshake that binds each to a client (PROTOCOL.md, sections 5, 9 and 10).
 * The peer with the smaller id offers; a link that stalls or fails is replaced, never repaired. Pure: told the time in ms.
 *
 * @typedef {import('./mesh.js').Mesh} Mesh
 * @typedef {import('./messages.js').Signal} Signal
 * @typedef {{session: number, client: number}} Membership
 * @typedef {{session: number, you: number, remote: number}} Common
 */

import { Health } from './health.js';
import { signalTo } from './messages.js';
import { AckDue, TrainReceiver } from './receipts.js';
import { encode } from './wire.js';

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
const REPLACE_INTERVAL_MS = 5000;
const REQUEST_INTERVAL_MS = 2000;
/** Once within this time an offer is made sooner, if the last one was not answered. */
const HURRY_INTERVAL_MS = 10_000;
/** A request for an offer is repeated so many times, until an offer comes. */
const REQUEST_REPEATS = 3;
const OFFER_INTERVAL_MS = 500;
/** Offers of one peer that are answered within a minute although no link comes of them. */
const OFFERS = 6;
const OFFERS_MS = 60_000;
const ASK_AFTER_MS = 5000;
const LINGER_MS = 2000;
const LINKS_PER_PEER = 3;
const RETRY_BROKEN_MS = 100;

/** One connection to one peer. */
export class Link {
  /** @type {'opening' | 'open' | 'lingering'} */
  state = 'opening';
  lingersUntil = 0;
  /** @type {Membership | null} as whom we have said the link is ours */
  sent = null;
  /** @type {Membership | null} as whom the peer has */
  received = null;
  /** @type {Membership | null} a handshake that cannot be judged yet */
  waiting = null;
  /** @type {Common | null} the session that this pair speaks */
  common = null;
  /** @type {Common | null} the one before */
  former = null;
  ack = new AckDue();
  train = new TrainReceiver();
  echoedAt = -Infinity;

  /** @param {string} peer @param {number} generation @param {number} now */
  constructor(peer, generation, now) {
    this.peer = peer;
    this.generation = generation;
    this.health = new Health(now);
  }

  /** The peer's client id in a session, as far as this link knows. @param {number} session */
  remoteIn(session) {
    if (this.received?.session === session) return this.received.client;
    return [this.common, this.former].find((common) => common?.session === session)?.remote ?? null;
  }

  /** Binds when HandshakeP2P of one session has gone both ways. True if that is new. */
  bind() {
    const { sent, received, common } = this;
    if (!sent || !received || sent.session !== received.session) return false;
    const next = { session: sent.session, you: sent.client, remote: received.client };
    if (
      common &&
      common.session === next.session &&
      common.you === next.you &&
      common.remote === next.remote
    )
      return false;
    this.former = common;
    this.common = next;
    return true;
  }
}

class Pair {
  attempt = 0;
  /** @type {Map<number, Link>} oldest first */
  links = new Map();
  failures = 0;
  offeredAt = -Infinity;
  hurriedAt = -Infinity;
  /** The other side will not answer the attempt under way, and wants the next. */
  askedBeyond = false;
  /** A new attempt is due: this machine's path has changed, or what was said of the last one may not have arrived. */
  renew = false;
  /** @type {{attempt: number, repeats: number} | null} an offer beyond this attempt was asked for and has not come */
  requested = null;
  /** @type {{attempt: number, askAt: number} | null} an offer that came too soon after the last: it is asked for again */
  ignored = null;

  /** @param {number} now */
  constructor(now) {
    this.nextAttemptAt = now;
    this.askedAt = now;
  }

  get isLinked() {
    return [...this.links.values()].some((link) => link.state !== 'lingering');
  }

  get isOpening() {
    return [...this.links.values()].some((link) => link.state === 'opening');
  }

  /** A request that comes a while after an offer has not crossed it: that offer was lost. @param {number} now */
  mayAnswerRequest(now) {
    if (now >= this.offeredAt + REQUEST_INTERVAL_MS) return true;
    const mayHurry =
      this.askedBeyond &&
      now >= this.offeredAt + OFFER_INTERVAL_MS &&
      now >= this.hurriedAt + HURRY_INTERVAL_MS;
    if (mayHurry) this.hurriedAt = now;
    return mayHurry;
  }
}

export class Pairs {
  /** @type {Map<string, Pair>} */
  #pairs = new Map();
  /** @type {Map<string, number[]>} peer id → when its last offers were answered, whatever was given up since */
  #answered = new Map();
  /** Links that have opened. */
  #turns = 0;

  /** @param {Mesh} mesh */
  constructor(mesh) {
    this.mesh = mesh;
  }

  /** @param {string} peer */
  hasOpenLink(peer) {
    return [...(this.#pairs.get(peer)?.links.values() ?? [])].some((link) => link.state === 'open');
  }

  /** The newest link to a peer that has opened, whether or not it is bound. @param {string} peer */
  newestOpen(peer) {
    const links = [...(this.#pairs.get(peer)?.links.values() ?? [])];
    return links.findLast((link) => link.state === 'open') ?? null;
  }

  /** The link in use to a peer: the newest that is bound. @param {string} peer */
  bound(peer) {
    return (
      [...(this.#pairs.get(peer)?.links.values() ?? [])].findLast((link) => link.common !== null) ??
      null
    );
  }

  *all() {
    for (const pair of this.#pairs.values()) yield* [...pair.links.values()];
  }

  /** @param {string} peer @param {number} generation */
  get(peer, generation) {
    return this.#pairs.get(peer)?.links.get(generation) ?? null;
  }

  /** @param {number} now */
  tick(now) {
    for (const link of [...this.all()]) {
      if (link.state === 'lingering' && now >= link.lingersUntil) this.#close(now, link);
    }
    // After a change of path the connection in use may be a dead one: what is said waits for the next.
    if (!this.mesh.signaling.isJoined || this.mesh.signaling.isUrgent) return;
    for (const peer of this.mesh.roster.members.keys()) {
      if (!this.#mayLink(peer)) continue;
      const pair = this.#pair(now, peer);
      if (pair.renew) {
        pair.renew = false;
        this.#renew(now, peer, pair);
        continue;
      }
      if (pair.ignored && now >= pair.ignored.askAt) {
        const { attempt } = pair.ignored;
        pair.attempt = Math.max(pair.attempt, attempt);
        pair.ignored = null;
        this.#askForOffer(now, peer, pair, attempt);
        continue;
      }
      const { requested } = pair;
      if (
        requested &&
        requested.repeats < REQUEST_REPEATS &&
        now >= pair.askedAt + REQUEST_INTERVAL_MS
      ) {
        // The request, or the offer, may have been lost.
        requested.repeats += 1;
        pair.askedAt = now;
        this.mesh.signaling.send(signalTo(peer, requested.attempt, { kind: 'request-offer' }));
        continue;
      }
      const isAwaited = pair.askedBeyond && now >= pair.offeredAt + REQUEST_INTERVAL_MS;
      if ((pair.isLinked || now < pair.nextAttemptAt) && !isAwaited) continue;
      if (this.mesh.config.peer < peer) this.#offer(now, peer, pair);
      else if (now >= pair.askedAt + ASK_AFTER_MS) this.#askForOffer(now, peer, pair, pair.attempt);
    }
  }

  /** @param {number} now @param {string} from @param {number} attempt @param {Signal} said */
  signaled(now, from, attempt, said) {
    if (!this.#mayLink(from)) return;
    const { encryption } = this.mesh;
    // A description with a certificate that is not the member's is one that did not come: the attempt ends by its time, as when
    // the server withholds it.
    const signal = encryption ? encryption.authenticated(from, attempt, said) : said;
    if (signal === null) return;
    const offers = this.mesh.config.peer < from;
    const pair = this.#pair(now, from);
    if (signal.kind === 'request-offer') {
      const isNew = attempt >= pair.attempt;
      // Who asks for one beyond the attempt under way, or asks while it is, will not answer that.
      if (attempt > pair.attempt || (attempt === pair.attempt && pair.isOpening))
        pair.askedBeyond = true;
      pair.attempt = Math.max(pair.attempt, attempt);
      const isFree = pair.askedBeyond || !pair.isOpening;
      if (offers && isNew && isFree && pair.mayAnswerRequest(now)) this.#offer(now, from, pair);
    } else if (signal.kind === 'offer') {
      if (offers) return;
      if (attempt <= pair.attempt) {
        this.#offeredAgain(now, from, pair);
        return;
      }
      // A peer that offers without end would have us open links without end.
      const answered = (this.#answered.get(from) ?? []).filter((at) => now < at + OFFERS_MS);
      const askAt = Math.max(
        pair.offeredAt + OFFER_INTERVAL_MS,
        answered.length < OFFERS ? 0 : answered[0] + OFFERS_MS,
      );
      if (now < askAt) {
        pair.ignored = { attempt, askAt };
        return;
      }
      this.#answered.set(from, [...answered, now]);
      for (const [peer, times] of this.#answered)
        if (now >= times[times.length - 1] + OFFERS_MS || times.length === 0)
          this.#answered.delete(peer);
      pair.attempt = attempt;
      pair.ignored = null;
      pair.requested = null;
      pair.offeredAt = now;
      this.#closeOpening(now, pair);
      this.#open(now, pair, new Link(from, attempt, now), 'answer');
      this.mesh.carrier.signalLink(from, attempt, signal);
    } else if (pair.links.has(attempt)) {
      this.mesh.carrier.signalLink(from, attempt, signal);
    }
  }

  /** What a link wants its other end to know. @param {string} peer @param {number} generation @param {Signal} signal */
  linkSignal(peer, generation, signal) {
    const { encryption, signaling } = this.mesh;
    if (!this.get(peer, generation) || !signaling.isJoined) return;
    const said = encryption ? encryption.tagged(peer, generation, signal) : signal;
    signaling.send(signalTo(peer, generation, said));
  }

  /** @param {number} now @param {string} peer @param {number} generation */
  linkOpen(now, peer, generation) {
    const link = this.get(peer, generation);
    if (!link || link.state !== 'opening') return;
    link.state = 'open';
    link.health = new Health(now, this.#turns++);
    const pair = this.#pair(now, peer);
    pair.failures = 0;
    // The offer of a link that opens does not count.
    if (this.mesh.config.peer > peer) this.#answered.get(peer)?.pop();
    // A request that crossed the offer is answered by it.
    pair.askedBeyond = false;
    this.#sendHandshake(now, link);
    this.mesh.session.refreshRoutes(now);
  }

  /** @param {number} now @param {string} peer @param {number} generation @param {boolean} onPurpose */
  linkClosed(now, peer, generation, onPurpose) {
    const pair = this.#pairs.get(peer);
    const link = pair?.links.get(generation);
    if (!pair || !link) return;
    if (link.state === 'opening') {
      pair.nextAttemptAt =
        now + Math.min(FIRST_RETRY_MS * 2 ** Math.min(pair.failures, 6), LONGEST_RETRY_MS);
      pair.failures += 1;
    } else if (link.state === 'open') {
      pair.nextAttemptAt = now + (onPurpose ? FIRST_RETRY_MS : RETRY_BROKEN_MS);
    }
    this.#close(now, link);
  }

  /** Called on every join: sends a handshake over each link that has opened. @param {number} now */
  greet(now) {
    for (const link of this.all()) if (link.state !== 'opening') this.#sendHandshake(now, link);
    this.judgeWaiting(now);
  }

  /** The roster may now name peers whose handshakes wait. @param {number} now */
  judgeWaiting(now) {
    for (const link of this.all()) {
      const { waiting } = link;
      link.waiting = null;
      if (waiting) this.handshake(now, link, waiting.session, waiting.client);
    }
  }

  /**
   * "This link is mine", from its other end: the id must be the roster's for that peer.
   * @param {number} now @param {Link} link @param {number} session @param {number} client
   */
  handshake(now, link, session, client) {
    const { mesh } = this;
    if (mesh.session.current?.session !== session || !mesh.session.isJoined) {
      if (!mesh.session.wasIn(session)) link.waiting = { session, client };
      return;
    }
    const named = mesh.roster.clientOf(session, link.peer);
    if (named === null) {
      link.waiting = { session, client };
    } else if (named === client) {
      link.received = { session, client };
      this.#sendHandshake(now, link);
      this.#tryBind(now, link);
    }
  }

  /** Acknowledges, probes, and leaves what has stalled. @param {number} now */
  care(now) {
    const { mesh } = this;
    for (const link of [...this.all()]) {
      // What the link could not take when it was due.
      if (link.state !== 'opening') this.#sendHandshake(now, link);
      const { common, peer, generation } = link;
      const capabilities = mesh.roster.capabilities(peer);
      if (!common || !capabilities?.voice_ack) continue;
      const send = (/** @type {Uint8Array} */ packet) =>
        mesh.sendLink(peer, generation, 'unreliable', packet);
      const due = link.ack.take(now);
      if (due) {
        const { newest, earlier, at } = due;
        const receivedMs = capabilities.path_feedback ? Math.floor(at) >>> 0 : undefined;
        send(
          encode('VoiceAck', common.session, { sender: common.you, newest, earlier, receivedMs }),
        );
      }
      const report = link.train.report(now);
      if (report)
        send(encode('BandwidthReport', common.session, { sender: common.you, ...report }));
      const { probe, stalledNow, replace } = link.health.update(now);
      if (probe !== null)
        send(encode('Probe', common.session, { sender: common.you, token: probe }));
      const { speech } = mesh.session;
      if (replace && !speech.isFull) this.#replace(now, link);
      if (stalledNow) {
        const unsettled = link.health.takeUnacknowledged();
        // What a full queue holds arrives, or was dropped for want of room: it is not sent again.
        if (speech.isFull) link.health.setCongested();
        else {
          mesh.signaling.ask(now);
          mesh.uplink?.linkStalled(peer, generation);
        }
        mesh.session.refreshRoutes(now);
        if (!speech.isFull) speech.rescue(now, peer, unsettled);
      }
    }
  }

  /** This machine has another network: attempts under way are in vain, and every pair needs a new link. @param {number} now */
  renewAll(now) {
    for (const pair of this.#pairs.values()) {
      this.#closeOpening(now, pair);
      pair.renew = true;
      pair.failures = 0;
      pair.nextAttemptAt = now;
    }
  }

  /**
   * Another connection to the server is in use: what was said on the former one, by either side, may not have arrived. The
   * attempts that it was about are made anew.
   * @param {number} now
   */
  renewUnsettled(now) {
    for (const pair of this.#pairs.values()) {
      if (!pair.isOpening && !pair.requested) continue;
      pair.renew = true;
      pair.nextAttemptAt = now;
    }
  }

  /** @param {number} now @param {string} peer @param {Pair} pair */
  #renew(now, peer, pair) {
    if (this.mesh.config.peer < peer) {
      this.#offer(now, peer, pair);
      return;
    }
    this.#closeOpening(now, pair);
    // One beyond whatever was under way, which this side does not answer any more. An offer of that number that crosses the
    // request is as good.
    this.#askForOffer(now, peer, pair, Math.min(pair.attempt + 1, 0xffffffff));
  }

  /**
   * An offer of a number that is known already. If the attempt of that number is not under way, the offerer has given this peer
   * up meanwhile and counts anew: a request names the number to continue from.
   * @param {number} now @param {string} peer @param {Pair} pair
   */
  #offeredAgain(now, peer, pair) {
    if (pair.isOpening || pair.requested || now < pair.askedAt + REQUEST_INTERVAL_MS) return;
    this.#askForOffer(now, peer, pair, pair.attempt);
  }

  /** Another attempt takes the place of those under way. @param {number} now @param {Pair} pair */
  #closeOpening(now, pair) {
    for (const link of [...pair.links.values()])
      if (link.state === 'opening') this.#close(now, link);
  }

  /** @param {number} now @param {string} peer */
  drop(now, peer) {
    for (const link of [...(this.#pairs.get(peer)?.links.values() ?? [])]) this.#close(now, link);
    this.#pairs.delete(peer);
  }

  /** @param {number} now */
  dropAll(now) {
    for (const peer of [...this.#pairs.keys()]) this.drop(now, peer);
  }

  /** @param {number} now @param {string} peer */
  #pair(now, peer) {
    let pair = this.#pairs.get(peer);
    if (!pair) this.#pairs.set(peer, (pair = new Pair(now)));
    return pair;
  }

  /** @param {string} peer */
  #mayLink(peer) {
    const { config, encryption, serverRelayOnly, roster } = this.mesh;
    return (
      (encryption?.mayLink(peer) ?? true) &&
      !config.capabilities.relay_only &&
      !serverRelayOnly &&
      !roster.isLost(peer) &&
      !roster.capabilities(peer)?.relay_only
    );
  }

  /** @param {number} now @param {string} peer @param {Pair} pair */
  #offer(now, peer, pair) {
    // The other end answers the newest only.
    this.#closeOpening(now, pair);
    pair.attempt = Math.min(pair.attempt + 1, 0xffffffff);
    pair.offeredAt = now;
    pair.askedBeyond = false;
    this.#open(now, pair, new Link(peer, pair.attempt, now), 'offer');
  }

  /** @param {number} now @param {string} peer @param {Pair} pair @param {number} attempt */
  #askForOffer(now, peer, pair, attempt) {
    pair.askedAt = now;
    pair.requested = { attempt, repeats: 0 };
    this.mesh.signaling.send(signalTo(peer, attempt, { kind: 'request-offer' }));
  }

  /** @param {number} now @param {Pair} pair @param {Link} link @param {'offer' | 'answer'} role */
  #open(now, pair, link, role) {
    pair.links.set(link.generation, link);
    this.mesh.carrier.openLink(link.peer, link.generation, role, this.mesh.iceServers);
    for (const old of [...pair.links.values()].slice(0, -LINKS_PER_PEER)) this.#close(now, old);
  }

  /** @param {number} now @param {Link} link */
  #close(now, link) {
    const unsettled = link.health.takeUnacknowledged();
    this.#pairs.get(link.peer)?.links.delete(link.generation);
    this.mesh.carrier.closeLink(link.peer, link.generation);
    if (link.common) this.mesh.session.speech.rescue(now, link.peer, unsettled);
    this.mesh.session.refreshRoutes(now);
  }

  /** @param {number} now @param {Link} link */
  #sendHandshake(now, link) {
    const { current, isJoined } = this.mesh.session;
    if (!current || !isJoined) return;
    const { session, you } = current;
    if (link.sent?.session === session && link.sent.client === you) return;
    const packet = encode('HandshakeP2P', session, { client: you });
    if (!this.mesh.sendLink(link.peer, link.generation, 'reliable', packet)) return;
    link.sent = { session, client: you };
    this.#tryBind(now, link);
  }

  /** @param {number} now @param {Link} link */
  #tryBind(now, link) {
    if (!link.bind()) return;
    for (const old of this.#pair(now, link.peer).links.values()) {
      if (old.generation < link.generation && old.state !== 'lingering') {
        old.state = 'lingering';
        old.lingersUntil = now + LINGER_MS;
      }
    }
    this.mesh.session.refreshRoutes(now);
  }

  /** Nothing has come through a link for a while. @param {number} now @param {Link} link */
  #replace(now, link) {
    const { peer } = link;
    this.mesh.signaling.ask(now);
    if (this.mesh.roster.isLost(peer)) {
      this.#close(now, link);
      return;
    }
    const pair = this.#pair(now, peer);
    if (!this.mesh.signaling.isJoined || !this.#mayLink(peer) || pair.isOpening) return;
    // Another link is in use already.
    if (
      [...pair.links.values()].some(
        (other) => other.generation > link.generation && other.state === 'open',
      )
    )
      return;
    if (this.mesh.config.peer < peer) {
      if (now < pair.nextAttemptAt) return;
      pair.nextAttemptAt = now + REPLACE_INTERVAL_MS;
      this.#offer(now, peer, pair);
    } else if (now >= pair.askedAt + REPLACE_INTERVAL_MS) {
      this.#askForOffer(now, peer, pair, pair.attempt);
    }
  }
}
