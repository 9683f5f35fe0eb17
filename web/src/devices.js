/** The microphones and speakers that this browser names. */

/**
 * @returns {Promise<{inputs: {id: string, label: string}[], outputs: {id: string, label: string}[], canChooseOutput: boolean,
 *   hasOutput: boolean}>} `hasOutput`: true as well where a browser does not tell
 */
export async function soundDevices() {
  const { mediaDevices } = navigator;
  const found = (await mediaDevices?.enumerateDevices()) ?? [];
  const list = (/** @type {string} */ kind) => found.filter((device) => device.kind === kind && device.deviceId !== '')
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
  const canChooseOutput = 'setSinkId' in AudioContext.prototype;
  // Without permission for a microphone, each kind that there is has one entry without an id.
  const hasOutput = !canChooseOutput || !mediaDevices || found.some((device) => device.kind === 'audiooutput');
  return { inputs: list('audioinput'), outputs: canChooseOutput ? list('audiooutput') : [], canChooseOutput, hasOutput };
}
