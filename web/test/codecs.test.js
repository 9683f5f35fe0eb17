/** The browser's own Opus encoder and decoder that refuse, fail or stop, in a browser that is only pretended. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { Capture, Encoder } from '../src/capture.js';
import { RemoteAudio } from '../src/playback.js';
import { Sound } from '../src/sound.js';
import { people } from '../src/snapshot.js';
import { Volumes } from '../src/volumes.js';
import { World } from './world.js';

/** How the codecs of this browser are: each way in which one is of no use. */
const WAYS = /** @type {const} */ ([
  'gone',
  'not-made',
  'not-configured',
  'unsupported',
  'throwing',
  'failing',
  'stopped',
]);
/** @type {typeof WAYS[number] | 'sound'} */
let how = 'sound';
let made = 0;
let now = 0;

const settled = async () => {
  for (let turn = 0; turn < 5; turn += 1) await null;
};

/** @param {(bytes: any) => any} result what one that works gives */
const codec = (result) =>
  class {
    state = 'unconfigured';

    /** @param {{output: (result: any) => void, error: (error: Error) => void}} told */
    constructor({ output, error }) {
      made += 1;
      if (how === 'not-made') throw new Error('refused by the test');
      this.output = output;
      this.error = error;
    }

    configure() {
      if (how === 'not-configured') throw new TypeError('refused by the test');
      this.state = 'configured';
      if (how === 'unsupported') this.#fail();
    }

    #fail() {
      queueMicrotask(() => {
        if (this.state === 'closed') return;
        this.state = 'closed';
        this.error(new Error('refused by the test'));
      });
    }

    /** @param {any} what */
    encode(what) {
      if (how === 'throwing') throw new Error('refused by the test');
      if (how === 'failing') return this.#fail();
      if (how !== 'stopped') queueMicrotask(() => this.output(result(what)));
    }

    /** @param {any} what */
    decode(what) {
      this.encode(what);
    }

    close() {
      if (this.state === 'closed') throw new Error('it is closed already');
      this.state = 'closed';
    }
  };

beforeEach(() => {
  [how, made, now] = ['sound', 0, 0];
  install();
});
afterEach(() => {
  for (const name of ['AudioEncoder', 'AudioDecoder', 'AudioData', 'EncodedAudioChunk'])
    Reflect.deleteProperty(globalThis, name);
});

function install() {
  const closable = class {
    close() {}
  };
  Object.assign(globalThis, {
    AudioEncoder: how === 'gone' ? undefined : codec(() => ({ byteLength: 3, copyTo() {} })),
    AudioDecoder:
      how === 'gone' ? undefined : codec(() => ({ numberOfFrames: 960, copyTo() {}, close() {} })),
    AudioData: closable,
    EncodedAudioChunk: class {},
  });
}

/** @param {typeof how} way */
function become(way) {
  how = way;
  install();
}

/** @param {number} ms @param {() => void} frame each 20 ms */
async function pass(ms, frame) {
  for (const until = now + ms; now < until; now += 20) {
    frame();
    await settled();
  }
}

