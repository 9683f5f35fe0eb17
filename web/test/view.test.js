/** What the page says and remembers, without a page. What it shows is looked at in tests/browser. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { groupLabel, groupNamed, refusedGroup } from '../src/group-name.js';
import { invitationOf, linkFault } from '../src/place.js';
import { LINK, newerThan } from '../src/view/chat.js';
import { listenerNames } from '../src/view/groups.js';
import { Settings } from '../src/view/settings.js';
import {
  audienceWords,
  decodingWords,
  durationWords,
  encodingWords,
  ending,
  FAILURE,
  figures,
  groupWords,
  hearingWords,
  heldWords,
  hues,
  initials,
  keylessWords,
  keyName,
  lackWords,
  messageWords,
  microphoneWords,
  outputWords,
  OWN_ERROR,
  OWN_FAILURE,
  ownWords,
  permissionWords,
  privacyWords,
  problemWords,
  quality,
  QUALITY,
  reasonWords,
  REFUSALS,
  remedy,
  serverWords,
  silenceWords,
  statusWords,
  unsupported,
  uploadWords,
  waitWords,
} from '../src/view/words.js';
import { keyWords, lockMeaning, lockWords } from '../src/view/lock.js';
import { answer, invited, inviteText, question, renewalWords } from '../src/view/new-link.js';
import { toBase64Url } from '../src/base64.js';
import { onlyTheirs } from '../src/member-encryption.js';

/** @typedef {import('../src/peer.js').PeerState} PeerState */
/** @typedef {import('../src/state.js').PersonState} PersonState */

/** @param {Partial<PersonState>} [more] @returns {PersonState} */
const person = (more) => ({
  id: 'a',
  name: 'Ada',
  speaking: false,
  route: 'direct',
  roundTripMs: 20,
  lossPercent: 0,
  delayMs: 90,
  volume: 1,
  muted: false,
  recording: false,
  groups: [],
  away: false,
  mayNot: [],
  silenced: false,
  status: {},
  hearsMe: null,
  silentMs: 0,
  cannotDecode: false,
  encryption: null,
  met: 'known',
  ...more,
});

/** @param {Partial<PeerState>} more @returns {PeerState} */
const state = (more) => ({
  phase: 'joined',
  refusal: null,
  joinedAt: 0,
  room: 'r',
  name: 'me',
  waking: false,
  retryInMs: null,
  relayOnly: false,
  serverRelayOnly: false,
  microphone: 'on',
  cannotEncode: false,
  microphoneLabel: '',
  channels: { count: 1, heard: 0 },
  monitored: false,
  networkChanged: false,
  deviceBusy: false,
  moderates: false,
  locked: false,
  banned: [],
  left: [],
  heldIn: [],
  silenced: false,
  keyHolder: null,
  safetyCode: null,
  mayNot: [],
  muted: false,
  activation: 'voice',
  processing: { echo: true, noise: true, gain: true },
  deafened: false,
  talking: false,
  speaking: false,
  people: [],
  groups: [],
  messages: [],
  output: 'on',
  uploadTooSlow: false,
  problem: null,
  ...more,
});

/** @param {string | null} kept */
function storage(kept) {
  const saved = { value: kept };
  return {
    saved,
    getItem: () => saved.value,
    setItem: (/** @type {string} */ _, /** @type {string} */ value) => {
      saved.value = value;
    },
  };
}

test('wishes are remembered', () => {
  const kept = storage(null);
  new Settings(kept).change({
    name: 'Ada',
    activation: 'push-to-talk',
    key: 'KeyB',
    keyName: 'B',
    processing: { echo: false, noise: true, gain: true },
    sounds: false,
    volume: 0.5,
  });
  const again = new Settings(kept);
  assert.deepEqual(
    [
      again.name,
      again.activation,
      again.key,
      again.keyName,
      again.processing,
      again.sounds,
      again.relayOnly,
      again.volume,
    ],
    [
      'Ada',
      'push-to-talk',
      'KeyB',
      'B',
      { echo: false, noise: true, gain: true },
      false,
      false,
      0.5,
    ],
  );
});

test('what is kept may be anything', () => {
  for (const text of [
    '',
    '{',
    'null',
    '3',
    '"x"',
    '[]',
    '{"name":3,"activation":"shout","processing":7,"sounds":"no","storage":"x","change":1}',
    '{"processing":null}',
  ]) {
    const settings = new Settings(storage(text));
    assert.deepEqual(
      [settings.name, settings.activation, settings.processing, settings.sounds],
      ['', 'voice', { echo: true, noise: true, gain: true }, true],
      text,
    );
    settings.change({ name: 'Ada' });
    assert.equal(settings.name, 'Ada', text);
  }
});

test('a storage that refuses is forgotten with the page', () => {
  const refusing = () => {
    throw new Error('no');
  };
  const settings = new Settings({ getItem: refusing, setItem: refusing });
  settings.change({ name: 'Ada' });
  assert.equal(settings.name, 'Ada');
});

test('a connection is as good as what is lost and how late it comes', () => {
  assert.equal(quality(person()), 'good');
  assert.equal(quality(person({ lossPercent: 3 })), 'fair');
  assert.equal(quality(person({ delayMs: 200 })), 'fair');
  assert.equal(quality(person({ lossPercent: 12 })), 'poor');
  assert.equal(quality(person({ delayMs: 400 })), 'poor');
  assert.equal(quality(person({ route: 'none' })), 'gone');
  // What no speaker plays is not clear.
  assert.deepEqual(
    [quality(person(), 'none'), quality(person(), 'waits'), quality(person(), 'default')],
    ['unheard', 'unheard', 'good'],
  );
  assert.equal(quality(person({ delayMs: null, lossPercent: null, roundTripMs: null })), 'good');
  assert.equal(quality(person({ delayMs: null, roundTripMs: 300 })), 'fair');
});

