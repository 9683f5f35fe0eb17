import assert from 'node:assert/strict';
import test from 'node:test';

import { Lateness } from '../src/lateness.js';

/**
 * @param {(second: number) => number} pause ms that one tick of each second comes late
 * @param {boolean} [counts]
 */
function busySeconds(pause, counts = true) {
  const lateness = new Lateness();
  const busy = [];
  let now = 5000;
  for (let second = 0; second < 30; second += 1) {
    for (const until = now + 1000; now < until; now += 20) {
      lateness.ticked(now, counts);
      if (now === until - 20) now += pause(second);
    }
    busy.push(lateness.isBusy(now) ? 'x' : '.');
  }
  return busy.join('');
}

test('a device is busy whose ticks come late in three of ten seconds', () => {
  assert.equal(busySeconds(() => 0).includes('x'), false);
  assert.equal(
    busySeconds(() => 50).includes('x'),
    false,
    'frames that wait so long are waited for',
  );
  assert.equal(
    busySeconds((second) => (second === 4 ? 60_000 : 0)).includes('x'),
    false,
    'a sleep',
  );
  const busy = busySeconds((second) => (second >= 5 && second < 12 ? 120 : 0));
  assert.match(busy, /^\.{8,9}x{10,15}\.+$/);
  assert.equal(busySeconds(() => 1000, false).includes('x'), false, 'a hidden page');
});

test('a page that is hidden and shown again and again is not busy', () => {
  const lateness = new Lateness();
  for (let second = 0; second < 10; second += 1) {
    lateness.ticked(second * 1000, false);
    for (let ms = 900; ms < 1000; ms += 20) lateness.ticked(second * 1000 + ms, true);
    assert.equal(lateness.isBusy(second * 1000), false, `${second}`);
  }
});
