/**
 * The speaker: the one sound context in which everybody is heard, which speaker it plays to, and what becomes of it when
 * that ends. It is tried again until sound comes back.
 *
 * @typedef {'off' | 'starting' | 'waits' | 'on' | 'default' | 'none'} OutputState
 *   `waits`: the browser wants a click before it plays. `default`: the chosen speaker is gone, the system's plays.
 *   `none`: there is no speaker that plays.
 * @typedef {AudioContext & {setSinkId?: (sink: string) => Promise<void>, sinkId?: string}} Context newer than the types
 */

import { PageError, chooseSpeaker, soundDevices } from './optional.js';
import { Silence } from './silence.js';

const RATE = 48_000;
/** A speaker that is gone is tried again so often. */
const RETRY_MS = 2000;
/** A context that has started on a speaker that is gone ends again within a second. */
const LASTS_MS = 2500;
/** So many turns of the page's timer without one of the sound's thread: it stands still, though no error says so. */
const STALLED_TURNS = 200;
/** A chosen speaker is looked for so often: no event says that it is gone where the sound system plays on elsewhere. */
const WATCH_MS = 3000;
/** One that ends again within this time is gone. */
const AGAIN_MS = 5000;

/** Starts the worklets of a context. @param {AudioContext} context @param {string[]} modules */
async function load(context, modules) {
  try {
    await Promise.all(
      modules.map((module) => context.audioWorklet.addModule(new URL(module, import.meta.url))),
    );
    return context;
  } catch (error) {
    void context.close();
    throw error;
  }
}

export class Output {
  /** @type {Context | null} */
  context = null;
  /** @type {Promise<Context> | null} */
  #opening = null;
  #sink = '';
  #wanted = false;
  /** Whether it ever played: before that, it is a click that is missing. */
  #hasPlayed = false;
  #isGone = false;
  #isReplaced = false;
  #wasAway = false;
  #endedAt = -Infinity;
  /** Turns of the page's timer since the sound's thread was last heard of. */
  #turns = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #watch;

  /** For browsers that say nothing of a speaker that is gone. */
  #silence = new Silence(() => this.changed());

  /** @param {() => void} changed another `state` */
  constructor(changed) {
    this.changed = changed;
  }

