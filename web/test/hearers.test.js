import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Hearers } from '../src/hearers.js';

/** @param {Hearers} hearers @param {number} ms */
const speak = (hearers, ms) => {
  for (let at = 0; at < ms; at += 20) hearers.spoke();
};

test('who reports hears, and who does not although enough was said does not', () => {
  const hearers = new Hearers();
  assert.equal(hearers.hears(0, 'bob'), null);
  speak(hearers, 1000);
  hearers.reported(1000, 'bob');
  assert.equal(hearers.hears(1500, 'bob'), true);
  // In a pause nothing is known.
  assert.equal(hearers.hears(60_000, 'bob'), null);
  speak(hearers, 3000);
  assert.equal(hearers.hears(63_000, 'bob'), false);
  hearers.reported(63_500, 'bob');
  assert.equal(hearers.hears(63_600, 'bob'), true);
});

test('who is in another group does not hear, at once and until it is spoken to again', () => {
  const hearers = new Hearers();
  hearers.hears(0, 'bob');
  speak(hearers, 1000);
  hearers.reported(1000, 'bob');
  assert.equal(hearers.hears(1000, 'bob', true), true);
  assert.equal(hearers.hears(1001, 'bob', false), false);
  hearers.reported(1500, 'bob');
  assert.equal(hearers.hears(1600, 'bob', false), false, 'that was about what was said before');
  assert.equal(hearers.hears(60_000, 'bob', false), null, 'nothing is said');
  speak(hearers, 10_000);
  assert.equal(hearers.hears(70_000, 'bob', false), false);
  assert.equal(hearers.hears(70_001, 'bob', true), null, 'what others were told does not count');
  hearers.reported(70_900, 'bob');
  assert.equal(hearers.hears(71_000, 'bob', true), true);
});

test('what was said before a listener came does not count', () => {
  const hearers = new Hearers();
  speak(hearers, 10_000);
  assert.equal(hearers.hears(10_000, 'cyd'), null);
  speak(hearers, 2000);
  assert.equal(hearers.hears(12_000, 'cyd'), null);
  speak(hearers, 1000);
  assert.equal(hearers.hears(13_000, 'cyd'), false);
  hearers.forget('cyd');
  assert.equal(hearers.hears(13_000, 'cyd'), null);
});
