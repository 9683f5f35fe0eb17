/** Chromium with a voice, and people who use the page in it. */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';

import { install } from './inside.js';
import { PATIENCE_MS, Program, ROOT } from './program.js';
import { writeWav } from './sound.js';

/** @typedef {import('playwright-core').Browser} Browser */
/** @typedef {import('playwright-core').BrowserContext} Context */
/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('./program.js').Server} Server */

export const PICTURES = join(ROOT, 'out/browser');
/** The packages are web's. */
const require = createRequire(join(ROOT, 'web/package.json'));
const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
/** What the browser itself says on its console when a server is away; everything else there is a fault. */
const SERVER_AWAY =
  /^WebSocket connection to .* failed|^Failed to load resource: (net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INTERNET_DISCONNECTED)|the server responded with a status of 50[234])/;

/** A Chromium of this machine. */
export function findChromium() {
  const { VOICEMESH_CHROMIUM: wanted, PATH = '' } = process.env;
  if (wanted) return existsSync(wanted) ? wanted : null;
  const folders = [...PATH.split(delimiter), '/usr/bin'];
  return (
    NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) =>
      existsSync(path),
    ) ?? null
  );
}

/** And when a speaker ends. */
const SPEAKER_GONE = /^The AudioContext encountered an error from the audio device/;

/** @returns {typeof import('axe-core')} */
export const axe = () => require('axe-core');

export function packagesAreInstalled() {
  return ['playwright-core', 'axe-core'].every((name) =>
    existsSync(join(ROOT, 'web/node_modules', name)),
  );
}