for (const way of WAYS) {
  test(`an encoder that is ${way} is noticed, tried again now and then, and recovers`, async () => {
    become(way);
    let [frames, changes] = [0, 0];
    const encoder = new Encoder(
      () => (frames += 1),
      () => now,
      () => (changes += 1),
    );
    const speak = () => {
      encoder.keepTrying();
      encoder.encode(new Float32Array(960), now, false);
      encoder.follow(now, { bitrate: 16_000 + (now % 16_000), expectedLossPercent: 10 });
    };
    await pass(5000, speak);
    const why = way === 'stopped' ? 'late' : 'refused';
    assert.deepEqual([encoder.fails, frames, changes], [why, 0, 1]);
    assert.ok(made <= 8, `${made} encoders in 5 s`);
    become('sound');
    await pass(2600, speak);
    assert.deepEqual([encoder.fails, changes], [false, 2]);
    assert.ok(frames >= 40, `${frames} frames`);
    encoder.close();
  });

  test(`a decoder that is ${way} is noticed, tried again now and then, and recovers`, async () => {
    become(way);
    /** @type {any[]} */
    const played = [];
    const remote = new RemoteAudio('ada', (message) => played.push(message));
    let sequence = 0;
    const speak = () =>
      remote.receive(now, {
        peer: 'ada',
        sequence: sequence++,
        talkspurt: 0,
        behind: 0,
        pauseFollows: false,
        frame: new Uint8Array([0x48, 1, 2, 3]),
        volume: 1,
        priority: 0,
      });
    await pass(5000, speak);
    assert.equal(remote.fails, true);
    assert.ok(made <= 16, `${made} decoders in 5 s`);
    assert.ok(played.every(({ type }) => type !== 'frame'));
    assert.ok(
      played.some(({ type }) => type === 'lost'),
      'what is missing is concealed',
    );
    become('sound');
    await pass(2600, speak);
    assert.equal(remote.fails, false);
    assert.ok(played.filter(({ type }) => type === 'frame').length >= 40);
    remote.close();
  });
}

test('one failure in a call is followed by another encoder at once, and is no news', async () => {
  let frames = 0;
  const encoder = new Encoder(
    () => (frames += 1),
    () => now,
    () => assert.fail('nothing changed'),
  );
  const speak = () => encoder.encode(new Float32Array(960), now, false);
  await pass(1000, speak);
  become('failing');
  await pass(20, speak);
  become('sound');
  await pass(1000, speak);
  assert.deepEqual([encoder.fails, frames], [false, 100]);
});

test('an encoder that does not work is noticed before one speaks', async () => {
  become('unsupported');
  const encoder = new Encoder(
    () => assert.fail('a trial is not sent'),
    () => now,
    () => {},
  );
  await pass(100, () => encoder.keepTrying());
  assert.equal(encoder.fails, 'refused');
  become('sound');
  await pass(1500, () => encoder.keepTrying());
  assert.equal(encoder.fails, false);
});

test('who cannot encode is listening only to the others', () => {
  const sound = new Sound(
    () => now,
    { getItem: () => null, setItem() {} },
    {
      encoded() {},
      ticked() {},
      changed() {},
      notice() {},
    },
  );
  const encoder = { fails: /** @type {Encoder['fails']} */ (false) };
  sound.capture = /** @type {Capture} */ (/** @type {unknown} */ ({ encoder }));
  sound.microphone = 'on';
  assert.deepEqual([sound.status, sound.cannotEncode], [{}, false]);
  encoder.fails = 'late';
  assert.deepEqual([sound.status, sound.cannotEncode], [{ listening_only: true }, 'late']);
  sound.microphone = 'asking';
  assert.deepEqual([sound.status, sound.cannotEncode], [{}, false], 'not known yet');
});

test('who has no speaker hears nothing, to the others', () => {
  const sound = new Sound(
    () => now,
    { getItem: () => null, setItem() {} },
    {
      encoded() {},
      ticked() {},
      changed() {},
      notice() {},
    },
  );
  sound.microphone = 'on';
  /** @type {string} */
  let state = 'on';
  Object.defineProperty(sound.output, 'state', { get: () => state });
  for (const plays of ['off', 'starting', 'waits', 'on', 'default']) {
    state = plays;
    assert.deepEqual(sound.status, {}, plays);
  }
  state = 'none';
  assert.deepEqual([sound.status, sound.deafened], [{ deafened: true }, false]);
});

test('who cannot be decoded is shown so', () => {
  const world = new World();
  const [ada, bo] = [world.join('Ada'), world.join('Bo')];
  world.run(1000);
  const remotes = new Map([[bo.id, { fails: true, speaks: () => true, loss: null }]]);
  const hearers = { hears: () => null };
  const volumes = new Volumes({ getItem: () => null, setItem() {} });
  const playback = /** @type {any} */ ({ remotes });
  const [person] = people(
    ada.mesh,
    playback,
    new Map(),
    /** @type {any} */ (hearers),
    volumes,
    world.now,
    true,
  );
  assert.equal(person.cannotDecode, true);
});
