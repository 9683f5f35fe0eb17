/** The tests' own tools: they hear what a page plays, and miss what it does not. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertHeard, compare, peak, speechFile } from './harness/sound.js';
import { LEAD_S, Stage, within } from './harness/stage.js';

/** A browser trusts a page from this host; the test answers for it, and nothing listens there. */
const URL = 'http://localhost:9/';
const SPEECH_S = 7.1;
const GAP_S = 0.3;

/**
 * A page that plays its own microphone, which hears `reader`; `gapS` seconds of it are left out.
 * @param {Stage} stage
 * @param {number} gapS
 */
async function mirror(stage, gapS) {
  const browser = await stage.browser('reader');
  const page = '<!doctype html><title>Mirror</title><link rel="icon" href="data:,">';
  const ada = await stage.open(browser, URL, 'ada', { served: page });
  await ada.page.evaluate(
    async ([lead, seconds, gap]) => {
      const context = new AudioContext({ sampleRate: 48_000 });
      const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      const stream = await navigator.mediaDevices.getUserMedia({ audio });
      const gain = new GainNode(context);
      context.createMediaStreamSource(stream).connect(gain).connect(context.destination);
      const began = context.currentTime;
      gain.gain.setValueAtTime(0, began + lead + 3);
      gain.gain.setValueAtTime(1, began + lead + 3 + gap);
      const end = new ConstantSourceNode(context, { offset: 0 });
      end.connect(context.destination);
      end.start();
      end.stop(began + lead + seconds + 0.5);
      await new Promise((ended) => end.addEventListener('ended', ended));
    },
    [LEAD_S, SPEECH_S, gapS],
  );
  return ada;
}

test(
  'what a page plays is heard, and what it leaves out is missed',
  within(),
  Stage.for(async (stage) => {
    const [whole, holed] = await Promise.all([mirror(stage, 0), mirror(stage, GAP_S)]);
    await whole.heard(stage.file('whole.wav'));
    const hearing = await assertHeard('whole', speechFile('reader'), stage.file('whole.wav'), {
      envelope: 0.98,
    });
    stage.tell(hearing.line);

    await holed.heard(stage.file('holed.wav'));
    const { longestUnheardMs, line } = await compare(speechFile('reader'), stage.file('holed.wav'));
    assert.ok(Math.abs(longestUnheardMs - GAP_S * 1000) < 100, line);
    await assert.rejects(
      assertHeard('holed', speechFile('reader'), stage.file('holed.wav')),
      /a stretch is unheard/,
    );

    await whole.forget();
    await whole.waitUntilRecorded(0.5);
    assert.equal(peak(await whole.heard()), 0, 'what is forgotten is gone');
  }),
);
