/**
 * Firefox with a real sound server, steered by WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/): only what these
 * tests need of it.
 */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';

import { PICTURES } from './browser.js';
import { PATIENCE_MS, Program, ROOT } from './program.js';

/** The packages are web's. */
const require = createRequire(join(ROOT, 'web/package.json'));
const NAMES = ['firefox-esr', 'firefox'];

/** A Firefox of this machine. */
export function findFirefox() {
  const { VOICEMESH_FIREFOX: wanted, PATH = '' } = process.env;
  if (wanted) return existsSync(wanted) ? wanted : null;
  const folders = [...PATH.split(delimiter), '/usr/bin'];
  return (
    NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) =>
      existsSync(path),
    ) ?? null
  );
}

/** No questions, no background network traffic, sound without a click. */
const PREFERENCES = {
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.getusermedia.insecure.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.aboutwelcome.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'toolkit.telemetry.reportingpolicy.firstRun': false,
  'app.update.enabled': false,
  'app.normandy.enabled': false,
  'extensions.update.enabled': false,
  'extensions.getAddons.cache.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'services.settings.server': 'data:,',
  'browser.newtabpage.activity-stream.feeds.topsites': false,
  'browser.startup.page': 0,
  'browser.region.network.url': '',
  'browser.search.update': false,
  'network.proxy.type': 0,
  'remote.active-protocols': 1,
  // Names in .local are resolved by nothing in a test: peers on this machine meet by their addresses.
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'media.peerconnection.ice.loopback': true,
};

/** A page that gives no answer in time: its main thread stands still. */
export class StuckError extends Error {}

export class Firefox {
  #next = 0;
  /** @type {Map<number, {done: (result: any) => void, failed: (error: Error) => void}>} */
  #waiting = new Map();
  /** @type {Set<(method: string, params: any) => void>} */
  #listeners = new Set();

  /** @param {Program} program @param {import('ws').WebSocket} socket */
  constructor(program, socket) {
    this.program = program;
    this.socket = socket;
    socket.on('message', (/** @type {Buffer} */ data) => {
      const { id, type, method, params, result, error, message } = JSON.parse(data.toString());
      if (type === 'event') return this.#listeners.forEach((listener) => listener(method, params));
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (type === 'error') waiting?.failed(new Error(`${error}: ${message}`));
      else waiting?.done(result);
      return undefined;
    });
  }

