/** Text messages, and a person's controls for microphone and playback. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { peak, speechFile } from './harness/sound.js';
import { Stage, within } from './harness/stage.js';

/** −60 dBFS. */
const NEARLY_NOTHING = 0.001;

/** @param {import('./harness/browser.js').Person} person @param {string} text */
async function write(person, text) {
  await person.at('chat-input').fill(text);
  await person.at('chat-send').click();
}

// proves: D-35
test(
  'text goes both ways and is shown as it was written',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.person(browser, server, 'ada', { recorded: false, silent: true });
    const bob = stage.cli(server, 'bob');
    await ada.sees('bob').waitFor();
    await bob.waitFor('peer-joined', (json) => json.name === 'ada');

    await write(ada, 'hello, Bob – ☎');
    const text = await bob.waitFor('text');
    assert.deepEqual([text.name, text.text, text.private], ['ada', 'hello, Bob – ☎', false]);
    bob.type('<b>hello</b>, <img src=x onerror="document.title = 1"> Ada');
    await ada
      .at('messages')
      .getByText('<b>hello</b>, <img src=x onerror="document.title = 1"> Ada', { exact: true })
      .waitFor();
    assert.equal(await ada.at('messages').locator('img, b').count(), 0);
    bob.type('/msg ada only for you');
    await ada.at('messages').getByText('only for you', { exact: true }).waitFor();
    assert.match(await ada.at('messages').innerText(), /bob to you/);
    // What was written is there after a reload, and nothing of it is new then.
    await ada.page.reload();
    await ada.at('join-silent').click();
    await ada.waitForPhase('joined');
    const kept = await ada.at('messages').locator('li p').allInnerTexts();
    assert.deepEqual(kept, [
      'hello, Bob – ☎',
      '<b>hello</b>, <img src=x onerror="document.title = 1"> Ada',
      'only for you',
    ]);
    assert.equal(await ada.page.title(), 'room · voicemesh');
    // What is too long is not cut, and what cannot be seen is no message: both are said, and stay.
    for (const [long, why] of [
      ['x'.repeat(5000), 'A message can have at most 4096 bytes.'],
      ['\u200b', 'Type something that can be seen.'],
    ]) {
      await ada.at('chat-input').fill(long);
      await ada.page.keyboard.press('Enter');
      await ada.page.getByText(why).first().waitFor();
      assert.equal(await ada.at('chat-input').inputValue(), long);
    }
    // Shift and Enter begin a line.
    await ada.at('chat-input').fill('one');
    await ada.page.keyboard.press('Shift+Enter');
    await ada.page.keyboard.type('two');
    await ada.page.keyboard.press('Enter');
    assert.equal(
      (await bob.waitFor('text', (json) => json.name === 'ada' && json.text !== text.text)).text,
      'one\ntwo',
    );
  }),
);

// proves: D-19
test(
  'who mutes sends nothing, and is heard again when they unmute',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn('reader');
    const ada = await stage.person(browser, server, 'ada');
    const bob = stage.cli(server, 'bob', { more: ['--status-interval', '1'] });
    const frames = (/** @type {any} */ status) => status.peers[0]?.frames_received ?? 0;
    await bob.waitFor('status', (json) => frames(json) > 25);

    await ada.at('mute').click();
    await ada.page.locator('[data-test="mute"][aria-pressed="true"]').waitFor();
    // What is under way arrives within a moment; then the count stands still for three seconds.
    let [last, still] = [-1, 0];
    await bob.waitFor('status', (json) => {
      still = frames(json) === last ? still + 1 : 0;
      last = frames(json);
      return still === 3;
    });
    await ada.at('mute').click();
    await bob.waitFor('status', (json) => frames(json) > last + 25);
  }),
);

test(
  'who is deaf hears nothing, and hears again when they want to',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.person(browser, server, 'ada', { silent: true });
    stage.cli(server, 'bob', { input: `${speechFile('reader')}:loop` });
    await ada.sees('bob', '[data-speaking="true"]').waitFor();
    const hears = async () => {
      await ada.forget();
      await ada.waitUntilRecorded(1);
      return peak(await ada.heard());
    };
    assert.ok((await hears()) > 0.05, 'Bob is heard');
    await ada.at('deafen').click();
    await ada.page.locator('[data-test="deafen"][aria-pressed="true"]').waitFor();
    // The first moment may still be on its way to the speaker.
    await hears();
    assert.ok((await hears()) < NEARLY_NOTHING, 'Bob is not heard');
    await ada.at('deafen').click();
    await hears();
    assert.ok((await hears()) > 0.05, 'Bob is heard again');
    await ada.at('settings').click();
    await ada.at('overall').fill('0');
    await ada.page.keyboard.press('Escape');
    await hears();
    assert.equal(await hears(), 0, 'everybody together is as quiet as asked for');
  }),
);

test(
  'the others see who is muted, hears nothing or only listens',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.person(browser, server, 'ada', { recorded: false });
    const bob = await stage.person(browser, server, 'bob', { recorded: false, silent: true });
    const listeners = bob.page.locator('[data-test="group"][data-name="Global"] .hint');
    const seen = (
      /** @type {import('./harness/browser.js').Person} */ by,
      /** @type {string} */ name,
      /** @type {string} */ words,
    ) => by.sees(name).locator('[data-test="status"]').getByText(words, { exact: true }).waitFor();
    await seen(ada, 'bob', 'listening only');
    await listeners.getByText('2 listen', { exact: true }).waitFor();
    await ada.at('mute').click();
    await seen(bob, 'ada', 'muted');
    await ada.at('deafen').click();
    await seen(bob, 'ada', 'muted, hears nothing');
    await listeners.getByText('1 listens', { exact: true }).waitFor();
    // Who comes later sees it as well.
    const cyd = await stage.person(browser, server, 'cyd', { recorded: false, silent: true });
    await seen(cyd, 'ada', 'muted, hears nothing');
    await ada.at('deafen').click();
    await ada.at('mute').click();
    for (const person of [bob, cyd])
      await person.sees('ada').locator('[data-test="status"]').waitFor({ state: 'hidden' });
  }),
);

test(
  'one person can be muted for oneself alone',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.person(browser, server, 'ada', { silent: true });
    stage.cli(server, 'bob', { input: `${speechFile('reader')}:loop` });
    await ada.sees('bob', '[data-speaking="true"]').waitFor();
    await ada.sees('bob').locator('summary').click();
    await ada.sees('bob').locator('[data-test="person-mute"]').click();
    await ada.sees('bob').locator('[data-test="person-mute"][aria-pressed="true"]').waitFor();
    const hears = async () => {
      await ada.forget();
      await ada.waitUntilRecorded(1);
      return peak(await ada.heard());
    };
    await hears();
    assert.ok((await hears()) < NEARLY_NOTHING, 'Bob is not heard');
    await ada.sees('bob').locator('[data-test="person-mute"]').click();
    await hears();
    assert.ok((await hears()) > 0.05, 'Bob is heard again');
    await ada.at('settings').click();
    await ada.at('overall').fill('0');
    await ada.page.keyboard.press('Escape');
    await hears();
    assert.equal(await hears(), 0, 'everybody together is as quiet as asked for');
  }),
);