test('a connection that is not good says why, as far as it can be told from here', () => {
  const reason = (
    /** @type {Partial<PersonState>} */ about,
    /** @type {Partial<PersonState>[]} */ others = [],
    more = {},
  ) => {
    const one = person(about);
    return reasonWords(
      one,
      state({
        people: [one, ...others.map((other, at) => person({ id: `${at}`, ...other }))],
        ...more,
      }),
    );
  };
  assert.equal(reason({}), '');
  assert.equal(reason({ route: 'none', lossPercent: 50 }), '');
  // Nothing to compare with.
  assert.equal(reason({ lossPercent: 4 }), '4 % is lost on the way');
  assert.equal(reason({ delayMs: 300 }), 'arrives late');
  // What all have in common is on this side.
  assert.equal(reason({ lossPercent: 4 }, [{ lossPercent: 5 }]), 'your connection loses 4 %');
  assert.equal(
    reason({ delayMs: 300 }, [{ delayMs: 310 }]),
    'arrives late: your network or this device is busy',
  );
  // What one alone has is on theirs.
  assert.equal(
    reason({ lossPercent: 4 }, [{ lossPercent: 0 }, { lossPercent: 1 }]),
    'their connection loses 4 %',
  );
  assert.equal(
    reason({ lossPercent: 4 }, [{ lossPercent: 0 }, { lossPercent: 9 }]),
    '4 % is lost on the way',
  );
  assert.equal(
    reason({ delayMs: 300 }, [{ delayMs: 90 }]),
    'arrives late: their upload is slow, or their device is busy',
  );
  assert.equal(
    reason({ delayMs: 300, roundTripMs: 250 }, [{ delayMs: 90 }]),
    'arrives late: the way is long',
  );
  // Causes that are known come first.
  assert.equal(reason({}, [], { output: 'none' }), 'your speaker has stopped');
  assert.equal(reason({ delayMs: 9000 }, [], { output: 'none' }), 'your speaker has stopped');
  assert.equal(reason({ delayMs: 9000 }, [], { output: 'waits' }), '', 'an alert says so');
  assert.equal(
    reason({ lossPercent: 15 }, [{ lossPercent: 0 }], { output: 'default' }),
    'their connection loses 15 %',
  );
  assert.equal(
    reason({ lossPercent: 40, roundTripMs: 900 }, [{ lossPercent: 0 }], { deviceBusy: true }),
    'this device is too busy',
  );
  assert.equal(reason({ cannotDecode: true }, [], { deviceBusy: true }), 'this device is too busy');
  assert.equal(reason({}, [], { deviceBusy: true }), '', 'nothing is wrong');
  assert.equal(
    reason({ lossPercent: 40 }, [], { networkChanged: true }),
    'your network has just changed',
  );
});

test('what the page itself could not do is not said by the server', () => {
  const said = (/** @type {string} */ code) =>
    ending(
      state({ phase: 'refused', refusal: { code, message: 'reading importKey', retryAt: 0 } }),
    )[1];
  for (const code of ['failed', 'no-sound', 'too-many-tabs'])
    assert.doesNotMatch(said(code), /server said/, code);
  assert.match(said('failed'), /Reload it.*“Details”/);
  assert.doesNotMatch(said('failed'), /importKey/, 'that is behind "Details"');
  assert.match(said('too-many-tabs'), /Close one/);
  assert.match(said('other'), /server said/);
});

test('a card says what keeps its person from being heard or from hearing', () => {
  const words = (/** @type {Partial<PersonState>} */ more) => statusWords(person(more));
  assert.equal(words({}), '');
  assert.equal(words({ status: { muted: true } }), 'muted');
  const within = (/** @type {string[]} */ ...groups) => groupWords(person({ groups }));
  assert.deepEqual(
    [within(), within('Global'), within('Global', 'Red'), within('Red', 'Blue')],
    ['', '', 'in Red', 'only in Red, Blue'],
  );
  assert.equal(words({ status: { muted: true, deafened: true } }), 'muted, hears nothing');
  assert.equal(words({ status: { listening_only: true } }), 'listening only');
  assert.equal(
    words({ status: { muted: true }, mayNot: ['speak'], silenced: true }),
    'muted for all',
  );
  assert.equal(words({ mayNot: ['speak', 'listen'] }), 'may not speak, may not listen');
  assert.equal(words({ away: true, status: { muted: true } }), 'away');
  assert.equal(
    hearingWords(person({ hearsMe: false, status: { deafened: true } })),
    '',
    'the card says why already',
  );
});

test('what one may not do is said, and who decided it', () => {
  const words = (/** @type {Partial<PeerState>} */ more) => permissionWords(state(more));
  assert.equal(words({}), '');
  assert.match(words({ mayNot: ['speak'], silenced: true }), /^A moderator has muted you for all/);
  assert.equal(
    words({ mayNot: ['speak'] }),
    'In this room you may listen and write, but not speak.',
  );
  assert.equal(
    words({ mayNot: ['speak', 'data'] }),
    'In this room you may listen, but not speak or write.',
  );
  assert.equal(
    words({ mayNot: ['speak', 'listen', 'data'] }),
    'In this room you may not speak or listen or write.',
  );
  assert.equal(words({ phase: 'reconnecting', mayNot: ['speak'] }), '');
  assert.equal(
    ownWords(state({ mayNot: ['speak'], silenced: true, muted: true })),
    'muted for all',
  );
  assert.equal(ownWords(state({ mayNot: ['speak'] })), 'may not speak');
});

