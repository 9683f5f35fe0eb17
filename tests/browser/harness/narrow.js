/** A browser in a separate network namespace, behind an uplink as narrow as a test wants it. Linux, as root. */

import { execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';

import { findChromium, launch } from './browser.js';
import { binary, Program, Server } from './program.js';
import { speechFile } from './sound.js';

/** @typedef {import('./stage.js').Stage} Stage */

const QUEUE = '400ms';

/** @param {string[]} command */
const run = (...command) =>
  execFileSync(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] }).toString();

/** Why there can be none here, or false; where CI=true there must. */
export function reasonForNoNamespace() {
  let why = '';
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    why = 'network namespaces need Linux and root';
  try {
    run('ip', '-V');
    run('tc', '-V');
  } catch {
    why ||= 'ip and tc are not installed';
  }
  if (why && ['true', '1'].includes(process.env.CI ?? '')) throw new Error(why);
  if (why) console.log(`SKIPPED narrow.test.js: ${why}`);
  return why || false;
}

export class NarrowHome {
  #id = `vmb${process.pid}`;
  #outside = `10.213.${process.pid % 250}.1`;
  #inside = `10.213.${process.pid % 250}.2`;

  /** @param {Stage} stage */
  constructor(stage) {
    this.stage = stage;
    stage.atEnd(() => run('ip', 'netns', 'del', this.#id));
    run('ip', 'netns', 'add', this.#id);
    // IPv6 addresses come seconds after a link is up, and a browser that is loading a page then takes it for another network.
    for (const which of ['all', 'default']) {
      run(
        'ip',
        'netns',
        'exec',
        this.#id,
        'sh',
        '-c',
        `echo 1 >/proc/sys/net/ipv6/conf/${which}/disable_ipv6`,
      );
    }
    run(
      'ip',
      'link',
      'add',
      `${this.#id}o`,
      'type',
      'veth',
      'peer',
      'name',
      'lan',
      'netns',
      this.#id,
    );
    run('ip', 'addr', 'add', `${this.#outside}/24`, 'dev', `${this.#id}o`);
    run('ip', 'link', 'set', `${this.#id}o`, 'up');
    for (const words of [
      `addr add ${this.#inside}/24 dev lan`,
      'link set lan up',
      'link set lo up',
      `route add default via ${this.#outside}`,
    ]) {
      run('ip', '-n', this.#id, ...words.split(' '));
    }
  }

  /** A server outside. */
  async server() {
    const program = new Program('server', binary('voicemesh-signaling'), [
      '--listen',
      `${this.#outside}:0`,
      '--stun',
      'none',
    ]);
    this.stage.atEnd(() => program.kill());
    const address = await program.waitForLine(
      'its address',
      ({ text }) => /listening on \w+:\/\/(\S+)/.exec(text)?.[1],
    );
    return new Server(program, address, []);
  }

  /** A browser inside, that takes the server's page for a secure one. @param {Server} server @param {string} voice without end */
  async browser(server, voice) {
    const program = this.stage.file('chromium');
    writeFileSync(program, `#!/bin/sh\nexec ip netns exec ${this.#id} ${findChromium()} "$@"\n`);
    chmodSync(program, 0o755);
    const secure = `--unsafely-treat-insecure-origin-as-secure=${server.url}`;
    const { browser, close } = await launch(speechFile(voice), { program, more: [secure] });
    this.stage.atEnd(close);
    return browser;
  }

  /** From now on this much goes up. @param {number} kbps */
  narrow(kbps) {
    run(
      'tc',
      '-n',
      this.#id,
      'qdisc',
      'replace',
      'dev',
      'lan',
      'root',
      'tbf',
      'rate',
      `${kbps}kbit`,
      'burst',
      '1600',
      'latency',
      QUEUE,
    );
  }
}
