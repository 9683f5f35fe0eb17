/** Who may moderate does so in the page, the others see what was decided, and what opens a room leaves no trace. */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';

import { look } from './harness/look.js';
import { Stage, within } from './harness/stage.js';

/** @typedef {import('./harness/browser.js').Person} Person */

/** The card of a person, unfolded. @param {Person} person @param {string} name */
async function open(person, name) {
  const card = person.sees(name);
  await card.locator('summary').click();
  return card;
}

/** @param {Person} person @param {string | RegExp} words */
const reads = (person, words) => person.page.getByText(words).first().waitFor();

/** What cannot be taken back wants a second press. @param {import('playwright-core').Locator} card @param {string} hook */
async function twice(card, hook) {
  const button = card.locator(`[data-test="${hook}"]`);
  await button.click();
  await button.getByText(/press again/).waitFor();
  await button.click();
}

test(
  'the member who made the room moderates it, and the others see what was decided',
  within(180),
  Stage.for(async (stage) => {
    const server = await stage.server('--owner-after', '0');
    const browser = await stage.browserSpeakingOn();
    const using = { recorded: false, silent: true };
    const ada = await stage.person(browser, server, 'ada', using);
    const bob = await stage.person(browser, server, 'bob', using);
    const cleo = await stage.person(browser, server, 'cleo', using);
    const card = await open(ada, 'bob');
    await card.locator('[data-test="moderation"]').waitFor();
    await ada.at('room-moderation').waitFor();
    await look(ada, 'moderation');
    // The others have no such buttons.
    const cleos = await open(cleo, 'bob');
    assert.equal(await cleos.locator('[data-test="moderation"]').isVisible(), false);
    assert.equal(await cleo.at('room-moderation').isVisible(), false);

    await card.locator('[data-test="mute-all"]').click();
    await reads(bob, 'A moderator has muted you for all');
    await bob.page.getByText('muted for all', { exact: true }).waitFor();
    for (const person of [ada, cleo])
      await person.sees('bob').getByText('muted for all', { exact: true }).waitFor();
    await look(bob, 'muted-for-all');
    await card.getByText('Let be heard again').click();
    await bob.page.getByText('A moderator has muted you for all').waitFor({ state: 'detached' });

    const moveTo = async (/** @type {string} */ group) => {
      await card.locator('[data-test="move-group"]').fill(group);
      await card.locator('[data-test="move"]').click();
    };
    const isHeld = () => bob.page.getByText('A moderator holds you in “\u2068Red\u2069”').waitFor();
    await moveTo('red, blue');
    await reads(ada, /^Only one group is possible here/);
    await moveTo(' ');
    await reads(ada, 'Type the name of a group.');
    await moveTo('Red');
    await isHeld();
    await bob.page
      .locator(
        '[data-test="group"][data-name="Red"] [data-test="group-listen"][aria-pressed="true"]',
      )
      .waitFor({ state: 'attached' });
    for (const person of [ada, cleo])
      await person.sees('bob').getByText('only in Red', { exact: true }).waitFor();
    await look(bob, 'held');
    await bob.at('group-name').fill('everyone');
    await bob.at('group-join').click();
    await reads(
      bob,
      'A moderator holds you in “\u2068Red\u2069”: you cannot join “\u2068Everyone\u2069”.',
    );
    await bob.page.reload();
    await bob.at('join-silent').click();
    await bob.waitForPhase('joined');
    await isHeld();
    await bob.page
      .locator(
        '[data-test="group"][data-name="Red"] [data-test="group-listen"][aria-pressed="true"]',
      )
      .waitFor({ state: 'attached' });
    await open(ada, 'bob');
    await moveTo('ALL');
    await reads(bob, 'You may choose your talk groups again, and are with everyone now.');
    await bob.page.getByText('A moderator holds you').waitFor({ state: 'detached' });
    for (const person of [ada, cleo])
      await person
        .sees('bob')
        .getByText('only in Red', { exact: true })
        .waitFor({ state: 'hidden' });

    await ada.at('lock').click();
    await bob.at('locked').waitFor();
    const dora = await stage.open(browser, server.url, 'dora', using);
    await dora.join({ silent: true });
    await dora.waitForPhase('refused');
    await reads(dora, /has closed this room to newcomers/);
    await ada.at('lock').click();
    await bob.at('locked').waitFor({ state: 'hidden' });

    await ada.at('password-dialog').click();
    await look(ada, 'moderation-password');
    await ada.at('new-password').fill('open sesame');
    await ada.page.keyboard.press('Enter');
    await reads(ada, 'Newcomers need the password from now on.');
    await reads(bob, 'A moderator has given the room a password: newcomers need it.');
    await dora.at('rejoin').click();
    await dora.at('password').fill('open sesame');
    await dora.page.keyboard.press('Enter');
    await dora.waitForPhase('joined');
    await ada.at('password-dialog').click();
    await ada.at('remove-password').click();
    await reads(ada, 'The room has no password any more.');

    await twice(card, 'ban');
    await bob.waitForPhase('refused');
    await reads(bob, /keeps you, or your network’s address, out of this room for 60 minutes/);
    await ada.at('unban').waitFor();
    await look(ada, 'moderation-ban');
    await ada.at('unban').click();
    await reads(ada, 'may come back');
    await ada.at('unban').waitFor({ state: 'detached' });
    await bob.at('rejoin').click();
    await bob.waitForPhase('joined');

    await twice(await open(ada, 'bob'), 'kick');
    await bob.waitForPhase('refused');
    await reads(bob, /A moderator has put you out/);
    for (const person of [ada, cleo]) await person.waitUntilGone('bob');
    await twice(await open(ada, 'cleo'), 'make-owner');
    await cleo.at('room-moderation').waitFor();
    await reads(cleo, 'You may moderate this room.');
    await ada.at('room-moderation').waitFor({ state: 'hidden' });
    // Leaving is no way round a ban.
    await dora.at('leave').click();
    await cleo.waitUntilGone('dora');
    await cleo.at('left').locator('summary').click();
    await look(cleo, 'moderation-left');
    await cleo.at('left').getByText('Keep \u2068dora\u2069 out for an hour').click();
    await cleo
      .at('left')
      .getByText(/dora.*press again/)
      .click();
    await reads(cleo, '\u2068dora\u2069 has left, and is kept out for an hour.');
    await cleo.at('unban').waitFor();
    await dora.at('rejoin').click();
    await dora.waitForPhase('refused');
    await reads(dora, /keeps you, or your network’s address, out/);
  }),
);

