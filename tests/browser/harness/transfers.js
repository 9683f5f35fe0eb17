/** What a page transfers when it is first visited. */

import { get } from 'node:http';

/** @typedef {{bytes: number, encoding: string | null}} Transfer `bytes`: body as sent, and heads */

/** Transferred, heads included, with brotli: at the first visit, without what encrypts. */
export const MOST_BYTES = 170_500;

/** The browser names no request of these, or of what they import: they are asked for once more. */
const WORKLETS = ['capture-worklet.js', 'playback-worklet.js'];

/**
 * Notes what a page loads from now on.
 *
 * @param {import('playwright-core').Page} page
 * @returns {() => Promise<Map<string, Transfer>>} what has been loaded, by address
 */
export function measureTransfers(page) {
  /** @type {Map<string, Transfer>} */
  const loaded = new Map();
  /** @type {Promise<unknown>[]} */
  const measured = [];
  page.on('requestfinished', (request) =>
    measured.push(
      (async () => {
        const [{ responseBodySize, responseHeadersSize }, response] = await Promise.all([
          request.sizes(),
          request.response(),
        ]);
        const encoding = (await response?.headerValue('content-encoding')) ?? null;
        loaded.set(request.url(), { bytes: responseBodySize + responseHeadersSize, encoding });
      })(),
    ),
  );
  return async () => {
    await Promise.all(measured);
    const output = [...loaded.keys()].find((url) => url.endsWith('/output.js'));
    if (!output) throw new Error('the page has no sound');
    for (const worklet of WORKLETS) await addModule(new URL(worklet, output), loaded);
    return loaded;
  };
}

/** A module and what it imports, as far as it is not there. @param {URL} url @param {Map<string, Transfer>} loaded */
async function addModule(url, loaded) {
  if (loaded.has(url.href)) return;
  loaded.set(url.href, await transfer(url));
  const text = await (await fetch(url)).text();
  for (const [, imported] of text.matchAll(/\bimport\b[^;'"]*['"]([^'"]+)['"]/g))
    await addModule(new URL(imported, url), loaded);
}

/** @param {URL} url @returns {Promise<Transfer>} */
function transfer(url) {
  return new Promise((resolve, reject) => {
    const request = get(url, { headers: { 'accept-encoding': 'br' } }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`${url}: ${response.statusCode}`));
      const { statusCode, statusMessage, rawHeaders } = response;
      const lines = [`HTTP/1.1 ${statusCode} ${statusMessage}`];
      for (let at = 0; at < rawHeaders.length; at += 2)
        lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
      let bytes = Buffer.byteLength(`${lines.join('\r\n')}\r\n\r\n`);
      response.on('data', (/** @type {Buffer} */ piece) => (bytes += piece.length));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ bytes, encoding: response.headers['content-encoding'] ?? null }),
      );
    });
    request.on('error', reject);
  });
}

/** @param {Map<string, Transfer>} loaded */
export const bytesOf = (loaded) => [...loaded.values()].reduce((sum, { bytes }) => sum + bytes, 0);

/** What encrypts, with what one sees of it. */
const ENCRYPTION =
  /\/(keys\.wasm|(encryption|key-ring|fingerprints|known-members|lock|new-link)\.js)$/;
/** It comes when one joins, after the page is drawn. */
export const MOST_ENCRYPTION_BYTES = 70_000;

/** In bytes. @param {Map<string, Transfer>} loaded */
export function partsOf(loaded) {
  const [shell, encryption] = [false, true].map((encrypts) =>
    bytesOf(new Map([...loaded].filter(([url]) => ENCRYPTION.test(url) === encrypts))),
  );
  return { shell, encryption };
}