  /** @param {string} profile folder, made here @param {NodeJS.ProcessEnv} env @param {Record<string, boolean>} more preferences */
  static async launch(profile, env, more) {
    mkdirSync(profile);
    const lines = Object.entries({ ...PREFERENCES, ...more }).map(
      ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`,
    );
    writeFileSync(join(profile, 'user.js'), lines.join(''));
    const program = new Program(
      'firefox',
      findFirefox() ?? 'firefox',
      [
        '--headless',
        '--no-remote',
        '--remote-debugging-port=0',
        '--profile',
        profile,
        'about:blank',
      ],
      env,
    );
    const address = await program.waitForLine(
      'its address',
      ({ text }) => /WebDriver BiDi listening on (\S+)/.exec(text)?.[1],
    );
    const { WebSocket } = require('ws');
    const socket = new WebSocket(`${address}/session`);
    await new Promise((open, failed) => socket.once('open', open).once('error', failed));
    const firefox = new Firefox(program, socket);
    await firefox.send('session.new', {
      capabilities: { alwaysMatch: { unhandledPromptBehavior: { default: 'accept' } } },
    });
    return firefox;
  }

  /** @param {string} method @param {object} params @param {number} [patienceMs] @returns {Promise<any>} */
  send(method, params, patienceMs = PATIENCE_MS) {
    const id = ++this.#next;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new StuckError(`no answer to ${method} in ${patienceMs} ms`));
      }, patienceMs);
      const end = (/** @type {() => void} */ act) => {
        clearTimeout(timer);
        act();
      };
      this.#waiting.set(id, {
        done: (result) => end(() => resolve(result)),
        failed: (error) => end(() => reject(error)),
      });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }

  /** @param {(method: string, params: any) => void} listener */
  listen(listener) {
    this.#listeners.add(listener);
  }

  async close() {
    // A stuck one would not go by itself; its processes end with the first.
    await this.send('browser.close', {}, 3000).catch(() => {});
    this.socket.terminate();
    await this.program.kill();
  }

  /**
   * A new tab with the page.
   * @param {string} url
   * @param {string} name
   * @param {(string | (() => void))[]} [first] run there before the page's own code
   */
  async open(url, name, first = []) {
    const { context } = await this.send('browsingContext.create', { type: 'tab' });
    const page = new FirefoxPage(this, context, name);
    await this.send('session.subscribe', { events: ['log.entryAdded'], contexts: [context] });
    for (const act of first)
      await this.send('script.addPreloadScript', {
        functionDeclaration: String(act),
        contexts: [context],
      });
    await this.send('browsingContext.navigate', { context, url, wait: 'complete' });
    return page;
  }
}

/** One person at one page. */
export class FirefoxPage {
  /** @type {string[]} */
  faults = [];
  /** @type {string[]} */
  said = [];

  /** @param {Firefox} firefox @param {string} context @param {string} name */
  constructor(firefox, context, name) {
    this.firefox = firefox;
    this.context = context;
    this.name = name;
    firefox.listen((method, params) => {
      if (method !== 'log.entryAdded' || params.source?.context !== context) return;
      this.said.push(`${params.level}: ${params.text}`);
      if (params.level === 'error')
        this.faults.push(
          `${name}: ${params.text} ${JSON.stringify(params.stackTrace?.callFrames?.[0] ?? '')}`,
        );
    });
  }

  /**
   * What a function gives in the page; what goes in and comes out is JSON.
   * @template T
   * @template {any[]} A
   * @param {(...given: A) => T | Promise<T>} act
   * @param {A} given
   * @returns {Promise<T>}
   */
  evaluate(act, ...given) {
    return this.#call(PATIENCE_MS, act, given);
  }

  /** How long the page takes to answer, in ms. @param {number} patienceMs @throws {StuckError} */
  async answers(patienceMs) {
    const began = performance.now();
    await this.#call(patienceMs, () => true, []);
    return performance.now() - began;
  }

  /** @param {number} patienceMs @param {Function} act @param {any[]} given */
  async #call(patienceMs, act, given) {
    const { type, result, exceptionDetails } = await this.firefox.send(
      'script.callFunction',
      {
        functionDeclaration: `async (given) => JSON.stringify(await (${act})(...JSON.parse(given)) ?? null)`,
        arguments: [{ type: 'string', value: JSON.stringify(given) }],
        target: { context: this.context },
        awaitPromise: true,
        userActivation: true,
      },
      patienceMs,
    );
    if (type === 'exception') throw new Error(`${this.name}: ${exceptionDetails.text}`);
    return JSON.parse(result.value);
  }

  /** Until something matches. @param {string} selector */
  waitFor(selector) {
    return this.evaluate(
      (wanted) =>
        new Promise((found) => {
          const look = () => {
            if (!document.querySelector(wanted)) return false;
            watcher.disconnect();
            found(true);
            return true;
          };
          const watcher = new MutationObserver(look);
          watcher.observe(document, { subtree: true, childList: true, attributes: true });
          look();
        }),
      selector,
    );
  }

  /** @param {string} phase */
  waitForPhase(phase) {
    return this.waitFor(`[data-phase="${phase}"]`);
  }

  /** @param {string} name @param {'direct' | 'relayed' | 'none'} route */
  waitForRoute(name, route) {
    return this.waitFor(`[data-test="person"][data-name="${name}"][data-route="${route}"]`);
  }

  /** Fills in the form and joins, but does not wait. @param {{room?: string}} [using] */
  async join({ room = 'room' } = {}) {
    await this.waitFor('[data-test="join"]');
    await this.evaluate(
      (name, where) => {
        const field = (/** @type {string} */ hook) =>
          /** @type {any} */ (document.querySelector(`[data-test="${hook}"]`));
        field('name').value = name;
        field('room').value = where;
        field('join').click();
      },
      this.name,
      room,
    );
  }

  /** @param {string} hook what stands under one of the page's hooks for tests */
  click(hook) {
    return this.evaluate(
      (wanted) =>
        /** @type {HTMLElement} */ (document.querySelector(`[data-test="${wanted}"]`)).click(),
      hook,
    );
  }

  /** Until a text stands somewhere in the page, or no more. @param {string} text @param {boolean} [there] */
  async reads(text, there = true) {
    await this.evaluate(
      (wanted, there) =>
        new Promise((found) => {
          const look = () => {
            if (document.body.innerText.includes(wanted) !== there) return;
            clearInterval(timer);
            found(true);
          };
          const timer = setInterval(look, 50);
          look();
        }),
      text,
      there,
    );
  }

  /** Loads the page anew. */
  async reload() {
    await this.firefox.send('browsingContext.reload', { context: this.context, wait: 'complete' });
  }

  assertNoFaults() {
    assert.deepEqual(this.faults, []);
  }

  /** @param {string} name of the file @returns {Promise<string>} the PNG in base64 */
  async picture(name) {
    mkdirSync(PICTURES, { recursive: true });
    const { data } = await this.firefox.send('browsingContext.captureScreenshot', {
      context: this.context,
    });
    writeFileSync(join(PICTURES, `${name}.png`), Buffer.from(data, 'base64'));
    return data;
  }
}