test('a password is asked for as one, and a wait has an end', () => {
  const refused = (/** @type {string} */ code) =>
    ending(state({ phase: 'refused', refusal: { code, message: '', retryAt: 0 } }));
  const said = ['password-required', 'password-wrong', 'password-wait'].map(refused);
  assert.ok(said.every(([title]) => title === 'This room has a password'));
  assert.equal(new Set(said.map(([, words]) => words)).size, 3);
  assert.deepEqual(
    [7500, 300_000, 0, -1].map((ms) => waitWords('Join', ms)),
    ['Join (in 8 s)', 'Join (in 5 minutes)', 'Join', 'Join'],
  );
});

test('for how long one is kept out is said, until that is over', () => {
  const said = (/** @type {number | null} */ retryAt, now = 0) =>
    ending(state({ phase: 'refused', refusal: { code: 'banned', message: '', retryAt } }), now)[1];
  assert.match(said(null), /keeps you, or your network’s address, out of this room for a while\.$/);
  assert.match(said(3_600_000), /for 60 minutes\.$/);
  assert.match(said(3_600_000, 3_590_000), /for a minute\.$/);
  assert.match(said(86_400_000), /for 24 hours\.$/);
  assert.match(said(3_600_000, 3_600_000), /time is over: you may join again\.$/);
});

test('where a moderator holds one is said as long as it lasts, and why another group is not joined', () => {
  assert.equal(heldWords(state({})), '');
  const heldIn = ['Red', 'Blue'];
  for (const phase of /** @type {const} */ (['joined', 'reconnecting'])) {
    assert.match(
      heldWords(state({ phase, heldIn })),
      /^A moderator holds you in “\u2068Red\u2069”, “\u2068Blue\u2069”: until you are moved again/,
    );
  }
  assert.equal(heldWords(state({ phase: 'left', heldIn })), '');
  assert.equal(
    refusedGroup('Global', ['Red']),
    'A moderator holds you in “\u2068Red\u2069”: you cannot join “\u2068Everyone\u2069”.',
  );
  assert.match(
    refusedGroup('Blue', []),
    /^The server refuses the group “\u2068Blue\u2069”: another name/,
  );
});

test('a message names those whom it goes to', () => {
  const to = (/** @type {string[]} */ ...spoken) =>
    audienceWords({
      groups: ['Global', 'Red', 'Blue'].map((name) => ({
        name,
        members: 1,
        listening: true,
        speaking: spoken.includes(name),
      })),
    });
  assert.deepEqual(
    [to('Global'), to('Global', 'Red'), to('Red'), to('Red', 'Blue'), to()],
    ['To everyone', 'To everyone', 'To Red', 'To Red, Blue', 'To no one: you speak to no group'],
  );
  assert.equal(audienceWords({ groups: [] }), 'To everyone');
});

test('one group is meant where a group is asked for, and everyone by any of its names', () => {
  for (const text of ['everyone', ' Everyone ', 'GLOBAL', 'all', 'All'])
    assert.equal(groupNamed(text, []), 'Global', text);
  assert.deepEqual(
    [' red team ', 'Rot, Blau', 'ALLE'].map((text) => groupNamed(text, ['Rot, Blau'])),
    ['red team', 'Rot, Blau', 'ALLE'],
  );
  assert.throws(() => groupNamed('https://voice.example.org/r/lobby', []), /link to a room/);
  // Neither direction nor what cannot be seen is part of a name, and what a program called so is shown without.
  assert.equal(groupNamed('Re\u202ed  Te\u200bam', []), 'Red Team');
  assert.equal(groupNamed('red', ['R\u202eed']), 'R\u202eed');
  assert.deepEqual(['Global', ' Re\u202ed ', 'Cafe\u0301', '\u202e'].map(groupLabel), [
    'Everyone',
    'Red',
    'Caf\u00e9',
    '#61024',
  ]);
  // As rooms are compared, but one that is written so is that one.
  const there = ['Red', 'RED', 'Cafe\u0301'];
  assert.deepEqual(
    ['red', 'RED', 'caf\u00e9', 'blue'].map((text) => groupNamed(text, there)),
    ['Red', 'RED', 'Cafe\u0301', 'blue'],
  );
  for (const text of ['', '  ', '\u200b\u3164'])
    assert.throws(
      () => groupNamed(text, []),
      /^Error: Type the name of a group\.$/,
      JSON.stringify(text),
    );
  for (const text of ['red, blue', 'red;blue', ','])
    assert.throws(() => groupNamed(text, []), /^Error: Only one group is possible here/, text);
  assert.throws(() => groupNamed('x'.repeat(257), []), /at most 256 bytes/);
});

test('one’s own state says everything that keeps others from hearing, or oneself', () => {
  const group = { name: 'Global', members: 2, listening: true, speaking: true };
  assert.equal(ownWords(state({ groups: [group] })), '');
  assert.equal(ownWords(state({ muted: true, deafened: true })), 'muted, hears nothing');
  assert.equal(ownWords(state({ microphone: 'none', muted: true })), 'listening only');
  assert.equal(ownWords(state({ groups: [{ ...group, speaking: false }] })), 'speaks to no group');
});

test('how long the call lasts', () => {
  assert.deepEqual([0, 61_000, 3_720_000].map(durationWords), [
    'just now',
    'for 1 min',
    'for 1 h 02 min',
  ]);
});

test('a card says whether its person hears one, as far as it is known', () => {
  assert.deepEqual(
    [null, true, false].map((hearsMe) => hearingWords(person({ hearsMe }))),
    ['', 'hears you', 'does not hear you'],
  );
  assert.equal(hearingWords(person({ hearsMe: false, route: 'none' })), '');
});

test('only web addresses in a text become links', () => {
  const parts = (/** @type {string} */ text) => text.split(LINK);
  assert.deepEqual(parts('see https://a.example/x?y=1, or (http://b.example).'), [
    'see ',
    'https://a.example/x?y=1',
    ', or (',
    'http://b.example',
    ').',
  ]);
  for (const text of [
    'javascript:alert(1)',
    'data:text/html,x',
    'nothing',
    'https://',
    '<a href="x">',
  ])
    assert.deepEqual(parts(text), [text]);
});

