/**
 * What listeners and speakers tell each other about speech: reception reports, clock probes and their answers (PROTOCOL.md,
 * section 8). Told the time in ms.
 */

import { Answers, Clock } from './clocks.js';
import { Feedback } from './feedback.js';
import { Hearers } from './hearers.js';

/** @typedef {import('./mesh.js').Mesh} Mesh */
/** @typedef {import('./playback.js').Playback} Playback */

export class Reports {
  feedback = new Feedback();
  hearers = new Hearers();
  /** @type {Map<string, Clock>} by peer */
  clocks = new Map();
  answers = new Answers();
  /** Through which speaker others are heard. @type {string | undefined} */
  #speaker;

  /** A room is entered. */
  begin() {
    [this.feedback, this.hearers] = [new Feedback(), new Hearers()];
  }

  /** The room is left. */
  end() {
    this.clocks.clear();
    this.answers.captured = null;
  }

  /** @param {string} peer */
  forget(peer) {
    this.clocks.delete(peer);
    this.feedback.forget(peer);
    this.hearers.forget(peer);
  }

  /** @param {number} now @param {string} peer @param {import('./wire.js').Report} report */
  reported(now, peer, report) {
    this.hearers.reported(now, peer);
    this.feedback.told(now, peer, report);
  }

  /** Reports to speakers, and asks for their time. @param {number} now @param {Mesh} mesh @param {Playback} playback @param {boolean} plays */
  send(now, { session, roster }, playback, plays) {
    const { sinkId } = playback.context;
    // What was measured with another speaker holds no longer.
    if (this.#speaker !== sinkId) this.clocks.clear();
    this.#speaker = sinkId;
    for (const [id, remote] of playback.remotes) {
      const report = remote.report(now);
      if (!roster.capabilities(id)?.reports) continue;
      // Who is received but not decoded is not heard, and is not told otherwise.
      if (report && !remote.fails) session.sendTo(id, 'ReceptionReport', report);
      if (!remote.playing || !remote.speaks(now) || !plays) continue;
      let known = this.clocks.get(id);
      if (!known) this.clocks.set(id, (known = new Clock()));
      const place = remote.place(remote.playing.sequence);
      known.observePlayout(
        now + playback.outputLatencyMs,
        place,
        remote.playing.offsetMs,
        remote.playing.frameMs,
      );
      const askedUs = known.pollProbe(now, place);
      if (askedUs !== null) session.sendTo(id, 'ClockProbe', { askedUs });
    }
  }

  /** @param {number} now @param {Mesh | null} mesh @param {string} peer @param {number} askedUs */
  asked(now, mesh, peer, askedUs) {
    if (!mesh?.roster.capabilities(peer)?.reports) return;
    const { listeners } = mesh.session.speech;
    const echo = this.answers.tell(now, askedUs, {
      peer,
      listeners,
      estimate: mesh.uplink?.estimate ?? null,
    });
    if (echo) mesh.session.sendTo(peer, 'ClockEcho', echo);
  }

  /** @param {number} now @param {Mesh | null} mesh @param {Playback | null} playback @param {string} peer @param {import('./wire.js').ClockEcho} echo */
  handleEcho(now, mesh, playback, peer, echo) {
    const remote = playback?.remotes.get(peer);
    if (!remote) return;
    this.clocks.get(peer)?.handleEcho(now, echo, (sequence) => {
      const extended = mesh?.session.extend(peer, sequence) ?? null;
      return extended === null ? null : remote.place(extended);
    });
  }
}
