/**
 * What a browser may lack, or refuse by throwing: each such thing is touched here and nowhere else, so that the page goes
 * on without it. What a person loses by it is said (`lackWords` in view/words.js, or where the thing is used).
 */

/** Why the page cannot go on, under a code for which it has words. */
export class PageError extends Error {
  /** @param {'no-sound' | 'too-many-tabs' | 'no-keys' | 'keys-failed'} code */
  constructor(code) {
    super(code);
    this.name = code;
  }
}

/** @typedef {Pick<Storage, 'getItem' | 'setItem'>} Store */

/**
 * What an expression gives, or something else where it throws or gives nothing.
 * @template T
 * @template U
 * @param {() => T | null | undefined} look
 * @param {U} otherwise
 */
export function optional(look, otherwise) {
  try {
    return look() ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** What lasts as long as the page. @returns {Store} */
function memory() {
  /** @type {Map<string, string>} */
  const kept = new Map();
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
  };
}

const PROBE = 'voicemesh.probe';

/** The browser's storage if it keeps what it is given, else one that lasts as long as the page. */
export function openStorage() {
  const stored = optional(() => {
    const { localStorage } = globalThis;
    localStorage.setItem(PROBE, '1');
    if (localStorage.getItem(PROBE) !== '1') return null;
    localStorage.removeItem(PROBE);
    return localStorage;
  }, null);
  /** @type {Store} */
  const storage = stored ?? memory();
  return { storage, lasts: stored !== null };
}

/** The tab's own storage, looked for at each use. What is not kept is not found. @type {Store & Pick<Storage, 'removeItem'>} */
export const tabStorage = {
  getItem: (key) => optional(() => sessionStorage.getItem(key), null),
  setItem: (key, value) => optional(() => sessionStorage.setItem(key, value), undefined),
  removeItem: (key) => optional(() => sessionStorage.removeItem(key), undefined),
};

export const locks = () => optional(() => navigator.locks, undefined);

/**
 * What the browser lets this page do, of what it tells only when it is tried.
 * @typedef {{storage: boolean, tabStorage: boolean, locks: boolean, webRtc: boolean, address: boolean}} Abilities
 *   `storage`: what is stored is there at the next visit
 * @param {boolean} storage @param {() => void} changed the locks' answer comes later
 * @returns {Abilities}
 */
export function abilities(storage, changed) {
  tabStorage.setItem(PROBE, '1');
  const found = {
    storage,
    tabStorage: tabStorage.getItem(PROBE) === '1',
    locks: true,
    webRtc: hasWebRtc(),
    address: optional(() => {
      history.replaceState(history.state, '', location.href);
      return true;
    }, false),
  };
  tabStorage.removeItem(PROBE);
  const asked = async () => navigator.locks.request(PROBE, { ifAvailable: true }, () => {});
  asked().catch(() => {
    found.locks = false;
    changed();
  });
  return found;
}

/** @returns {any} newer than the types */
export const networkInformation = () =>
  optional(() => /** @type {any} */ (navigator).connection, undefined);

/** @param {EventTarget | undefined} target @param {() => void} changed */
export const onChange = (target, changed) =>
  optional(() => target?.addEventListener('change', changed), undefined);

export const isOffline = () => optional(() => !navigator.onLine, false);

export const mediaDevices = () => optional(() => navigator.mediaDevices, undefined);

/** @param {MediaStreamConstraints} wanted @throws {unknown} as getUserMedia does */
export async function openMicrophone(wanted) {
  return navigator.mediaDevices.getUserMedia(wanted);
}

/** Whether the page may choose the speaker. */
export const choosesSpeaker = () => optional(() => 'setSinkId' in AudioContext.prototype, false);

/**
 * Which speaker a context plays to; nothing happens where a browser leaves no choice.
 * @param {AudioContext & {setSinkId?: (sink: string) => Promise<void>, sinkId?: string}} context newer than the types
 * @param {string} id '' is the system's @throws {unknown} where there is no such speaker
 */
export async function chooseSpeaker(context, id) {
  const choose = optional(() => context.setSinkId, null);
  if (choose && context.sinkId !== id) await choose.call(context, id);
}

/** @param {() => void} changed @param {AbortSignal} [signal] until then */
export function onDeviceChange(changed, signal) {
  optional(() => mediaDevices()?.addEventListener('devicechange', changed, { signal }), undefined);
}

/** Whether this page is shown inside another one that does not let it use the microphone. */
export const isMicrophoneBlocked = () =>
  optional(() => {
    if (globalThis.top === globalThis.self) return false;
    const policy =
      /** @type {any} */ (document).permissionsPolicy ??
      /** @type {any} */ (document).featurePolicy;
    // Where a browser does not tell: a frame's refusal has this cause more often than another.
    return policy ? !policy.allowsFeature('microphone') : true;
  }, false);

/** @type {boolean | null} */
let webRtcWorks = null;

/** Whether peers can be reached directly, tried once; without it, the server relays. */
export const hasWebRtc = () =>
  (webRtcWorks ??= optional(() => {
    new RTCPeerConnection().close();
    return true;
  }, false));

/** Keeps the screen on, if that is possible. @returns {Promise<WakeLockSentinel | null>} */
export async function keepScreenOn() {
  try {
    return await navigator.wakeLock.request('screen');
  } catch {
    return null;
  }
}

/** @param {string} text @returns {Promise<boolean>} whether it is on the clipboard */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** The page's address, without loading it. Where it cannot be changed, it stays. @param {string} url */
export const showAddress = (url) =>
  optional(() => history.replaceState(history.state, '', url), undefined);

/** @param {HTMLDialogElement} dialog */
export function openDialog(dialog) {
  if (dialog.open) return;
  try {
    dialog.showModal();
  } catch {
    dialog.setAttribute('open', '');
  }
}

/** @param {HTMLDialogElement} dialog */
export function closeDialog(dialog) {
  try {
    dialog.close();
  } catch {
    dialog.removeAttribute('open');
  }
}

/** Whether a query of the style sheet's kind holds. @param {string} query @returns {{matches: boolean}} looked at each time */
export const mediaQuery = (query) => optional(() => matchMedia(query), { matches: false });

/** Once, before the page is drawn next; where the browser does not tell when, soon. @param {(now: number) => void} draw */
export function beforeDrawing(draw) {
  try {
    requestAnimationFrame(draw);
  } catch {
    setTimeout(() => draw(performance.now()), 50);
  }
}

/** A pointer that is held down on an element stays its own wherever it moves. @param {Element} element @param {number} pointer */
export const keepPointer = (element, pointer) =>
  optional(() => element.setPointerCapture(pointer), undefined);

/** As people write it where they live. @param {number} at ms, as of `Date` */
export const timeOfDay = (at) =>
  optional(
    () => new Date(at).toLocaleTimeString([], { timeStyle: 'short' }),
    new Date(at).toTimeString().slice(0, 5),
  );

/**
 * The microphones and speakers that this browser names.
 *
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
