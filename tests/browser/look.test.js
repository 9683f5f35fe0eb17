/** How the page looks in its main states (out/browser/), that everybody can use it, and that it stays small and by itself. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { crowd } from './harness/crowd.js';
import { look } from './harness/look.js';
import { speechFile } from './harness/sound.js';
import { Stage, within } from './harness/stage.js';
import {
  measureTransfers,
  MOST_BYTES,
  MOST_ENCRYPTION_BYTES,
  partsOf,
} from './harness/transfers.js';

const SCREENS = [
  { name: 'wide', context: { viewport: { width: 1280, height: 800 } } },
  {
    name: 'wide-dark',
    context: { viewport: { width: 1280, height: 800 }, colorScheme: /** @type {const} */ ('dark') },
  },
  { name: 'narrow', context: { viewport: { width: 1024, height: 768 } } },
  // A wide screen at 200 %, and a telephone on its side.
  { name: 'zoomed', context: { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 } },
  {
    name: 'landscape',
    context: { viewport: { width: 844, height: 390 }, hasTouch: true, isMobile: true },
  },
  {
    name: 'phone',
    context: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
  },
];

test(
  'the page can be used on every screen',
  within(240),
  Stage.for(async (stage) => {
    const server = await stage.server('--owner-after', '0');
    const browser = await stage.browserSpeakingOn('reader');
    const room = 'Kitchen table';
    /** @type {import('./harness/program.js').Program | null} */
    let bob = null;
    for (const { name, context } of SCREENS) {
      const ada = await stage.open(browser, server.url, 'ada', { recorded: false, context });
      await look(ada, `${name}-1-lobby`);
      // What everybody needs is seen without scrolling.
      for (const hook of ['name', 'join']) {
        const box = await ada.at(hook).boundingBox();
        assert.ok(
          box && box.y + box.height <= context.viewport.height,
          `${name}: ${hook} is below the fold`,
        );
      }
      if (name === 'phone') {
        await ada.join({ room: 'Quiet' });
        await ada.waitForPhase('joined');
        await look(ada, `${name}-2-alone`);
        await ada.at('leave').click();
        await ada.at('back').click();
      }
      await ada.join({ room });
      await ada.waitForPhase('joined');
      if (!bob) {
        await look(ada, `${name}-2-alone`);
        bob = stage.cli(server, 'Bob', { room, input: `${speechFile('cards')}:loop` });
        stage.cli(server, 'A member with a name that is rather long for a list', {
          room,
          more: ['--relay-only'],
        });
      }
      await ada.sees('Bob', '[data-speaking="true"]').waitFor();
      bob.type(`Can you hear me on ${name}?`);
      await ada
        .at('messages')
        .getByText(`Can you hear me on ${name}?`, { exact: true })
        .waitFor({ state: 'attached' });
      await look(ada, `${name}-3-people`);
      for (const tab of await ada.page.locator('nav button:visible').all()) {
        await tab.click();
        await look(
          ada,
          `${name}-4-${(await tab.innerText()).toLowerCase().replaceAll(/\W+/g, '')}`,
        );
      }
      await ada.at('settings').click();
      await look(ada, `${name}-5-settings`);
      await ada.page.keyboard.press('Escape');
      await server.program.kill();
      await ada.waitForPhase('reconnecting');
      await look(ada, `${name}-6-server-away`);
      await ada.at('leave').click();
      await ada.waitForPhase('left');
      await look(ada, `${name}-7-left`);
      await ada.context.close();
      await stage.startAgain(server);
    }
  }),
);

test(
  'a room of twenty is rows in the order of names, and who speaks is named',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.open(browser, server.url, 'ada', { recorded: false });
    const names = [
      'Zoe',
      'Ben',
      'Ben',
      'Karl-Theodor',
      'Mia',
      'Noah',
      'Lea',
      'Finn',
      'Paul',
      'Emma',
      'Jonas',
      '山田太郎',
      'Lukas',
      'Ida',
      'Max',
      'Olga',
      'Yusuf',
      'Åsa',
    ];
    await crowd(ada, names);
    stage.cli(server, 'Bob', { input: `${speechFile('cards')}:loop` });
    await ada.join({ silent: true });
    await ada.waitForPhase('joined');
    await ada.page.getByText('Speaking: \u2068Bob\u2069').waitFor();
    const people = ada.at('person');
    assert.equal(await people.count(), 19);
    const listed = await people.evaluateAll((cards) =>
      cards.map((card) => /** @type {HTMLElement} */ (card).dataset.name ?? ''),
    );
    assert.deepEqual(
      listed,
      [...listed].sort((a, b) => a.localeCompare(b)),
    );
    // Names that are alike have short ids, also where a message is meant for one of them.
    const bens = listed.filter((name) => name.startsWith('Ben'));
    assert.ok(
      bens.length === 2 &&
        bens.every((name) => /^Ben#[0-9a-f]{4}/.test(name)) &&
        bens[0] !== bens[1],
      bens.join(),
    );
    const options = await ada.page.locator('select option').allInnerTexts();
    for (const ben of bens) assert.ok(options.includes(`Only to ${ben}`), ben);
    // However poor a voice is, no row moves the others. What is set here lasts until the page looks again.
    const [before, poor] = await people.evaluateAll((cards) => {
      const heights = () => cards.map((card) => card.getBoundingClientRect().height);
      const quiet = heights();
      for (const card of cards) {
        /** @type {HTMLElement} */ (card).dataset.grave = 'true';
        const reason = /** @type {HTMLElement} */ (card.querySelector('.about-quality span'));
        reason.dataset.grave = 'true';
        reason.textContent = ' · arrives late: their upload is slow, or their device is busy';
      }
      return [quiet, heights()];
    });
    assert.ok(Math.max(...before) <= 60, before.join());
    assert.deepEqual(poor, before);
    await look(ada, 'twenty');
    await ada.page.setViewportSize({ width: 390, height: 844 });
    await look(ada, 'twenty-phone');
  }),
);