test('numbers that are not known yet are not made up', () => {
  assert.deepEqual(
    figures(person({ lossPercent: null })).map(([, number]) => number),
    ['–', '90 ms', '20 ms'],
  );
});

test('each end of a room has its own words, and a refusal that is not known says what the server said', () => {
  const phases = /** @type {const} */ (['left', 'refused', 'replaced']);
  assert.equal(new Set(phases.map((phase) => ending(state({ phase }))[0])).size, phases.length);
  const refused = (/** @type {string} */ code) =>
    ending(state({ phase: 'refused', refusal: { code, message: 'the moon', retryAt: 0 } }))[1];
  assert.match(refused('room-full'), /full/);
  assert.match(refused('odd'), /the moon/);
  // Names that every object has are no codes.
  for (const code of ['constructor', 'toString', '__proto__'])
    assert.match(refused(code), /the moon/, code);
  assert.match(
    ending(state({ phase: 'replaced' }))[1],
    /another tab or window with the same identity/,
  );
});

test('what a sentence about an end advises is the first button, and what a reload mends is not tried in vain', () => {
  const codes = ['failed', 'no-sound', 'unsupported-protocol', 'bad-name', 'bad-room', 'room-full'];
  for (const code of codes) {
    const refusal = { code, message: 'x', retryAt: null };
    const words = ending(state({ phase: 'refused', refusal }))[1];
    assert.equal(
      remedy(code),
      /Reload/.test(words) ? 'reload' : /Choose another/.test(words) ? 'change' : 'again',
      words,
    );
  }
  const joining = (/** @type {any} */ kind) =>
    serverWords(state({ phase: 'joining', problem: { kind, status: 503 } }));
  for (const kind of ['protocol', 'redirect'])
    assert.match(joining(kind), /Reload( the page| it)?\.$/);
  assert.match(joining('busy'), /It is tried again\.$/);
});

