/** Each thing that a browser may lack or refuse is taken away in turn: the page starts and joins all the same. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PATIENCE_MS } from './harness/program.js';
import { speechFile } from './harness/sound.js';
import { Stage, within, withSound } from './harness/stage.js';

/** Where each is found, with its name there, what the page says without it, and what it says in the room. @type {[path: string, said: string, inRoom?: RegExp][]} */
const OPTIONAL = [
  ['localStorage', 'stores nothing for this page'],
  ['sessionStorage', 'keeps nothing for this tab'],
  ['navigator.locks', 'does not tell this page’s tabs apart'],
  ['RTCPeerConnection', 'does not allow WebRTC'],
  // The screen goes dark, as it does for any page.
  ['navigator.wakeLock', ''],
  // The link stands in a field, to be copied by hand.
  ['navigator.clipboard', ''],
  ['navigator.mediaDevices', '', /gives this page no microphone|microphone is not allowed/],
  ['AudioEncoder', '', /cannot encode your voice: the others cannot hear you/],
  ['AudioEncoder.prototype.configure', '', /cannot encode your voice: the others cannot hear you/],
  // The layout follows the style sheet alone, and meters move by a timer.
  ['matchMedia', ''],
  ['requestAnimationFrame', ''],
  ['Intl', ''],
  ['Element.prototype.setPointerCapture', ''],
  ['navigator.connection', ''],
  // The choice of a speaker is greyed out.
  ['AudioContext.prototype.setSinkId', ''],
  ['HTMLDialogElement.prototype.showModal', ''],
  ['crypto.randomUUID', ''],
  // The page adapts to a narrow network with less skill.
  ['WebAssembly', ''],
  ['DecompressionStream', ''],
  ['history.replaceState', 'does not let the page change its address'],
];
/** `throwing`: to look at it throws, as a blocked storage does. `refusing`: each of its methods throws, or refuses where it promises. */
const WAYS = ['gone', 'throwing', 'refusing'];

/** Run in the page before its own code, sent there as text. @param {{path: string, way: string}} what one of `WAYS` */
function takeAway({ path, way }) {
  const names = path.split('.');
  const name = names.pop() ?? '';
  const owner = names.reduce((/** @type {any} */ object, key) => object[key], globalThis);
  const refuse = () => {
    throw new DOMException('refused by the test', 'SecurityError');
  };
  const former = owner[name];
  const refusing =
    typeof former === 'function'
      ? refuse
      : new Proxy(former ?? {}, {
          get: (target, key) => (typeof target[key] === 'function' ? refuse : target[key]),
        });
  Object.defineProperty(owner, name, {
    configurable: true,
    get: () => (way === 'throwing' ? refuse() : way === 'gone' ? undefined : refusing),
  });
}

/**
 * Joins and leaves without something.
 * @param {import('playwright-core').Browser} browser @param {string} url @param {{path: string, way: string}} what @param {string} said @param {RegExp} [inRoom]
 * @returns {Promise<string | null>} what went wrong
 */
async function visitWithout(browser, url, what, said, inRoom) {
  const context = await browser.newContext({ permissions: ['microphone'] });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  /** @type {string[]} */
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.stack ?? error.message));
  await page.addInitScript(takeAway, what);
  try {
    await page.goto(url);
    if (said) await page.locator('[data-test="lacks"]').getByText(said).waitFor();
    else assert.equal(await page.innerText('[data-test="lacks"]'), '');
    await page.fill('[data-test="name"]', 'ada');
    await page.click('[data-test="join"]');
    await page.waitForSelector('[data-phase="joined"]');
    if (inRoom) await page.getByText(inRoom).first().waitFor();
    await page.fill('[data-test="chat-input"]', 'hello');
    await page.click('[data-test="chat-send"]');
    await page.getByText('hello').first().waitFor();
    if (what.path === 'Element.prototype.setPointerCapture') {
      await page.click('[data-test="push-to-talk"]');
      await page.hover('[data-test="ptt"]');
      await page.mouse.down();
      await page.getByText('Talking…').waitFor();
      await page.mouse.up();
    }
    await page.click('[data-test="invite"]');
    if (what.path === 'navigator.clipboard')
      assert.match(await page.inputValue('[data-test="link-by-hand"]:visible'), /\/r\//);
    await page.click('[data-test="settings"]');
    await page.click('dialog >> text=Done');
    await page.click('[data-test="leave"]');
    await page.waitForSelector('[data-phase="left"]');
  } catch (error) {
    faults.push(String(error), await page.innerText('body'));
  }
  await context.close();
  return faults.length > 0 ? `${what.path} ${what.way}: ${faults.join('\n')}` : null;
}

