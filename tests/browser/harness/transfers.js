/** What a page transfers when it is first visited. */

/** @typedef {{bytes: number, encoding: string | null}} Transfer `bytes`: body as sent, and heads */

/** Transferred, heads included, with brotli: at the first visit. */
export const MOST_BYTES = 198_000;

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
    return loaded;
  };
}

/** @param {Map<string, Transfer>} loaded */
export const bytesOf = (loaded) => [...loaded.values()].reduce((sum, { bytes }) => sum + bytes, 0);