test('every lack of a browser is shown with what to do', () => {
  const said = ['insecure', 'no-webcodecs', 'no-worklet', 'key', 'damaged'].map(
    (lack) => unsupported(lack)[1],
  );
  assert.equal(new Set(said).size, 5);
  assert.match(said[0], /https:\/\//);
  assert.match(said[1], /WebCodecs/);
});

test('what a browser refuses and the page can do without is said in one line', () => {
  const all = { storage: true, tabStorage: true, locks: true, webRtc: true, address: true };
  assert.equal(lackWords(all), '');
  assert.match(lackWords({ ...all, storage: false }), /stores nothing.* a new person/);
  assert.match(lackWords({ ...all, tabStorage: false }), /messages are gone/);
  assert.match(lackWords({ ...all, locks: false }), /tabs apart: after a reload.* a new person/);
  assert.match(lackWords({ ...all, webRtc: false }), /WebRTC: all speech goes through the server/);
  assert.match(lackWords({ ...all, address: false }), /use “Copy invite link”/);
  // What the first sentence says is not said twice.
  const none = { ...all, storage: false, tabStorage: false, locks: false };
  assert.equal(lackWords(none), lackWords({ ...all, storage: false }));
  assert.match(FAILURE[1], /Reload it.*“Details”/);
});

test('while the server is away, the page shows who still hears you', () => {
  const phase = 'reconnecting';
  assert.match(
    serverWords(state({ phase, people: [person({ route: 'relayed' }), person()] })),
    /directly connected to still hear you/,
  );
  assert.match(
    serverWords(state({ phase, people: [person({ route: 'relayed' })] })),
    /the others do not hear you/,
  );
  for (const silent of /** @type {Partial<PeerState>[]} */ ([
    { muted: true },
    { microphone: 'none' },
    { mayNot: ['speak'] },
  ])) {
    assert.doesNotMatch(
      serverWords(state({ phase, people: [person()], ...silent })),
      /hear you/,
      'no one hears who says nothing',
    );
  }
  for (const kind of /** @type {const} */ (['protocol', 'redirect'])) {
    const problem = { kind, host: 'h', status: 301 };
    const said = serverWords(state({ phase, problem, people: [] }));
    assert.match(said, /Reload( the page| it)?\. Until then, the others do not hear you\.$/);
  }
  assert.match(serverWords(state({ phase, waking: true })), /minute/);
  assert.match(serverWords(state({ phase: 'joining', waking: true })), /waking up/);
  assert.equal(serverWords(state({})), '');
});

test('when nothing comes through, it is said between whom, once it has lasted', () => {
  const silent = (/** @type {string} */ name, silentMs = 5000) =>
    person({ name, route: 'none', silentMs });
  assert.equal(silenceWords(state({ people: [person({})] })), '');
  assert.equal(
    silenceWords(state({ people: [silent('Bo', 300), person({})] })),
    '',
    'a way that changes is no news',
  );
  assert.match(
    silenceWords(state({ people: [silent('Bo'), person({})] })),
    /^Nothing comes through between you and Bo right now/,
  );
  assert.match(
    silenceWords(
      state({ people: [...['Bo', 'Cy', 'Di', 'Ed'].map((name) => silent(name)), person({})] }),
    ),
    /you and Bo, Cy, Di and 1 more right/,
  );
  assert.match(
    silenceWords(state({ people: [silent('Bo'), silent('Cy')] })),
    /^Nothing comes through right now: neither what you say nor what the others say/,
  );
  assert.equal(
    silenceWords(state({ phase: 'reconnecting', people: [silent('Bo')] })),
    '',
    'the server\u2019s own line says so',
  );
  assert.equal(silenceWords(state({ people: [{ ...silent('Bo'), away: true }] })), '');
});

test('an upload that is too slow is said', () => {
  assert.match(uploadWords(state({ uploadTooSlow: true })), /^Your upload is too slow/);
  assert.match(
    uploadWords(state({ uploadTooSlow: true, deviceBusy: true })),
    /^This device is too busy/,
  );
  assert.equal(uploadWords(state({ deviceBusy: true })), '', 'nothing is wrong');
  assert.equal(uploadWords(state({})), '');
});

test('a microphone that does not work has a sentence, one that does has none', () => {
  const without = /** @type {const} */ ([
    'asking',
    'denied',
    'blocked',
    'missing',
    'lost',
    'failed',
    'unavailable',
  ]);
  assert.equal(
    new Set(without.map(microphoneWords).filter((words) => words !== '')).size,
    without.length,
  );
  assert.equal(microphoneWords('on') + microphoneWords('none'), '');
});

test('a codec of the browser that fails is said, with whom it concerns', () => {
  assert.match(
    encodingWords(state({ cannotEncode: 'refused' })),
    /cannot encode your voice.*reload/,
  );
  assert.match(encodingWords(state({ cannotEncode: 'late' })), /too late: .*Close other programs/);
  assert.equal(encodingWords(state({})) + decodingWords(state({ people: [person()] })), '');
  assert.equal(ownWords(state({ cannotEncode: 'refused', muted: true })), 'listening only');
  const mute = person({ name: 'Ben', cannotDecode: true });
  assert.match(
    decodingWords(state({ people: [person(), mute] })),
    /the voice of Ben: you do not hear/,
  );
  assert.equal(quality(mute), 'unheard');
  assert.equal(
    reasonWords(mute, { people: [mute], output: 'on', networkChanged: false, deviceBusy: false }),
    'your browser cannot decode it',
  );
});

test('each state of the speaker has its own words, and one that plays has none', () => {
  const said = /** @type {const} */ (['waits', 'default', 'none']).map((output) =>
    outputWords(state({ output })),
  );
  assert.equal(new Set(said).size, 3);
  assert.match(said[0], /waits for a click/);
  assert.match(said[1], /speaker is gone/);
  assert.match(said[2], /you hear nothing/);
  for (const output of /** @type {const} */ (['on', 'off', 'starting']))
    assert.equal(outputWords(state({ output })), '');
});

test('who sees the IP address is said as it is', () => {
  assert.match(privacyWords(state({})), /can see your IP address/);
  assert.match(privacyWords(state({ relayOnly: true })), /do not see/);
  assert.match(privacyWords(state({ serverRelayOnly: true })), /through the server/);
});

test('a key is called what stands on it', () => {
  assert.deepEqual(
    [
      { key: 'a', code: 'KeyQ' },
      { key: ' ', code: 'Space' },
      { key: 'Control', code: 'ControlLeft' },
      { key: 'F8', code: 'F8' },
      { key: 'ф', code: 'KeyA' },
      { key: 'Unidentified', code: '' },
    ].map(keyName),
    ['A', 'Space', 'Control Left', 'F8', 'Ф', 'Unidentified'],
  );
});

test('a face has one or two letters of any alphabet', () => {
  assert.deepEqual(
    ['Ada Lovelace', 'ada', 'Łukasz Jan Nowak', 'يوسف العربي', '7 of 9', '', '☎ ☎', '<b>'].map(
      initials,
    ),
    ['AL', 'A', 'ŁN', 'يا', '79', '·', '·', 'B'],
  );
});

test('up to twelve people have different colours, the same on every screen', () => {
  const ids = Array.from({ length: 30 }, (_, at) => `${(at * 7919) % 1000}-\u{1f600}`);
  for (let count = 1; count <= 12; count += 1) {
    const found = hues(ids.slice(0, count));
    assert.equal(new Set(found.values()).size, count);
    assert.deepEqual([...hues(ids.slice(0, count).reverse())], [...found]);
  }
  // Then each is used again before one is used a third time.
  const times = new Map();
  for (const hue of hues(ids.slice(0, 24)).values()) times.set(hue, (times.get(hue) ?? 0) + 1);
  assert.deepEqual([...new Set(times.values())], [2]);
  // Who comes later, with a later id, changes no one's colour.
  const [first, ...rest] = [...ids].sort().reverse();
  const before = hues(rest);
  const after = hues([first, ...rest]);
  for (const id of rest) assert.equal(after.get(id), before.get(id));
  for (const hue of hues(['', 'abc', 'x'.repeat(1000)]).values())
    assert.ok(hue >= 0 && hue < 360 && hue % 30 === 0);
});

test('messages are shown once each, also when the oldest were dropped', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((text) => ({
    from: 'x',
    to: 'room',
    mine: false,
    text,
    at: 0,
  }));
  assert.deepEqual(newerThan([a, b], undefined), [a, b]);
  assert.deepEqual(newerThan([a, b, c], b), [c]);
  assert.deepEqual(newerThan([b, c], a), [b, c]);
  assert.deepEqual(newerThan([a], a), []);
});

test('a notice of a message does not show a key', () => {
  const about = { to: 'me', mine: false, at: 0, from: 'Ben' };
  assert.equal(messageWords({ ...about, text: 'hello' }), '\u2068Ben\u2069: \u2068hello\u2069');
  const text = `x https://example.org/r/den#k=${'A'.repeat(22)}`;
  assert.equal(messageWords({ ...about, text }), '\u2068Ben\u2069: a link');
});