test(
  'the page joins where a thing it can do without is gone, throws or refuses',
  within(300),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const failed = [];
    for (const [path, said, inRoom] of OPTIONAL) {
      // Each in a separate room, all ways at once.
      failed.push(
        ...(await Promise.all(
          WAYS.map((way) =>
            visitWithout(browser, `${server.url}/r/${way}#t=unused`, { path, way }, said, inRoom),
          ),
        )),
      );
    }
    assert.deepEqual(failed.filter(Boolean), []);
  }),
);

test(
  'what is lacking is said in one line, and a module that fails leaves words',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const blocked = await stage.open(browser, 'about:blank', 'ada', { recorded: false });
    await blocked.page.addInitScript(takeAway, { path: 'localStorage', way: 'throwing' });
    await blocked.page.addInitScript(takeAway, { path: 'RTCPeerConnection', way: 'gone' });
    blocked.faults.length = 0;
    await blocked.page.goto(server.url);
    await blocked.page.getByText('stores nothing for this page').waitFor();
    assert.match(await blocked.at('lacks').innerText(), /all speech goes through the server/);
    await blocked.picture('lacks');
    blocked.faults.length = 0;

    const broken = await (await browser.newContext()).newPage();
    await broken.route('**/view/room.js', (route) =>
      route.fulfill({ contentType: 'text/javascript', body: 'this is no module' }),
    );
    await broken.goto(server.url);
    await broken.getByText('This page has not started').waitFor();
    await broken.context().close();
  }),
);

test(
  'an encoder or a decoder that fails is said to the one whom it concerns and to the others, until it works again',
  within(90),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const bob = stage.cli(server, 'bob', {
      input: `${speechFile('cards')}:loop`,
      more: ['--status-interval', '1'],
    });
    await bob.waitFor('connected');
    const ada = await stage.person(browser, server, 'ada', { recorded: false });
    const ben = await stage.person(browser, server, 'ben', { recorded: false });
    await ada.sees('bob', '[data-quality="good"]').waitFor();
    /** @param {boolean} on */
    const breaks = (on) =>
      ada.page.evaluate((isBroken) => {
        const all = /** @type {any} */ (globalThis);
        all.former ??= [AudioEncoder.prototype.encode, AudioDecoder.prototype.decode];
        const refuse = () => {
          throw new DOMException('refused by the test', 'EncodingError');
        };
        AudioEncoder.prototype.encode = isBroken ? refuse : all.former[0];
        AudioDecoder.prototype.decode = isBroken ? refuse : all.former[1];
      }, on);
    await breaks(true);
    const [encoding, decoding] = [
      ada.page.getByText('cannot encode your voice: the others cannot hear you'),
      // Ben may speak as well; those whose ids are lower come first.
      ada.page.getByText(
        /cannot decode the voice of (ben and )?bob( and ben)?: you do not hear them/,
      ),
    ];
    await Promise.all([encoding.waitFor(), decoding.waitFor()]);
    await ada.sees('bob', '[data-quality="unheard"]').waitFor();
    await ben.sees('ada').getByText('listening only').waitFor();
    await ada.picture('codecs-fail');
    await ada.page.setViewportSize({ width: 320, height: 640 });
    await ada.picture('codecs-fail-320');
    await breaks(false);
    await Promise.all([encoding, decoding].map((line) => line.waitFor({ state: 'hidden' })));
    await ben.sees('ada').getByText('listening only').waitFor({ state: 'hidden' });
    await ada.sees('bob', '[data-quality="good"]').waitFor();
  }),
);

/** Parts of the page that throw: the one as soon as a room is shown, the other when the test wants it. */
const BROKEN = {
  'bar.js': `export function bar() { throw new Error('broken by the test'); }`,
  'groups.js': `export const groups = () => ({
    element: Object.assign(document.createElement('button'), {
      textContent: 'Break',
      onclick() { throw new Error('broken by a click'); },
    }),
    update() { if (globalThis.isBroken) throw new Error('broken by the test'); },
  });`,
};

/** @param {Stage} stage @param {import('playwright-core').Browser} browser @param {string} url @param {keyof typeof BROKEN} part */
async function withBroken(stage, browser, url, part) {
  const person = await stage.open(browser, url, 'ada', {
    recorded: false,
    before: (page) =>
      page.route(`**/view/${part}`, (route) =>
        route.fulfill({ contentType: 'text/javascript', body: BROKEN[part] }),
      ),
  });
  await person.join();
  return person;
}

