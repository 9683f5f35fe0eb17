/** Where the page stands, and what it says when the server is not reached. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { ConnectCheck, problemOf } from '../src/connect-check.js';
import { TurnWatch, usableServers } from '../src/ice.js';
import { readServer } from '../src/messages.js';
import { invitationOf, linkFault, roomOf, roomUrl, serverUrl, socketUrl } from '../src/place.js';
import { problemWords } from '../src/view/words.js';

const ROOT = new URL('https://voice.example/');
const BELOW = new URL('http://host.example:8080/voice/');

test('every address is made from the page’s own', () => {
  assert.equal(socketUrl(ROOT), 'wss://voice.example/ws');
  assert.equal(socketUrl(BELOW), 'ws://host.example:8080/voice/ws');
  assert.equal(serverUrl(ROOT), 'wss://voice.example');
  assert.equal(serverUrl(BELOW), 'ws://host.example:8080/voice/');
  assert.equal(roomUrl('a/b c', ROOT), 'https://voice.example/r/a%2Fb%20c');
  assert.equal(roomUrl('lobby', BELOW), 'http://host.example:8080/voice/r/lobby');
  assert.equal(roomOf('/r/a%2Fb', ROOT), 'a/b');
  assert.equal(roomOf('/voice/r/lobby/', BELOW), 'lobby');
  for (const path of ['/', '/r/', '/r/%ff', '/x/r/lobby'])
    assert.equal(roomOf(path, ROOT), '', path);
  assert.equal(roomOf('/r/lobby', BELOW), '', 'another page of the same host');
  assert.equal(roomOf('/r/lobby?utm=1&k=2', ROOT), 'lobby');
});

test('a link to a room is understood where a name is asked for, and a name is left as it is', () => {
  const here = [
    'https://voice.example/r/lobby',
    'https://voice.example/r/lobby/',
    ' HTTPS://VOICE.EXAMPLE/r/lobby\n',
    'voice.example/r/lobby',
    'wss://voice.example/r/lobby',
    'http://voice.example/r/lobby',
    'https://voice.example/r/lobby?x=1#k=secret',
  ];
  for (const link of here) {
    const { room, isHere } = invitationOf(link, ROOT) ?? {};
    assert.deepEqual([room, isHere], ['lobby', true], link);
  }
  assert.equal(invitationOf('https://voice.example/r/caf%C3%A9%20bar', ROOT)?.room, 'café bar');
  const other = [
    'https://other.example/r/lobby',
    'other.example:8443/r/lobby',
    'https://voice.example/voice/r/lobby',
    'https://voice.example:444/r/lobby',
  ];
  for (const link of other) assert.equal(invitationOf(link, ROOT)?.isHere, false, link);
  assert.equal(invitationOf('http://host.example:8080/voice/r/lobby/', BELOW)?.isHere, true);
  assert.equal(
    invitationOf('https://other.example/r/lobby#t=ticket', ROOT)?.url,
    'https://other.example/r/lobby#t=ticket',
  );
  for (const name of [
    'lobby',
    'a/b',
    'Kitchen table',
    '',
    'https://',
    'https://voice.example/',
    'https://voice.example/r/',
    'https://voice.example/r/%ff',
    'javascript://x/r/lobby',
    'v1.2/r',
    '1.5/r/2 metres',
    'a.b/r//',
  ])
    assert.equal(invitationOf(name, ROOT), null, name);
  for (const room of ['.', ' ..']) assert.match(linkFault(room), /cannot be called/);
  assert.deepEqual(['...', 'a.b'].map(linkFault), ['', '']);
});

test('each way not to be reached has a separate sentence', () => {
  const ours = {
    server: 'voicemesh',
    attempt: 'unknown',
    origin: 'allowed',
    host: '127.0.0.1:8080',
  };
  const said = [
    [
      problemOf(200, { ...ours, attempt: 'origin', origin: 'refused' }),
      /refuses the address of this page, https:\/\/voice\.example.*127\.0\.0\.1:8080.*--allow-origin https:\/\/voice\.example/,
    ],
    [problemOf(200, { ...ours, attempt: 'no-upgrade' }), /does not let WebSockets through/],
    [problemOf(200, { ...ours, attempt: 'protocol' }), /Reload/],
    [problemOf(200, ours), /does not get through/],
    [problemOf(502, null), /\(502\), the server itself does not/],
    [problemOf(504, null), /\(504\)/],
    [problemOf(503, null), /not available right now \(503\)/],
    [problemOf(431, null), /cookies/],
    [problemOf(404, null), /Something else answers.*404/],
    [problemOf(200, { server: 'other' }), /Something else answers/],
  ];
  for (const [problem, words] of said) {
    assert.ok(problem && 'kind' in problem);
    assert.match(problemWords(problem, 'https://voice.example'), /** @type {RegExp} */ (words));
  }
});

test('a socket that does not open is asked after, and one that opens is forgotten', async () => {
  /** @type {string[]} */
  const asked = [];
  let [now, changes, offline] = [0, 0, false];
  const ask = /** @type {typeof fetch} */ (
    async (url) => {
      asked.push(String(url));
      return new Response(
        JSON.stringify({
          server: 'voicemesh',
          attempt: 'no-upgrade',
          origin: 'allowed',
          host: 'x',
        }),
      );
    }
  );
  const check = new ConnectCheck(BELOW, {
    changed: () => {
      changes += 1;
    },
    clock: () => now,
    fetch: ask,
    isOffline: () => offline,
  });
  const url = check.begin('ws://host.example:8080/voice/ws');
  const name = /\?attempt=([0-9a-f]{32})$/.exec(url)?.[1];
  assert.ok(name, url);
  await check.failed();
  assert.deepEqual(asked, [`http://host.example:8080/voice/connect-check?attempt=${name}`]);
  assert.equal(check.problem?.kind, 'no-upgrade');
  now = 100;
  await check.failed();
  assert.equal(asked.length, 1, 'not at every attempt');
  check.opened();
  assert.equal(check.problem, null);
  offline = true;
  await check.failed();
  assert.equal(/** @type {any} */ (check.problem)?.kind, 'offline');
  assert.equal(changes, 3);
});

