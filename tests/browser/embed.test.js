/** The page inside a page of another site: only where the operator allows it, and with a microphone only where that site passes it on. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { Stage, within } from './harness/stage.js';

/** A site that shows a page in a frame; `allow` comes from its address. @param {Stage} stage @param {() => string} framed */
async function otherSite(stage, framed) {
  const server = createServer((request, response) => {
    const allow = new URL(request.url ?? '/', 'http://x').searchParams.get('allow') ?? '';
    response.setHeader('content-type', 'text/html');
    response.end(
      `<!doctype html><title>A club</title><iframe src="${framed()}" allow="${allow}" width=600 height=600></iframe>`,
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stage.atEnd(() => server.close());
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  // Another host name: Chromium then treats it as another site altogether.
  return `http://localhost:${port}`;
}

test(
  'the page is shown in a frame where the operator allows it, and says who keeps the microphone from it',
  within(),
  Stage.for(async (stage) => {
    const framed = { url: '' };
    const site = await otherSite(stage, () => `${framed.url}/r/room`);
    const [open, closed] = [await stage.server('--embed-origin', site), await stage.server()];
    const browser = await stage.browserSpeakingOn();
    const context = await browser.newContext({ permissions: ['microphone'] });
    stage.atEnd(() => context.close());
    const page = await context.newPage();
    const inside = page.frameLocator('iframe');
    const hook = (/** @type {string} */ name) => inside.locator(`[data-test="${name}"]`);
    /** @param {string} allow */
    async function join(allow) {
      framed.url = open.url;
      await page.goto(`${site}/?allow=${encodeURIComponent(allow)}`);
      await hook('name').fill('ada');
      await hook('join').click();
      await inside.locator('[data-phase="joined"]').waitFor();
    }
    await join('microphone; autoplay');
    await hook('mute').waitFor();
    await join('autoplay');
    await inside.getByText('The page around this one does not pass the microphone on').waitFor();
    assert.equal(
      await inside.getByText('Open in its own tab').getAttribute('href'),
      `${open.url}/r/room`,
    );

    framed.url = closed.url;
    const refused = page.waitForEvent('console', (message) =>
      /frame-ancestors/.test(message.text()),
    );
    await page.goto(site);
    await refused;
    assert.equal(await hook('name').count(), 0);
  }),
);
