/** What the page says, all in one place. */

/** @typedef {import('../peer.js').PeerState} PeerState */
/** @typedef {import('../peer.js').PersonState} PersonState */

/** Why this browser cannot talk here. @type {Record<string, [string, string]>} */
export const UNSUPPORTED = {
  insecure: ['This page is not secure', 'Browsers give a microphone only to pages with https:// (or on localhost). Open the same address with https:// in front, or ask whoever runs this server for one.'],
  'no-webcodecs': ['This browser cannot encode speech yet', 'It lacks WebCodecs for sound. Please use a current Chrome, Edge, Firefox (130 or newer, on a computer) or Safari 26.'],
  'no-worklet': ['This browser is too old', 'It lacks AudioWorklet. Please use a current Chrome, Edge, Firefox or Safari.'],
  'no-webrtc': ['This browser does not allow WebRTC', 'An extension or a setting has switched it off. Allow it for this page, or use another browser.'],
};

/** @type {Record<string, string>} */
const REFUSALS = {
  'room-full': 'This room is full. Try again when somebody has left, or meet in another room.',
  'server-full': 'The server is full at the moment. Try again in a while.',
  'room-missing': 'Nobody is in this room.',
  'room-exists': 'Somebody is in this room already.',
  'bad-name': 'The server does not accept this name. Please choose a shorter or plainer one.',
  'bad-room': 'The server does not accept this room’s name. Please choose a shorter one.',
  'unsupported-protocol': 'This page is older or newer than the server. Reload it.',
};

/** Why the room is over, and what to do. @param {PeerState} state @returns {[string, string]} */
export function ending({ phase, refusal }) {
  if (phase === 'replaced') {
    return ['This room was opened somewhere else', 'Another tab or window joined it as you, and this one has stopped. Go on there, or take the room back here.'];
  }
  if (phase === 'refused') {
    const code = refusal?.code ?? '';
    return ['You could not join', REFUSALS[code] ?? `The server said: ${refusal?.message ?? 'no'}`];
  }
  return ['You have left the room', 'Nobody hears you any more, and the microphone is closed.'];
}

/** @param {PeerState} state */
export function banner({ phase, waking, people, playbackBlocked, microphone }) {
  if (phase === 'joining') {
    return waking
      ? 'The server is waking up. A free server sleeps when nobody is there; this can take a minute.'
      : 'Joining…';
  }
  if (phase === 'reconnecting') {
    const linked = people.some((person) => person.route === 'direct');
    const who = linked ? 'People you are directly connected to still hear you' : 'Until it is back nobody hears you';
    return `The server cannot be reached. ${who}; it is tried again by itself${waking ? ', and may take a minute to wake' : ''}.`;
  }
  if (playbackBlocked) return 'The browser waits for a click before it plays sound.';
  return microphoneWords(microphone);
}

/** @param {PeerState['microphone']} state */
export function microphoneWords(state) {
  switch (state) {
    case 'asking': return 'The browser asks whether this page may use your microphone. Please allow it.';
    case 'denied': return 'The microphone is not allowed here. Allow it beside the page’s address, then try again; until then you can listen and write.';
    case 'missing': return 'No microphone was found. Plug one in, and it is used by itself; until then you can listen and write.';
    case 'lost': return 'The microphone is gone. Plug it in again, or choose another in the settings.';
    case 'failed': return 'The microphone could not be opened. Another program may be using it.';
    default: return '';
  }
}

/** @param {PersonState} person */
export function routeWords({ route, away }) {
  if (route === 'direct') return away ? 'directly, without the server' : 'directly';
  return route === 'relayed' ? 'through the server' : 'not reachable now';
}

/** How well somebody comes through, in a word. @param {PersonState} person @returns {'good' | 'fair' | 'poor' | 'gone'} */
export function quality({ route, lossPercent, delayMs, roundTripMs }) {
  if (route === 'none') return 'gone';
  const loss = lossPercent ?? 0;
  const delay = delayMs ?? (roundTripMs ?? 0) / 2;
  if (loss < 3 && delay < 200) return 'good';
  return loss < 12 && delay < 400 ? 'fair' : 'poor';
}

export const QUALITY = { good: 'good connection', fair: 'fair connection', poor: 'poor connection', gone: 'no connection' };

/** @param {PersonState} person */
export function figures({ roundTripMs, lossPercent, delayMs }) {
  const parts = [];
  if (delayMs !== null) parts.push(`heard ${delayMs} ms after they speak`);
  if (roundTripMs !== null) parts.push(`round trip ${roundTripMs} ms`);
  if (lossPercent !== null) parts.push(`${lossPercent} % lost on the way`);
  return parts.join(' · ');
}

/** A key's name on the keyboard. @param {string} code */
export function keyName(code) {
  return code.replace(/^Key|^Digit/, '').replace(/([a-z])([A-Z])/g, '$1 $2');
}
