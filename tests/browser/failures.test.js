/** What breaks in mid-speech: the server, a link, the page's attention. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertHeard, speechFile, spoken, writeWav } from './harness/sound.js';
import { LEAD_S, Stage, within } from './harness/stage.js';

/** Two voices one after the other, long enough to break something in the first and see it mended in the second. */
const WORDS = ['reader', 'cards'];
const WORDS_S = 14.1;
const FROZEN_S = 5;

/** How many frames have come from one peer. @param {any} status @param {string} name @returns {number} */
const framesOf = (status, name) =>
  status.peers.find((/** @type {any} */ peer) => peer.name === name)?.frames_received ?? 0;

/** @param {import('./harness/program.js').Program} bob @param {string} name */
async function heardOf(bob, name) {
  bob.type('/who');
  return framesOf(await bob.waitFor('status'), name);
}

/**
 * Until that many more frames have come than now.
 * @param {import('./harness/program.js').Program} bob
 * @param {string} name
 * @param {number} more
 */
async function waitForFrames(bob, name, more) {
  const enough = (await heardOf(bob, name)) + more;
  const deadline = Date.now() + 20_000;
  while ((await heardOf(bob, name)) < enough)
    assert.ok(Date.now() < deadline, `no ${more} more frames of ${name}`);
}

// proves: B-03
test(
  'a server killed in mid-speech leaves no gap in what a browser says directly',
  within(90),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browser(...WORDS);
    const bob = stage.cli(server, 'bob', { more: ['--duration', String(LEAD_S + WORDS_S + 5)] });
    await bob.waitFor('connected');
    const ada = await stage.person(browser, server, 'ada');
    await ada.waitForRoute('bob', 'direct');
    await bob.waitFor('route-changed', (json) => json.name === 'ada' && json.route === 'direct');
    await bob.waitFor('first-heard', (json) => json.name === 'ada');

    await server.program.kill();
    await ada.waitForPhase('reconnecting');
    await bob.waitFor('server-away');
    await waitForFrames(bob, 'ada', 100);
    assert.equal(await ada.sees('bob').getAttribute('data-route'), 'direct');
    await server.startAgain();
    await ada.waitForPhase('joined');
    await ada.waitForRoute('bob', 'direct');
    await waitForFrames(bob, 'ada', 50);

    await bob.waitFor('summary');
    writeWav(stage.file('spoken.wav'), spoken(...WORDS));
    stage.tell(
      (await assertHeard('ada, to bob', stage.file('spoken.wav'), stage.file('bob.wav'))).line,
    );
  }),
);

// proves: D-32
test(
  'a link cut in mid-speech is replaced, and little is lost meanwhile',
  within(90),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.person(browser, server, 'ada', { silent: true });
    const input = stage.speech('bob-says.wav', 1, 'reader');
    const bob = stage.cli(server, 'bob', { input, more: ['--duration', '10'] });
    await ada.waitForRoute('bob', 'direct');
    await ada.sees('bob', '[data-speaking="true"]').waitFor();
    await ada.cutConnections();
    await ada.waitForRoute('bob', 'relayed');
    await ada.waitForRoute('bob', 'direct');
    await bob.waitFor('summary');

    await ada.heard(stage.file('ada.wav'));
    const hearing = await assertHeard('bob, to ada', speechFile('reader'), stage.file('ada.wav'), {
      cutMs: 600,
    });
    stage.tell(hearing.line);
  }),
);

test(
  'a hidden page is heard and hears',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.untouchedBrowser('reader');
    const ada = await stage.person(browser, server, 'ada');
    await ada.hide();
    const input = stage.speech('bob-says.wav', 1, 'announcer');
    const bob = stage.cli(server, 'bob', { input, more: ['--duration', '10'] });
    await bob.waitFor('route-changed', (json) => json.name === 'ada' && json.route === 'direct');
    const {
      peers: [summary],
    } = await bob.waitFor('summary');
    // Her voice goes round without end, so it is counted, not compared: a hidden page's timers come once a second.
    assert.ok(summary.frames_concealed <= summary.frames_heard / 100, JSON.stringify(summary));
    assert.ok(summary.frames_heard > 250, JSON.stringify(summary));
    await ada.heard(stage.file('ada.wav'));
    stage.tell(
      (await assertHeard('bob, to ada', speechFile('announcer'), stage.file('ada.wav'))).line,
    );
  }),
);

test(
  'a frozen page that thaws hears at once what is said then, and nothing late',
  within(180),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.untouchedBrowser('numbers');
    const ada = await stage.person(browser, server, 'ada');
    await ada.hide();
    const input = stage.speech('bob-says.wav', 1, ...WORDS);
    const bob = stage.cli(server, 'bob', {
      input,
      more: ['--duration', String(WORDS_S + 3), '--status-interval', '1'],
    });
    await bob.waitFor('route-changed', (json) => json.name === 'ada' && json.route === 'direct');
    await bob.waitFor('first-heard', (json) => json.name === 'ada');
    await bob.waitFor('status', (json) => json.frames_spoken > 50);
    // On a busy machine freezing and thawing take a while themselves.
    const frozenAt = performance.now();
    await ada.setLifecycle('frozen');
    // Bob's clock goes on. What Ada had sent when she froze is in the first counts, and nothing is added to it.
    bob.forget();
    const counts = [];
    for (let second = 0; second < FROZEN_S; second++)
      counts.push(framesOf(await bob.waitFor('status'), 'ada'));
    assert.equal(counts.at(-1), counts[1], `frozen: ${counts}`);
    await ada.setLifecycle('active');
    const frozenMs = Math.ceil(performance.now() - frozenAt);
    await waitForFrames(bob, 'ada', 50);
    await bob.waitFor('summary');

    writeWav(stage.file('spoken.wav'), spoken(...WORDS));
    await ada.heard(stage.file('ada.wav'));
    const hearing = await assertHeard(
      'bob, to ada',
      stage.file('spoken.wav'),
      stage.file('ada.wav'),
      { cutMs: frozenMs + 1000 },
    );
    stage.tell(hearing.line);
    assert.ok(hearing.cutMs > 1000, 'the page was frozen');
  }),
);
