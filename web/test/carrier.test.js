// The page's sockets, as far as the plan of what is sent depends on them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BrowserCarrier } from '../src/carrier.js';
import { ConnectCheck } from '../src/connect-check.js';

/** @param {string} url */
const carrier = (url) =>
  new BrowserCarrier(
    url,
    () => 0,
    new ConnectCheck(new URL(url.replace('ws', 'http')), { changed: () => {}, clock: () => 0 }),
  );

// proves: B-15
test('what TLS adds to a packet to the server is known', () => {
  assert.equal(carrier('wss://voice.example/ws').serverHeaderBytes, 22);
  assert.equal(carrier('ws://voice.example/ws').serverHeaderBytes, 0);
});