test(
  'a room that cannot be shown leaves words, with the microphone closed and a way out',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const ben = await stage.person(browser, server, 'ben', { recorded: false, silent: true });
    const ada = await withBroken(stage, browser, server.url, 'bar.js');
    await ada.page.getByText('This page cannot be shown').waitFor();
    await ada.waitForPhase('joined');
    await ben.sees('ada').getByText('listening only').waitFor();
    await ada.picture('own-failure');
    await ada.page.setViewportSize({ width: 320, height: 640 });
    await ada.picture('own-failure-320');
    await ada.page.locator('.screen details > summary').click();
    await ada.page.locator('.screen').getByText('broken by the test').waitFor();
    assert.equal(ada.faults.length, 1, ada.faults.join('\n'));
    await ada.at('leave').click();
    await ada.waitForPhase('left');
    await ben.waitUntilGone('ada');
    ada.faults.length = 0;
  }),
);

test(
  'an exception while a room is shown leaves one line, and the call goes on',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const ada = await withBroken(stage, browser, server.url, 'groups.js');
    await ada.waitForPhase('joined');
    assert.equal(await ada.at('own-error').isVisible(), false);
    await ada.page.getByText('Break').click();
    await ada.at('own-error').waitFor();
    await ada.at('own-error').locator('summary').click();
    await ada.at('own-error').getByText('broken by a click').waitFor();
    ada.faults.length = 0;
    await ada.page.evaluate(() => {
      /** @type {any} */ (globalThis).isBroken = true;
    });
    await ada.at('own-error').getByText('broken by the test').waitFor();
    // Those that follow are the same.
    const ben = await stage.person(browser, server, 'ben', { recorded: false, silent: true });
    await ada.sees('ben').waitFor();
    assert.equal(ada.faults.length, 1, ada.faults.join('\n'));
    await ada.picture('own-error');
    await ada.page.setViewportSize({ width: 320, height: 640 });
    await ada.picture('own-error-320');
    await ada.at('own-error-leave').click();
    await ada.waitForPhase('left');
    assert.equal(await ada.at('own-error').isVisible(), false);
    await ben.waitUntilGone('ada');
    ada.faults.length = 0;
  }),
);

test(
  'a stored identity that is damaged is replaced, which is said once',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.open(browser, server.url, 'ada', { recorded: false });
    const damaged = ada.page.getByText('you are a new person in each room');
    await ada.page.evaluate(() => localStorage.setItem('voicemesh.secret', '0123'));
    await ada.join({ silent: true });
    await damaged.waitFor();
    await ada.waitForPhase('joined');
    await ada.page.reload();
    await ada.at('join-silent').click();
    await ada.waitForPhase('joined');
    assert.equal(await damaged.count(), 0);
  }),
);

/** As text, for a browser that takes no parameters. @param {{path: string, way: string}} what */
const takingAway = (what) =>
  `() => { if (location.protocol === 'http:') (${takeAway})(${JSON.stringify(what)}); }`;

test(
  'in Firefox, too, one joins and is heard without storage, WebRTC and locks, and it is said',
  withSound(90, { firefox: true }),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const pulse = await stage.pulse();
    const firefox = await stage.firefox(pulse);
    const bob = stage.cli(server, 'bob', {
      input: `${speechFile('cards')}:loop`,
      more: ['--status-interval', '1'],
    });
    await bob.waitFor('connected');
    const fox = await stage.openInFirefox(firefox, `${server.url}/#t=unused`, 'fox', [
      takingAway({ path: 'localStorage', way: 'throwing' }),
      takingAway({ path: 'sessionStorage', way: 'refusing' }),
      takingAway({ path: 'navigator.locks', way: 'gone' }),
      takingAway({ path: 'RTCPeerConnection', way: 'gone' }),
      takingAway({ path: 'AudioContext.prototype.setSinkId', way: 'gone' }),
      takingAway({ path: 'history.replaceState', way: 'refusing' }),
    ]);
    await fox.reads('stores nothing for this page');
    await fox.reads('all speech goes through the server');
    await fox.join();
    await fox.waitForRoute('bob', 'relayed');
    await pulse.waitUntilPlayed();
    await pulse.say(speechFile('reader'));
    await bob.waitFor('status', ({ peers }) =>
      peers.some((/** @type {any} */ peer) => peer.name === 'fox' && peer.frames_received > 20),
    );
    await fox.click('leave');
    await fox.reads('You have left the room');
    await fox.picture('firefox-without');
  }),
);
