// The scripted cases of tests/vectors/links.json, which the Rust session's tests run as well.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Health } from '../src/health.js';
import { AckDue, TrainReceiver } from '../src/receipts.js';

/** @typedef {{name: string, until: number, given: [number, ...any[]][], expected: any[][]}} Case */

/** @type {{acknowledgements: Case[], trains: Case[], health: Case[]}} */
const vectors = JSON.parse(
  readFileSync(new URL('../../tests/vectors/links.json', import.meta.url), 'utf8'),
);

/** @param {Case} scripted @param {(at: number, ...what: any[]) => void} give @param {(now: number) => any[][]} due */
function run({ until, given }, give, due) {
  const seen = [];
  for (let now = 0; now <= until; now++) {
    for (const [at, ...what] of given) if (at === now) give(at, ...what);
    for (const item of due(now)) seen.push([now, ...item]);
  }
  return seen;
}

for (const scripted of vectors.acknowledgements) {
  test(`acknowledgements: ${scripted.name}`, () => {
    const ack = new AckDue();
    const seen = run(
      scripted,
      (at, sequence) => ack.received(at, sequence),
      (now) => {
        const due = ack.take(now);
        return due ? [[due.newest, due.earlier, due.at]] : [];
      },
    );
    assert.deepEqual(seen, scripted.expected);
  });
}

for (const scripted of vectors.trains) {
  test(`trains: ${scripted.name}`, () => {
    const receiver = new TrainReceiver();
    const seen = run(
      scripted,
      (at, train, packets) => receiver.received(at, { train, packets }),
      (now) => {
        const report = receiver.report(now);
        return report ? [[report.train, report.received, report.spanUs]] : [];
      },
    );
    assert.deepEqual(seen, scripted.expected);
  });
}

for (const scripted of vectors.health) {
  test(`health: ${scripted.name}`, () => {
    const health = new Health(0);
    let [next, speaksSince, wasStalled] = [0, NaN, false];
    const seen = run(
      scripted,
      (at, what, number) => {
        if (what === 'speaks') [next, speaksSince] = [number, at];
        else if (what === 'silent') speaksSince = NaN;
        else if (what === 'sent') health.sent(at, number);
        else if (what === 'acknowledged') health.acknowledged(at, number);
        else if (what === 'answered') health.answered(at, number);
        else health.heard(at);
      },
      (now) => {
        if (now >= speaksSince && (now - speaksSince) % 20 === 0) health.sent(now, next++);
        const isSound = wasStalled && !health.stalled;
        const { probe, stalledNow, replace } = health.update(now);
        wasStalled = health.stalled;
        return [
          ...(isSound ? [['sound', 0]] : []),
          ...(stalledNow ? [['stalled', 0]] : []),
          ...(replace ? [['replace', 0]] : []),
          ...(probe === null ? [] : [['probe', probe]]),
        ];
      },
    );
    assert.deepEqual(seen, scripted.expected);
  });
}
