/** Links take turns to open, as those of `crates/link/src/openings.rs` do. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Openings } from '../src/openings.js';

/** A clock that moves only when told. */
class VirtualTime {
  #now = 0;
  /** @type {{at: number, act: () => void}[]} */
  #due = [];

  now() {
    return this.#now;
  }

  /** @param {number} ms @param {() => void} act */
  after(ms, act) {
    const one = { at: this.#now + ms, act };
    this.#due.push(one);
    return () => {
      this.#due = this.#due.filter((other) => other !== one);
    };
  }

  /** @param {number} ms */
  pass(ms) {
    this.#now += ms;
    const over = this.#due.filter(({ at }) => at <= this.#now);
    this.#due = this.#due.filter(({ at }) => at > this.#now);
    for (const { act } of over) act();
  }
}

/** Asks for a turn, and says whether it has begun. @param {Openings} openings @param {'offer' | 'answer'} role @param {string} remote */
function ask(openings, role, remote) {
  const turn = { ...openings.turn(role, remote), hasBegun: false };
  void turn.begun.then(() => {
    turn.hasBegun = true;
  });
  return turn;
}

const settle = () => new Promise((done) => setImmediate(done));
const begun = async (/** @type {{hasBegun: boolean}[]} */ turns) => {
  await settle();
  return turns.filter(({ hasBegun }) => hasBegun).length;
};

test('every link that opens makes room for another one', async () => {
  const openings = new Openings(new VirtualTime());
  const turns = Array.from({ length: 50 }, (_, at) => ask(openings, 'offer', `${at}`));
  const rounds = [];
  for (let open = 0; open < 50 && rounds.length < 20;) {
    const count = await begun(turns);
    rounds.push(count - open);
    for (const turn of turns.slice(open, count)) turn.end(true);
    open = count;
  }
  assert.deepEqual(rounds, [1, 2, 4, 8, 16, 16, 3]);
  assert.equal(await begun([ask(openings, 'answer', 'a')]), 1, 'answers have turns of their own');
});

test('a link that does not open in time makes way, and one that is given up as well', async () => {
  const time = new VirtualTime();
  const openings = new Openings(time);
  const turns = ['a', 'b', 'c', 'd'].map((remote) => ask(openings, 'answer', remote));
  time.pass(1499);
  assert.equal(await begun(turns), 1);
  time.pass(1);
  assert.equal(await begun(turns), 2);
  turns[0].end(true);
  assert.equal(await begun(turns), 2, 'too late to count');
  turns[1].end(false);
  turns[1].end(false);
  assert.equal(await begun(turns), 3);
  turns[3].end(false);
  turns[2].end(true);
  assert.equal(await begun(turns), 3, 'the last one does not wait any more');
});

test('remotes that never open delay others by the rest of one turn', async () => {
  const time = new VirtualTime();
  const openings = new Openings(time);
  for (let at = 0; at < 8; at++) ask(openings, 'answer', `hostile ${at}`);
  for (let at = 0; at < 8; at++) time.pass(1500);
  for (let at = 0; at < 8; at++) ask(openings, 'answer', `hostile ${at}`);
  const honest = ask(openings, 'answer', 'honest');
  time.pass(1500);
  assert.equal(await begun([honest]), 1);
});

/** A pace whose answers are set: below zero, how many ms to wait. */
class ScriptedPace {
  answer = 0;
  /** @type {number[]} */
  asked = [];
  /** @type {[number, number][]} */
  ended = [];

  /** @param {number} now */
  openingBegins(now) {
    this.asked.push(now);
    return this.answer;
  }

  /** @param {number} now @param {number} number */
  openingEnded(now, number) {
    this.ended.push([now, number]);
  }
}

test('a turn begins when the pace lets it, has its whole time from then on, and tells the pace of its end', async () => {
  const [time, pace] = [new VirtualTime(), new ScriptedPace()];
  const openings = new Openings(time, () => pace);
  pace.answer = -2000;
  const turns = [ask(openings, 'offer', 'a'), ask(openings, 'offer', 'b')];
  time.pass(1999);
  assert.equal(await begun(turns), 0);
  pace.answer = 7;
  time.pass(1);
  assert.equal(await begun(turns), 1);
  assert.deepEqual(pace.asked, [0, 2000], 'one turn at a time asks');
  pace.answer = 8;
  time.pass(1499);
  assert.equal(await begun(turns), 1);
  time.pass(1);
  assert.equal(await begun(turns), 2);
  turns[0].end(true);
  time.pass(100);
  turns[1].end(false);
  assert.deepEqual(pace.ended, [
    [3500, 7],
    [3600, 8],
  ]);
});

test('a link that is gone before the pace lets it begin makes way, asks no more and has missed nothing', async () => {
  const [time, pace] = [new VirtualTime(), new ScriptedPace()];
  const openings = new Openings(time, () => pace);
  pace.answer = -250;
  const gone = ask(openings, 'answer', 'a');
  const next = [ask(openings, 'answer', 'a'), ask(openings, 'answer', 'b')];
  gone.end(false);
  pace.answer = 1;
  time.pass(250);
  assert.equal(await begun([gone]), 0);
  assert.equal(await begun([next[0]]), 1, 'first come, first served');
  assert.deepEqual([pace.asked, pace.ended], [[0, 0, 250], []]);
});

test('turns begin without a pace when the module has failed', async () => {
  const time = new VirtualTime();
  /** @type {ScriptedPace | null} */
  let pace = new ScriptedPace();
  pace.answer = -250;
  const openings = new Openings(time, () => pace);
  const turn = ask(openings, 'offer', 'a');
  pace = null;
  time.pass(250);
  assert.equal(await begun([turn]), 1);
  turn.end(true);
});
