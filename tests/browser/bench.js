/**
 * `make bench`'s figures of the page, on release builds, in headless Chromium on this machine.
 *
 * - `join`: from the click on Join to the first sound of a peer that was speaking already.
 * - `mouth to ear`: a tone burst that begins in one page's sound graph, where a microphone would be, until it begins in another
 *   page's. Both graphs' times are brought to the machine's clock by the least difference ever seen between the two.
 * - `CPU`: of the page's process, in a room with three others of whom one speaks, while the page's microphone speaks too.
 * - `size`: what the page transfers at the first visit, compressed, heads included.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { launch, Person } from './harness/browser.js';
import { binary, Program, ROOT, Server } from './harness/program.js';
import { speechFile } from './harness/sound.js';
import { measureTransfers, MOST_BYTES, partsOf } from './harness/transfers.js';

const quick = process.argv.includes('--quick');
const RUNS = quick ? 2 : 7;
const BURSTS = quick ? 6 : 30;
const CPU_S = quick ? 4 : 15;

/** @typedef {{name: string, unit: string, target: number | null, values: number[]}} Row */

/** Notes when each sound context first plays anything, and at the click. */
function noteFirstSound() {
  const noted = { clickedAt: 0, soundAt: 0 };
  Object.assign(globalThis, { noted });
  addEventListener(
    'click',
    () => {
      noted.clickedAt ||= performance.now();
    },
    true,
  );
  const { connect } = /** @type {any} */ (AudioNode.prototype);
  AudioNode.prototype.connect = function (/** @type {any[]} */ ...rest) {
    if (rest[0] instanceof AudioDestinationNode && this instanceof AudioWorkletNode) {
      const ear = new AnalyserNode(this.context, { fftSize: 1024 });
      connect.call(this, ear);
      const samples = new Float32Array(1024);
      const timer = setInterval(() => {
        ear.getFloatTimeDomainData(samples);
        if (!samples.some((sample) => Math.abs(sample) > 1e-3)) return;
        noted.soundAt = performance.now();
        clearInterval(timer);
      }, 2);
    }
    return connect.apply(this, rest);
  };
}

/** In place of the microphone: bursts of a tone, whose beginnings are noted by the machine's clock. */
function burstInsteadOfMicrophone() {
  const clock = { begins: /** @type {number[]} */ ([]), offset: Infinity, base: 0 };
  Object.assign(globalThis, { clock });
  AudioContext.prototype.createMediaStreamSource = function () {
    const { length, every } = { length: 0.06, every: 0.503 };
    const tone = new OscillatorNode(this, { frequency: 1000 });
    const gate = new GainNode(this, { gain: 0 });
    const first = this.currentTime + 3;
    for (let n = 0; n < 400; n++) {
      gate.gain.setValueAtTime(0.5, first + n * every);
      gate.gain.setValueAtTime(0, first + n * every + length);
      clock.begins.push(first + n * every);
    }
    tone.connect(gate);
    tone.start();
    setInterval(() => {
      clock.offset = Math.min(
        clock.offset,
        performance.timeOrigin + performance.now() - this.currentTime * 1000,
      );
    }, 1);
    return /** @type {any} */ (gate);
  };
}

/** Notes, by the machine's clock, when each burst begins to be played. */
function noteBursts() {
  const heard = { begins: /** @type {number[]} */ ([]), offset: Infinity };
  Object.assign(globalThis, { heard });
  const { connect } = /** @type {any} */ (AudioNode.prototype);
  AudioNode.prototype.connect = function (/** @type {any[]} */ ...rest) {
    const { context } = this;
    if (rest[0] instanceof AudioDestinationNode && this instanceof AudioWorkletNode) {
      const ear = new AnalyserNode(context, { fftSize: 8192 });
      connect.call(this, ear);
      const samples = new Float32Array(8192);
      setInterval(() => {
        const before = context.currentTime;
        ear.getFloatTimeDomainData(samples);
        heard.offset = Math.min(
          heard.offset,
          performance.timeOrigin + performance.now() - before * 1000,
        );
        const last = heard.begins.at(-1) ?? -1;
        const from = samples.findIndex(
          (sample, at) => Math.abs(sample) > 0.05 && before - (8192 - at) / 48_000 > last + 0.2,
        );
        if (from >= 0) heard.begins.push(before - (8192 - from) / 48_000);
      }, 5);
    }
    return connect.apply(this, rest);
  };
}

/** @param {Server} server @param {string} name @param {string} input */
const cli = (server, name, input) =>
  new Program(name, binary('voicemesh'), [
    'join',
    'room',
    '--json',
    '--server',
    server.socketUrl,
    '--name',
    name,
    '--input',
    input,
    '--output',
    'null',
    '--state-dir',
    join(ROOT, 'out/bench-state', `${process.pid}-${name}`),
  ]);

/** @param {import('playwright-core').Page} page */
const speakAlways = (page) =>
  page.addInitScript(() =>
    localStorage.setItem(
      'voicemesh.settings',
      JSON.stringify({
        activation: 'always',
        sounds: false,
        processing: { echo: false, noise: false, gain: false },
      }),
    ),
  );

/** @param {import('playwright-core').Browser} browser @param {Server} server @param {string} name @param {(() => void)[]} scripts @param {(page: import('playwright-core').Page) => void} before */
async function open(browser, server, name, scripts, before = () => {}) {
  const context = await browser.newContext({ permissions: ['microphone'] });
  const page = await context.newPage();
  before(page);
  for (const script of scripts) await page.addInitScript(script);
  await speakAlways(page);
  await page.goto(server.url);
  return new Person(context, page, name);
}

