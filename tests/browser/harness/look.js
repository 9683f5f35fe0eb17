/** A look at the page: a picture under out/browser/, and whether everybody can use what is there. */

import assert from 'node:assert/strict';

import { axe } from './browser.js';

/** @typedef {import('./browser.js').Person} Person */

/**
 * A picture of a state, in which nothing serious may be in anybody's way and nothing may stick out sideways.
 * @param {Person} person
 * @param {string} name
 * @param {{seenBefore?: boolean}} [how] `seenBefore`: what is there was looked through on another screen
 */
export async function look(person, name, { seenBefore = false } = {}) {
  const { page } = person;
  await page.evaluate(() =>
    Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {}))),
  );
  await person.picture(name);
  const overhang = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  assert.ok(overhang <= 0, `${name}: ${overhang} pixels stick out`);
  if (seenBefore) return;
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axe().source);
  const { violations } = await page.evaluate(() =>
    /** @type {any} */ (globalThis).axe.run(document, { resultTypes: ['violations'] }),
  );
  const grave = /** @type {import('axe-core').Result[]} */ (violations)
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(' | ')}`);
  assert.deepEqual(grave, [], name);
}
