/** One speaker's frames in order: sequence numbers extended beyond 16 bits, doubles and old talkspurts told (PROTOCOL.md, section 8). */

import { groupId } from './wire.js';

const FORGET_AFTER_MS = 2000;
const WINDOW = 128;
/**
 * A sender whose numbers jumped back is followed when nothing but frames that seem old, each ahead of the one before, has come
 * for this long, and at least so many.
 */
const JUMPED_FOR_MS = 600;
const JUMPED_FRAMES = 6;
const JUMPED_STEP = 50;
/** So that frames before the first can have a number too. */
const ORIGIN = 1 << 20;

/**
 * Why frames missing before the next one were not lost: the speaker had other listeners, or none, and a packet brings copies
 * only of frames that had the same listeners; or this listener was not to hear, nor the frames of which copies may follow.
 * @typedef {'by-speaker' | 'by-listener'} Interruption
 */

export class ReplayWindow {
  /** @type {{at: number, newest: number, seen: Set<number>, talkspurt: number, counter: number, over: number, resumed: number} | null} `over`: frames up to this one are of a talkspurt that is over; `resumed`: the first after an interruption by the listener, those before it were not for it */
  #last = null;
  /** Until the next frame ahead of the newest: those missing before it were not lost. @type {Interruption | null} */
  #interruption = null;
  /** @type {{since: number, newest: number, frames: number} | null} frames in a row that seem old */
  #old = null;
  #target = '';

  /**
   * Places a frame that arrived now; null if it is a duplicate, too old, or of an older talkspurt.
   * @param {number} now ms
   * @param {number} sequence
   * @param {{bits: number, value: number}} talkspurt
   * @returns {{sequence: number, talkspurt: number} | null}
   */
  accept(now, sequence, talkspurt) {
    const last = this.#last;
    if (!last) {
      const newest = ORIGIN + sequence;
      this.#last = {
        at: now,
        newest,
        seen: new Set([newest]),
        talkspurt: 0,
        counter: talkspurt.value,
        over: 0,
        resumed: 0,
      };
      return { sequence: newest, talkspurt: 0 };
    }
    if (now > last.at + FORGET_AFTER_MS) return this.#startOver(now, last, sequence, talkspurt);
    const step = talkspurtStep(last.counter, talkspurt);
    const ahead = ((sequence - last.newest) << 16) >> 16;
    const extended = last.newest + ahead;
    if (step < 0 || ahead <= -WINDOW || extended <= last.over || last.seen.has(extended)) {
      return this.#hasJumped(now, sequence)
        ? this.#startOver(now, last, sequence, talkspurt)
        : null;
    }
    this.#old = null;
    if (ahead > 0 && this.#interruption !== null) {
      if (ahead > 1) {
        [last.talkspurt, last.over] = [last.talkspurt + 1, last.newest];
        if (this.#interruption === 'by-listener') last.resumed = extended;
      }
      this.#interruption = null;
    }
    if (step > 0) {
      last.talkspurt += step;
      last.counter = talkspurt.value;
    }
    last.seen.add(extended);
    if (ahead > 0) {
      last.newest = extended;
      for (const old of last.seen) if (old <= extended - WINDOW) last.seen.delete(old);
    }
    last.at = now;
    return { sequence: extended, talkspurt: last.talkspurt };
  }

