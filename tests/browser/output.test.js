/** A speaker that ends: it is called what it is, one's own voice goes on, and sound comes back by itself. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { look } from './harness/look.js';
import { speechFile } from './harness/sound.js';
import { Stage, withSound } from './harness/stage.js';

/** Frames received from a person. @param {any} status @param {string} name @returns {number} */
const framesOf = (status, name) => status.peers.find((/** @type {any} */ peer) => peer.name === name)?.frames_received ?? 0;

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

/** @param {Stage} stage @param {import('./harness/program.js').Server} server */
function talker(stage, server) {
  return stage.cli(server, 'bob', { input: `${speechFile('announcer')}:loop`, more: ['--status-interval', '1'] });
}

test('when the sound server ends, the page says that no speaker works, is still heard, and plays again when it is back', withSound(90), Stage.for(async (stage) => {
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
  await waitUntilHeard(bob, 'ada');
  const text = await ada.page.innerText('body');
  assert.doesNotMatch(text, /waits for a click|Poor connection|microphone is gone/);
  await look(ada, 'speaker-none');
  await pulse.start();
  await pulse.waitUntilPlayed();
  await ada.page.getByText('No speaker works').waitFor({ state: 'detached' });
  await waitUntilHeard(bob, 'ada');
}));

test('when the chosen speaker is unplugged, the default one plays', withSound(90), Stage.for(async (stage) => {
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
  await pulse.waitUntilPlayed();
  assert.doesNotMatch(await ada.page.innerText('body'), /No speaker works|waits for a click|Poor connection|microphone is gone/);
}));
