/** Key rings for tests, with the module that the page loads. */

import { readFileSync } from 'node:fs';

import { KeyRing } from '../src/key-ring.js';

export const vectors = JSON.parse(
  readFileSync(new URL('../../tests/vectors/e2ee.json', import.meta.url), 'utf8'),
);
export const keysModule = new WebAssembly.Module(
  readFileSync(process.env.KEYS_WASM ?? new URL('../src/keys.wasm', import.meta.url)),
);

export const bytes = (/** @type {string} */ hex) =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
export const hex = (/** @type {Uint8Array | null} */ array) =>
  Buffer.from(array ?? []).toString('hex');
/** @param {number} first @param {number} length */
export const counting = (first, length) =>
  Uint8Array.from({ length }, (_, at) => (first + at) & 0xff);

/** Traps where a test has it do so: the module itself gives no reason to. */
const trapping = new WebAssembly.Module(
  // (module (func (export "f") unreachable))
  bytes('0061736d0100000001040160000003020100070501016600000a05010300000b'),
);

/**
 * @param {{first?: number} & Partial<import('../src/key-ring.js').Identity>} given `first`: of the bytes of its secret
 * @param {() => void} [trapped] @param {(control: {fails: boolean}) => void} [control] with `fails`, `seal` traps
 */
export function ringOf({ first = 0, ...given }, trapped, control) {
  const identity = {
    secret: counting(first, 32),
    origin: 'wss://voice.example',
    room: 'lobby',
    instance: 0,
    peer: '01020304-0506-0708-090a-0b0c0d0e0f10',
    roomKey: counting(0x10, 16),
    seed: counting(first + 100, 32),
    ...given,
  };
  if (!control) return new KeyRing(keysModule, identity, trapped);
  const { Instance } = WebAssembly;
  const fails = { fails: false };
  control(fails);
  const trap = /** @type {any} */ (new Instance(trapping).exports);
  WebAssembly.Instance = /** @type {any} */ (
    class {
      constructor(/** @type {WebAssembly.Module} */ module) {
        const exports = /** @type {any} */ (new Instance(module).exports);
        const seal = (/** @type {number[]} */ ...of) => {
          if (fails.fails) trap.f();
          return exports.seal(...of);
        };
        this.exports = { ...exports, seal };
      }
    }
  );
  try {
    return new KeyRing(keysModule, identity, trapped);
  } finally {
    WebAssembly.Instance = Instance;
  }
}
