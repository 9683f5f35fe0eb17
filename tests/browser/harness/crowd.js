/** Many members of a room at little cost: connections that join and say nothing. */

/** @typedef {import('./browser.js').Person} Person */

/**
 * They stay as long as the page that makes them.
 * @param {Person} person whose page, which need not have joined
 * @param {string[]} names
 */
export async function crowd({ page }, names, room = 'room') {
  await page.evaluate(
    async ({ names: all, room: where }) => {
      const main = /** @type {HTMLScriptElement} */ (document.querySelector('script[type=module]'))
        .src;
      const [{ prove }, { encode }] = await Promise.all(
        ['identity.js', 'wire.js'].map((name) => import(new URL(name, main).href)),
      );
      const capabilities = {
        relay_only: true,
        redundancy: true,
        voice_ack: true,
        reports: true,
        frame_ms: [20],
      };
      const codec = { codec: 1, frameSamples: 960, sampleRateHz: 48_000 };
      for (const [run, name] of all.entries()) {
        const { proof } = await prove(
          crypto.getRandomValues(new Uint8Array(32)),
          location.origin,
          where,
          run,
        );
        const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/ws`, 'voicemesh.v1');
        await new Promise((done, failed) => {
          socket.onopen = done;
          socket.onerror = failed;
        });
        socket.send(
          JSON.stringify({
            type: 'join',
            protocol: 1,
            room: where,
            name,
            proof,
            run,
            capabilities,
            metadata: {},
            presence: 'either',
          }),
        );
        await new Promise((done, failed) => {
          socket.onmessage = done;
          socket.onclose = failed;
        });
        socket.send(encode('HandshakeRequest', null, { codec, name }));
      }
    },
    { names, room },
  );
}