test('an answer that comes after the socket has opened is nothing any more', async () => {
  /** @type {(response: Response) => void} */
  let answer = () => {};
  const ask = /** @type {typeof fetch} */ (
    () =>
      new Promise((resolve) => {
        answer = resolve;
      })
  );
  const check = new ConnectCheck(ROOT, {
    changed: () => {},
    clock: () => 0,
    fetch: ask,
    isOffline: () => false,
  });
  const failed = check.failed();
  check.opened();
  answer(new Response('', { status: 502 }));
  await failed;
  assert.equal(check.problem, null);
  const broken = new ConnectCheck(ROOT, {
    changed: () => {},
    clock: () => 0,
    fetch: () => Promise.reject(new Error('no')),
    isOffline: () => false,
  });
  await broken.failed();
  assert.equal(broken.problem?.kind, 'unreachable');
});

test('a server that answers with a redirect has moved, and the page does not follow it', async () => {
  /** @type {(RequestInit | undefined)[]} */
  const asked = [];
  // What a browser gives of a redirect that it must not follow (Fetch, §3.2.6).
  const opaque = { type: 'opaqueredirect', status: 0, json: () => Promise.reject(new TypeError()) };
  const check = new ConnectCheck(ROOT, {
    changed: () => {},
    clock: () => 0,
    fetch: /** @type {typeof fetch} */ (
      async (_, init) => {
        asked.push(init);
        return /** @type {Response} */ (/** @type {unknown} */ (opaque));
      }
    ),
    isOffline: () => false,
  });
  await check.failed();
  assert.equal(asked[0]?.redirect, 'manual');
  assert.deepEqual(check.problem, { kind: 'redirect' });
  assert.match(problemWords({ kind: 'redirect' }, ROOT.origin), /has moved to another address/);
});

test('one entry that a browser refuses does not cost the others', () => {
  const attempt = (/** @type {RTCIceServer[]} */ servers) => {
    for (const { urls } of servers)
      for (const url of urls) if (!/^(stun|turn):/.test(url)) throw new SyntaxError(url);
  };
  const good = [{ urls: ['stun:a'] }, { urls: ['turn:b'], username: 'u', credential: 'p' }];
  assert.deepEqual(usableServers(good, attempt), { usable: good, dropped: [] });
  const { usable, dropped } = usableServers(
    [{ urls: ['stun:a', 'b'] }, ...good, { urls: ['http:c'] }],
    attempt,
  );
  assert.deepEqual(usable, [{ urls: ['stun:a'] }, ...good]);
  assert.deepEqual(dropped, ['b', 'http:c']);
});

test('an entry that is none is left out of the list', () => {
  const json = JSON.stringify({
    type: 'ice-servers',
    ice_servers: [7, null, { urls: 'stun:a' }, { urls: ['stun:b'], username: null }],
  });
  assert.deepEqual(readServer(json).ice_servers, [{ urls: ['stun:b'] }]);
});

test('TURN has failed when there was an error and no address', () => {
  const event = (/** @type {string} */ url, /** @type {number} */ errorCode) =>
    /** @type {RTCPeerConnectionIceErrorEvent} */ ({ url, errorCode });
  const relay = /** @type {RTCIceCandidate} */ ({ type: 'relay' });
  const failing = new TurnWatch();
  assert.equal(failing.failure, null);
  assert.equal(failing.error(event('turn:a', 401)), true);
  assert.equal(failing.error(event('turn:a', 701)), false, 'the first one counts');
  failing.candidate(null);
  assert.equal(failing.failure, 401);
  const stun = new TurnWatch();
  assert.equal(stun.error(event('stun:a', 701)), false);
  assert.equal(stun.failure, null);
  const working = new TurnWatch();
  working.error(event('turn:a', 701));
  working.candidate(relay);
  assert.equal(working.failure, null, 'another interface had a way');
});

// The tests of the native peer read the same file.
test('what is pasted is a link or a name as the vectors say', () => {
  const { texts } = JSON.parse(
    readFileSync(new URL('../../tests/vectors/pasted.json', import.meta.url), 'utf8'),
  );
  assert.ok(texts.length > 20);
  for (const { text, is, room } of texts) {
    const found = invitationOf(text, ROOT);
    assert.deepEqual([found?.room, linkFault(text) !== ''], [room, is === 'refused'], text);
    if (is === 'path') assert.equal(found?.isHere, true, text);
  }
});

test('a link to a room is understood with whatever stands behind it in a sentence', () => {
  for (const room of [
    'lobby',
    'St.',
    'What?!',
    "the team's'",
    'lobby (old)',
    'a...',
    'x)',
    'r/x',
    '~',
  ])
    for (const after of ['', '.', ',', '!', ').', '?"']) {
      const link = `${roomUrl(room, ROOT)}${after}`;
      assert.deepEqual(
        [invitationOf(link, ROOT)?.room, roomOf(new URL(roomUrl(room, ROOT)).pathname, ROOT)],
        [room, room],
        link,
      );
    }
});
