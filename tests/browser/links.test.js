/** Links as people paste and mistype them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Stage, within } from './harness/stage.js';

test(
  'an invitation pasted as a room’s name is followed, one of another server is named, and no path is a blank page',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.open(browser, server.url, 'ada', { recorded: false });
    await ada.at('room').fill('https://other.example/r/lobby#k=key');
    await ada.page.getByText('leads to another server, other.example').waitFor();
    assert.equal(
      await ada.page.getByText('Open it there').getAttribute('href'),
      'https://other.example/r/lobby#k=key',
    );
    await ada.at('name').fill('ada');
    await ada.at('join-silent').click();
    await ada.picture('link-elsewhere');
    assert.equal(
      await ada.page.locator('[data-phase="lobby"]').count(),
      1,
      'no room is called like a link',
    );
    await ada.at('room').fill('..');
    await ada.at('join-silent').click();
    assert.match(
      await ada
        .at('room')
        .evaluate((field) => /** @type {HTMLInputElement} */ (field).validationMessage),
      /cannot be called/,
    );
    await ada.at('room').fill(`${server.url}/r/Kitchen%20table/`);
    assert.equal(await ada.at('room').inputValue(), 'Kitchen table');
    await ada.at('join-silent').click();
    await ada.waitForPhase('joined');
    assert.equal(ada.page.url(), `${server.url}/r/Kitchen%20table`);

    for (const [path, words] of [
      ['/r/lobby/', /Join lobby/],
      ['/lobby', /no room at this address/],
      ['/r/', /no room at this address|voicemesh/],
      ['/r/%ff', /no room at this address/],
      ['/r/%E0%A4%A', /no room at this address/],
      ['/r/a/b', /no room at this address|Join a\/b/],
    ]) {
      await ada.page.goto(`${server.url}${path}`);
      assert.match(await ada.page.innerText('h1'), /** @type {RegExp} */ (words), String(path));
    }
    ada.faults = ada.faults.filter((fault) => !fault.includes('status of 404'));
  }),
);
