/** Our own programs as child processes: their lines are events to wait for (as `tests/src/process.rs` has it for Rust). */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { join, resolve } from 'node:path';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** How long anything may take that should take moments, on a machine that does other things as well. */
export const PATIENCE_MS = 30_000;
/** Lines of one program that are kept; the oldest go first. */
const MOST_LINES = 20_000;

/** @param {string} name of a program that was built beforehand */
export function binary(name) {
  const path = join(
    resolve(ROOT, process.env.CARGO_TARGET_DIR || 'target'),
    process.env.VOICEMESH_PROFILE ?? 'debug',
    name,
  );
  if (!existsSync(path))
    throw new Error(`${path} is not built: run \`cargo build --workspace --all-targets\` first`);
  return path;
}

/** @typedef {{text: string, json: any}} Line */
/** @typedef {{pick: (line: Line) => any, found: (value: any) => void, failed: (error: Error) => void}} Waiter */

export class Program {
  /** @type {Line[]} */
  #untaken = [];
  /** @type {string[]} */
  #transcript = [];
  /** @type {Set<Waiter>} */
  #waiters = new Set();
  #began = Date.now();
  /** @type {Promise<unknown>} */
  #ended;

  /**
   * @param {string} name stands in messages
   * @param {string} path
   * @param {string[]} parameters
   * @param {NodeJS.ProcessEnv} [env] in place of this process's own
   */
  constructor(name, path, parameters, env = process.env) {
    this.name = name;
    this.child = spawn(path, parameters, { stdio: ['pipe', 'pipe', 'pipe'], env });
    // If the program has just ended, the wait that follows fails; this error says nothing new.
    this.child.stdin.on('error', () => {});
    createInterface({ input: this.child.stdout }).on('line', (text) => this.#note(text, ' '));
    createInterface({ input: this.child.stderr }).on('line', (text) => this.#note(text, '!'));
    this.#ended = once(this.child, 'close').then(() => {
      for (const waiter of this.#waiters) waiter.failed(new Error(`${this.name} has ended`));
    });
  }

  /** When it has ended by itself. */
  get ended() {
    return this.#ended;
  }

  get running() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /**
   * What `pick` makes of the first line not yet taken for which it makes something.
   * @template T
   * @param {string} what
   * @param {(line: Line) => T | null | undefined | false} pick
   * @param {number} [patienceMs]
   * @returns {Promise<T>}
   */
  async waitForLine(what, pick, patienceMs = PATIENCE_MS) {
    for (const [at, line] of this.#untaken.entries()) {
      const found = pick(line);
      if (found) {
        this.#untaken.splice(at, 1);
        return found;
      }
    }
    if (!this.running) throw new Error(`${this.name} ended without ${what}`);
    return new Promise((found, failed) => {
      const late = () =>
        waiter.failed(new Error(`waited ${patienceMs} ms for ${what} of ${this.name}`));
      const timer = setTimeout(late, patienceMs);
      /** @type {Waiter} */
      const waiter = {
        pick,
        found: (value) => {
          this.#stopWaiting(waiter, timer);
          found(value);
        },
        failed: (error) => {
          this.#stopWaiting(waiter, timer);
          failed(error);
        },
      };
      this.#waiters.add(waiter);
    });
  }

  /**
   * The first event not yet taken of this name for which `wanted` holds.
   * @param {string} event
   * @param {(json: any) => boolean} [wanted]
   * @param {number} [patienceMs]
   */
  waitFor(event, wanted = () => true, patienceMs = PATIENCE_MS) {
    return this.waitForLine(
      event,
      ({ json }) => json?.event === event && wanted(json) && json,
      patienceMs,
    );
  }

  /** Drops what has come so far, so that waits see only what comes from now on. */
  forget() {
    this.#untaken = [];
  }

  /** @param {string} line */
  type(line) {
    this.child.stdin.write(`${line}\n`);
  }

  /** Ends a peer in an orderly way and gives what it says at the end. */
  async leave() {
    this.child.kill('SIGINT');
    const summary = await this.waitFor('summary');
    await this.#ended;
    return summary;
  }

  /** Ends it without warning (SIGKILL) and waits until it is gone. */
  async kill() {
    if (this.running) this.child.kill('SIGKILL');
    await this.#ended;
  }

  get transcript() {
    return [`--- ${this.name} (process ${this.child.pid}) printed:`, ...this.#transcript].join(
      '\n',
    );
  }

  /** @param {Waiter} waiter @param {NodeJS.Timeout} timer */
  #stopWaiting(waiter, timer) {
    clearTimeout(timer);
    this.#waiters.delete(waiter);
  }

  /** @param {string} text @param {string} mark */
  #note(text, mark) {
    push(
      this.#transcript,
      `${((Date.now() - this.#began) / 1000).toFixed(3).padStart(8)}${mark} ${text}`,
    );
    const line = { text, json: mark === ' ' ? parsed(text) : null };
    for (const waiter of this.#waiters) {
      const found = waiter.pick(line);
      if (found) return waiter.found(found);
    }
    push(this.#untaken, line);
  }
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @template T @param {T[]} queue @param {T} item */
function push(queue, item) {
  if (queue.length === MOST_LINES) queue.shift();
  queue.push(item);
}

/** A signaling server that contacts no other host; it serves the page as well. */
export class Server {
  /** @param {Program} program @param {string} address @param {string[]} parameters */
  constructor(program, address, parameters) {
    this.program = program;
    this.address = address;
    this.parameters = parameters;
    this.url = `http://${address}`;
    this.socketUrl = `ws://${address}`;
  }

  /** @param {string[]} parameters @param {number} [port] 0 takes a free one */
  static async start(parameters, port = 0) {
    const all = ['--listen', `127.0.0.1:${port}`, '--stun', 'none', ...parameters];
    const program = new Program('server', binary('voicemesh-signaling'), all);
    const address = await program.waitForLine(
      'its address',
      ({ text }) => /listening on \w+:\/\/(\S+)/.exec(text)?.[1],
    );
    return new Server(program, address, parameters);
  }

  /** A new process in the same place; the old one must have been killed. */
  async startAgain() {
    const { program } = await Server.start(this.parameters, Number(this.address.split(':')[1]));
    this.program = program;
  }
}