async function joining() {
  const server = await Server.start([]);
  const speaker = cli(server, 'speaker', 'tone');
  await speaker.waitFor('connected');
  const { browser, close } = await launch(null);
  const values = [];
  for (let run = 0; run < RUNS; run++) {
    const ada = await open(browser, server, `ada${run}`, [noteFirstSound]);
    await ada.join();
    await ada.page.waitForFunction(() => /** @type {any} */ (globalThis).noted.soundAt > 0);
    values.push(
      await ada.page.evaluate(() => {
        const { noted } = /** @type {any} */ (globalThis);
        return noted.soundAt - noted.clickedAt;
      }),
    );
    await ada.context.close();
  }
  await close();
  await speaker.kill();
  await server.program.kill();
  return values;
}

/** @param {'direct' | 'relayed'} route */
async function mouthToEar(route) {
  const server = await Server.start([]);
  const { browser, close } = await launch(null);
  const ear = await open(browser, server, 'ear', [noteBursts]);
  await ear.join({ relayOnly: route === 'relayed' });
  await ear.waitForPhase('joined');
  const mouth = await open(browser, server, 'mouth', [burstInsteadOfMicrophone]);
  await mouth.join();
  await ear.waitForRoute('mouth', route);
  await ear.page.waitForFunction(
    (wanted) => /** @type {any} */ (globalThis).heard.begins.length >= wanted,
    BURSTS + 3,
    { timeout: 60_000 },
  );
  const said = await mouth.page.evaluate(() => /** @type {any} */ (globalThis).clock);
  const heard = await ear.page.evaluate(() => /** @type {any} */ (globalThis).heard);
  await close();
  await server.program.kill();
  const spoken = said.begins.map((/** @type {number} */ at) => said.offset + at * 1000);
  // The first ones are heard while the buffer finds its size.
  return heard.begins.slice(3).map((/** @type {number} */ at) => {
    const wall = heard.offset + at * 1000;
    return wall - spoken.findLast((/** @type {number} */ began) => began <= wall);
  });
}

async function cpu() {
  const server = await Server.start([]);
  const others = [
    cli(server, 'bob', `${speechFile('reader')}:loop`),
    cli(server, 'cyd', 'silence'),
    cli(server, 'dan', 'silence'),
  ];
  for (const other of others) await other.waitFor('connected');
  const { browser, close } = await launch(speechFile('announcer'));
  const ada = await open(browser, server, 'ada', []);
  await ada.join();
  for (const name of ['bob', 'cyd', 'dan']) await ada.waitForRoute(name, 'direct');
  const devtools = await browser.newBrowserCDPSession();
  const spent = async () => {
    const { processInfo } = await devtools.send('SystemInfo.getProcessInfo');
    const of = (/** @type {string} */ type) =>
      processInfo
        .filter((process) => process.type === type)
        .reduce((sum, process) => sum + process.cpuTime, 0);
    return {
      page: of('renderer'),
      all: processInfo.reduce((sum, process) => sum + process.cpuTime, 0),
    };
  };
  const pages = [];
  const all = [];
  for (let run = 0; run < (quick ? 1 : 3); run++) {
    const [before, began] = [await spent(), performance.now()];
    await new Promise((passed) => setTimeout(passed, CPU_S * 1000));
    const [after, ended] = [await spent(), performance.now()];
    pages.push(((after.page - before.page) / (ended - began)) * 1e5);
    all.push(((after.all - before.all) / (ended - began)) * 1e5);
  }
  await close();
  for (const other of others) await other.kill();
  await server.program.kill();
  return { pages, all };
}

async function size() {
  const server = await Server.start([]);
  const { browser, close } = await launch(null);
  /** @type {() => Promise<Map<string, import('./harness/transfers.js').Transfer>>} */
  let transfers = async () => new Map();
  const ada = await open(browser, server, 'ada', [], (page) => {
    transfers = measureTransfers(page);
  });
  await ada.join();
  await ada.waitForPhase('joined');
  const { shell } = partsOf(await transfers());
  await close();
  await server.program.kill();
  return shell / 1000;
}

/** @param {number[]} values */
const median = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.floor(sorted.length / 2)] + sorted[Math.floor((sorted.length - 1) / 2)]) / 2;
};

const { pages, all } = await cpu();
/** @type {Row[]} */
const rows = [
  {
    name: 'page: click on Join → first voice heard',
    unit: 'ms',
    target: null,
    values: await joining(),
  },
  {
    name: 'page: mouth to ear, worklet to worklet, direct',
    unit: 'ms',
    target: 50,
    values: await mouthToEar('direct'),
  },
  { name: 'page: the same, relayed', unit: 'ms', target: 50, values: await mouthToEar('relayed') },
  {
    name: 'page: CPU of its process in a room of 4, two speaking',
    unit: '% of a core',
    target: null,
    values: pages,
  },
  { name: 'page: CPU of all of the browser', unit: '% of a core', target: null, values: all },
  {
    name: 'page: transferred at the first visit without what encrypts, heads included',
    unit: 'kB',
    target: MOST_BYTES / 1000,
    values: [await size()],
  },
];
for (const { name, unit, target, values } of rows) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const verdict =
    target === null ? '' : `≤ ${target}  ${median(values) <= target ? 'met' : 'MISSED'}`;
  const figures = `${median(values).toFixed(1).padStart(8)} ${`${least.toFixed(1)} – ${most.toFixed(1)}`.padStart(17)} ${unit}`;
  console.log(`${name.padEnd(56)} ${figures.padEnd(42)} ${verdict}`.trimEnd());
}
mkdirSync(join(ROOT, 'out'), { recursive: true });
writeFileSync(join(ROOT, 'out/bench-page.json'), JSON.stringify(rows, null, 2));
process.exit(0);
