/** The microphones and speakers that this browser names. */

import { choosesSpeaker, mediaDevices } from './optional.js';

/**
 * @returns {Promise<{inputs: {id: string, label: string}[], outputs: {id: string, label: string}[], canChooseOutput: boolean,
 *   hasOutput: boolean}>} `hasOutput`: true as well where a browser does not tell
 */
export async function soundDevices() {
  const devices = mediaDevices();
  // Refused: as if there were none to choose from.
  const named = await Promise.resolve(devices)
    .then((source) => source?.enumerateDevices())
    .catch(() => undefined);
  const found = named ?? [];
  const list = (/** @type {string} */ kind) =>
    found
      .filter((device) => device.kind === kind && device.deviceId !== '')
      .map(({ deviceId, label }) => ({ id: deviceId, label }));
  const canChooseOutput = choosesSpeaker();
  // Without permission for a microphone, each kind that there is has one entry without an id.
  const hasOutput =
    !canChooseOutput || !named || found.some((device) => device.kind === 'audiooutput');
  return {
    inputs: list('audioinput'),
    outputs: canChooseOutput ? list('audiooutput') : [],
    canChooseOutput,
    hasOutput,
  };
}