test('who has a key that the other lacks is not heard, and the lock names them', () => {
  const [ben, cleo] = ['Ben', 'Cleo'].map((name) => person({ id: name, name }));
  const refused = { ...cleo, encryption: /** @type {const} */ ({ state: 'unable' }) };
  const verified = { ...ben, encryption: /** @type {const} */ ({ state: 'verified' }) };
  const room = { safetyCode: '1', people: [verified] };
  assert.equal(lockWords(state(room)), 'Encrypted and verified by the link');
  const without = state({ ...room, people: [verified, refused] });
  assert.equal(lockWords(without), 'Encrypted, without Cleo');
  assert.match(lockMeaning(without), /Cleo joined without encryption/);
  assert.doesNotMatch(lockMeaning(state(room)), /without/);
  assert.deepEqual(
    [quality(refused), statusWords(refused, keyWords(refused)), hearingWords(refused)],
    ['unheard', 'does not encrypt', 'does not hear you'],
  );
  assert.deepEqual([quality(verified), statusWords(verified, keyWords(verified))], ['good', '']);
  assert.equal(keyWords({ ...verified, met: 'new' }), 'new here');
  const theirs = onlyTheirs({ e2ee: toBase64Url(Uint8Array.of(1, ...new Uint8Array(113))) });
  assert.deepEqual(theirs, { state: 'only-theirs', hasRoomKey: true });
  const keyless = state({ people: [{ ...ben, encryption: theirs }] });
  assert.match(keylessWords(keyless), /^Your link has no key, and that of Ben has one/);
  assert.equal(statusWords(keyless.people[0]), 'encrypted');
  // It says so itself, and may hear everything.
  assert.equal(hearingWords(keyless.people[0]), 'you do not hear them');
  assert.doesNotMatch(keylessWords(keyless), /each other/);
  const encrypts = onlyTheirs({ e2ee: toBase64Url(Uint8Array.of(1, ...new Uint8Array(81))) });
  assert.deepEqual(encrypts, { state: 'only-theirs', hasRoomKey: false });
  assert.equal(quality({ ...ben, encryption: encrypts }), 'unheard');
  // This page could not load what encrypts: who stayed while it was loaded anew takes nothing plain from it.
  const alone = state({ people: [{ ...ben, encryption: encrypts }, cleo] });
  assert.match(
    keylessWords(alone),
    /hear Ben only if .* and who knows you .* does not hear you\. Reload/,
  );
  for (const other of [
    { people: [cleo] },
    { people: [{ ...ben, encryption: encrypts, away: true }] },
    { ...alone, phase: /** @type {const} */ ('joining') },
  ])
    assert.equal(keylessWords(state(other)), '');
  const mixed = state({ people: [...alone.people, { ...cleo, encryption: theirs }] });
  assert.match(keylessWords(mixed), /^Your link has no key, and that of Cleo has one/);
  for (const e2ee of ['', 'x', 'AQ', toBase64Url(new Uint8Array(114))])
    assert.equal(onlyTheirs({ e2ee }), null);
  assert.equal(onlyTheirs({}), null);
});

