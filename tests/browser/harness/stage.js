/** What one test has: a folder, servers, browsers and people, all gone when it ends; what they said is shown when it fails. */

import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  findChromium,
  launch,
  launchUntouched,
  launchWithSound,
  packagesAreInstalled,
  Person,
} from './browser.js';
import { findFirefox, Firefox } from './firefox.js';
import { Pulse, pulseIsInstalled } from './pulse.js';
import { binary, Program, Server } from './program.js';
import { speechFile, spoken, UnheardError, writeWav } from './sound.js';

/** Until the page has joined and its route is settled, its microphone hears nothing. */
export const LEAD_S = 3;

/**
 * Why a test file cannot run here, or false; where CI=true it must.
 * @param {string | false} [lack] what else it needs and does not have
 */
function reasonToSkip(lack = false) {
  const why = !packagesAreInstalled()
    ? 'the packages of web/ are not installed (cd web && npm ci)'
    : findChromium() === null
      ? 'Chromium is not installed (VOICEMESH_CHROMIUM names one elsewhere)'
      : lack;
  if (why && ['true', '1'].includes(process.env.CI ?? ''))
    throw new Error(`the browser tests must run where CI=true, but: ${why}`);
  if (why) console.log(`SKIPPED ${process.argv[1]?.split('/').pop()}: ${why}`);
  return why;
}

export const skip = reasonToSkip();

/** Options of a test that takes about so long. @param {number} [seconds] */
export const within = (seconds = 90) => ({ skip, timeout: seconds * 1000 });

/** The same for a test with a sound server, and with Firefox where it needs that. @param {number} seconds @param {{firefox?: boolean}} [needs] */
export function withSound(seconds, { firefox = false } = {}) {
  const lack = !pulseIsInstalled()
    ? 'PulseAudio is not installed'
    : firefox && findFirefox() === null
      ? 'Firefox is not installed (VOICEMESH_FIREFOX names one elsewhere)'
      : false;
  return { skip: skip || (lack && reasonToSkip(lack)), timeout: seconds * 1000 };
}

export class Stage {
  folder = mkdtempSync(join(tmpdir(), 'voicemesh-browser-'));
  /** @type {(() => unknown)[]} */
  #endings = [() => rmSync(this.folder, { recursive: true, force: true })];
  /** @type {Program[]} */
  #programs = [];
  /** @type {(Person | import('./firefox.js').FirefoxPage)[]} */
  #people = [];
  #voices = 0;

  /** @param {import('node:test').TestContext} context */
  constructor(context) {
    this.context = context;
  }

  /** @param {string} name */
  file(name) {
    return join(this.folder, name);
  }

  /** Done when the test is over. @param {() => unknown} ending */
  atEnd(ending) {
    this.#endings.push(ending);
  }

  /** A line for who reads the outcome. @param {string} text */
  tell(text) {
    this.context.diagnostic(text);
  }

  /** Speech and silence as a file. @param {string} name @param {(string | number)[]} parts see `spoken` */
  speech(name, ...parts) {
    const file = this.file(name);
    writeWav(file, spoken(...parts));
    return file;
  }

  /** @param {string[]} parameters */
  async server(...parameters) {
    const server = await Server.start(parameters);
    this.#programs.push(server.program);
    this.#endings.push(() => server.program.kill());
    return server;
  }

  /** A new process in the place of one that was killed. @param {Server} server */
  async startAgain(server) {
    await server.startAgain();
    this.#programs.push(server.program);
  }

  /**
   * A peer run by the command line, which records what it hears into `<name>.wav`. It encrypts, as the page does, unless it is `plain`.
   * @param {Server} server
   * @param {string} name
   * @param {{room?: string, input?: string, more?: string[], plain?: boolean}} [joining]
   */
  cli(server, name, { room = 'room', input = 'silence', more = [], plain = false } = {}) {
    const program = new Program(name, binary('voicemesh'), [
      'join',
      room,
      '--json',
      '--server',
      server.socketUrl,
      '--name',
      name,
      '--input',
      input,
      '--output',
      this.file(`${name}.wav`),
      '--state-dir',
      this.file(`${name}.state`),
      ...(plain ? ['--unencrypted'] : []),
      ...more,
    ]);
    this.#programs.push(program);
    this.#endings.push(() => program.kill());
    return program;
  }

  /** Who says back what is heard, as `make run` starts it. @param {Server} server */
  echo(server) {
    const program = new Program('echo', binary('voicemesh'), [
      'echo',
      'room',
      '--server',
      server.socketUrl,
      '--state-dir',
      this.file('echo.state'),
    ]);
    this.#programs.push(program);
    this.#endings.push(() => program.kill());
    return program;
  }

  /** A program that embeds the peer, says a file and hears into `<name>.wav`. @param {Server} server @param {string} name @param {string} input @param {number} seconds */
  game(server, name, input, seconds) {
    const program = new Program(name, binary('examples/frame_loop'), [
      server.socketUrl,
      'room',
      name,
      input,
      this.file(`${name}.wav`),
      String(seconds),
    ]);
    this.#programs.push(program);
    this.#endings.push(() => program.kill());
    return program;
  }

  /** A browser whose microphone hears these parts, once, after a lead of silence. @param {(string | number)[]} parts */
  browser(...parts) {
    return this.#launch(
      `${this.speech(`voice-${this.#voices++}.wav`, LEAD_S, ...parts, 1)}%noloop`,
    );
  }

