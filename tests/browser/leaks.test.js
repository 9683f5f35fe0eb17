/** Joining and leaving again and again costs nothing that stays. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Stage, within } from './harness/stage.js';

/** The browser keeps some things for later; a leak of one per cycle stands far above that. */
const WARM_UP = 10;
const CYCLES = 60;
/**
 * What must not grow: at most this many more than after the warm-up. Of AudioHandlers Chromium itself keeps one for every
 * microphone that a context was ever connected to: also with nothing but getUserMedia and createMediaStreamSource.
 */
const MOST_MORE = /** @type {const} */ ({
  RTCPeerConnections: 2,
  AudioWorkletProcessors: 4,
  AudioHandlers: CYCLES + 10,
  Nodes: 150,
  JSEventListeners: 40,
  Documents: 1,
});
const MOST_MORE_HEAP = 1.5e6;

test(
  'sixty visits leave no connection, sound or memory behind',
  within(180),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn('reader');
    const bob = stage.cli(server, 'bob');
    await bob.waitFor('connected');
    // Unrecorded: a recorder would be what stays.
    const ada = await stage.person(browser, server, 'ada', { recorded: false });
    const devtools = await ada.context.newCDPSession(ada.page);
    await devtools.send('Performance.enable');

    async function counts() {
      // What was dropped is only gone after a second look: finalisers drop more.
      for (let look = 0; look < 3; look++) await devtools.send('HeapProfiler.collectGarbage');
      const { metrics } = await devtools.send('Performance.getMetrics');
      return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
    }
    async function visit() {
      await ada.waitForRoute('bob', 'direct');
      await ada.at('leave').click();
      await ada.waitForPhase('left');
      await ada.at('rejoin').click();
      await ada.waitForPhase('joined');
    }

    for (let cycle = 0; cycle < WARM_UP; cycle++) await visit();
    const before = await counts();
    for (let cycle = 0; cycle < CYCLES; cycle++) await visit();
    const after = await counts();
    stage.tell(
      `heap ${(before.JSHeapUsedSize / 1e6).toFixed(1)} to ${(after.JSHeapUsedSize / 1e6).toFixed(1)} MB; ` +
        Object.keys(MOST_MORE)
          .map((name) => `${name} ${before[name]} to ${after[name]}`)
          .join(', '),
    );
    for (const [name, most] of Object.entries(MOST_MORE)) {
      assert.ok(Number.isFinite(before[name]), `the browser counts ${name}`);
      assert.ok(
        after[name] <= before[name] + most,
        `${name}: ${before[name]}, then ${after[name]}`,
      );
    }
    assert.ok(
      after.JSHeapUsedSize <= before.JSHeapUsedSize + MOST_MORE_HEAP,
      `heap: ${before.JSHeapUsedSize}, then ${after.JSHeapUsedSize}`,
    );
    await ada.waitForRoute('bob', 'direct');
  }),
);