test(
  'a room with a password asks for it in a form, and says what was wrong',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    // The first one sets it in the lobby.
    const bob = await stage.open(browser, server.url, 'bob', { recorded: false });
    await bob.at('room-has-password').locator('summary').click();
    await bob.at('room-password').fill('open sesame');
    await bob.join({ silent: true });
    await bob.waitForPhase('joined');
    const ada = await stage.open(browser, server.url, 'ada', { recorded: false });
    await ada.join({ silent: true });
    await ada.waitForPhase('refused');
    assert.match(await ada.page.innerText('h1'), /has a password/);
    await look(ada, 'password');
    // The field has the focus, and Enter sends it.
    await ada.page.keyboard.type('wrong');
    await ada.page.keyboard.press('Enter');
    await ada.page.getByText(/That was not the password|Wrong passwords came/).waitFor();
    await look(ada, 'password-wrong');
    await ada.page.locator('[data-test="rejoin"]:enabled').waitFor();
    await ada.at('password').fill('open sesame');
    await ada.page.keyboard.press('Enter');
    await ada.waitForPhase('joined');
  }),
);

test(
  'what one’s own state keeps from others is said, and nothing moves when a person speaks',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const bob = stage.cli(server, 'Listener with a longish name', {
      input: `${speechFile('cards')}:loop`,
    });
    await bob.waitFor('connected');
    const ada = await stage.person(browser, server, 'ada', { recorded: false, silent: true });
    assert.equal(await ada.at('mute').isVisible(), false, 'there is nothing to mute');
    await ada.at('deafen').click();
    await ada.page.getByText('listening only, hears nothing').waitFor();
    await look(ada, 'listening-only');
    const card = ada.sees('Listener with a longish name');
    const height = async (/** @type {boolean} */ speaking) => {
      await ada.sees('Listener with a longish name', `[data-speaking="${speaking}"]`).waitFor();
      return (await card.boundingBox())?.height;
    };
    const tall = await height(true);
    bob.type('/input silence');
    assert.equal(await height(false), tall);
  }),
);

test(
  'a pasted name that is too long is refused with a sentence, and not cut',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const ada = await stage.open(await stage.browserSpeakingOn(), server.url, 'ada');
    const name = ada.at('name');
    const long = 'n'.repeat(200);
    await name.fill('');
    await name.focus();
    // As a paste does, this keeps to what the field takes.
    await ada.page.keyboard.insertText(long);
    await ada.at('join-silent').click();
    const fault = await name.evaluate((field) =>
      field instanceof HTMLInputElement ? field.validationMessage : '',
    );
    assert.equal(fault, 'This is too long.');
    assert.equal(await name.inputValue(), long);
  }),
);

test(
  'a full room says so',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server('--max-peers-per-room', '1');
    const bob = stage.cli(server, 'bob');
    await bob.waitFor('connected');
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.open(browser, server.url, 'ada');
    await ada.join();
    await ada.waitForPhase('refused');
    assert.match(await ada.page.innerText('body'), /full/i);
    await look(ada, 'refused');
  }),
);

test(
  'the page is small on its way and loads nothing from elsewhere',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    /** @type {() => Promise<Map<string, import('./harness/transfers.js').Transfer>>} */
    let transfers = async () => new Map();
    // A request to another host is reported as a fault by itself.
    const before = async (/** @type {import('playwright-core').Page} */ page) => {
      transfers = measureTransfers(page);
    };
    const ada = await stage.open(browser, server.url, 'ada', { recorded: false, before });
    await ada.join();
    await ada.waitForPhase('joined');
    const loaded = await transfers();
    // What encrypts comes when one joins, after the page is drawn, and has a limit for itself.
    const { shell, encryption } = partsOf(loaded);
    stage.tell(`${shell} bytes and ${encryption} of what encrypts, in ${loaded.size} files`);
    assert.ok(loaded.has(`${server.url}/`) && loaded.size > 10, [...loaded.keys()].join('\n'));
    const plain = [...loaded].filter(([, { encoding }]) => encoding !== 'br').map(([url]) => url);
    assert.deepEqual(plain, []);
    assert.ok(shell <= MOST_BYTES, `${shell} bytes`);
    assert.ok(
      encryption > 50_000 && encryption <= MOST_ENCRYPTION_BYTES,
      `${encryption} bytes of what encrypts`,
    );
    // What letters look like is no part of that. Two scripts, and no letter that both have.
    const first = new Set(loaded.keys());
    for (const name of ['ПОРТ', 'ΠΟΡΤ']) stage.cli(server, name);
    for (const name of ['ПОРТ', 'ΠΟΡΤ'])
      await ada.page.locator(`[data-test="person"][data-name^="${name}#"]`).waitFor();
    const later = [...(await transfers()).keys()].filter((url) => !first.has(url));
    assert.ok(
      later.some((url) => url.endsWith('/look-alikes.js')),
      later.join('\n'),
    );
  }),
);