test(
  'a token is out of the address and the history before anything else runs',
  within(),
  Stage.for(async (stage) => {
    const server = await stage.server();
    const browser = await stage.browserSpeakingOn();
    const ada = await stage.open(browser, server.url, 'ada', { recorded: false });
    /** @type {string[]} */
    const asked = [];
    ada.page.on('request', (request) => asked.push(request.url()));
    // What each thing that a page can do sees of the address, in order.
    await ada.page.addInitScript(() => {
      const seen = /** @type {string[][]} */ (/** @type {any} */ (globalThis).seen = []);
      const watch = (/** @type {any} */ holder, /** @type {string} */ name) => {
        const former = holder[name];
        holder[name] = function (/** @type {any[]} */ ...given) {
          seen.push([name, location.hash]);
          return new.target ? new former(...given) : former.apply(this, given);
        };
        holder[name].prototype = former.prototype;
        Object.setPrototypeOf(holder[name], former);
      };
      watch(History.prototype, 'replaceState');
      watch(Storage.prototype, 'setItem');
      watch(Storage.prototype, 'getItem');
      watch(Document.prototype, 'getElementById');
      watch(globalThis, 'fetch');
      watch(globalThis, 'WebSocket');
      watch(EventTarget.prototype, 'addEventListener');
      watch(Element.prototype, 'append');
    });
    await ada.page.goto('about:blank');
    await ada.page.goto(`${server.url}/r/room#t=secret.token.x&lang=de`);
    await ada.at('name').waitFor();
    const seen = /** @type {string[][]} */ (
      await ada.page.evaluate(() => /** @type {any} */ (globalThis).seen)
    );
    assert.deepEqual(
      seen[0],
      ['replaceState', '#t=secret.token.x&lang=de'],
      'it is the first thing that is done',
    );
    assert.deepEqual(
      seen.slice(1).filter(([, hash]) => hash.includes('t=')),
      [],
    );
    assert.ok(seen.length > 5, JSON.stringify(seen));
    // What else stood there goes, too: without a key or a token it would count as damaged.
    assert.equal(ada.page.url(), `${server.url}/r/room`);
    await ada.at('name').fill('ada');
    await ada.at('join-silent').click();
    await ada.waitForPhase('joined');
    assert.ok(!ada.page.url().includes('t='));
    assert.deepEqual(
      asked.filter((url) => url.includes('secret')),
      [],
    );
    // Neither backwards nor forwards is there an address with it.
    await ada.page.goBack();
    assert.equal(ada.page.url(), 'about:blank');
    await ada.page.goForward();
    assert.ok(!ada.page.url().includes('t='), ada.page.url());

    // A link with a room's key is not entered, and its token is gone from the address all the same.
    await ada.page.goto('about:blank');
    await ada.page.goto(`${server.url}/r/room#t=secret.token.x&k=key`);
    await ada.waitForPhase('unsupported');
    assert.equal(ada.page.url(), `${server.url}/r/room#k=key`);
  }),
);

/** An access token for any room, signed as an issuer does it (RFC 7515). @param {string} secret @param {string} name */
function token(secret, name) {
  const part = (/** @type {object} */ value) =>
    Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { room_pattern: '*', name, exp: Math.floor(Date.now() / 1000) + 3600 };
  const signed = `${part({ alg: 'HS256' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

test(
  'who comes by a token sees the name that it gives, as the others do',
  within(),
  Stage.for(async (stage) => {
    const secret = 'a secret of more than thirty-two bytes';
    writeFileSync(stage.file('secret'), secret);
    const server = await stage.server('--auth-secret', stage.file('secret'));
    const browser = await stage.browserSpeakingOn();
    const join = async (/** @type {string} */ typed, /** @type {string} */ named) => {
      const person = await stage.open(browser, server.url, typed, { recorded: false });
      await person.page.goto('about:blank');
      await person.page.goto(`${server.url}/r/room#t=${token(secret, named)}`);
      await person.at('name').fill(typed);
      await person.at('join-silent').click();
      await person.waitForPhase('joined');
      return person;
    };
    const ada = await join('ada', 'Dr. Ada Lovelace');
    await reads(ada, 'You are here as \u2068Dr. Ada Lovelace\u2069, as your token says.');
    assert.equal(await ada.at('own-name').textContent(), 'Dr. Ada Lovelace');
    await look(ada, 'named-by-token');
    const bob = await join('bob', 'bob');
    await bob.sees('Dr. Ada Lovelace').waitFor();
    assert.equal(await bob.page.getByText('You are here as').count(), 0);
  }),
);
