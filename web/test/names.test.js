import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { FOLDINGS } from '../src/name-tables.js';
import { displayName, foldOne, receivedName, roomName, shortIds, skeleton } from '../src/names.js';

/** @typedef {{text: string, shown?: string, key?: string, refused?: string}} Parsed */
/** @type {{rooms: Parsed[], same_rooms: string[][], names: Parsed[], received: {text: string, peer: string, shown: string}[],
 *   alike: string[][], unlike: string[][], short_ids: {names: [string, string][], ids: Record<string, string>}[]}} */
const vectors = JSON.parse(
  readFileSync(new URL('../../tests/vectors/names.json', import.meta.url), 'utf8'),
);

test('room names match the vectors', () => {
  for (const { text, ...expected } of vectors.rooms)
    assert.deepEqual(roomName(text), expected, JSON.stringify(text));
  for (const spellings of vectors.same_rooms) {
    const keys = spellings.map((text) => roomName(text).key);
    assert.equal(new Set(keys).size, 1, spellings.join());
  }
});

test('display names match the vectors', () => {
  for (const { text, ...expected } of vectors.names)
    assert.deepEqual(displayName(text), expected, JSON.stringify(text));
  for (const { text, peer, shown } of vectors.received)
    assert.equal(receivedName(text, peer), shown, JSON.stringify(text));
});

test('what letters look like is loaded when a name is not ASCII, and then tells names apart', async () => {
  const [ada, bo] = [
    '3f2a81c0-0d70-8b40-bec8-f6e3e43ba7a8',
    '81c0ea20-0d70-8b40-bec8-f6e3e43ba7a8',
  ];
  /** @type {[string, string][]} */
  const plain = [
    [ada, 'O'],
    [bo, '0'],
  ];
  assert.equal(shortIds(plain, () => assert.fail('it is not needed')).size, 2);
  /** @type {[string, string][]} */
  const names = [
    [ada, 'ПОРТ'],
    [bo, 'ΠΟΡΤ'],
  ];
  /** @type {number[]} */
  const sizes = [];
  await new Promise((loaded) => {
    sizes.push(shortIds(names, () => loaded(undefined)).size);
  });
  sizes.push(shortIds(names, () => assert.fail('it is there')).size);
  assert.deepEqual(sizes, [0, 2]);
});

test('names that look alike match the vectors', () => {
  const shownSkeleton = (/** @type {string} */ name) => skeleton(displayName(name).shown ?? '');
  for (const names of vectors.alike)
    assert.equal(new Set(names.map(shownSkeleton)).size, 1, names.join());
  for (const names of vectors.unlike)
    assert.equal(new Set(names.map(skeleton)).size, names.length, names.join());
  for (const { names, ids } of vectors.short_ids)
    assert.deepEqual(Object.fromEntries(shortIds(names)), ids);
});

test('simple case folding is that of Unicode for every letter', () => {
  // What /iu compares by is simple case folding (ECMA-262, Canonicalize), here of the same version as lower case.
  const exceptions = new Set([...FOLDINGS].filter((_, at) => at % 2 === 0));
  for (let point = 0; point <= 0x10ffff; point += 1) {
    const letter = String.fromCodePoint(point);
    const folded = foldOne(letter);
    if (/\p{Cs}/u.test(letter)) continue;
    assert.equal([...folded].length, 1, point.toString(16));
    if (folded !== letter && !exceptions.has(letter)) {
      assert.ok(
        new RegExp(`^\\u{${folded.codePointAt(0)?.toString(16)}}$`, 'iu').test(letter),
        point.toString(16),
      );
    }
    assert.equal(foldOne(folded), folded, point.toString(16));
  }
});
