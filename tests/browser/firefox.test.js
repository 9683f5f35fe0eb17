/** The page in Firefox, with a real sound server: it answers through a whole call, and is heard and hears. */

import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';

import { assertHeard, speechFile, writeWav } from './harness/sound.js';
import { LEAD_S, Stage, withSound } from './harness/stage.js';

/** Longer than any pause of a page that still runs, on a machine that does other things as well. */
const STUCK_MS = 15_000;

/**
 * Run in the page before its own code, sent there as text. What a slow machine has, and more: the sound's thread works
 * through long echoes in each of its turns, so that it is often at work when the page asks something; until
 * `endSlowSound`.
 */
function slowSound() {
  /** @type {Map<BaseAudioContext, AudioNode>} */
  const slow = new Map();
  const { connect } = /** @type {any} */ (AudioNode.prototype);
  /** @param {any[]} given @this {AudioNode} */
  AudioNode.prototype.connect = function (...given) {
    const { context } = this;
    if (given[0] instanceof AudioDestinationNode && !slow.has(context)) {
      const echo = new AudioBuffer({
        length: context.sampleRate * 4,
        sampleRate: context.sampleRate,
      });
      echo.getChannelData(0).forEach((_, at, samples) => {
        samples[at] = Math.random() * 1e-6;
      });
      const source = new ConstantSourceNode(context);
      const silent = new GainNode(context, { gain: 0 });
      slow.set(context, silent);
      for (let number = 0; number < 6; number += 1) {
        const convolver = new ConvolverNode(context, { buffer: echo, disableNormalization: true });
        connect.call(connect.call(source, convolver), silent);
        silent.addEventListener('end', () => convolver.disconnect());
      }
      connect.call(silent, context.destination);
      source.start();
      silent.addEventListener('end', () => {
        source.stop();
        silent.disconnect();
      });
    }
    return connect.apply(this, given);
  };
  Object.defineProperty(globalThis, 'endSlowSound', {
    value: () => slow.forEach((node) => node.dispatchEvent(new Event('end'))),
  });
}

/** The microphone as it is, without the browser's own processing. Run in the page before its own code, sent there as text. */
function unprocessed() {
  const { mediaDevices } = navigator;
  if (!mediaDevices) return; // An empty page before ours.
  const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = ({ audio, ...rest } = {}) => {
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return getUserMedia({
      ...rest,
      audio: { ...(typeof audio === 'object' ? audio : {}), ...plain },
    });
  };
}

/**
 * A call of four, of whom one is in Firefox.
 * @param {Stage} stage
 * @param {boolean} isSlow
 * @returns {Promise<import('./harness/sound.js').Hearing[]>} how Fox is heard, and hears
 */
async function callOfFour(stage, isSlow) {
  const server = await stage.server();
  const pulse = await stage.pulse();
  const firefox = await stage.firefox(pulse);
  const others = ['bob', 'cyd', 'dan'].map((name, at) =>
    stage.cli(server, name, { input: `${speechFile(['cards', 'numbers', 'announcer'][at])}:loop` }),
  );
  await Promise.all(others.map((peer) => peer.waitFor('connected')));
  const fox = await stage.openInFirefox(
    firefox,
    server.url,
    'fox',
    isSlow ? [unprocessed, slowSound] : [unprocessed],
  );
  await fox.join();
  await fox.waitForPhase('joined');
  await Promise.all(
    others.flatMap((peer) => [
      fox.waitForRoute(peer.name, 'direct'),
      peer.waitFor('route-changed', ({ name, route }) => name === 'fox' && route === 'direct'),
    ]),
  );
  // All three speak at once, and the page goes on.
  for (let turn = 0; turn < 20; turn += 1) await fox.answers(STUCK_MS);
  for (const peer of others) peer.type('/input silence');
  if (isSlow) await fox.evaluate(() => /** @type {any} */ (globalThis).endSlowSound());
  await Promise.all(
    others.map((peer) => fox.waitFor(`[data-name="${peer.name}"][data-speaking="false"]`)),
  );

  const [bob] = others;
  const recording = pulse.record();
  bob.type(`/input ${stage.speech('bob-says.wav', LEAD_S, 'announcer', 1)}`);
  await pulse.say(stage.speech('fox-says.wav', LEAD_S, 'reader', 1));
  await fox.waitFor('[data-name="bob"][data-speaking="false"]');
  await fox.answers(STUCK_MS);
  const routes = await fox.evaluate(() =>
    [...document.querySelectorAll('[data-test="person"]')].map((person) =>
      person.getAttribute('data-route'),
    ),
  );
  assert.deepEqual(routes, ['direct', 'direct', 'direct']);
  await fox.picture('firefox-call');
  writeWav(stage.file('fox.wav'), await recording.stop());
  await Promise.all(others.map((peer) => peer.leave()));
  return [
    await assertHeard('fox, to bob', speechFile('reader'), stage.file('bob.wav')),
    await assertHeard('bob, to fox', speechFile('announcer'), stage.file('fox.wav')),
  ];
}

