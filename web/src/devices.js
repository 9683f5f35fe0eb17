/** The microphones and speakers that this browser names. */

/** @returns {Promise<{inputs: {id: string, label: string}[], outputs: {id: string, label: string}[], canChooseOutput: boolean}>} */
export async function soundDevices() {
  const found = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const list = (/** @type {string} */ kind) => found.filter((device) => device.kind === kind && device.deviceId !== '')
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
  const canChooseOutput = 'setSinkId' in AudioContext.prototype;
  return { inputs: list('audioinput'), outputs: canChooseOutput ? list('audiooutput') : [], canChooseOutput };
}