  /**
   * The newest number with these low bits that is ahead of all that came.
   * @param {number} now @param {{at: number, newest: number, seen: Set<number>, talkspurt: number, counter: number, over: number}} last
   * @param {number} sequence @param {{value: number}} talkspurt
   */
  #startOver(now, last, sequence, talkspurt) {
    const ahead = (sequence - last.newest) & 0xffff;
    last.newest += ahead === 0 ? 65536 : ahead;
    last.seen = new Set([last.newest]);
    last.talkspurt += 1;
    last.counter = talkspurt.value;
    last.at = now;
    this.#old = null;
    this.#interruption = null;
    return { sequence: last.newest, talkspurt: last.talkspurt };
  }

  /** Notes a frame that seems old; true if the sender counts anew. @param {number} now @param {number} sequence */
  #hasJumped(now, sequence) {
    const run = this.#old;
    const ahead = run ? (sequence - run.newest) & 0xffff : 0;
    if (!run || ahead < 1 || ahead > JUMPED_STEP) {
      this.#old = { since: now, newest: sequence, frames: 1 };
      return false;
    }
    run.newest = sequence;
    run.frames += 1;
    return run.frames >= JUMPED_FRAMES && now >= run.since + JUMPED_FOR_MS;
  }

  /** The speaker may have spoken, but not to this listener: the next frame begins a talkspurt if others are missing before it. @param {Interruption} interruption */
  interrupt(interruption) {
    if (this.#last && this.#interruption !== 'by-listener') this.#interruption = interruption;
  }

  /**
   * The target by which a frame reaches this listener: another one than before, or another opening of it, interrupts. What
   * comes late, or twice by both routes, says nothing of what is addressed now.
   * @param {string} target @param {number} sequence
   */
  reachedBy(target, sequence) {
    if (this.#last && ((sequence - this.#last.newest) << 16) >> 16 <= 0) return;
    if (this.#target !== target) this.interrupt('by-speaker');
    this.#target = target;
  }

  /** @param {number} extended */
  hasSeen(extended) {
    const last = this.#last;
    return (
      last !== null &&
      (extended <= last.newest - WINDOW || extended < last.resumed || last.seen.has(extended))
    );
  }

  /** The extended number of a frame near the newest. @param {number} sequence */
  extend(sequence) {
    return this.#last ? this.#last.newest + (((sequence - this.#last.newest) << 16) >> 16) : null;
  }
}

const STREAMS = 1024;

/** The streams of all speakers, in the order in which they were heard last. When there are too many, the first is forgotten. */
export class Streams {
  /** @type {Map<string, ReplayWindow>} */
  #streams = new Map();

  /** A speaker's stream, of which something came. @param {string} peer */
  of(peer) {
    const stream = this.#streams.get(peer) ?? new ReplayWindow();
    this.#streams.delete(peer);
    if (this.#streams.size >= STREAMS) this.#streams.delete([...this.#streams.keys()][0]);
    this.#streams.set(peer, stream);
    return stream;
  }

  /** The extended number of a speaker's frame. @param {string} peer @param {number} sequence */
  extend(peer, sequence) {
    return this.#streams.get(peer)?.extend(sequence) ?? null;
  }

  /** That of one speaker, or of all. @param {string} [peer] */
  interrupt(peer) {
    for (const [id, stream] of this.#streams)
      if (peer === undefined || id === peer) stream.interrupt('by-listener');
  }

  /** @param {string} peer */
  forget(peer) {
    this.#streams.delete(peer);
  }
}

/**
 * How many talkspurts ahead (positive) or behind (negative), by the shorter way around.
 * @param {number} current
 * @param {{bits: number, value: number}} arrived
 */
function talkspurtStep(current, arrived) {
  const modulus = 1 << arrived.bits;
  const ahead = (((arrived.value - current) % modulus) + modulus) % modulus;
  return ahead > modulus / 2 ? ahead - modulus : ahead;
}

const MOST_TARGETS = 64;

/** What one is saying and to whom: open targets, frame counter, talkspurts. */
export class VoiceTargets {
  /** @type {{key: string, kind: 'group' | 'peer', name: string, group: number, closing: boolean, session: number}[]} `group`: its id */
  #targets = [];
  #talkspurt = 0;
  #begun = false;
  #openings = 0;

  /** @param {number} firstSequence drawn at random */
  constructor(firstSequence) {
    this.nextSequence = firstSequence;
  }

  /**
   * @param {'group' | 'peer'} kind
   * @param {string} name the group's name, or the peer's id
   * @returns {boolean} false if too many are open
   */
  open(kind, name) {
    const key = `${kind} ${name}`;
    const known = this.#targets.find((target) => target.key === key);
    if (known && !known.closing) return true;
    this.#openings += 1;
    if (known) {
      known.closing = false;
      known.session = this.#openings & 3;
      return true;
    }
    if (this.#targets.length >= MOST_TARGETS) return false;
    this.#targets.push({
      key,
      kind,
      name,
      group: groupId(name),
      closing: false,
      session: this.#openings & 3,
    });
    return true;
  }

  /**
   * The next frame is its last; a target that never carried one goes at once.
   * @param {'group' | 'peer'} kind
   * @param {string} name
   */
  close(kind, name) {
    const key = `${kind} ${name}`;
    if (!this.#begun) this.#targets = this.#targets.filter((target) => target.key !== key);
    const known = this.#targets.find((target) => target.key === key);
    if (known) known.closing = true;
  }

  get openTargets() {
    return this.#targets.filter((target) => !target.closing);
  }

  get isClosing() {
    return this.#targets.some((target) => target.closing);
  }

  /** Whom the next frame is for. */
  get nextTargets() {
    return this.#targets;
  }

  /** Takes the address of the next frame; null when there is no target: it is not sent and takes no number. */
  nextFrame() {
    if (this.#targets.length === 0) return null;
    const address = {
      sequence: this.nextSequence,
      talkspurt: { bits: 7, value: this.#talkspurt },
      targets: this.#targets.map((target) => ({ ...target })),
    };
    this.nextSequence = (this.nextSequence + 1) & 0xffff;
    this.#begun = true;
    this.#targets = this.#targets.filter((target) => !target.closing);
    if (this.#targets.length === 0) this.endTalkspurt();
    return address;
  }

  /** The next frame is the first of a talkspurt: those before it had other listeners, or none. */
  endTalkspurt() {
    if (this.#begun) this.#talkspurt = (this.#talkspurt + 1) & 0x7f;
    this.#begun = false;
  }
}

/**
 * An earlier frame of the same talkspurt to the same targets: a frame to other targets is not for these listeners.
 * @param {import('./speech.js').Recent[]} recents
 * @param {import('./speech.js').Address} address
 * @param {number} behind
 */
export function earlierFrame(recents, address, behind) {
  const sequence = (address.sequence - behind) & 0xffff;
  const found = recents.findLast((recent) => recent.address.sequence === sequence);
  return found && sameAddress(found.address, address) && found.frame.length > 0
    ? found.frame
    : null;
}

/**
 * Whether two frames are said to the same people in one talkspurt, so that they may share a packet.
 * @param {import('./speech.js').Address} one @param {import('./speech.js').Address} other
 */
export function sameAddress(one, other) {
  const names = (/** @type {import('./speech.js').Address} */ { targets }) =>
    targets.map((target) => `${target.kind} ${target.name} ${target.closing}`).join('\n');
  return one.talkspurt.value === other.talkspurt.value && names(one) === names(other);
}
