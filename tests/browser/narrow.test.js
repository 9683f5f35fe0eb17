/** A browser whose uplink is narrow, and who hears it at the command line. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { NarrowHome, reasonForNoNamespace } from './harness/narrow.js';
import { skip, Stage } from './harness/stage.js';

const impossible = skip || reasonForNoNamespace();
/** The listeners' stay: joining, the change, and twenty seconds of speech. */
const STAY_S = 35;

for (const [kbps, listeners] of [
  [100, 1],
  [200, 4],
]) {
  test(
    `a browser with ${kbps} kbit/s up is heard by ${listeners}`,
    { skip: impossible, timeout: 120_000 },
    Stage.for(async (stage) => {
      const home = new NarrowHome(stage);
      const server = await home.server();
      const browser = await home.browser(server, 'reader');
      const ada = await stage.person(browser, server, 'ada', { recorded: false });
      const names = Array.from({ length: listeners }, (_, n) => `bob${n}`);
      const others = names.map((name) =>
        stage.cli(server, name, { more: ['--duration', String(STAY_S)] }),
      );
      await Promise.all(names.map((name) => ada.waitForRoute(name, 'direct')));
      home.narrow(kbps);
      for (const other of others) {
        const { peers } = await other.waitFor('summary', () => true, (STAY_S + 20) * 1000);
        const {
          frames_received: received,
          frames_concealed: concealed,
          delay_ms: delayMs,
          route,
        } = peers.find((/** @type {any} */ peer) => peer.name === 'ada');
        stage.tell(
          `${received} frames received, ${concealed} concealed, delay ${delayMs} ms, ${route}`,
        );
        assert.ok(received > 900, `${received} frames`);
        assert.ok(concealed <= 0.02 * received, `${concealed} of ${received} frames concealed`);
        assert.ok(delayMs <= 400, `${delayMs} ms`);
      }
    }),
  );
}
