/** Rooms with a key in their link: who has it hears and reads, who has another or none does neither, and the page says so. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';

import { look } from './harness/look.js';
import { assertHeard, peak, readWav, speechFile } from './harness/sound.js';
import { decode, KINDS } from '../../web/src/wire.js';
import { LEAD_S, Stage, within, withSound } from './harness/stage.js';

/** The longest voice, its lead, and a moment for the last of it to arrive. */
const WHOLE_S = LEAD_S + 7.1 + 1.5;
/** −60 dBFS. */
const NEARLY_NOTHING = 0.001;

const newKey = () => randomBytes(16).toString('base64url');
/** @param {import('./harness/program.js').Server} server @param {string} key */
const linkOf = (server, key) => `${server.url}/r/den#k=${key}`;

/**
 * A person at the page of a link.
 * @param {Stage} stage @param {import('playwright-core').Browser} browser @param {string} link @param {string} name
 * @param {import('./harness/browser.js').Using} [using]
 */
async function follows(stage, browser, link, name, using = {}) {
  const person = await stage.open(browser, new URL('/', link).href, name, using);
  await person.page.goto(link);
  await person.at('name').fill(name);
  if (using.relayOnly) {
    await person.page.locator('[data-test="settings"] > summary').click();
    await person.at('relay-only').check();
  }
  await person.at(using.silent ? 'join-silent' : 'join').click();
  await person.waitForPhase('joined');
  return person;
}

/** Its page makes no sound of its own when others come and write. */
const WITHOUT_CHIMES = {
  /** @param {import('playwright-core').Page} page */
  before: (page) =>
    page.addInitScript(() => {
      const kept = JSON.parse(localStorage.getItem('voicemesh.settings') ?? '{}');
      localStorage.setItem('voicemesh.settings', JSON.stringify({ ...kept, sounds: false }));
    }),
};

/** @param {import('./harness/browser.js').Person} person @param {string} text */
async function write(person, text) {
  await person.at('chat-input').fill(text);
  await person.at('chat-send').click();
}

for (const route of /** @type {const} */ (['direct', 'relayed']))
  // proves: B-04
  test(
    `by a link with a key a page and a command line hear and read each other, ${route}`,
    within(120),
    Stage.for(async (stage) => {
      const server = await stage.server();
      const link = linkOf(server, newKey());
      const browser = await stage.browser('reader');
      const ada = await follows(stage, browser, link, 'ada', { relayOnly: route === 'relayed' });
      await ada.forget();
      const bob = stage.cli(server, 'bob', { room: link, input: speechFile('announcer') });
      await ada.waitForRoute('bob', route);
      await ada.at('encryption').getByText('Encrypted and verified by the link').waitFor();
      await ada.waitUntilRecorded(WHOLE_S);
      await ada.heard(stage.file('ada.wav'));
      await write(ada, 'hello, Bob');
      const text = await bob.waitFor('text');
      assert.deepEqual([text.name, text.text], ['ada', 'hello, Bob']);
      bob.type('hello, Ada');
      await ada.at('messages').getByText('hello, Ada', { exact: true }).waitFor();
      bob.type('/msg ada only for you');
      await ada.at('messages').getByText('only for you', { exact: true }).waitFor();
      bob.type('/quit');
      await bob.waitFor('summary');
      const toBob = await assertHeard('ada, to bob', speechFile('reader'), stage.file('bob.wav'));
      stage.tell(`browser to command line: ${toBob.line}`);
      const toAda = await assertHeard(
        'bob, to ada',
        speechFile('announcer'),
        stage.file('ada.wav'),
      );
      stage.tell(`command line to browser: ${toAda.line}`);
      await ada.picture(`private-${route}`);
    }),
  );

/** What a page sends to the server, by its WebSockets. */
function listensIn() {
  /** @type {Buffer[]} */
  const sent = [];
  /** Where a relayed packet of speech goes, its number, and what of it is not in the clear. @param {Buffer} bytes */
  const speechIn = (bytes) => {
    if (bytes[0] !== 0x8b || bytes[1] !== 0xc7 || bytes[2] !== KINDS.ServerRelayUnreliable)
      return [];
    const { destinations, packet } = decode(new Uint8Array(bytes)).fields;
    if (packet[2] !== KINDS.VoiceData && packet[2] !== KINDS.VoiceCopies) return [];
    const behind = 14 + 4 * ((packet[12] << 8) | packet[13]);
    const sequence = (packet[10] << 8) | packet[11];
    return [{ destinations, sequence, content: Buffer.from(packet.subarray(behind)) }];
  };
  return {
    /** @param {import('playwright-core').Page} page */
    before: async (page) =>
      page.on('websocket', (socket) =>
        socket.on('framesent', ({ payload }) => sent.push(Buffer.from(payload))),
      ),
    speech: () => sent.flatMap(speechIn),
    saw: (/** @type {string} */ text) => sent.some((bytes) => bytes.includes(text)),
  };
}

