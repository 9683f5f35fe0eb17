/**
 * Whether peers that only the relay reaches still answer (PROTOCOL.md, section 9, "Routes"): the server finds that a peer's
 * network is gone up to half a minute later, and what is relayed to it until then is lost without a notice. So a peer from
 * which nothing comes is sent a clock probe. Pure: told the time in ms.
 *
 * @typedef {{since: number, lastAt: number, questions: number}} Asked
 * @typedef {{usedAt: number, speechAt: number, heardAt: number, isOnlyWay: boolean, asked: Asked | null}} Relayed
 * `usedAt`: when something was relayed to it last; `speechAt`: when speech came from it without an announced pause.
 */

/** Silence after which a peer is asked to whom speech is relayed … */
const QUIET_MS = 2000;
/** … and, without speech, one that only the relay reaches, … */
const QUIET_WITHOUT_SPEECH_MS = 8000;
/** … one at a time. */
const WITHOUT_SPEECH_APART_MS = 250;
const ASK_INTERVAL_MS = 1000;
/** Questions at `ASK_INTERVAL_MS`; later ones are further apart. */
const FIRST_QUESTIONS = 4;
/** A peer that has not answered within this time of the first question is out of reach. */
const ANSWER_LIMIT_MS = 2000;
/** A peer counts as one to whom speech is relayed for this long after a relayed packet. */
const IN_USE_MS = 3000;
/** Relayed speech that has stopped without an announced pause is asked after within this time. */
const BROKEN_OFF_MS = 4000;

export class Answering {
  /** @type {Map<string, Relayed>} */
  #relayed = new Map();
  /** Peers that have answered before. Of others silence says nothing: not every client answers. @type {Set<string>} */
  #answer = new Set();
  #askedIdleAt = -Infinity;

  /** @param {number} now @param {string} peer */
  #of(now, peer) {
    let relayed = this.#relayed.get(peer);
    if (!relayed) {
      relayed = {
        usedAt: -Infinity,
        speechAt: -Infinity,
        heardAt: now,
        isOnlyWay: false,
        asked: null,
      };
      this.#relayed.set(peer, relayed);
    }
    return relayed;
  }

  /** Only the relay reaches these. @param {number} now @param {Iterable<string>} peers */
  onlyWays(now, peers) {
    for (const relayed of this.#relayed.values()) relayed.isOnlyWay = false;
    for (const peer of peers) this.#of(now, peer).isOnlyWay = true;
  }

  /** Speech is relayed to a peer, or could only be relayed. @param {number} now @param {string} peer */
  used(now, peer) {
    this.#of(now, peer).usedAt = now;
  }

  /**
   * Speech to a peer could only be relayed, since its link is stalled, from which something came last at `heardAt`.
   * @param {number} now @param {string} peer @param {number} heardAt
   */
  stalled(now, peer, heardAt) {
    const isKnown = this.#relayed.has(peer);
    const relayed = this.#of(now, peer);
    if (!isKnown) relayed.heardAt = heardAt;
    relayed.usedAt = now;
  }

  /** Speech came from a peer through the relay. @param {number} now @param {string} peer @param {boolean} ends */
  spoke(now, peer, ends) {
    this.#of(now, peer).speechAt = ends ? -Infinity : now;
  }

  /** Something came from a peer; `isAnswer` if only those send it who answer. @param {number} now @param {string} peer @param {boolean} isAnswer */
  heard(now, peer, isAnswer) {
    if (isAnswer) this.#answer.add(peer);
    const relayed = this.#relayed.get(peer);
    if (relayed) [relayed.heardAt, relayed.asked] = [now, null];
  }

  /** The server is not known to pass anything on: no peer can be blamed. @param {number} now */
  excuseAll(now) {
    for (const relayed of this.#relayed.values()) [relayed.heardAt, relayed.asked] = [now, null];
  }

  /** @param {string} peer */
  forget(peer) {
    this.#relayed.delete(peer);
    this.#answer.delete(peer);
  }

  /** Whom to ask now; they count as asked. @param {number} now @returns {string[]} */
  questions(now) {
    /** @type {string[]} */
    const due = [];
    /** @type {{since: number, peer: string} | null} */
    let quietest = null;
    for (const [peer, relayed] of this.#relayed) {
      const { asked, isOnlyWay } = relayed;
      const isInUse = now < relayed.usedAt + IN_USE_MS || now < relayed.speechAt + BROKEN_OFF_MS;
      if (!isInUse && !isOnlyWay && asked === null) {
        this.#relayed.delete(peer);
      } else if (isInUse || (asked !== null && this.#answer.has(peer))) {
        if (isDue(now, relayed, QUIET_MS, 2 * ASK_INTERVAL_MS)) due.push(peer);
      } else if (isDue(now, relayed, QUIET_WITHOUT_SPEECH_MS, QUIET_WITHOUT_SPEECH_MS)) {
        const since = asked?.lastAt ?? relayed.heardAt;
        if (quietest === null || since < quietest.since) quietest = { since, peer };
      }
    }
    if (quietest !== null && now >= this.#askedIdleAt + WITHOUT_SPEECH_APART_MS) {
      this.#askedIdleAt = now;
      due.push(quietest.peer);
    }
    for (const peer of due) {
      const relayed = this.#of(now, peer);
      const { since, questions } = relayed.asked ?? { since: now, questions: 0 };
      relayed.asked = { since, lastAt: now, questions: questions + 1 };
    }
    return due;
  }

  /** A peer was asked, and does not answer. @param {number} now @param {string} peer */
  isSilent(now, peer) {
    const asked = this.#relayed.get(peer)?.asked ?? null;
    return asked !== null && this.#answer.has(peer) && now >= asked.since + ANSWER_LIMIT_MS;
  }
}

/** @param {number} now @param {Relayed} relayed @param {number} quiet before the first question @param {number} later between later ones */
function isDue(now, { asked, heardAt }, quiet, later) {
  if (asked === null) return now >= heardAt + quiet;
  return now >= asked.lastAt + (asked.questions < FIRST_QUESTIONS ? ASK_INTERVAL_MS : later);
}
