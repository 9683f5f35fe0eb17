// What the page makes of what a browser says about the network.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { watchNetwork } from '../src/network.js';

/** @type {Map<string, PropertyDescriptor | undefined>} */
const before = new Map();
/** @type {string[]} */
let told = [];

/** @param {string} name @param {unknown} value */
function setGlobal(name, value) {
  if (!before.has(name)) before.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

class Page extends EventTarget {
  visibilityState = 'visible';
}

class Connection extends EventTarget {
  /** @param {string} type */
  constructor(type) {
    super();
    this.type = type;
  }

  /** @param {string} type */
  becomes(type) {
    this.type = type;
    this.dispatchEvent(new Event('change'));
  }
}

let view = new EventTarget();
let page = new Page();

beforeEach(() => {
  [view, page, told] = [new EventTarget(), new Page(), []];
  setGlobal('addEventListener', view.addEventListener.bind(view));
  setGlobal('document', page);
  setGlobal('navigator', { onLine: true });
});

afterEach(() => {
  for (const [name, descriptor] of before) {
    if (descriptor) Object.defineProperty(globalThis, name, descriptor);
    else Reflect.deleteProperty(globalThis, name);
  }
  before.clear();
});

const watch = () =>
  watchNetwork({
    changed: () => told.push('changed'),
    lost: () => told.push('lost'),
    shown: () => told.push('shown'),
  });

/** The changes that an event causes. @param {EventTarget} target @param {string} type */
function after(target, type) {
  told = [];
  target.dispatchEvent(new Event(type));
  return told;
}

test('a browser that is offline has lost the network, and one that is online again has another', () => {
  watch();
  assert.deepEqual(told, []);
  assert.deepEqual(after(view, 'offline'), ['lost']);
  assert.deepEqual(after(view, 'online'), ['changed']);
});

test('a page that was frozen takes the network for another one, and one that is looked at says so', () => {
  watch();
  assert.deepEqual(after(page, 'resume'), ['changed']);
  assert.deepEqual(after(page, 'visibilitychange'), ['shown']);
  page.visibilityState = 'hidden';
  assert.deepEqual(after(page, 'visibilitychange'), []);
});

test('another kind of connection is another network; another quality is not', () => {
  const connection = new Connection('wifi');
  setGlobal('navigator', { onLine: true, connection });
  watch();
  connection.becomes('wifi');
  assert.deepEqual(told, [], 'only its speed changed');
  connection.becomes('cellular');
  assert.deepEqual(told, ['changed']);
  connection.becomes('none');
  assert.deepEqual(told, ['changed'], 'the browser says offline besides');
  connection.becomes('wifi');
  assert.deepEqual(told, ['changed', 'changed']);
});

test('a browser that refuses to name its connection is watched all the same', () => {
  const refuses = {};
  Object.defineProperty(refuses, 'connection', {
    get() {
      throw new Error('refused');
    },
  });
  setGlobal('navigator', refuses);
  watch();
  assert.deepEqual(after(view, 'online'), ['changed']);
});
