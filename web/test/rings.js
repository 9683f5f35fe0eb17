/** Key rings for tests, with the module that the page loads. */

import { readFileSync } from 'node:fs';

import { KeyRing } from '../src/key-ring.js';

export const vectors = JSON.parse(
  readFileSync(new URL('../../tests/vectors/e2ee.json', import.meta.url), 'utf8'),
);
export const keysBytes = readFileSync(
  process.env.KEYS_WASM ?? new URL('../src/keys.wasm', import.meta.url),
);
export const keysModule = new WebAssembly.Module(keysBytes);

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
 * @param {() => void} [failed] @param {(control: {fails: string}) => void} [control] `fails`: the export that traps
 */
export function ringOf({ first = 0, ...given }, failed, control) {
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
  if (!control) return new KeyRing(keysModule, identity, failed);
  const fails = { fails: '' };
  control(fails);
  const restore = trapIn(fails);
  try {
    return new KeyRing(keysModule, identity, failed);
  } finally {
    restore();
  }
}

/** From now on, the named export of what is instantiated traps. @param {{fails: string}} control @returns {() => void} ends that */
export function trapIn(control) {
  const { Instance } = WebAssembly;
  const trap = /** @type {any} */ (new Instance(trapping).exports);
  WebAssembly.Instance = /** @type {any} */ (
    class {
      constructor(/** @type {WebAssembly.Module} */ module) {
        this.exports = Object.fromEntries(
          Object.entries(new Instance(module).exports).map(([name, value]) => [
            name,
            typeof value !== 'function'
              ? value
              : (/** @type {number[]} */ ...of) =>
                  name === control.fails ? trap.f() : value(...of),
          ]),
        );
      }
    }
  );
  return () => {
    WebAssembly.Instance = Instance;
  };
}