test(
  'in a room without a key what a page and a command line say is sealed, and who cannot encrypt hears it once that is allowed',
  within(150),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn('reader');
    const wires = listensIn();
    const link = `${server.url}/r/den`;
    const ada = await follows(stage, browser, link, 'ada', {
      relayOnly: true,
      before: wires.before,
    });
    await ada.forget();
    const bob = stage.cli(server, 'bob', { room: 'den', input: speechFile('announcer') });
    await ada.waitForRoute('bob', 'relayed');
    await ada.at('encryption').getByText('Encrypted, compare the code').waitFor();
    await ada.waitUntilRecorded(WHOLE_S);
    await ada.heard(stage.file('ada.wav'));
    await write(ada, 'hello, Bob, sealed');
    assert.equal((await bob.waitFor('text')).text, 'hello, Bob, sealed');
    bob.type('hello, Ada');
    await ada.at('messages').getByText('hello, Ada', { exact: true }).waitFor();
    assert.ok(!wires.saw('hello, Bob'));
    await ada.at('encryption').click();
    const code = await ada.at('safety-code').innerText();
    assert.match(code, /^(\d{5} ){5}\d{5}$/);
    await ada.picture('keyless-encrypted');
    await ada.at('encryption').click();
    const oscar = stage.cli(server, 'oscar', { room: 'den', plain: true });
    await ada.sees('oscar').getByText('cannot hear you: not encrypted').waitFor();
    await ada.page.getByText(/oscar.*s program cannot encrypt\. Let the server hear/).waitFor();
    for (const [name, size] of /** @type {const} */ ([
      ['phone', { width: 390, height: 844 }],
      ['320', { width: 320, height: 640 }],
      ['landscape', { width: 844, height: 390 }],
      ['wide', { width: 1280, height: 800 }],
    ])) {
      await ada.page.setViewportSize(size);
      await look(ada, `keyless-question-${name}`);
      // What answers is seen without scrolling.
      for (const hook of ['allow-plain', 'refuse-plain']) {
        const box = await ada.at(hook).boundingBox();
        assert.ok(box && box.y >= 0 && box.y + box.height <= size.height, `${name}: ${hook}`);
      }
    }
    await ada.forget();
    await ada.waitUntilRecorded(3);
    oscar.type('/quit');
    await oscar.waitFor('summary');
    assert.ok(peak(readWav(stage.file('oscar.wav'))) < NEARLY_NOTHING);
    const before = wires.speech();
    assert.ok(before.length > 50 && before.every(({ destinations }) => destinations.length === 1));
    const [to] = before[0].destinations;
    const nina = stage.cli(server, 'nina', { room: 'den', plain: true });
    await ada.sees('nina').waitFor();
    await ada.at('allow-plain').click();
    await ada
      .at('encryption')
      .getByText(/^Not encrypted because of/)
      .waitFor();
    await look(ada, 'keyless-allowed');
    await ada.at('encryption').click();
    await look(ada, 'keyless-allowed-why');
    const since = before.length;
    await ada.forget();
    await ada.waitUntilRecorded(4);
    for (const program of [nina, bob]) {
      program.type('/quit');
      await program.waitFor('summary');
    }
    assert.ok(peak(readWav(stage.file('nina.wav'))) > NEARLY_NOTHING);
    // What one of them is sent as it is, the other is sent sealed.
    const [plain, sealed] = [true, false].map((isPlain) =>
      wires
        .speech()
        .slice(since)
        .filter(({ destinations }) => (destinations[0] !== to) === isPlain),
    );
    let compared = 0;
    for (const { sequence, content } of plain)
      for (const other of sealed.filter((one) => one.sequence === sequence)) {
        assert.ok(other.content.length >= 17 && !other.content.includes(content.subarray(-16)));
        compared += 1;
      }
    assert.ok(compared > 20, `${compared} frames`);
    assert.ok(peak(readWav(stage.file('bob.wav'))) > NEARLY_NOTHING);
    const toAda = await assertHeard('bob, to ada', speechFile('announcer'), stage.file('ada.wav'));
    stage.tell(`command line to browser: ${toAda.line}`);
  }),
);

