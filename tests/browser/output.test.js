/** A speaker that ends: it is called what it is, one's own voice goes on, and sound comes back by itself. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { look } from './harness/look.js';
import { speechFile } from './harness/sound.js';
import { Stage, withSound } from './harness/stage.js';

/** Frames received from a person. @param {any} status @param {string} name @returns {number} */
const framesOf = (status, name) =>
  status.peers.find((/** @type {any} */ peer) => peer.name === name)?.frames_received ?? 0;

/**
 * Waits until a good second more of a person's voice has come.
 * @param {import('./harness/program.js').Program} listener
 * @param {string} name
 */
async function waitUntilHeard(listener, name) {
  listener.forget();
  const before = framesOf(await listener.waitFor('status'), name);
  await listener.waitFor('status', (json) => framesOf(json, name) > before + 50);
}

/**
 * Waits until the others see that a person hears nothing, or no longer.
 * @param {import('./harness/program.js').Program} observer @param {string} name @param {boolean} deafened
 */
const isShownDeaf = (observer, name, deafened) =>
  observer.waitFor(
    'status-changed',
    (json) => json.name === name && json.status.deafened === deafened,
  );

/** @param {Stage} stage @param {import('./harness/program.js').Server} server */
function talker(stage, server) {
  return stage.cli(server, 'bob', {
    input: `${speechFile('announcer')}:loop`,
    more: ['--status-interval', '1'],
  });
}

test(
  'when the sound server ends, the page says that no speaker works, is still heard, and plays again when it is back',
  withSound(90),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const pulse = await stage.pulse();
    const bob = talker(stage, server);
    await bob.waitFor('connected');
    const browser = await stage.browserWithSound(pulse, 'reader');
    const ada = await stage.person(browser, server, 'ada', { recorded: false });
    await ada.waitForRoute('bob', 'direct');
    await pulse.waitUntilPlayed();
    await pulse.kill();
    await ada.page.getByText('No speaker works').waitFor();
    await isShownDeaf(bob, 'ada', true);
    await waitUntilHeard(bob, 'ada');
    const text = await ada.page.innerText('body');
    assert.doesNotMatch(text, /waits for a click|\bPoor\b|microphone is gone/);
    await look(ada, 'speaker-none');
    await pulse.start();
    await pulse.waitUntilPlayed();
    await ada.page.getByText('No speaker works').waitFor({ state: 'detached' });
    await isShownDeaf(bob, 'ada', false);
    await waitUntilHeard(bob, 'ada');
  }),
);

/** Its microphone hears a tone, which is no speech. Run in the page before its own code, sent there as text. */
function alwaysHeard() {
  if (location.protocol === 'http:')
    localStorage.setItem('voicemesh.settings', JSON.stringify({ activation: 'always' }));
}

// Firefox says nothing of it by the sound context, which goes on: an audio element that plays silence tells it.
test(
  'in Firefox, too, it is said that no speaker works when the sound server ends, one is heard on, and sound comes back',
  withSound(90, { firefox: true }),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const pulse = await stage.pulse();
    const bob = talker(stage, server);
    await bob.waitFor('connected');
    const firefox = await stage.firefox(pulse, { 'media.navigator.streams.fake': true });
    const fox = await stage.openInFirefox(firefox, server.url, 'fox', [alwaysHeard]);
    await fox.join();
    await fox.waitForRoute('bob', 'direct');
    await pulse.waitUntilPlayed();
    await waitUntilHeard(bob, 'fox');
    await pulse.kill();
    await fox.reads('No speaker works: you hear nothing');
    await isShownDeaf(bob, 'fox', true);
    await waitUntilHeard(bob, 'fox');
    await waitUntilHeard(bob, 'fox');
    const text = await fox.evaluate(() => document.body.innerText);
    assert.doesNotMatch(text, /waits for a click|Poor|microphone is gone|does not hear you/);
    await fox.picture('firefox-speaker-none');
    await pulse.start();
    await pulse.waitUntilPlayed();
    await fox.reads('No speaker works', false);
    await isShownDeaf(bob, 'fox', false);
    await waitUntilHeard(bob, 'fox');
  }),
);

test(
  'when the chosen speaker is unplugged, the page says so and the default one plays, until it is back',
  withSound(90),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const pulse = await stage.pulse();
    const bob = talker(stage, server);
    await bob.waitFor('connected');
    const browser = await stage.browserWithSound(pulse);
    const ada = await stage.person(browser, server, 'ada', { recorded: false });
    await ada.waitForRoute('bob', 'direct');
    await pulse.waitUntilPlayed();
    await ada.at('settings').click();
    await ada.page.getByRole('combobox', { name: 'Speaker' }).selectOption({ label: 'second' });
    await ada.page.keyboard.press('Escape');
    await pulse.waitUntilPlayed('second');
    await pulse.unplug('second');
    const said = ada.page.getByText('Your speaker is gone. Sound comes from the default one.');
    await said.waitFor();
    await pulse.waitUntilPlayed();
    await look(ada, 'speaker-default');
    assert.doesNotMatch(
      await ada.page.innerText('body'),
      /No speaker works|waits for a click|\bPoor\b|microphone is gone/,
    );
    // It is used again when it is back, and nothing is said any more. The stream that the sound system moved must be closed.
    await pulse.waitUntilOneStream();
    await pulse.plug('second');
    await said.waitFor({ state: 'detached' });
    await pulse.waitUntilPlayed('second');
  }),
);