/** @param {string | null} voice what its microphone hears, from when it is opened: a file; with `%noloop` behind it, once */
const flags = (voice) => [
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  ...(voice === null ? [] : [`--use-file-for-fake-audio-capture=${voice}`]),
  '--autoplay-policy=no-user-gesture-required',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** @type {WeakSet<Browser>} */
const untouched = new WeakSet();

/** @returns {import('playwright-core').BrowserType} */
const chromium = () => require('playwright-core').chromium;

/** @param {string | null} voice @param {{program?: string | null, more?: string[]}} [how] another program, and further flags */
export async function launch(voice, { program = findChromium(), more = [] } = {}) {
  const browser = await chromium().launch({
    executablePath: program ?? undefined,
    headless: true,
    args: [...flags(voice), ...more],
  });
  return { browser, close: () => browser.close() };
}

/**
 * The same with a sound server's speakers, and its microphone or, with a `voice`, that in its place.
 * @param {NodeJS.ProcessEnv} env
 * @param {string | null} voice
 */
export async function launchWithSound(env, voice) {
  const args = flags(voice).filter(
    (flag) => voice !== null || flag !== '--use-fake-device-for-media-stream',
  );
  const options = {
    executablePath: findChromium() ?? undefined,
    headless: true,
    ignoreDefaultArgs: ['--mute-audio'],
  };
  const browser = await chromium().launch({
    ...options,
    args,
    env: /** @type {Record<string, string>} */ (env),
  });
  return { browser, close: () => browser.close() };
}

/**
 * The same without what a test driver does for the steadiness of tests: it would keep every page visible and awake.
 * @param {string | null} voice
 * @param {string} profile folder
 */
export async function launchUntouched(voice, profile) {
  const more = [
    '--headless',
    '--remote-debugging-port=0',
    `--user-data-dir=${profile}`,
    'about:blank',
  ];
  const program = new Program('chromium', findChromium() ?? 'chromium', [...flags(voice), ...more]);
  const address = await program.waitForLine(
    'its address',
    ({ text }) => /DevTools listening on (\S+)/.exec(text)?.[1],
  );
  const browser = await chromium().connectOverCDP(address, { noDefaults: true });
  untouched.add(browser);
  return { browser, close: () => program.kill() };
}

/**
 * How a person uses the page.
 * @typedef {object} Using
 * @property {string} [room]
 * @property {boolean} [relayOnly]
 * @property {boolean} [silent] without a microphone
 * @property {boolean} [recorded] what is played is kept; yes unless told otherwise
 * @property {boolean} [processed] the browser shapes what the microphone hears, as the page asks; not unless told, so that what differs is ours
 * @property {string} [served] the page itself, where no server serves one
 * @property {(page: Page) => Promise<unknown>} [before] done before the page is opened
 * @property {import('playwright-core').BrowserContextOptions} [context]
 */

/** One person at one page, in a context of their own: another identity than everybody else's. */
export class Person {
  /** @type {string[]} what must not have happened */
  faults = [];
  /** @type {string[]} */
  said = [];

  /** @param {Context} context @param {Page} page @param {string} name */
  constructor(context, page, name) {
    this.context = context;
    this.page = page;
    this.name = name;
  }

  /** Opens the page and does nothing there yet. @param {Browser} browser @param {string} url @param {string} name @param {Using} [using] */
  static async open(
    browser,
    url,
    name,
    { recorded = true, processed = false, served, before, context: options = {} } = {},
  ) {
    // An untouched browser has one context, and its pages are ordinary tabs.
    const context = untouched.has(browser)
      ? browser.contexts()[0]
      : await browser.newContext({ permissions: ['microphone'], ...options });
    const page = await context.newPage();
    const person = new Person(context, page, name);
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('pageerror', (error) => person.faults.push(`${name}: ${error.stack ?? error.message}`));
    page.on('console', (message) => {
      const where = message.location().url;
      person.said.push(`${message.type()}: ${message.text()} ${where}`);
      if (
        message.type() === 'error' &&
        !SERVER_AWAY.test(message.text()) &&
        !SPEAKER_GONE.test(message.text())
      )
        person.faults.push(`${name}: ${message.text()} ${where}`);
    });
    page.on('request', (request) => {
      const foreign = !request.url().startsWith(url) && !/^(data|blob):/.test(request.url());
      if (foreign) person.faults.push(`${name}: asked elsewhere: ${request.url()}`);
    });
    if (recorded) await page.addInitScript(install, { processed });
    if (served)
      await page.route(url, (route) => route.fulfill({ contentType: 'text/html', body: served }));
    await before?.(page);
    await page.goto(url);
    return person;
  }

  /** What stands under one of the page's hooks for tests. @param {string} hook */
  at(hook) {
    return this.page.locator(`[data-test="${hook}"]`);
  }

  /** Another person, as this page shows them. @param {string} name @param {string} [more] further attributes */
  sees(name, more = '') {
    return this.page.locator(`[data-test="person"][data-name="${name}"]${more}`);
  }

  /** Fills in the form and joins, but does not wait. @param {Using} [using] */
  async join({ room = 'room', relayOnly = false, silent = false } = {}) {
    await this.at('name').fill(this.name);
    await this.at('room').fill(room);
    if (relayOnly) {
      await this.page.locator('[data-test="settings"] > summary').click();
      await this.at('relay-only').check();
    }
    await this.at(silent ? 'join-silent' : 'join').click();
  }

  /** @param {string} phase @param {number} [patienceMs] */
  async waitForPhase(phase, patienceMs = PATIENCE_MS) {
    await this.page
      .locator(`[data-phase="${phase}"]`)
      .waitFor({ state: 'attached', timeout: patienceMs });
  }

  /** @param {string} name @param {'direct' | 'relayed' | 'none'} route @param {number} [patienceMs] */
  async waitForRoute(name, route, patienceMs = PATIENCE_MS) {
    await this.sees(name, `[data-route="${route}"]`).waitFor({
      state: 'attached',
      timeout: patienceMs,
    });
  }

  /** @param {string} name */
  async waitUntilGone(name) {
    await this.sees(name).waitFor({ state: 'detached' });
  }

  /** Until so much has been recorded since the page was opened or told to forget: sound is what passes the time. @param {number} seconds */
  async waitUntilRecorded(seconds) {
    const enough = (/** @type {number} */ wanted) =>
      /** @type {any} */ (globalThis).insideOfTests.seconds() >= wanted;
    await this.page.waitForFunction(enough, seconds, {
      polling: 100,
      timeout: PATIENCE_MS + seconds * 1000,
    });
  }

  /** Drops what was recorded so far. */
  forget() {
    return this.page.evaluate(() => /** @type {any} */ (globalThis).insideOfTests.forget());
  }

  /** What the page has played since it was opened or told to forget; written to `file` too, if there is one. @param {string} [file] */
  async heard(file) {
    const text = await this.page.evaluate(() =>
      /** @type {any} */ (globalThis).insideOfTests.heard(),
    );
    const bytes = Uint8Array.from(Buffer.from(text, 'base64'));
    const samples = new Int16Array(bytes.buffer);
    assert.ok(samples.length > 0, `${this.name}: nothing was recorded\n${this.said.join('\n')}`);
    if (file) writeWav(file, samples);
    return samples;
  }

  /** The page's connections that have not been closed. */
  openConnections() {
    return this.page.evaluate(() => {
      const all = /** @type {RTCPeerConnection[]} */ (
        /** @type {any} */ (globalThis).insideOfTests.connections()
      );
      return all.filter((connection) => connection.connectionState !== 'closed').length;
    });
  }

  /** How many connections the page has made since it was opened. */
  connectionsEver() {
    return this.page.evaluate(() => /** @type {any} */ (globalThis).insideOfTests.made());
  }

  /** Ends every connection of the page behind its back. */
  cutConnections() {
    return this.page.evaluate(() => {
      /** @type {any} */ (globalThis).insideOfTests
        .connections()
        .forEach((/** @type {RTCPeerConnection} */ one) => one.close());
    });
  }

  /** Another tab comes before this one, which is hidden from then on. */
  async hide() {
    const other = await this.context.newPage();
    await other.bringToFront();
    await this.page.waitForFunction(() => document.visibilityState === 'hidden', null, {
      polling: 100,
    });
  }

  /** Freezes a hidden page, as a browser does to save power, or thaws it. @param {'frozen' | 'active'} state */
  async setLifecycle(state) {
    const devtools = await this.context.newCDPSession(this.page);
    await devtools.send('Page.setWebLifecycleState', { state });
    await devtools.detach();
  }

  /** @param {string} name of the file */
  async picture(name) {
    mkdirSync(PICTURES, { recursive: true });
    await this.page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
  }

  assertNoFaults() {
    assert.deepEqual(this.faults, []);
  }
}
