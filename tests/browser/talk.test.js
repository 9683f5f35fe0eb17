/** Rooms in which nothing goes wrong: who speaks in a browser is heard, and hears. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertHeard, compare, speechFile } from './harness/sound.js';
import { LEAD_S, Stage, within } from './harness/stage.js';

/** The longest voice, its lead, and a moment for the last of it to arrive. */
const WHOLE_S = LEAD_S + 7.1 + 1.5;
/** What a browser's own processing of a microphone leaves of a noisy voice; another voice stays under 0.4. */
const PROCESSED = { envelope: 0.7, unheardMs: 200, stoi: 0.6 };

/**
 * Ada in a browser and Bob at the command line, who say something each at the same time.
 * @param {Stage} stage
 * @param {'direct' | 'relayed'} route
 */
async function browserAndCommandLine(stage, route) {
  const server = await stage.server();
  const browser = await stage.browser('reader');
  const ada = await stage.person(browser, server, 'ada', { relayOnly: route === 'relayed' });
  await ada.forget();
  const bob = stage.cli(server, 'bob', { input: speechFile('announcer') });
  await Promise.all([
    ada.waitForRoute('bob', route),
    bob.waitFor('route-changed', (json) => json.name === 'ada' && json.route === route),
  ]);
  await ada.waitUntilRecorded(WHOLE_S);
  await ada.heard(stage.file('ada.wav'));
  bob.type('/quit');
  await bob.waitFor('summary');
  const toBob = await assertHeard('ada, to bob', speechFile('reader'), stage.file('bob.wav'));
  stage.tell(`browser to command line: ${toBob.line}`);
  const toAda = await assertHeard('bob, to ada', speechFile('announcer'), stage.file('ada.wav'));
  stage.tell(`command line to browser: ${toAda.line}`);
  return ada;
}

// proves: D-15
test(
  'a browser and a command line hear each other directly',
  within(),
  Stage.for(async (stage) => {
    await browserAndCommandLine(stage, 'direct');
  }),
);

// proves: S-14
test(
  'a browser that wants the relay only is heard and hears, and opens no connection',
  within(),
  Stage.for(async (stage) => {
    const ada = await browserAndCommandLine(stage, 'relayed');
    // The one by which the page has looked whether this browser allows them.
    assert.equal(await ada.connectionsEver(), 1);
    assert.equal(await ada.openConnections(), 0);
  }),
);

test(
  'a voice on one channel of two is heard as loud as it is',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserOnSecondChannel('reader');
    const ada = await stage.person(browser, server, 'ada', { recorded: false });
    const bob = stage.cli(server, 'bob', { more: ['--duration', String(WHOLE_S)] });
    await ada.waitForRoute('bob', 'direct');
    await bob.waitFor('summary');
    const { line, levelDb } = await compare(speechFile('reader'), stage.file('bob.wav'));
    stage.tell(line);
    // In the mean of both it would be 6 dB quieter.
    assert.ok(Math.abs(levelDb) < 3, line);
  }),
);

test(
  'two browsers hear each other',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const [hers, his] = await Promise.all([stage.browser('reader'), stage.browser('announcer')]);
    const [ada, bob] = await Promise.all([
      stage.person(hers, server, 'ada'),
      stage.person(his, server, 'bob'),
    ]);
    await Promise.all([ada.waitForRoute('bob', 'direct'), bob.waitForRoute('ada', 'direct')]);
    // As each tells the other's page.
    for (const { page } of [ada, bob])
      await page
        .locator('[data-test="person"]', { hasText: '· hears you' })
        .waitFor({ state: 'attached' });
    await Promise.all(
      [ada, bob].map(async (person) => {
        await person.waitUntilRecorded(WHOLE_S);
        await person.heard(stage.file(`${person.name}.wav`));
      }),
    );
    stage.tell(
      (await assertHeard('ada, to bob', speechFile('reader'), stage.file('bob.wav'))).line,
    );
    stage.tell(
      (await assertHeard('bob, to ada', speechFile('announcer'), stage.file('ada.wav'))).line,
    );
  }),
);

test(
  'the echo peer says back what a browser says',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const echo = stage.echo(server);
    await echo.waitForLine('that it is ready', ({ text }) =>
      text.includes('says back what it hears'),
    );
    const browser = await stage.browser('reader');
    const ada = await stage.person(browser, server, 'ada');
    await ada.waitForRoute('echo', 'direct');
    await ada.waitUntilRecorded(WHOLE_S + 2);
    await ada.heard(stage.file('ada.wav'));
    stage.tell(
      (await assertHeard('ada, to herself', speechFile('reader'), stage.file('ada.wav'))).line,
    );
  }),
);

// proves: B-07
test(
  'a browser, a command line and a program with a frame loop hear each other',
  within(90),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browser('reader');
    const ada = await stage.person(browser, server, 'ada', { processed: true });
    // One after the other: Ada, then Bob, then the program.
    const [bobs, games] = [WHOLE_S, WHOLE_S + 6];
    const length = games + 8.5;
    const bob = stage.cli(server, 'bob', {
      input: stage.speech('bob-says.wav', bobs, 'announcer'),
      more: ['--duration', String(length)],
    });
    const game = stage.game(server, 'game', stage.speech('game-says.wav', games, 'cards'), length);
    await Promise.all([ada.waitForRoute('bob', 'direct'), ada.waitForRoute('game', 'direct')]);
    await Promise.all([bob.waitFor('summary'), game.ended]);
    await Promise.all([ada.waitUntilGone('bob'), ada.waitUntilGone('game')]);
    await ada.heard(stage.file('ada.wav'));
    for (const [speaker, voice, listener] of [
      ['ada', 'reader', 'bob'],
      ['ada', 'reader', 'game'],
      ['bob', 'announcer', 'ada'],
      ['bob', 'announcer', 'game'],
      ['game', 'cards', 'ada'],
      ['game', 'cards', 'bob'],
    ]) {
      const hearing = await assertHeard(
        `${speaker}, to ${listener}`,
        speechFile(voice),
        stage.file(`${listener}.wav`),
        speaker === 'ada' ? PROCESSED : {},
      );
      stage.tell(`${speaker} to ${listener}: ${hearing.line}`);
    }
  }),
);
