/** Whether peers that only the relay reaches still answer. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Answering } from '../src/answering.js';
import { World } from './world.js';

/** Speech is relayed to a peer who has answered once. @param {number} untilMs @param {(now: number) => boolean} heard */
function speakTo(untilMs, heard) {
  const answering = new Answering();
  answering.heard(0, 'bo', true);
  /** @type {number[]} */
  const questions = [];
  let silentAt = null;
  for (let now = 0; now < untilMs; now += 20) {
    answering.used(now, 'bo');
    if (heard(now)) answering.heard(now, 'bo', false);
    if (answering.questions(now).length > 0) questions.push(now);
    if (answering.isSilent(now, 'bo')) silentAt ??= now;
  }
  return { questions, silentAt };
}

test('a peer that is heard is not asked', () => {
  assert.deepEqual(
    speakTo(20_000, (now) => now % 1000 === 0),
    { questions: [], silentAt: null },
  );
});

test('a peer that falls silent is asked and then not counted on', () => {
  assert.deepEqual(
    speakTo(9000, () => false),
    { questions: [2000, 3000, 4000, 5000, 7000], silentAt: 4000 },
  );
});

test('a peer that has never answered is asked, and its silence says nothing', () => {
  const answering = new Answering();
  answering.used(0, 'bo');
  for (let now = 0; now < 10_000; now += 20) {
    answering.used(now, 'bo');
    answering.questions(now);
    assert.equal(answering.isSilent(now, 'bo'), false);
  }
});

test('without speech those whom only the relay reaches are asked after eight seconds, one at a time', () => {
  const answering = new Answering();
  const peers = ['ada', 'bo', 'cy'];
  /** @type {[number, string][]} */
  const asked = [];
  for (let now = 0; now < 9000; now += 50) {
    answering.onlyWays(now, peers);
    asked.push(
      ...answering.questions(now).map((peer) => /** @type {[number, string]} */ ([now, peer])),
    );
  }
  assert.deepEqual(
    asked.slice(0, 3).map(([, peer]) => peer),
    peers,
  );
  const [[first], [second], [third]] = asked;
  assert.ok(first >= 8000 && second - first >= 250 && third - second >= 250);
});

test('while the server does not answer no peer is blamed, and what is over is forgotten', () => {
  const answering = new Answering();
  answering.heard(0, 'bo', true);
  answering.used(0, 'bo');
  assert.deepEqual(answering.questions(2000), ['bo']);
  answering.excuseAll(3900);
  assert.equal(answering.isSilent(4100, 'bo'), false);
  assert.deepEqual(answering.questions(20_000), []);
  answering.forget('bo');
  assert.equal(answering.isSilent(40_000, 'bo'), false);
});

/** Two who only relay. */
function relayedPair() {
  const world = new World();
  const ada = world.join('Ada', { relay_only: true });
  const bo = world.join('Bo', { relay_only: true });
  world.run(1000);
  assert.equal(ada.route(bo), 'relayed');
  return { world, ada, bo };
}

test('of two silent ones who are relayed, one that is gone is shown as gone within eleven seconds', () => {
  const { world, ada, bo } = relayedPair();
  world.run(20_000);
  assert.equal(ada.route(bo), 'relayed', 'they answer each other');
  bo.dark = true;
  world.run(11_000);
  assert.equal(ada.route(bo), 'none');
  bo.dark = false;
  bo.socketsDie();
  world.run(15_000);
  assert.equal(ada.route(bo), 'relayed', 'it is back');
});

test('a listener whose network is gone is shown as gone within five seconds of relayed speech', () => {
  const { world, ada, bo } = relayedPair();
  world.run(10_000);
  bo.dark = true;
  let next = world.now;
  world.run(5000, () => {
    if (world.now < next) return;
    next += 20;
    ada.say(1);
  });
  assert.equal(ada.route(bo), 'none');
});

test('a peer behind a stalled link has been silent since that link was', () => {
  const answering = new Answering();
  answering.heard(0, 'bo', true);
  answering.stalled(5000, 'bo', 3000);
  assert.deepEqual(answering.questions(5000), ['bo']);
  answering.heard(5100, 'bo', false);
  answering.stalled(5200, 'bo', 3000);
  assert.deepEqual(answering.questions(7000), [], 'it was heard since');
  assert.deepEqual(answering.questions(7100), ['bo']);
});
