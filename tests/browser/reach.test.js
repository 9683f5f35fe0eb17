/** A page below a path, behind proxies that are configured wrongly, and without a server: each says what it is. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertHeard, spoken, writeWav } from './harness/sound.js';
import { Proxy } from './harness/proxy.js';
import { Stage, within } from './harness/stage.js';
import { refusingTurn } from './harness/turn.js';

/** @param {Stage} stage @param {import('./harness/program.js').Server} server @param {import('./harness/proxy.js').Behaviour} behaviour */
async function proxied(stage, server, behaviour) {
  const proxy = await Proxy.start(server.address, behaviour);
  stage.atEnd(() => proxy.close());
  return proxy;
}

/** @param {import('./harness/browser.js').Person} person @param {RegExp} words */
const reads = (person, words) => person.page.getByText(words).first().waitFor();

// proves: B-17
test(
  'below a path page, socket, voice and invitations keep it',
  within(90),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const proxy = await proxied(stage, server, { strip: '/voice' });
    const bob = stage.cli(server, 'bob', { more: ['--duration', '25'] });
    await bob.waitFor('connected');
    const browser = await stage.browser('cards');
    // Whatever is asked for outside of that path is a fault of the page.
    const ada = await stage.open(browser, `${proxy.url}/voice/`, 'ada');
    await ada.page.getByText(`--server ${proxy.url.replace('http', 'ws')}/voice/`).waitFor();
    await ada.join();
    await ada.waitForPhase('joined');
    assert.equal(ada.page.url(), `${proxy.url}/voice/r/room`);
    await ada.page.evaluate(() => {
      navigator.clipboard.writeText = async (text) => {
        document.body.dataset.copied = text;
      };
    });
    await ada.at('copy-link').click();
    assert.equal(
      await ada.page.evaluate(() => document.body.dataset.copied),
      `${proxy.url}/voice/r/room`,
    );
    await ada.page.reload();
    assert.match(await ada.page.innerText('h1'), /Join room/);
    assert.equal(
      await ada.page.getByRole('link', { name: 'Another room' }).getAttribute('href'),
      `${proxy.url}/voice/`,
    );
    await ada.page.goto(`${proxy.url}/voice/lobby`);
    assert.match(await ada.page.innerText('h1'), /no room at this address/);
    await ada.picture('no-room');
    // Chromium says on its console that the document is a 404.
    ada.faults = ada.faults.filter((fault) => !fault.includes('status of 404'));
    await ada.page.getByText('Go to the lobby').click();
    await ada.at('join').waitFor();
    assert.equal(ada.page.url(), `${proxy.url}/voice/`);
  }),
);

test(
  'a link whose key is not whole is not entered as if there were none',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browser('cards');
    const ada = await stage.open(browser, server.url, 'ada');
    await ada.page.goto(`${server.url}/r/room`);
    await ada.at('join').waitFor();
    assert.ok(await ada.at('private').isHidden());
    // Pasted into the address of a page that is open: only what is behind the # differs.
    await ada.page.goto(`${server.url}/r/room#k=AAAAAAAAAAAAAAAAAAAAAA`);
    await ada.at('private').waitFor();
    await ada.page.goto(`${server.url}/r/room#k=BBBBBBBBBBBBBBBBBBBBBB`);
    await ada.waitForPhase('unsupported');
    await reads(ada, /The key at its end is not whole/);
    await ada.picture('link-with-key');
    assert.equal(await ada.at('join').count(), 0);
    await ada.page.goto(`${server.url}/r/room`);
    await ada.page.goto(`${server.url}/r/other#x=1&k=AAAAAAAAAAAAAAAAAAAAA`);
    await ada.waitForPhase('unsupported');
    const rests = ['/r/room#', '/r/room#k', '/r/room#key=A', '/r/room?k=AAAAAAAAAAAAAAAAAAAAAA'];
    for (const rest of [...rests, '/#k=AAAAAAAAAAAAAAAAAAAAAA']) {
      await ada.page.goto('about:blank');
      await ada.page.goto(`${server.url}${rest}`);
      await reads(ada, /This link is damaged/);
      assert.equal(await ada.at('join').count(), 0);
    }
  }),
);