test(
  'who came without the key, or with another one, hears no one, reads nothing and is heard by no one',
  within(120),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const link = linkOf(server, newKey());
    const [speaking, quiet] = await Promise.all([
      stage.browserSpeakingOn('reader'),
      stage.browserSpeakingOn('announcer'),
    ]);
    const ada = await follows(stage, speaking, link, 'ada');
    const bob = stage.cli(server, 'bob', { room: link, input: `${speechFile('announcer')}:loop` });
    await ada.waitForRoute('bob', 'direct');
    const eve = await follows(stage, quiet, linkOf(server, newKey()), 'eve', WITHOUT_CHIMES);
    const mallory = await stage.person(quiet, server, 'mallory', {
      room: 'den',
      ...WITHOUT_CHIMES,
    });
    const oscar = stage.cli(server, 'oscar', {
      room: linkOf(server, newKey()),
      input: `${speechFile('reader')}:loop`,
    });
    stage.cli(server, 'paul', { room: 'den', plain: true });
    // Their names are not shown: no one with the key vouches for them.
    const strangers = (more = '') =>
      ada.page.locator(`[data-test="person"][data-name^="Member#"]${more}`);
    const lacksKey = strangers().getByText('lacks the room\u2019s key');
    await lacksKey.nth(2).waitFor();
    await strangers().getByText('does not encrypt').waitFor();
    await ada
      .at('encryption')
      .getByText(/^Encrypted, without /)
      .waitFor();
    await ada.picture('private-strangers');
    await mallory.page.getByText(/^Your link has no key/).waitFor();
    await mallory.at('encryption').waitFor();
    await ada.forget();
    await Promise.all([eve.forget(), mallory.forget()]);
    await write(ada, 'only for those with the key');
    await write(eve, 'from eve');
    await write(mallory, 'from mallory');
    await bob.waitFor('text', (json) => json.text === 'only for those with the key');
    await eve.waitUntilRecorded(3);
    await mallory.waitUntilRecorded(3);
    // Each is alone with what it has, or lacks.
    for (const stranger of [eve, mallory]) {
      const loudest = peak(await stranger.heard());
      assert.ok(loudest < NEARLY_NOTHING, `${stranger.name} hears ${loudest}`);
      assert.equal(await stranger.at('messages').getByText('only for those').count(), 0);
    }
    for (const other of [ada, eve])
      assert.equal(await other.at('messages').getByText('from mallory').count(), 0);
    assert.equal(await ada.at('messages').getByText('from eve').count(), 0);
    assert.ok(peak(await ada.heard()) > NEARLY_NOTHING, 'but she hears Bob');
    // A link to any of them would have opened by now.
    await strangers('[data-route="relayed"]').nth(3).waitFor({ state: 'attached' });
    oscar.type('/quit');
    await oscar.waitFor('summary');
    const oscars = readWav(stage.file('oscar.wav'));
    assert.ok(peak(oscars) < NEARLY_NOTHING);
  }),
);

test(
  'a private room is made with one click, its link is copied, and its key goes nowhere else',
  within(90),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn('reader');
    /** @type {string[]} whatever leaves the page */
    const sent = [];
    const ada = await stage.open(browser, server.url, 'ada', {
      recorded: false,
      before: async (page) => {
        page.on('request', (request) =>
          sent.push(request.url(), JSON.stringify(request.headers()), request.postData() ?? ''),
        );
        page.on('websocket', (socket) =>
          socket.on('framesent', ({ payload }) => sent.push(payload.toString('latin1'))),
        );
      },
    });
    await ada.page.evaluate(() => {
      navigator.clipboard.writeText = async (text) => {
        document.body.dataset.copied = text;
      };
    });
    await ada.at('name').fill('ada');
    await ada.picture('private-lobby');
    await ada.at('create-private').click();
    await ada.at('private').waitFor();
    const link = ada.page.url();
    assert.match(link, /\/r\/private-[a-z0-9]{12}#k=[\w-]{21}[AQgw]$/);
    assert.equal(await ada.page.evaluate(() => document.body.dataset.copied), link);
    await ada.picture('private-created');
    await ada.at('join').click();
    await ada.waitForPhase('joined');
    assert.equal(ada.page.url(), link);
    // What no one is there to read stands in the field again.
    await write(ada, 'is anyone here?');
    await ada.page.getByText('no one who would was here').waitFor();
    assert.equal(await ada.at('chat-input').inputValue(), 'is anyone here?');
    // Who opens it is in the room.
    const bob = stage.cli(server, 'bob', { room: link });
    await ada.waitForRoute('bob', 'direct');
    await ada.at('encryption').getByText('Encrypted and verified by the link').click();
    const code = await ada.at('safety-code').innerText();
    assert.match(code, /^(\d{5} ){5}\d{5}$/);
    await ada.picture('private-room');
    await write(ada, 'hello');
    await bob.waitFor('text');
    const key = link.slice(link.indexOf('k=') + 2);
    assert.ok(sent.length > 20 && !sent.some((text) => text.includes(key)));
    const kept = await ada.page.evaluate(() =>
      JSON.stringify([document.title, { ...localStorage }, { ...sessionStorage }]),
    );
    assert.ok(!kept.includes(key), kept);
    // After a reload the address still has it.
    await ada.page.reload();
    await ada.at('join').click();
    await ada.waitForPhase('joined');
    await ada.waitForRoute('bob', 'direct');
    await ada.at('encryption').getByText('Encrypted and verified by the link').waitFor();
    // Another room has no key, and its address none either.
    await ada.at('leave').click();
    await ada.at('back').click();
    await ada.at('room').waitFor();
    await ada.at('private').waitFor();
    await ada.picture('private-again');
    assert.ok(await ada.at('keyless').isHidden());
    await ada.at('room').fill('kitchen');
    await ada.at('keyless').waitFor();
    assert.ok(await ada.at('private').isHidden());
    await ada.picture('private-left');
    await ada.at('join').click();
    await ada.waitForPhase('joined');
    assert.equal(ada.page.url(), `${server.url}/r/kitchen`);
    await ada.at('encryption').getByText('Encrypted, no one else is here yet').waitFor();
    assert.equal(await ada.at('renew-link').count(), 0);
  }),
);