  /** @returns {OutputState} */
  get state() {
    if (!this.context || !this.#wanted) return 'off';
    if (this.#isGone || this.#silence.fails) return 'none';
    if (this.context.state !== 'running') return this.#hasPlayed ? 'starting' : 'waits';
    return this.#isReplaced ? 'default' : 'on';
  }

  /** Whether what is played can be heard now. */
  get plays() {
    return this.goesOn && !this.#silence.fails;
  }

  /** Whether the sound's clock runs, also where nothing is heard of it. */
  get goesOn() {
    return this.context?.state === 'running' && !this.#isGone && this.#turns < STALLED_TURNS / 8;
  }

  /** The context, made at the first need, playing. One for the page's whole life: a browser keeps some of each that is closed. */
  async open() {
    this.#wanted = true;
    this.#silence.begin();
    this.#opening ??= this.#make();
    const context = await this.#opening.catch(() => {
      // Tried anew the next time; what is gone with an older version of the page is not.
      this.#opening = null;
      throw new PageError('no-sound');
    });
    // The room may have been left meanwhile.
    if (this.#wanted && !this.#isGone) start(context);
    this.#watchChosen();
    return context;
  }

  async #make() {
    /** @type {Context} */
    const context = new AudioContext({ sampleRate: RATE, latencyHint: 'interactive' });
    this.context = context;
    context.onstatechange = () => this.#stateChanged(context);
    context.addEventListener('error', () => this.#ended(context));
    await load(context, ['capture-worklet.js', 'playback-worklet.js']);
    if (this.#sink !== '') await this.#setSink(context);
    await this.#look();
    return context;
  }

  /** Which speaker. @param {string} id '' is the system's */
  async choose(id) {
    this.#sink = id === 'default' ? '' : id;
    if (this.context) await this.#setSink(this.context);
    this.#watchChosen();
    this.changed();
  }

  #watchChosen() {
    clearTimeout(this.#watch);
    if (this.#sink === '' || !this.#wanted) return;
    this.#watch = setTimeout(async () => {
      if (this.state === 'on') await this.devicesChanged();
      this.#watchChosen();
    }, WATCH_MS);
  }

  /** A click allows sound. */
  resume() {
    if (this.context) start(this.context);
    this.#silence.begin();
  }

  /** Nothing is to be heard until the next `open`. */
  suspend() {
    this.#wanted = this.#isGone = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#silence.end();
    if (this.context) void Promise.resolve(this.context.suspend()).catch(() => {});
  }

  /** The sound's thread goes on. */
  ticked() {
    this.#turns = 0;
  }

  /** The page's timer goes on. */
  turned() {
    this.#turns += 1;
    if (this.#turns !== STALLED_TURNS || this.context?.state !== 'running') return;
    this.#turns = 0;
    this.#ended(this.context);
  }

  /** Devices have come or gone. */
  async devicesChanged() {
    const { context } = this;
    if (!context || !this.#wanted) return;
    const { outputs } = await soundDevices().catch(() => ({ outputs: [] }));
    // One that ended is not trusted before it was away.
    const isListed = outputs.some(({ id }) => id === this.#sink);
    if (!isListed) this.#wasAway = true;
    else if (this.#isReplaced && this.#wasAway) await this.#setSink(context);
    // Some sound systems play on by themselves on the default one, and the context goes on.
    const isMoved = this.#sink !== '' && !isListed && outputs.length > 0 && !this.#isReplaced;
    if (isMoved && context.state === 'running') {
      this.#isReplaced = true;
      await chooseSpeaker(context, '').catch(() => {});
    }
    if (this.#isGone) this.#tryAgain(context);
    else await this.#look();
    if (this.#isReplaced && !this.#isGone) this.#later(() => this.devicesChanged(), RETRY_MS);
    this.changed();
  }

  /** @param {Context} context */
  async #setSink(context) {
    const sink = this.#sink;
    try {
      await chooseSpeaker(context, sink);
      if (sink === this.#sink) this.#isReplaced = false;
    } catch {
      // Another one was chosen meanwhile.
      if (sink !== this.#sink) return;
      this.#isReplaced = this.#sink !== '';
      await chooseSpeaker(context, '').catch(() => {});
    }
  }

  async #look() {
    const isThere = await hasOutput();
    if (!isThere && this.context && this.#wanted) this.#gone(this.context);
  }

  /** The speaker has ended: the system's takes over, if there is one. @param {Context} context */
  #ended(context) {
    if (!this.#wanted || this.#isGone) return;
    const now = performance.now();
    const isAgain = now < this.#endedAt + AGAIN_MS;
    this.#endedAt = now;
    if (isAgain && !context.sinkId) return this.#gone(context);
    this.#later(() => this.#stateChanged(context), RETRY_MS);
    if (context.sinkId) {
      this.#isReplaced = true;
      this.#wasAway = false;
      chooseSpeaker(context, '').then(
        () => this.#restart(context),
        () => this.#gone(context),
      );
    } else {
      this.#restart(context);
    }
    return this.changed();
  }

  /** Also one that only says that it runs. @param {Context} context */
  #restart(context) {
    const again = () => {
      if (this.#wanted) start(context);
    };
    if (context.state === 'running') context.suspend().then(again, () => {});
    else again();
  }

  /** @param {Context} context */
  #gone(context) {
    this.#isGone = true;
    this.#later(() => this.#tryAgain(context), RETRY_MS);
    this.changed();
  }

  /** @param {Context} context */
  #tryAgain(context) {
    this.#restart(context);
    this.#later(() => this.#gone(context), RETRY_MS);
    if (context.state === 'running') this.#stateChanged(context);
  }

  /** @param {Context} context */
  #stateChanged(context) {
    if (context.state === 'running') {
      this.#hasPlayed = true;
      if (this.#isGone) {
        this.#later(async () => {
          if (
            !(await hasOutput()) ||
            context.state !== 'running' ||
            this.#turns >= STALLED_TURNS / 8
          )
            return this.#gone(context);
          this.#isGone = false;
          return this.changed();
        }, LASTS_MS);
      }
      // Not every system tells that it is back.
      else if (this.#isReplaced) this.#later(() => this.devicesChanged(), RETRY_MS);
    } else if (this.#hasPlayed && this.#wanted && !this.#isGone) {
      // A telephone call, or a speaker that ended without another word. Changing the speaker is over by then.
      this.#later(() => {
        if (context.state !== 'running') this.#gone(context);
      }, RETRY_MS);
    }
    this.changed();
  }

  /** @param {() => void} act @param {number} ms in place of what was to be done */
  #later(act, ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#wanted) act();
    }, ms);
  }
}

/** In which context a microphone is heard: the speaker's, or one that plays nowhere while no speaker works. */
export class CaptureContext {
  /** @type {Promise<AudioContext> | null} */
  #silent = null;

  /** @param {Output} output @param {import('./capture.js').Capture} capture */
  constructor(output, capture) {
    this.output = output;
    this.capture = capture;
  }

  /** After each change of the output. @returns {boolean} whether the microphone has moved back to it */
  follow() {
    const { output, capture } = this;
    // A clock that goes on is one for the microphone as well.
    if (output.state === 'none' && !output.goesOn) {
      this.#silent ??= silentContext();
      this.#silent.then(
        (silent) => {
          if (output.state !== 'none' || output.goesOn) return;
          capture.moveTo(silent);
          start(silent);
        },
        () => {
          this.#silent = null;
        },
      );
    } else if (output.context && output.plays && capture.base !== output.context) {
      capture.base.suspend().catch(() => {});
      capture.moveTo(output.context);
      return true;
    }
    return false;
  }

  /** The room is left: the microphone's context, if it is another one, stands still until one is needed. */
  end() {
    const { base } = this.capture;
    if (base !== this.output.context) base.suspend().catch(() => {});
  }
}

/** A context that plays nowhere, for a microphone while there is no speaker. Where a browser has no such: one like any other. */
function silentContext() {
  const options = {
    sampleRate: RATE,
    latencyHint: /** @type {const} */ ('interactive'),
    sinkId: { type: 'none' },
  };
  return load(new AudioContext(options), ['capture-worklet.js']);
}

/** A context that runs at the rate of the system's speaker, for a microphone. */
export async function contextAtItsRate() {
  const context = new AudioContext({ latencyHint: 'interactive' });
  await load(context, ['capture-rate-worklet.js']);
  start(context);
  return context;
}

/** Some browsers play into nothing where there is no speaker: those that name speakers are asked for them. */
const hasOutput = () =>
  soundDevices().then(
    (found) => found.hasOutput,
    () => true,
  );

/** A promise of a speaker that is gone may never be kept: the state tells. @param {AudioContext} context */
function start(context) {
  void Promise.resolve(context.resume()).catch(() => {});
}