// proves: B-17
test(
  'below a path the voice is heard',
  within(90),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const proxy = await proxied(stage, server, { strip: '/voice' });
    const bob = stage.cli(server, 'bob', { more: ['--duration', '20'] });
    await bob.waitFor('connected');
    const browser = await stage.browser('cards');
    const ada = await stage.open(browser, `${proxy.url}/voice/`, 'ada');
    await ada.join();
    await ada.waitForPhase('joined');
    await bob.waitFor('summary');
    writeWav(stage.file('spoken.wav'), spoken('cards'));
    stage.tell(
      (await assertHeard('ada, to bob', stage.file('spoken.wav'), stage.file('bob.wav'))).line,
    );
  }),
);

// proves: B-17
test(
  'a page that is refused or cut off says by what, and joins when it is mended',
  within(90),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const proxy = await proxied(stage, server, { upgrade: false });
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.open(browser, proxy.url, 'ada', { recorded: false });
    await ada.join({ silent: true });
    await reads(ada, /does not let WebSockets through \(426\)/);
    await ada.picture('reach-no-upgrade');

    proxy.change({ host: '127.0.0.1:1' });
    await reads(
      ada,
      new RegExp(
        `refuses the address of this page, ${proxy.url} \\(403\\).*127\\.0\\.0\\.1:1.*--allow-origin ${proxy.url}`,
      ),
    );
    await ada.picture('reach-origin');

    proxy.change({});
    await ada.waitForPhase('joined');
    proxy.change({ status: 502 });
    await reads(ada, /Something in front of the server answers \(502\)/);
    await ada.picture('reach-gateway');
    proxy.change({ status: 503 });
    await reads(ada, /not available right now \(503\)/);
    proxy.change({ status: 301, location: '/voice/' });
    await reads(ada, /has moved to another address/);
    await ada.picture('reach-moved');
    proxy.change({});
    await ada.waitForPhase('joined');
    proxy.close();
    await reads(ada, /The server cannot be reached from here/);
    await ada.picture('reach-unreachable');
  }),
);

test(
  'one entry of the ICE servers that a browser refuses costs no link, and is said once',
  within(60),
  Stage.for(async (stage) => {
    // A transport that no browser knows, in a list that a server would not send: what an older one may.
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const bob = stage.cli(server, 'bob');
    await bob.waitFor('connected');
    const ada = await stage.open(browser, server.url, 'ada', { recorded: false });
    await ada.page.evaluate(() => {
      const parse = JSON.parse;
      JSON.parse = (text, ...more) => {
        const value = parse(text, ...more);
        if (value?.type === 'joined') value.ice_servers = [{ urls: ['turn.example:3478'] }];
        return value;
      };
    });
    await ada.join({ silent: true });
    await reads(ada, /names STUN or TURN that this browser cannot use: turn\.example:3478/);
    await ada.picture('ice-dropped');
    await ada.waitForRoute('bob', 'direct');
  }),
);

test(
  'TURN that refuses is said once, by page and command line, and the talk goes on',
  within(60),
  Stage.for(async (stage) => {
    const turn = await refusingTurn();
    stage.atEnd(turn.close);
    const server = await stage.server('--turn', turn.url, '--turn-secret', 'secret');
    const browser = await stage.browserSpeakingOn();
    const bob = stage.cli(server, 'bob');
    await bob.waitFor('connected');
    const ada = await stage.open(browser, server.url, 'ada', { recorded: false });
    // Where a direct link opens at once, Chromium asks no TURN server any further.
    await ada.page.evaluate(() => {
      const Real = RTCPeerConnection;
      /** @type {any} */ (globalThis).RTCPeerConnection = class extends Real {
        /** @param {RTCConfiguration} configuration */
        constructor(configuration) {
          super({ ...configuration, iceTransportPolicy: 'relay' });
        }
      };
    });
    await ada.join({ silent: true });
    await reads(ada, /TURN refuses this page \(401\)/);
    await ada.picture('turn-failed');
    await ada.waitForRoute('bob', 'relayed');
    await bob.waitFor('warned', (json) => json.code === 'turn-failed');
  }),
);
