/** A private PulseAudio server with a virtual speaker and a virtual microphone (as `tests/src/pulse.rs` has it for Rust). */

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { PATIENCE_MS, Program } from './program.js';

/** The sinks that a browser plays to; the first is the default. */
export const SPEAKERS = ['speaker', 'second'];
const TOOLS = ['pulseaudio', 'paplay', 'parec', 'pactl'];

/** @param {string} name @param {number} hz */
const nullSink = (name, hz) =>
  `load-module module-null-sink sink_name=${name} rate=${hz} channels=2 sink_properties=device.description=${name}`;

export function pulseIsInstalled() {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return TOOLS.every((tool) => folders.some((folder) => existsSync(join(folder, tool))));
}

export class Pulse {
  #modules = new Map(SPEAKERS.map((name, at) => [name, at + 1]));

  /** @param {string} folder is made, and must be private @param {number} hz of the speakers */
  constructor(folder, hz = 48_000) {
    this.folder = folder;
    this.hz = hz;
    mkdirSync(folder, { mode: 0o700 });
    mkdirSync(join(folder, 'home'));
    writeFileSync(join(folder, 'cookie'), new Uint8Array(256));
    writeFileSync(
      join(folder, 'setup.pa'),
      [
        `load-module module-native-protocol-unix auth-anonymous=1 socket=${folder}/native`,
        ...SPEAKERS.map((name) => nullSink(name, hz)),
        'load-module module-null-sink sink_name=feed rate=48000 channels=1',
        'load-module module-remap-source source_name=microphone master=feed.monitor channels=1 remix=no',
        `set-default-sink ${SPEAKERS[0]}`,
        'set-default-source microphone',
        '',
      ].join('\n'),
    );
    const { PULSE_SINK, PULSE_SOURCE, DBUS_SESSION_BUS_ADDRESS, DISPLAY, ...rest } = process.env;
    /** For programs that shall use this server. @type {NodeJS.ProcessEnv} */
    this.env = {
      ...rest,
      HOME: join(folder, 'home'),
      XDG_CONFIG_HOME: join(folder, 'home'),
      XDG_RUNTIME_DIR: folder,
      PULSE_RUNTIME_PATH: folder,
      PULSE_CONFIG_PATH: folder,
      PULSE_COOKIE: join(folder, 'cookie'),
      PULSE_SERVER: `unix:${folder}/native`,
    };
  }

  /** Begins, or begins again after `kill`. */
  async start() {
    rmSync(join(this.folder, 'native'), { force: true });
    this.daemon = new Program(
      'pulseaudio',
      'pulseaudio',
      [
        '-n',
        '--daemonize=no',
        '--exit-idle-time=-1',
        '--use-pid-file=no',
        '--disable-shm=yes',
        '--log-level=info',
        '--log-target=stderr',
        '--fail=yes',
        '--file',
        join(this.folder, 'setup.pa'),
      ],
      this.env,
    );
    await this.daemon.waitForLine('that it has started', ({ text }) =>
      text.includes('Daemon startup complete'),
    );
    return this;
  }

  /** Without warning. */
  kill() {
    return this.daemon?.kill();
  }

  /** A speaker is unplugged. @param {string} name */
  async unplug(name) {
    // Modules are numbered as they were loaded; the first carries the protocol.
    await this.#control('unload-module', String(this.#modules.get(name)));
  }

  /** It is plugged in again. @param {string} name */
  async plug(name) {
    await this.#control(...nullSink(name, this.hz).split(' '));
  }

  /** Until no more than one stream is open: browsers keep those that they used for some seconds, and play to them again. */
  async waitUntilOneStream() {
    const until = Date.now() + PATIENCE_MS;
    while ((await this.#control('list', 'short', 'sink-inputs')).length > 1)
      if (Date.now() > until) throw new Error('several streams stay open');
  }

  /** Runs `pactl`, and gives the lines that it prints. @param {string[]} parameters */
  async #control(...parameters) {
    const program = new Program('pactl', 'pactl', parameters, this.env);
    await program.ended;
    if (program.child.exitCode !== 0) throw new Error(program.transcript);
    return program.transcript.split('\n').slice(1);
  }

  /** Plays a file into the microphone, to its end. @param {string} file */
  async say(file) {
    const player = new Program('paplay', 'paplay', ['--device=feed', file], this.env);
    await player.ended;
  }

  /** Until a speaker plays something. @param {string} [speaker] */
  async waitUntilPlayed(speaker) {
    const recorder = this.record(speaker);
    try {
      await recorder.loud;
    } finally {
      await recorder.stop();
    }
  }

  /** Records what a speaker plays, until `stop`, which gives the samples; `loud` is kept once something was played. @param {string} [speaker] */
  record(speaker = SPEAKERS[0]) {
    const recorder = spawn(
      'parec',
      [
        `--device=${speaker}.monitor`,
        '--format=s16le',
        '--rate=48000',
        '--channels=1',
        '--latency-msec=20',
      ],
      { env: this.env, stdio: ['ignore', 'pipe', 'ignore'] },
    );
    /** @type {Buffer[]} */
    const pieces = [];
    const ended = new Promise((resolve) => recorder.on('close', resolve));
    const loud = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${speaker} plays nothing`)), PATIENCE_MS);
      recorder.stdout.on('data', (/** @type {Buffer} */ piece) => {
        pieces.push(piece);
        // Dither is not something.
        if (!piece.some((byte, at) => at % 2 === 1 && byte > 1 && byte < 254)) return;
        clearTimeout(timer);
        resolve(true);
      });
      recorder.on('close', () => {
        clearTimeout(timer);
        reject(new Error(`the recorder of ${speaker} has ended`));
      });
    });
    loud.catch(() => {});
    return {
      loud,
      async stop() {
        recorder.kill('SIGKILL');
        await ended;
        const all = Buffer.concat(pieces);
        return new Int16Array(new Uint8Array(all.subarray(0, all.length & ~1)).buffer);
      },
    };
  }
}
