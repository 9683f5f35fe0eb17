/** To whom a page speaks and when: talk groups, a key to hold, and a second tab. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Person } from './harness/browser.js';
import { Stage, within } from './harness/stage.js';

/** @param {any} status @param {string} name @returns {number} */
const framesOf = (status, name) =>
  status.peers.find((/** @type {any} */ peer) => peer.name === name)?.frames_received ?? 0;

/**
 * Waits until the count of one peer's frames stands still for two seconds; returns it.
 * @param {import('./harness/program.js').Program} listener
 * @param {string} name
 */
async function waitForSilence(listener, name) {
  // What was said before is not news.
  listener.forget();
  let [last, still] = [-1, 0];
  await listener.waitFor('status', (json) => {
    still = framesOf(json, name) === last ? still + 1 : 0;
    last = framesOf(json, name);
    return still === 2;
  });
  return last;
}

// proves: D-15
test(
  'who speaks to a group is heard by its listeners and by no other member',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const [bob, cyd] = ['bob', 'cyd'].map((name) =>
      stage.cli(server, name, { more: ['--status-interval', '1'] }),
    );
    await Promise.all([bob, cyd].map((peer) => peer.waitFor('connected')));
    bob.type('/join team');
    const browser = await stage.browserSpeakingOn('reader');
    const ada = await stage.person(browser, server, 'ada');
    await Promise.all(
      [bob, cyd].map((peer) => peer.waitFor('status', (json) => framesOf(json, 'ada') > 25)),
    );

    const group = (/** @type {string} */ name, /** @type {string} */ hook) =>
      ada.page.locator(`[data-test="group"][data-name="${name}"] [data-test="${hook}"]`);
    await group('team', 'group-speak').click();
    await group('Global', 'group-speak').click();
    await ada.page
      .locator('[data-name="Global"] [data-test="group-speak"][aria-pressed="false"]')
      .waitFor();
    const before = await waitForSilence(cyd, 'ada');
    bob.forget();
    const { peers } = await bob.waitFor('status');
    await bob.waitFor('status', (json) => framesOf(json, 'ada') > framesOf({ peers }, 'ada') + 50);
    cyd.forget();
    assert.equal(framesOf(await cyd.waitFor('status'), 'ada'), before);
  }),
);

test(
  'with push-to-talk one is heard while the key is held, and not otherwise',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const bob = stage.cli(server, 'bob', { more: ['--status-interval', '1'] });
    await bob.waitFor('connected');
    const browser = await stage.browserSpeakingOn('reader');
    const ada = await stage.person(browser, server, 'ada');
    await bob.waitFor('status', (json) => framesOf(json, 'ada') > 25);
    await ada.at('settings').click();
    await ada.page.locator('dialog input[value="push-to-talk"]').check();
    await ada.page.keyboard.press('Escape');
    const before = await waitForSilence(bob, 'ada');

    await ada.page.keyboard.down('Space');
    await bob.waitFor('status', (json) => framesOf(json, 'ada') > before + 50);
    await ada.page.keyboard.up('Space');
    await waitForSilence(bob, 'ada');
  }),
);

test(
  'two tabs are two people, and a tab that is loaded anew is the same one',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const bob = stage.cli(server, 'bob');
    await bob.waitFor('connected');
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.person(browser, server, 'ada', { silent: true });
    const second = new Person(ada.context, await ada.context.newPage(), 'eve');
    await second.page.goto(server.url);
    await second.join({ silent: true });
    await second.waitForPhase('joined');
    const [first, other] = [
      await bob.waitFor('peer-joined', (json) => json.name === 'ada'),
      await bob.waitFor('peer-joined', (json) => json.name === 'eve'),
    ];
    assert.notEqual(first.peer, other.peer);
    await ada.sees('eve').waitFor();

    await second.page.reload();
    await bob.waitFor('peer-left', (json) => json.name === 'eve');
    await second.page.locator('[data-test="join-silent"]').click();
    assert.equal(
      (await bob.waitFor('peer-joined', (json) => json.name === 'eve')).peer,
      other.peer,
    );
  }),
);