test(
  'in Firefox, a page whose sound is slow answers through a call of four, and is heard and hears',
  withSound(120, { firefox: true }),
  Stage.for(async (stage) => {
    for (const { line } of await callOfFour(stage, true)) stage.tell(line);
  }),
);

test(
  'in Firefox one joins by a link, writes, mutes, reloads, and hears on when the speaker goes',
  withSound(120, { firefox: true }),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const pulse = await stage.pulse();
    const firefox = await stage.firefox(pulse);
    const room = 'kitchen table';
    const bob = stage.cli(server, 'bob', { room, input: `${speechFile('cards')}:loop` });
    await bob.waitFor('connected');
    const fox = await stage.openInFirefox(
      firefox,
      `${server.url}/r/${encodeURIComponent(room)}`,
      'fox',
    );
    await fox.reads(`Join ${room}`);
    await fox.evaluate(() => {
      /** @type {any} */ (document.querySelector('[data-test="name"]')).value = 'fox';
    });
    await fox.click('join');
    await fox.waitForRoute('bob', 'direct');
    await pulse.waitUntilPlayed();
    const { peer } = await bob.waitFor('peer-joined', (json) => json.name === 'fox');

    bob.type('hello, Fox');
    await fox.reads('hello, Fox');
    await fox.evaluate(() => {
      const field = /** @type {HTMLTextAreaElement} */ (
        document.querySelector('[data-test="chat-input"]')
      );
      field.value = 'one\ntwo';
      field.form?.requestSubmit();
    });
    assert.equal((await bob.waitFor('text', (json) => json.name === 'fox')).text, 'one\ntwo');

    await fox.click('mute');
    await fox.waitFor('[data-test="mute"][aria-pressed="true"]');
    await fox.reads('muted');

    // Another speaker is the default one when the first is gone.
    await pulse.unplug('speaker');
    await pulse.waitUntilPlayed('second');
    await fox.answers(STUCK_MS);

    await fox.reload();
    await bob.waitFor('peer-left', (json) => json.name === 'fox');
    await fox.reads(`Join ${room}`);
    await fox.click('join');
    await fox.waitForRoute('bob', 'direct');
    assert.equal(
      (await bob.waitFor('peer-joined', (json) => json.name === 'fox')).peer,
      peer,
      'the same person',
    );
    await fox.reads('hello, Fox');
    await pulse.waitUntilPlayed('second');
    await fox.picture('firefox-after-reload');

    await fox.click('settings');
    await fox.waitFor('dialog[open] input[type="range"]');
    const { places, picture } = await pictureAtRest(fox, 'firefox-settings');
    const seen = await fox.evaluate(coloursIn, picture, places);
    stage.tell(`${JSON.stringify(places)}: ${JSON.stringify(seen)}`);
    assert.deepEqual(seen.corners, [false, false, false, false], 'the dialog is round');
    assert.equal(seen.slider, seen.accent, 'the slider has the colour of the page');
  }),
);

/**
 * Where the settings stand. Run in the page.
 * @returns {{width: number, dialog: Box, slider: Box}} in CSS pixels, `width` that of the page
 * @typedef {{left: number, right: number, top: number, bottom: number}} Box
 */
function settingsPlaces() {
  const [dialog, slider] = ['dialog[open]', 'dialog[open] input[type="range"]'].map((selector) => {
    const { left, right, top, bottom } = /** @type {Element} */ (
      document.querySelector(selector)
    ).getBoundingClientRect();
    return { left, right, top, bottom };
  });
  return { width: innerWidth, dialog, slider };
}