test(
  'who is put out still has the link, and a new one goes to those who stay, whichever program they use',
  within(90),
  Stage.for(async (stage) => {
    const server = await stage.server('--owner-after', '0');
    const browser = await stage.browser('reader');
    const link = linkOf(server, newKey());
    // Who comes first moderates.
    const ada = await follows(stage, browser, link, 'ada', { silent: true });
    const eve = await follows(stage, browser, link, 'eve', { silent: true });
    const bob = stage.cli(server, 'bob', { room: link });
    await ada.sees('bob').waitFor();
    await ada.sees('eve').locator('summary').click();
    const kick = ada.sees('eve').locator('[data-test="kick"]');
    await kick.click();
    await kick.click();
    await eve.waitForPhase('refused');
    await ada.at('renew').waitFor();
    await ada.picture('private-put-out');
    await ada.at('renew').click();
    await ada
      .at('new-link-words')
      .getByText(/privately to \u2068bob/)
      .waitFor();
    await ada.picture('private-new-link');
    await ada.at('new-link-send').click();
    const { text, name } = await bob.waitFor('text');
    const written =
      /^bob, we go on in a new room, with a new key: (http\S+)$/.exec(text)?.[1] ?? '';
    assert.equal(name, 'ada');
    assert.match(written, /\/r\/private-[a-z0-9]{12}#k=[\w-]{21}[AQgw]$/);
    assert.equal(await ada.at('new-link').inputValue(), written);
    await ada.picture('private-new-link-sent');
    const kept = await ada.page.evaluate(() =>
      JSON.stringify([{ ...localStorage }, { ...sessionStorage }]),
    );
    assert.ok(!kept.includes(written.split('#k=')[1]), kept);
    const cara = stage.cli(server, 'cara', { room: written });
    await ada.at('new-link-go').click();
    await ada.at('join-silent').click();
    await ada.waitForPhase('joined');
    await ada.sees('cara').waitFor();
    await ada.at('encryption').getByText('Encrypted and verified by the link').waitFor();
    cara.type('hello in the new room');
    await ada.at('messages').getByText('hello in the new room', { exact: true }).waitFor();
  }),
);

test(
  'Firefox has an authenticated link to a command line, and both read each other',
  withSound(90, { firefox: true }),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const link = linkOf(server, newKey());
    const firefox = await stage.firefox(await stage.pulse());
    const bob = stage.cli(server, 'bob', { room: link });
    await bob.waitFor('connected');
    const fox = await stage.openInFirefox(firefox, link, 'fox');
    await fox.join({ room: 'den' });
    await fox.waitForPhase('joined');
    await fox.waitForRoute('bob', 'direct');
    await bob.waitFor('route-changed', ({ name, route }) => name === 'fox' && route === 'direct');
    await fox.reads('Encrypted and verified by the link');
    bob.type('hello, Fox');
    await fox.reads('hello, Fox');
    await fox.evaluate(() => {
      const field = /** @type {any} */ (document.querySelector('[data-test="chat-input"]'));
      field.value = 'hello, Bob';
    });
    await fox.click('chat-send');
    assert.equal((await bob.waitFor('text')).text, 'hello, Bob');
  }),
);