  /** A browser whose microphone has these parts, once, on the second of its two channels. @param {(string | number)[]} parts */
  browserOnSecondChannel(...parts) {
    const file = this.file(`voice-${this.#voices++}.wav`);
    const voice = spoken(LEAD_S, ...parts, 1);
    writeWav(
      file,
      Int16Array.from({ length: voice.length * 2 }, (_, at) => (at % 2 === 1 ? voice[at >> 1] : 0)),
      2,
    );
    return this.#launch(`${file}%noloop`);
  }

  /** A browser whose microphone hears a voice without end; without one, a beep every second. @param {string} [voice] */
  browserSpeakingOn(voice) {
    return this.#launch(voice === undefined ? null : speechFile(voice));
  }

  /** As people have it: tabs can be hidden and frozen. Its microphone hears a voice without end. @param {string} voice */
  async untouchedBrowser(voice) {
    const { browser, close } = await launchUntouched(speechFile(voice), this.file('profile'));
    this.#endings.push(close);
    return browser;
  }

  /** A sound server with a virtual speaker and microphone. */
  async pulse(hz = 48_000) {
    const pulse = new Pulse(this.file('pulse'), hz);
    this.#endings.push(() => pulse.kill());
    await pulse.start();
    return pulse;
  }

  /** Chromium with those speakers, and that microphone or a voice without end. @param {Pulse} pulse @param {string} [voice] */
  async browserWithSound(pulse, voice) {
    const { browser, close } = await launchWithSound(
      pulse.env,
      voice === undefined ? null : speechFile(voice),
    );
    this.#endings.push(close);
    return browser;
  }

  /** Firefox with that microphone and speaker. @param {Pulse} pulse @param {Record<string, boolean>} [preferences] */
  async firefox(pulse, preferences = {}) {
    const firefox = await Firefox.launch(this.file('firefox'), pulse.env, preferences);
    this.#programs.push(firefox.program);
    this.#endings.push(() => firefox.close());
    return firefox;
  }

  /** Opens the page there. @param {Firefox} firefox @param {string} url @param {string} name @param {(string | (() => void))[]} [first] */
  async openInFirefox(firefox, url, name, first) {
    const page = await firefox.open(url, name, first);
    this.#people.push(page);
    return page;
  }

  /** @param {string | null} voice */
  async #launch(voice) {
    const { browser, close } = await launch(voice);
    this.#endings.push(close);
    return browser;
  }

  /** Opens the page. @param {import('playwright-core').Browser} browser @param {string} url @param {string} name @param {import('./browser.js').Using} [using] */
  async open(browser, url, name, using) {
    const person = await Person.open(browser, url, name, using);
    this.#people.push(person);
    this.#endings.push(() => person.context.close());
    return person;
  }

  /** Opens the page, joins and waits for it. @param {import('playwright-core').Browser} browser @param {Server} server @param {string} name @param {import('./browser.js').Using} [using] */
  async person(browser, server, name, using) {
    const person = await this.open(browser, server.url, name, using);
    await person.join(using);
    await person.waitForPhase('joined');
    return person;
  }

  /** Nothing went wrong in anybody's page. */
  assertNoFaults() {
    for (const person of this.#people) person.assertNoFaults();
  }

  /** What everybody said, and how it looked. @param {string} title */
  async #tellFailure(title) {
    const lines = this.#programs.map((program) => program.transcript);
    for (const [at, person] of this.#people.entries()) {
      lines.push(`--- ${person.name}'s page said:`, ...person.said, ...person.faults);
      await person.picture(`failed-${title.replaceAll(/\W+/g, '-')}-${at}`).catch(() => {});
    }
    // Sound that is late or has holes may be the machine's doing.
    const load = loadavg()
      .map((one) => one.toFixed(1))
      .join(', ');
    console.error(`=== ${title} (load of the machine: ${load})\n${lines.join('\n')}`);
  }

  async #end() {
    while (this.#endings.length > 0) {
      const end = this.#endings.pop();
      // One that cannot be ended must not keep the others.
      await Promise.resolve()
        .then(end)
        .catch((error) => console.error(`ending: ${error}`));
    }
  }

  /**
   * The body of a test with a separate stage. Where sound had gaps it is played again, at most twice, which is logged: two
   * browsers fill two cores, and whatever else runs for a moment makes a gap. A fault of the project happens each time.
   * @param {(stage: Stage) => Promise<void>} play
   * @returns {(context: import('node:test').TestContext) => Promise<void>}
   */
  static for(play) {
    return async (context) => {
      for (let more = 2; ; more--) {
        try {
          return await Stage.#once(context, play);
        } catch (error) {
          const isGap = error instanceof UnheardError && !context.signal.aborted;
          if (!isGap || more === 0) throw error;
          console.error(`=== ${context.name}: ${error.message}; once more`);
        }
      }
    };
  }

  /**
   * @param {import('node:test').TestContext} context
   * @param {(stage: Stage) => Promise<void>} play
   */
  static async #once(context, play) {
    const stage = new Stage(context);
    // A test that runs out of time is not waited for: it ends here.
    const abort = () => void stage.#end();
    context.signal.addEventListener('abort', abort);
    try {
      await play(stage);
      stage.assertNoFaults();
    } catch (error) {
      await stage.#tellFailure(context.name);
      throw error;
    } finally {
      context.signal.removeEventListener('abort', abort);
      await stage.#end();
    }
  }
}