/**
 * A picture of the settings during which nothing moved: what a device that comes or goes says there moves the rest.
 * @param {import('./harness/firefox.js').FirefoxPage} page
 * @param {string} name of the file
 * @returns {Promise<{places: ReturnType<typeof settingsPlaces>, picture: string}>} `picture`: a PNG in base64
 */
async function pictureAtRest(page, name) {
  for (;;) {
    const places = await page.evaluate(settingsPlaces);
    const picture = await page.picture(name);
    if (isDeepStrictEqual(places, await page.evaluate(settingsPlaces))) return { places, picture };
  }
}

/**
 * What a picture of the settings shows. Run in the page, which can read pictures.
 * @param {string} picture a PNG in base64
 * @param {ReturnType<typeof settingsPlaces>} places
 * @returns {Promise<{corners: boolean[], slider: string, accent: string}>} `corners`: whether the dialog's colour is in them
 */
async function coloursIn(picture, { width, dialog, slider }) {
  const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
  const drawing = new OffscreenCanvas(image.width, image.height).getContext('2d');
  if (!drawing) throw new Error('no drawing');
  drawing.drawImage(image, 0, 0);
  const scale = image.width / width;
  const colour = (/** @type {number} */ x, /** @type {number} */ y) => {
    const { data } = drawing.getImageData(Math.round(x * scale), Math.round(y * scale), 1, 1);
    return `rgb(${data[0]}, ${data[1]}, ${data[2]})`;
  };
  const { left, right, top, bottom } = dialog;
  const inside = colour(left + 40, top + 8);
  const probe = document.createElement('i');
  probe.style.color = 'var(--accent)';
  document.body.append(probe);
  const accent = getComputedStyle(probe).color;
  probe.remove();
  return {
    corners: [
      [left + 2, top + 2],
      [right - 3, top + 2],
      [left + 2, bottom - 3],
      [right - 3, bottom - 3],
    ].map(([x, y]) => colour(x, y) === inside),
    slider: colour(slider.left + 8, (slider.top + slider.bottom) / 2),
    accent,
  };
}

/**
 * As Firefox did before it converted microphones: only a context at the sound card's rate gets one. Run in the page before its
 * own code, sent there as text.
 */
function onlyAtTheCardsRate() {
  const { createMediaStreamSource } = AudioContext.prototype;
  /** @param {MediaStream} stream */
  AudioContext.prototype.createMediaStreamSource = function (stream) {
    if (this.sampleRate === 44_100) return createMediaStreamSource.call(this, stream);
    throw new DOMException('another sample rate', 'NotSupportedError');
  };
}

for (const [how, before] of /** @type {const} */ ([
  ['as it is', []],
  ['as older ones are', [onlyAtTheCardsRate]],
])) {
  test(
    `in Firefox ${how} one is heard where the sound card runs at 44.1 kHz`,
    withSound(60, { firefox: true }),
    Stage.for(async (stage) => {
      const server = await stage.server();
      const pulse = await stage.pulse(44_100);
      const firefox = await stage.firefox(pulse);
      const bob = stage.cli(server, 'bob');
      await bob.waitFor('connected');
      const fox = await stage.openInFirefox(firefox, server.url, 'fox', [unprocessed, ...before]);
      await fox.join();
      await fox.waitForRoute('bob', 'direct');
      assert.equal(await fox.evaluate(() => new AudioContext().sampleRate), 44_100);
      await pulse.say(stage.speech('fox-says.wav', LEAD_S, 'reader', 1));
      await bob.leave();
      await assertHeard('fox, to bob', speechFile('reader'), stage.file('bob.wav'));
    }),
  );
}

const { FIREFOX_CALLS = '0', VOICEMESH_REPORT } = process.env;

for (let call = 1; call <= Number(FIREFOX_CALLS); call += 1) {
  const isSlow = call % 2 === 1;
  test(
    `call ${call}`,
    withSound(120, { firefox: true }),
    Stage.for(async (stage) => {
      const heard = await callOfFour(stage, isSlow);
      if (!VOICEMESH_REPORT) return;
      const title =
        call === 1
          ? '\n| call | sound thread | envelope to Bob | to Fox |\n|---|---|---|---|\n'
          : '';
      const row = [call, isSlow ? 'slowed' : 'as it is', ...heard.map(({ envelope }) => envelope)];
      appendFileSync(VOICEMESH_REPORT, `${title}| ${row.join(' | ')} |\n`);
    }),
  );
}
