/** The way to the speaker, in a browser that is only pretended. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Playback, RemoteAudio } from '../src/playback.js';

/** A context that counts how often the slow question is asked. */
class FakeContext extends EventTarget {
  asked = 0;
  destination = {};
  baseLatency = 0.01;

  get outputLatency() {
    this.asked += 1;
    return 0.03;
  }
}

/** @param {string} userAgent @param {(context: FakeContext, playback: Playback, tick: (people?: object[]) => void) => void} act */
function inBrowser(userAgent, act) {
  const port = { onmessage: (/** @type {any} */ _) => {}, postMessage() {} };
  const former = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  Object.defineProperty(globalThis, 'navigator', { value: { userAgent }, configurable: true });
  Object.assign(globalThis, {
    AudioWorkletNode: class {
      port = port;
      connect() {}
    },
    GainNode: class {
      connect() {}
    },
  });
  try {
    const context = new FakeContext();
    const playback = new Playback(
      /** @type {any} */ (context),
      () => 0,
      () => {},
    );
    act(context, playback, (people = []) => port.onmessage({ data: { type: 'tick', people } }));
  } finally {
    if (former) Object.defineProperty(globalThis, 'navigator', former);
    else delete (/** @type {any} */ (globalThis).navigator);
    delete (/** @type {any} */ (globalThis).AudioWorkletNode);
    delete (/** @type {any} */ (globalThis).GainNode);
  }
}

test('the output is asked for its latency when it changes, not in each tick', () => {
  inBrowser(
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36',
    (context, playback, tick) => {
      const first = context.asked;
      for (let count = 0; count < 1000; count += 1) tick();
      for (let count = 0; count < 1000; count += 1)
        assert.equal(Math.round(playback.outputLatencyMs), 40);
      assert.equal(context.asked, first);
      context.dispatchEvent(new Event('statechange'));
      assert.equal(context.asked, first + 1);
    },
  );
});

test('Firefox is never asked for it: the answer can wait for good', () => {
  inBrowser(
    'Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0',
    (context, playback, tick) => {
      tick();
      context.dispatchEvent(new Event('statechange'));
      playback.measureLatency();
      assert.equal(context.asked, 0);
      assert.equal(playback.outputLatencyMs, 10);
    },
  );
});

test('a meter rises with what is played, and falls when nothing more of a person is', () => {
  inBrowser('pretended', (_, playback, tick) => {
    const ada = new RemoteAudio('ada', () => {});
    const bo = new RemoteAudio('bo', () => {});
    playback.remotes.set('ada', ada).set('bo', bo);
    const played = { id: 'ada', bufferedMs: 40, playingSequence: null, concealedMs: 0 };
    for (const level of [0.2, 0.8]) {
      tick([{ ...played, level }]);
      assert.equal(ada.level, level);
    }
    const levels = [0, 1, 2].map(() => {
      tick();
      return ada.level;
    });
    assert.ok(
      0.8 > levels[0] && levels[0] > levels[1] && levels[1] > levels[2] && levels[2] > 0,
      `${levels}`,
    );
    tick([{ ...played, level: 0.01 }]);
    assert.ok(ada.level < levels[2] && ada.level > 0.01, 'it falls while a person speaks softly');
    assert.equal(bo.level, 0);
  });
});

/** A speaker who is heard for a second, or while it comes, 20 ms at a time. @param {boolean} goesOnRelayed @param {(remote: RemoteAudio, reports: Array<{at: number, report: any}>) => void} act @param {(at: number) => boolean} [comes] */
function heardFor(goesOnRelayed, act, comes = (at) => at < 2000) {
  const decoder = class {
    state = 'configured';
    configure() {}
    decode() {}
    close() {}
  };
  Object.assign(globalThis, { AudioDecoder: decoder, EncodedAudioChunk: class {} });
  try {
    const remote = new RemoteAudio('ada', () => {});
    const frame = new Uint8Array([0x48, 1, 2, 3]);
    /** @type {Array<{at: number, report: any}>} */
    const reports = [];
    for (let at = 1000; at < 6000; at += 20) {
      if (comes(at))
        remote.receive(at, {
          peer: 'ada',
          sequence: (at - 1000) / 20,
          talkspurt: 0,
          behind: 0,
          pauseFollows: false,
          frame,
          volume: 1,
          priority: 0,
          goesOnRelayed,
        });
      const report = remote.report(at);
      if (report) reports.push({ at, report });
    }
    act(remote, reports);
  } finally {
    delete (/** @type {any} */ (globalThis).AudioDecoder);
    delete (/** @type {any} */ (globalThis).EncodedAudioChunk);
  }
}

test('relayed speech that stops in the middle is reported at once, and while it may go on', () => {
  heardFor(true, (_, reports) => {
    const [first, ...later] = reports.filter(({ at }) => at > 2000);
    // The last frame came at 1980.
    assert.ok(first.at >= 2200 && first.at <= 2260, `${first.at}`);
    assert.ok(first.report.bufferMs >= 200 && first.report.expected >= 1, `${first.report}`);
    assert.ok(later.length >= 1 && later.every(({ report }) => report.bufferMs >= 1000));
    assert.ok(later.every(({ at }) => at < 1980 + 2000));
  });
});

test('speech that comes by a link, or has ended, is reported as it was received', () => {
  heardFor(false, (_, reports) => {
    const late = reports.filter(({ at }) => at >= 2000);
    assert.ok(late.length <= 1 && late.every(({ report }) => report.bufferMs < 200));
  });
});

test('what waits after an outage is not reported as a full way', () => {
  /** @param {number} backAt */
  const reportsOf = (backAt) => {
    /** @type {number[]} */
    let reported = [];
    const comes = (/** @type {number} */ at) => at < 2000 || at >= backAt;
    heardFor(
      true,
      (remote) => {
        // What queued meanwhile.
        remote.bufferedMs = 600;
        reported = [5990, 6990].map((at) => remote.report(at)?.bufferMs ?? 0);
      },
      comes,
    );
    return Math.max(...reported);
  };
  assert.equal(reportsOf(4500), 0, 'an outage');
  assert.ok(reportsOf(3500) >= 600, 'a stop that a full way explains');
});