test('in a room without a key the lock says how far it holds, and who cannot encrypt', () => {
  const guide = readFileSync(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8');
  const [ben, cleo] = ['Ben', 'Cleo'].map((name) =>
    person({ id: name, name, encryption: { state: 'encrypted' } }),
  );
  const about = (/** @type {PersonState[]} */ ...people) => {
    const room = state({ safetyCode: '1', people });
    return [lockWords(room, false), lockMeaning(room, false)];
  };
  assert.equal(about(ben, cleo)[0], 'Encrypted, compare the code');
  assert.match(about(ben)[1], /between/);
  const [no, yes] = [false, true].map((isAllowed) => ({
    ...cleo,
    encryption: /** @type {const} */ ({ state: 'plain', isAllowed, encryptedBefore: false }),
  }));
  assert.equal(about(ben, no)[0], 'Encrypted, without Cleo');
  assert.match(about(ben, no)[1], /\nCleo cannot encrypt: .* do not hear you/);
  assert.equal(about(ben, yes)[0], 'Not encrypted because of Cleo');
  assert.match(about(ben, yes)[1], /\nCleo cannot .* so can the server/);
  // A link may still carry speech to someone whom the server has lost.
  assert.equal(about(ben, { ...yes, away: true })[0], 'Not encrypted because of Cleo');
  assert.equal(about(ben, { ...no, away: true })[0], 'Encrypted, compare the code');
  for (const one of [no, yes]) {
    // They are heard.
    assert.equal(quality(one), 'good');
    assert.ok(guide.includes(`\u201c${keyWords(one)}\u201d`), keyWords(one));
  }
  assert.deepEqual(
    [keyWords(no), hearingWords(no)],
    ['cannot hear you: not encrypted', 'does not hear you'],
  );
  assert.deepEqual(
    [keyWords(yes), hearingWords({ ...yes, hearsMe: true })],
    ['not encrypted', 'hears you'],
  );
  for (const one of [no, yes]) {
    const lapsed = { ...one, encryption: { ...one.encryption, encryptedBefore: true } };
    assert.ok(guide.includes(`\u201c${keyWords(lapsed)}\u201d`), keyWords(lapsed));
    assert.equal(keyWords(lapsed) === keyWords(one), one === yes);
    assert.match(about(ben, lapsed)[1], /\nCleo encrypted here before, .* another way/);
    assert.doesNotMatch(about(ben, one)[1], /before/);
  }
  const stopped = { ...cleo, encryption: /** @type {const} */ ({ state: 'stopped' }) };
  assert.match(about(stopped)[1], /should reload/);
  assert.doesNotMatch(about(stopped)[1], /link/);
  const theirs = /** @type {const} */ ({ state: 'only-theirs', hasRoomKey: true });
  assert.equal(keyWords({ ...cleo, encryption: theirs }), 'encrypted');
  const without = state({ safetyCode: null, people: [ben] });
  assert.equal(lockWords(without, false), 'Not encrypted');
});

test('each reason for which a person is not encrypted has its own words, and who it is stands before them', () => {
  const guide = readFileSync(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8');
  /** @type {[NonNullable<PersonState['encryption']>, boolean, string][]} */
  const states = [
    [{ state: 'waiting', isLate: true }, false, 'may not hear'],
    [{ state: 'unable' }, true, 'Send them the whole link'],
    [{ state: 'stopped' }, true, 'Send them the whole link'],
    [{ state: 'refused', why: 'not-authentic' }, true, 'Send them the whole link'],
    [{ state: 'refused', why: 'old-run' }, true, 'reload'],
    [{ state: 'refused', why: 'identity-changed' }, false, 'over another way'],
  ];
  const words = new Set();
  for (const [encryption, isLeftOut, helps] of states) {
    const people = ['Ben', 'Cleo'].map((name) => person({ id: name, name, encryption }));
    const room = state({ safetyCode: '1', people });
    const [few, meaning] = [keyWords(people[0]), lockMeaning(room)];
    assert.ok(meaning.includes('\nBen and Cleo ') && meaning.includes(helps), meaning);
    assert.ok(guide.includes(`\u201c${few}\u201d`), few);
    assert.equal(/^Encrypted, without/.test(lockWords(room)), isLeftOut);
    assert.equal(hearingWords(people[0]), isLeftOut ? 'does not hear you' : '');
    words.add(few).add(meaning);
  }
  assert.equal(words.size, 2 * states.length);
  const changed = person({ name: 'Ben', encryption: states[5][0] });
  const room = state({ safetyCode: '1', people: [changed] });
  assert.equal(lockWords(room), 'Another key of Ben');
  // Who shows another key hides nothing about others.
  const lacks = person({ id: 'c', name: 'Cleo', encryption: states[1][0] });
  const silent = person({ id: 'd', name: 'Dan', encryption: states[0][0] });
  assert.equal(
    lockWords({ ...room, people: [changed, lacks, silent] }),
    'Another key of Ben. Encrypted, without Cleo, no keys from Dan yet',
  );
  assert.equal(lockWords({ ...room, people: [silent] }), 'Encrypted, no keys from Dan yet');
  assert.equal(
    lockWords({ ...room, people: [{ ...silent, away: true }] }),
    'Encrypted, no one else is here yet',
  );
  // Keys take a moment to come, and words that flash by help no one.
  const waits = person({ encryption: { state: 'waiting', isLate: false } });
  assert.equal(lockWords({ ...room, people: [waits] }), 'Encrypted');
  assert.deepEqual([keyWords(waits), quality(waits)], ['', 'good']);
  const late = person({ encryption: states[0][0] });
  assert.deepEqual([quality(late), reasonWords(late, state({}))], ['unheard', '']);
});

test('a new link goes to those who have the key and were named before, each time in another text', () => {
  const encryption = /** @type {const} */ ({ state: 'verified' });
  const [ben, cleo, dan] = ['Ben', 'Cleo', 'Dan'].map((name) =>
    person({ id: name, name, encryption }),
  );
  const eve = person({ id: 'Eve', name: 'Eve', encryption: { state: 'unable' } });
  const asked = invited([ben, cleo, eve]);
  assert.match(question(asked), /privately to \u2068Ben\u2069, \u2068Cleo\u2069\. Who/);
  assert.match(question(asked), /Not written to: \u2068Eve\u2069 \(does not encrypt\)\./);
  // Dan may be who was put out, and came back by the old link; Cleo has left.
  const now = invited([ben, dan, eve], new Set(['Ben', 'Cleo']));
  assert.deepEqual(now.staying, [ben]);
  assert.match(answer(now), /written to \u2068Ben\u2069\. .*came later: \u2068Dan\u2069/);
  const unwritten = answer({ ...now, staying: [], unwritten: [ben] });
  assert.match(unwritten, /^No one was sent .* Could not be written to: \u2068Ben\u2069/);
  assert.match(question(invited([eve])), /to you alone/);
  // What is promised, and why not, is true of each.
  const said = question(
    invited([
      { ...ben, met: 'new' },
      { ...cleo, away: true },
      { ...dan, encryption: { state: 'waiting', isLate: false } },
      { ...eve, encryption: { state: 'refused', why: 'identity-changed' } },
    ]),
  );
  assert.match(said, /privately to \u2068Ben\u2069 \(new here\)\. Who/);
  assert.match(
    said,
    /to: \u2068Dan\u2069 \(no keys yet\), \u2068Eve\u2069 \(shows another key\)\./,
  );
  assert.match(said, /Could not be written to: \u2068Cleo\u2069\.$/);
  // As the command writes it.
  assert.equal(inviteText('Ben', 'LINK'), 'Ben, we go on in a new room, with a new key: LINK');
  const keyHolder = { name: 'Eve', staying: new Set(['Ben']) };
  assert.match(renewalWords(state({ keyHolder }), null), /^Eve still has this room’s link/);
  assert.equal(renewalWords(state({ keyHolder }), keyHolder), '', 'once');
  assert.equal(renewalWords(state({}), null), '');
});

test('what the guide to trouble quotes is what the page says', () => {
  const guide = readFileSync(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8');
  const folders = ['../src/', '../src/view/'].map((folder) => new URL(folder, import.meta.url));
  const page = folders
    .flatMap((folder) =>
      readdirSync(folder)
        .filter((file) => file.endsWith('.js'))
        .map((file) => readFileSync(new URL(file, folder), 'utf8')),
    )
    .concat(
      // The page before its code, and what the server shows in its place.
      ['../src/index.html', '../../signaling/src/shell/page.rs'].map((file) =>
        readFileSync(new URL(file, import.meta.url), 'utf8'),
      ),
    )
    .join('\n');
  const quoted = [...guide.matchAll(/^\| “([^”]+)”/gm)].map(([, words]) => words);
  assert.ok(quoted.length > 20);
  assert.deepEqual(
    quoted.filter((words) => !page.includes(words)),
    [],
  );
});

test('each sentence of the page about what does not work has a row in the guide to trouble', () => {
  const guide = readFileSync(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8');
  const quoted = [...guide.matchAll(/^\| “([^”]+)”/gm)].map(([, words]) => words);
  const source = (/** @type {string} */ file) =>
    readFileSync(new URL(`../src/${file}`, import.meta.url), 'utf8');
  // All that a union type names, so that what is new is looked at.
  const all = (/** @type {string} */ text) =>
    [...text.matchAll(/'([a-z-]+)'/g)].map(([, name]) => /** @type {any} */ (name));
  const kinds = all(source('connect-check.js').split('} ProblemKind')[0]);
  const microphones = all(source('state.js').split('} MicrophoneState')[0].split('Phase')[1]);
  const outputs = all(source('output.js').split('} OutputState')[0]);
  assert.ok(kinds.length > 10 && microphones.length > 7 && outputs.length > 5);
  const refused = (/** @type {string} */ code, retryAt = 60_000) =>
    ending(state({ phase: 'refused', refusal: { code, message: 'x', retryAt } }), 0).join(' ');
  const able = { storage: true, tabStorage: true, locks: true, webRtc: true, address: true };
  const phase = 'reconnecting';
  const bad = [{ lossPercent: 20 }, { delayMs: 900 }, { delayMs: 900, roundTripMs: 800 }].map(
    (how) => person({ ...how, id: 'bad' }),
  );
  const others = [[], [person({ lossPercent: 0 })], [person({ lossPercent: 30, delayMs: 900 })]];
  // Remarks about the server that no function of words.js makes.
  const remarks = ['carrier.js', 'signaling.js'].flatMap((file) =>
    [
      ...source(file).matchAll(/['`]((?:The server’s|The server names|The connection) [^'`]+)/g),
    ].map(([, words]) => words),
  );
  assert.equal(remarks.length, 5, remarks.join());
  const said = [
    ...remarks,
    ...['insecure', 'no-webcodecs', 'no-worklet', 'key', 'damaged'].map((lack) =>
      unsupported(lack).join(' '),
    ),
    FAILURE.join(' '),
    OWN_FAILURE.join(' '),
    OWN_ERROR,
    encodingWords(state({ cannotEncode: 'refused' })),
    encodingWords(state({ cannotEncode: 'late' })),
    decodingWords(state({ people: [person({ cannotDecode: true })] })),
    reasonWords(person({ cannotDecode: true }), {
      people: [],
      output: 'on',
      networkChanged: false,
      deviceBusy: false,
    }),
    ...Object.keys(able).map((lack) => lackWords({ ...able, [lack]: false })),
    ...[...REFUSALS.keys()].map((code) => refused(code)),
    ...['password-required', 'password-wrong', 'password-later', 'failed', 'banned', 'new'].map(
      (code) => refused(code),
    ),
    refused('banned', -1),
    ending(state({ phase: 'replaced' })).join(' '),
    ...kinds.map((kind) => problemWords({ kind, host: 'h', status: 500 }, 'o')),
    serverWords(state({ phase })),
    serverWords(state({ phase, people: [person({})] })),
    silenceWords(state({ people: [person({ route: 'none', silentMs: 5000 })] })),
    uploadWords(state({ uploadTooSlow: true })),
    uploadWords(state({ uploadTooSlow: true, deviceBusy: true })),
    ...microphones.map(microphoneWords),
    ...outputs.map((output) => outputWords(state({ output }))),
    permissionWords(state({ mayNot: ['speak'], silenced: true })),
    permissionWords(state({ mayNot: ['data'] })),
    heldWords(state({ heldIn: ['Red'] })),
    hearingWords(person({ hearsMe: false })),
    QUALITY.gone,
    QUALITY.unheard,
    ...bad.flatMap((one) =>
      others.flatMap((rest) =>
        [true, false].map((networkChanged) =>
          reasonWords(one, {
            people: [one, ...rest],
            output: 'on',
            networkChanged,
            deviceBusy: false,
          }),
        ),
      ),
    ),
    reasonWords(bad[0], state({ people: bad, output: 'none' })),
    reasonWords(bad[0], state({ people: bad, deviceBusy: true })),
  ];
  assert.deepEqual(
    said.filter((words) => words !== '' && !quoted.some((quote) => words.includes(quote))),
    [],
  );
});

test('a talk group shows those of the others who hear it', () => {
  const people = [
    person({ name: 'Ben', groups: ['Global', 'Red'] }),
    person({ name: 'Cleo', groups: ['Global'] }),
    person({ name: 'Dan', groups: ['Red'], status: { deafened: true } }),
    person({ name: 'Eve', groups: ['Red'], mayNot: ['listen'] }),
  ];
  assert.deepEqual(listenerNames(people, 'Red'), ['\u2068Ben\u2069']);
});

test('an address that is no link to a room is not taken for a name', () => {
  for (const link of [
    'https://a.example/r/..',
    'https://a.example/r/a/b',
    'http://localhost:8080/',
    'ws://a/r/%FF%FE',
    '127.0.0.1:80/r/a/b',
    'a.b/r/..',
  ])
    assert.match(linkFault(link), /must begin with https:.*end with \/r\//, link);
  for (const text of [
    'lobby',
    'r/x',
    'red/blue',
    'https://a.example/r/lobby',
    'localhost:8080/r/x',
    'a.b/r/x',
  ])
    assert.equal(linkFault(text), '', text);
  assert.deepEqual(
    ['localhost/r/x', '127.0.0.1:18431/r/x', 'host:8080/r/x', 'host/r/x'].map(
      (text) => invitationOf(text)?.room,
    ),
    ['x', 'x', 'x', undefined],
  );
});
