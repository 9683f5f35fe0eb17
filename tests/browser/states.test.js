/** Each state that the page can be in, set directly: what it looks like is kept under out/browser/, wide, dark and on a phone. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { extname, join, normalize } from 'node:path';
import { test } from 'node:test';

import { look } from './harness/look.js';
import { ROOT } from './harness/program.js';
import { Stage, within } from './harness/stage.js';
import { REFUSALS } from '../../web/src/view/words.js';

/** @import { PeerState, PersonState } from '../../web/src/state.js' */
/** @import { Person } from './harness/browser.js' */

const SITE = 'http://localhost/';
const TYPES = /** @type {Record<string, string>} */ ({
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
});

/** @param {string} name @param {Partial<PersonState>} [more] @returns {PersonState} */
const person = (name, more = {}) => ({
  id: Buffer.from(name).toString('hex').padEnd(32, '0'),
  name,
  speaking: false,
  route: 'direct',
  roundTripMs: 24,
  lossPercent: 0,
  delayMs: 88,
  volume: 1,
  muted: false,
  recording: false,
  groups: ['Global'],
  away: false,
  mayNot: [],
  silenced: false,
  status: {},
  hearsMe: true,
  silentMs: 0,
  cannotDecode: false,
  encryption: { state: 'encrypted' },
  met: 'known',
  ...more,
});

const PEOPLE = [
  person('Ben', { speaking: true }),
  person('Cleo', { route: 'relayed', delayMs: 131, roundTripMs: 62 }),
];

/** @type {PeerState} */
const IN_ROOM = {
  phase: 'joined',
  refusal: null,
  joinedAt: -25 * 60_000,
  room: 'Kitchen table',
  name: 'Ada',
  waking: false,
  retryInMs: null,
  relayOnly: false,
  serverRelayOnly: false,
  microphone: 'on',
  cannotEncode: false,
  microphoneLabel: 'Headset',
  channels: { count: 1, heard: 0 },
  monitored: false,
  muted: false,
  activation: 'voice',
  processing: { echo: true, noise: true, gain: true },
  deafened: false,
  talking: false,
  speaking: false,
  people: PEOPLE,
  groups: [{ name: 'Global', members: 3, listening: true, speaking: true }],
  messages: [],
  output: 'on',
  uploadTooSlow: false,
  problem: null,
  networkChanged: false,
  deviceBusy: false,
  moderates: false,
  locked: false,
  banned: [],
  left: [],
  heldIn: [],
  silenced: false,
  mayNot: [],
  keyHolder: null,
  safetyCode: '02702 02778 94007 47512 51951 30692',
};

/** @param {string} code @param {string} [message] @param {number | null} [retryAt] @returns {Partial<PeerState>} */
const refused = (code, message = '', retryAt = null) => ({
  phase: 'refused',
  refusal: { code, message, retryAt },
});
/** @param {string} from @param {string} to @param {string} text */
const said = (from, to, text) => ({
  from,
  to,
  mine: from === 'Ada',
  text,
  at: Date.UTC(2026, 0, 5, 17, 30),
});
const MESSAGES = [
  said('Ben', 'room', 'Has everybody got the plan? https://example.org/plan'),
  said('Cleo', 'me', 'I have not, but do not tell Ben.'),
  said('Ada', 'Cleo', 'I send it to you.'),
  said('Ada', 'room', 'Yes.'),
];
const FOREIGN = [
  person('ليلى حداد', { speaking: true, status: { muted: true } }),
  person('דוד כהן', { groups: ['צוות א'], recording: true }),
  person('Ben ליבוביץ', { lossPercent: 7 }),
  person('محمد (Berlin)', { mayNot: ['speak'] }),
];
const MANY = [
  'Åsa',
  '山田太郎',
  'ليلى حداد',
  'דוד כהן',
  'Ben',
  'Ben#3fa2',
  'Cleo',
  'Karl-Theodor von und zu Guttenplag',
];

/**
 * A state's name, what differs from a quiet room of three, and what is pressed first. `support`: the page is shown as one that
 * cannot talk here. `tab`: what a phone shows. `to`: whom a message is for.
 * @typedef {{support?: string, press?: string, tab?: string, to?: string}} How
 * @type {[name: string, state: Partial<PeerState>, how?: How][]}
 */
const STATES = [
  ['quiet', {}],
  ['unsupported-insecure', {}, { support: 'insecure' }],
  ['unsupported-webcodecs', {}, { support: 'no-webcodecs' }],
  ['unsupported-worklet', {}, { support: 'no-worklet' }],
  ['unsupported-key', {}, { support: 'key' }],
  ['unsupported-failure', {}, { support: 'failure' }],
  ['replaced', { phase: 'replaced' }],
  ['joining', { phase: 'joining', microphone: 'asking' }],
  ['joining-waking', { phase: 'joining', waking: true }],
  ...[
    'offline',
    'unreachable',
    'slow',
    'busy',
    'cookies',
    'protocol',
    'redirect',
    'blocked',
    'stranger',
    'no-upgrade',
  ].map(
    (kind) =>
      /** @type {[string, any]} */ ([
        `joining-${kind}`,
        { phase: 'joining', problem: { kind, host: '', status: 503 } },
      ]),
  ),
  ['joining-gateway', { phase: 'joining', problem: { kind: 'gateway', host: '', status: 502 } }],
  [
    'joining-origin',
    { phase: 'joining', problem: { kind: 'origin', host: 'voice.example.org:8080', status: 403 } },
  ],
  ['away', { phase: 'reconnecting', retryInMs: 7000, people: [PEOPLE[0]] }],
  [
    'away-offline',
    {
      phase: 'reconnecting',
      problem: { kind: 'offline', host: '', status: 0 },
      people: [person('Ben', { route: 'none', away: true })],
    },
  ],
  ...[
    'bad-room',
    'token-invalid',
    'no-sound',
    'too-many-tabs',
    'too-many-joins',
    'unsupported-protocol',
    'room-full',
  ].map((code) => /** @type {[string, Partial<PeerState>]} */ ([`refused-${code}`, refused(code)])),
  ['refused-kicked', refused('kicked')],
  ['refused-banned', refused('banned', '', 42 * 60_000)],
  ['refused-ban-over', refused('banned', '', 1)],
  ['refused-locked', refused('room-locked')],
  ['refused-token-required', refused('token-required')],
  ['refused-token-expired', refused('token-expired')],
  ['refused-server-full', refused('server-full')],
  ['refused-name', refused('bad-name')],
  ['refused-no-keys', refused('no-keys')],
  ['refused-keys-failed', refused('keys-failed')],
  ['refused-failed', refused('failed', 'AudioContext is not a constructor')],
  ['microphone-asking', { microphone: 'asking' }],
  ['microphone-denied', { microphone: 'denied' }],
  ['microphone-blocked', { microphone: 'blocked' }],
  ['microphone-missing', { microphone: 'missing' }],
  ['microphone-lost', { microphone: 'lost' }],
  ['microphone-failed', { microphone: 'failed' }],
  ['microphone-unavailable', { microphone: 'unavailable' }],
  ['microphone-none', { microphone: 'none' }],
  ['encoder-late', { cannotEncode: 'late' }],
  ['encoder-refused', { cannotEncode: 'refused' }],
  ['output-starting', { output: 'starting' }],
  ['output-waits', { output: 'waits' }],
  ['output-default', { output: 'default' }],
  ['output-none', { output: 'none' }],
  ['silence-all', { people: PEOPLE.map((one) => ({ ...one, route: 'none', silentMs: 5000 })) }],
  ['silence-one', { people: [PEOPLE[0], person('Cleo', { route: 'none', silentMs: 5000 })] }],
  ['upload-slow', { uploadTooSlow: true }],
  ['device-busy', { uploadTooSlow: true, deviceBusy: true }],
  ['may-not-speak', { mayNot: ['speak'] }],
  ['may-not-write', { mayNot: ['data', 'listen'] }, { tab: 'chat' }],
  ['muted-for-all', { mayNot: ['speak'], silenced: true }],
  [
    'muted-deafened',
    {
      muted: true,
      deafened: true,
      people: [
        person('Ben', { status: { muted: true } }),
        person('Cleo', { status: { listening_only: true, deafened: true } }),
        person('A member with a name that is rather long for a list', { status: { muted: true } }),
        person('W'.repeat(48)),
      ],
    },
  ],
  [
    'held',
    {
      heldIn: ['Red'],
      groups: [
        { name: 'Global', members: 2, listening: false, speaking: false },
        { name: 'Red', members: 1, listening: true, speaking: true },
      ],
    },
  ],
  ['closed', { locked: true }],
  [
    'moderates',
    { moderates: true, locked: true, banned: [{ id: 'ab', name: 'Mallory' }] },
    { press: '.quality summary' },
  ],
  [
    'moderates-left',
    {
      moderates: true,
      left: [
        { id: 'ab', name: 'Mallory' },
        { id: 'cd', name: 'A member with a name that is rather long' },
      ],
    },
    { press: '[data-test=left] summary' },
  ],
  ['push-to-talk', { activation: 'push-to-talk' }],
  ['push-to-talk-held', { activation: 'push-to-talk', talking: true, speaking: true }],
  ['messages', { messages: MESSAGES }, { tab: 'chat' }],
  ['message-private', { messages: MESSAGES }, { tab: 'chat', to: 'Only to Ben' }],
  [
    'connection-fair',
    { people: [person('Ben', { lossPercent: 6.4, delayMs: 240 }), PEOPLE[1]] },
    { press: '[data-quality=fair] summary' },
  ],
  [
    'connection-poor',
    {
      people: [
        person('Ben', { delayMs: 780, roundTripMs: 640, hearsMe: false, muted: true }),
        PEOPLE[1],
      ],
    },
    { press: '[data-quality=poor] summary' },
  ],
  [
    'connection-gone',
    { people: [person('Ben', { route: 'none', silentMs: 300 }), PEOPLE[1]] },
    { press: '[data-quality=gone] summary' },
  ],
  [
    'recording',
    {
      people: [
        person('Ben', { recording: true, speaking: true, groups: ['Global', 'red team'] }),
        PEOPLE[1],
      ],
    },
  ],
  [
    'groups-none',
    {
      groups: [
        { name: 'Global', members: 2, listening: true, speaking: false },
        { name: 'red team', members: 1, listening: false, speaking: false },
      ],
      people: [person('Ben', { groups: ['red team'] }), PEOPLE[1]],
    },
    { tab: 'groups' },
  ],
  [
    'right-to-left',
    {
      room: 'غرفة الجلوس',
      name: 'נועה',
      people: FOREIGN,
      messages: [
        said('ليلى حداد', 'room', 'مرحبا! هل تسمعني؟'),
        said('נועה', 'room', 'שלום Ben, 5 דקות.'),
      ],
    },
  ],
  [
    'mixed-list',
    {
      people: [
        ...MANY.map((name, at) =>
          person(name, {
            speaking: at % 3 === 0,
            lossPercent: at === 4 ? 9 : 0,
            status: at === 5 ? { muted: true } : {},
          }),
        ),
        person('Zoe', { away: true, route: 'none' }),
      ],
    },
  ],
  [
    'encrypted',
    {
      room: 'private-table',
      people: [
        { ...PEOPLE[0], encryption: { state: 'verified' } },
        { ...PEOPLE[1], encryption: { state: 'verified' }, met: 'new' },
      ],
    },
    { press: '.info summary' },
  ],
  [
    'encrypted-without-two',
    {
      room: 'private-table',
      people: [
        person('Ben', { encryption: { state: 'verified' } }),
        person('Cleo', {
          route: 'relayed',
          encryption: { state: 'refused', why: 'not-authentic' },
          status: { muted: true },
        }),
        person('A member with a name that is rather long for a list', {
          encryption: { state: 'unable' },
        }),
      ],
    },
    { press: '.info summary' },
  ],
  [
    'encrypted-faults',
    {
      room: 'private-table',
      people: [
        person('Ben', { encryption: { state: 'waiting', isLate: true } }),
        person('Cleo', { encryption: { state: 'stopped' } }),
        person('Dan', { encryption: { state: 'refused', why: 'old-run' } }),
        person('A member with a name that is rather long for a list', {
          encryption: { state: 'refused', why: 'identity-changed' },
        }),
      ],
    },
    { press: '.info summary' },
  ],
  [
    'put-out',
    {
      room: 'private-table',
      keyHolder: { name: 'A member with a name that is rather long for a list' },
    },
  ],
  ['code', { people: [PEOPLE[0], { ...PEOPLE[1], met: 'new' }] }, { press: '.info summary' }],
  [
    'plain-question',
    {
      people: [
        PEOPLE[0],
        person('A member with a name that is rather long for a list', {
          encryption: { state: 'plain', isAllowed: false, encryptedBefore: false },
        }),
      ],
    },
    { press: '.info summary' },
  ],
  [
    'plain-allowed',
    {
      people: [
        PEOPLE[0],
        person('Cleo', { encryption: { state: 'plain', isAllowed: true, encryptedBefore: false } }),
        person('Dan', { encryption: { state: 'stopped' } }),
      ],
    },
    { press: '.info summary' },
  ],
  [
    'keyless-not-loaded',
    {
      safetyCode: null,
      people: [
        person('Ben', { encryption: { state: 'only-theirs', hasRoomKey: false } }),
        person('Cleo', { encryption: null }),
      ],
    },
    { press: '.info summary' },
  ],
  [
    'keyless',
    {
      people: [
        person('Ben', { encryption: { state: 'only-theirs', hasRoomKey: true } }),
        person('Cleo', { encryption: { state: 'only-theirs', hasRoomKey: false } }),
      ],
    },
  ],
  ['two-alerts', { phase: 'reconnecting', retryInMs: 7000, microphone: 'denied' }],
];

/** The page's own files, as they stand in the repository. @param {import('playwright-core').Page} page */
async function servePage(page) {
  await page.route(`${SITE}**`, (route) => {
    const path = normalize(new URL(route.request().url()).pathname);
    if (path === '/') {
      const body = readFileSync(join(ROOT, 'web/src/index.html'), 'utf8')
        .replaceAll('{{assets}}', '/assets/0')
        .replace(/<script.*/, '');
      return route.fulfill({ contentType: 'text/html', body });
    }
    const file = join(ROOT, 'web/src', path.replace('/assets/0/', ''));
    return route.fulfill({ contentType: TYPES[extname(file)], body: readFileSync(file) });
  });
}

/** Run in the page: the views, with a peer that has the state it is given and does nothing. */
async function openViews() {
  const at = '/assets/0/view/view.js';
  const { show, showFailure } = await import(at);
  const lock = await import(at.replace('view.js', 'lock.js'));
  const root = document.getElementById('app');
  const storage = { getItem: () => null, setItem: () => {} };
  const options = { root, room: '', storage, lasts: true };
  const target = new EventTarget();
  /** @type {string[]} what the views have asked of the peer */
  const asked = [];
  const levels = { own: 0.4, people: new Map() };
  const withActions = (/** @type {any} */ has) =>
    new Proxy(has, { get: (_, name) => (name in has ? has[name] : () => {}) });
  const own = {
    state: /** @type {any} */ ({ phase: 'left' }),
    ownId: '17',
    lock,
    isPrivate: (/** @type {string} */ room) => room.startsWith('private'),
    linkOf: () => 'https://voice.example/r/room',
    sound: withActions({
      levels: () => levels,
      devices: async () => ({ inputs: [], outputs: [] }),
    }),
  };
  const peer = new Proxy(target, {
    get: (_, name) =>
      name in own
        ? /** @type {any} */ (own)[name]
        : name in target
          ? /** @type {any} */ (target)[name].bind(target)
          : () => void asked.push(String(name)),
  });
  let isOpen = false;
  const set = (/** @type {any} */ state) => {
    own.state = { ...state, joinedAt: performance.now() + state.joinedAt };
    levels.people = new Map(
      (state.people ?? []).map((/** @type {any} */ one) => [one.id, one.speaking ? 0.6 : 0.02]),
    );
    if (isOpen) target.dispatchEvent(new Event('change'));
    else show(peer, { ...options, support: null });
    isOpen = true;
  };
  Object.assign(globalThis, {
    setState(/** @type {any} */ state, /** @type {string | undefined} */ support) {
      if (support === undefined) {
        // From elsewhere, so that nothing of the state before is left.
        if (isOpen) set({ ...state, phase: 'left' });
        return set(state);
      }
      isOpen = false;
      return support === 'failure'
        ? showFailure(root, new Error('this is no module'))
        : show(null, { ...options, support });
    },
    openLobby(/** @type {any} */ state, /** @type {{room: string, lasts: boolean}} */ how) {
      own.state = state;
      show(peer, { ...options, ...how, support: null });
    },
    asked,
    changeState: set,
    refuseText: (/** @type {string} */ text) =>
      target.dispatchEvent(new CustomEvent('text-refused', { detail: { text, to: null } })),
    notice: (/** @type {string} */ kind, /** @type {string} */ text) =>
      target.dispatchEvent(new CustomEvent('notice', { detail: { kind, text } })),
  });
}

/** @param {Person} person @param {PeerState} state @param {How} [how] */
async function setState({ page }, state, { support, press, tab, to } = {}) {
  await page.evaluate(
    ([state, support]) => /** @type {any} */ (globalThis).setState(state, support),
    /** @type {const} */ ([state, support]),
  );
  const tabs = page.locator(`nav [data-tab="${tab}"]`);
  if (tab && (await tabs.isVisible())) await tabs.click();
  if (to) await page.getByLabel('To whom').selectOption({ label: to });
  if (press) await page.locator(press).first().click();
}

const SCREENS = {
  wide: { viewport: { width: 1280, height: 800 } },
  dark: { viewport: { width: 1280, height: 800 }, colorScheme: /** @type {const} */ ('dark') },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};

/** @param {Stage} stage @param {import('playwright-core').Browser} browser @param {import('playwright-core').BrowserContextOptions} context */
async function openPage(stage, browser, context) {
  const ada = await stage.open(browser, SITE, 'ada', {
    recorded: false,
    context,
    before: servePage,
  });
  await ada.page.evaluate(openViews);
  return ada;
}

/** The words that a type allows, as `/** @typedef` has them. @param {string} file @param {string} type */
function wordsOf(file, type) {
  const source = readFileSync(join(ROOT, 'web/src', file), 'utf8').replace(/\n \* +(?=\|)/g, ' ');
  const line = source.split('\n').find((text) => text.endsWith(`} ${type}`));
  return [...(line ?? '').matchAll(/'([^']+)'/g)].map(([, word]) => word);
}

test('every refusal, problem, and state of microphone, speaker and encoder is among the states', () => {
  /** At least so many words, the words, and where they stand. @type {[number, string[], (state: PeerState) => unknown][]} */
  const kinds = [
    [13, [...REFUSALS.keys(), 'banned', 'failed'], ({ refusal }) => refusal?.code],
    [11, wordsOf('connect-check.js', 'ProblemKind'), ({ problem }) => problem?.kind],
    [6, wordsOf('state.js', 'MicrophoneState'), ({ microphone }) => microphone],
    [
      4,
      wordsOf('output.js', 'OutputState').filter((word) => word !== 'off'),
      ({ output }) => output,
    ],
    [3, ['false', 'late', 'refused'], ({ cannotEncode }) => String(cannotEncode)],
  ];
  for (const [least, wanted, of] of kinds) {
    const shown = new Set(STATES.map(([, state]) => of({ ...IN_ROOM, ...state })));
    assert.ok(wanted.length >= least, `${of}: ${wanted}`);
    assert.deepEqual(
      wanted.filter((word) => !shown.has(word)),
      [],
    );
  }
});

test(
  'every state of the page can be used on every screen',
  within(240),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    await Promise.all(
      Object.entries(SCREENS).map(async ([screen, context]) => {
        const ada = await openPage(stage, browser, context);
        for (const [name, state, how] of STATES) {
          await setState(ada, { ...IN_ROOM, ...state }, how);
          await look(ada, `state-${name}-${screen}`, { seenBefore: screen === 'wide' });
        }
        await setState(ada, IN_ROOM, { press: '[data-test="settings"]' });
        const held = ada.page.locator('label', { hasText: 'Push-to-talk' });
        await held.waitFor();
        assert.match(
          await held.innerText(),
          screen === 'phone' ? /While I hold a button/ : /While I hold a key or a button/,
        );
      }),
    );
  }),
);

/** What is seen of each, cut by what it scrolls in: [top, bottom, left, right]. @param {Person} person @param {string} selector */
const boxes = ({ page }, selector) =>
  page.evaluate(
    (wanted) =>
      [...document.querySelectorAll(wanted)].flatMap((element) => {
        const { top, bottom, left, right, height } = element.getBoundingClientRect();
        const frame = element.closest('.people, .side > .card, .bar')?.getBoundingClientRect() ?? {
          top: 0,
          bottom: innerHeight,
        };
        const [from, to] = [Math.max(top, frame.top), Math.min(bottom, frame.bottom)];
        const isClipped = getComputedStyle(element).clipPath !== 'none';
        return height === 0 || to <= from || isClipped
          ? []
          : [{ from, to, left, right, isWhole: to - from > height - 1 }];
      }),
    selector,
  );

test(
  'a long name is whole where there is room, and one can write and send at every width',
  within(60),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, SCREENS.wide);
    const { page } = ada;
    const long = 'Karl-Theodor von und zu Guttenplag';
    const state = { ...IN_ROOM, people: [person(long), person('Ben')], messages: MESSAGES };
    for (const width of [1600, 1280, 1100, 1040, 1000, 961, 960, 390]) {
      await page.setViewportSize({ width, height: 800 });
      await setState(ada, state, { tab: 'people' });
      const cut = await page
        .locator(`[data-test="person"][data-name="${long}"] .name > strong`)
        .evaluate((name) => name.scrollWidth - name.clientWidth);
      assert.ok(cut <= 0, `${width}: ${cut} pixels of the name are not seen`);
      await setState(ada, state, { tab: 'chat' });
      const field = await page.locator('[data-test="chat-input"]').boundingBox();
      const send = await page.locator('[data-test="chat-send"]').boundingBox();
      assert.ok(field && send, `${width}`);
      assert.ok(field.width >= 160 && field.height >= 36, `${width}: ${JSON.stringify(field)}`);
      assert.ok(send.x + send.width <= width, `${width}: ${JSON.stringify(send)}`);
      const apart = send.x >= field.x + field.width - 1 || send.y >= field.y + field.height - 1;
      assert.ok(apart, `${width}: ${JSON.stringify([field, send])}`);
    }
  }),
);

const SMALL = [
  [844, 390],
  [568, 320],
  [390, 844],
  [640, 400],
];

test(
  'on small screens alerts and notices leave the people and the fields to be seen',
  within(60),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, {
      viewport: { width: 844, height: 390 },
      hasTouch: true,
      isMobile: true,
    });
    const { page } = ada;
    for (const [width, height] of SMALL) {
      const size = `${width}x${height}`;
      await page.setViewportSize({ width, height });
      for (const tab of ['people', 'chat', 'groups']) {
        await setState(
          ada,
          { ...IN_ROOM, phase: 'reconnecting', retryInMs: 7000, microphone: 'denied' },
          { tab },
        );
        await page.evaluate(() => {
          const { notice } = /** @type {any} */ (globalThis);
          notice('joined', 'A person with a name that is rather long for a list is here.');
          notice(
            'remark',
            'The room has begun anew: the password, the lock and two bans have ended, and the members who were muted for all speak again.',
          );
        });
        await look(ada, `small-${size}-${tab}`, { seenBefore: tab !== 'people' });
        if (tab === 'people')
          assert.ok(
            (await boxes(ada, '.person')).some(({ isWhole }) => isWhole),
            `${size}: no card is seen`,
          );
        if (tab === 'chat')
          assert.ok(
            (await boxes(ada, 'textarea')).some(({ isWhole }) => isWhole),
            `${size}: one cannot write`,
          );
        const covered = await boxes(ada, '.person, input, textarea, select, .alert p, .bar');
        const notices = await boxes(ada, '.notices p');
        assert.ok(notices.length > 0 && covered.length > 2, size);
        for (const notice of notices) {
          for (const one of covered) {
            const apart =
              notice.to <= one.from + 1 ||
              notice.from >= one.to - 1 ||
              notice.right <= one.left ||
              notice.left >= one.right;
            assert.ok(
              apart,
              `${size}, ${tab}: a notice covers ${JSON.stringify(one)}: ${JSON.stringify(notice)}`,
            );
          }
        }
      }
    }
    // A message that the chat's tab counts is said to screen readers alone.
    await page.evaluate(() =>
      document.querySelectorAll('.notices p').forEach((notice) => notice.remove()),
    );
    const messages = [said('Ben', 'room', 'Has everybody got the plan?')];
    await setState(ada, IN_ROOM, { tab: 'people' });
    await page.evaluate((state) => /** @type {any} */ (globalThis).changeState(state), {
      ...IN_ROOM,
      messages,
    });
    assert.equal(await page.locator('.unread').innerText(), '1 new');
    assert.equal(await page.locator('.notices p').count(), 1);
    assert.deepEqual(await boxes(ada, '.notices p'), []);
  }),
);

test(
  'a message sounds while the page is hidden, and not while it is seen',
  within(),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, SCREENS.wide);
    const { page } = ada;
    await setState(ada, IN_ROOM);
    const tones = page.evaluate(
      async (state) => {
        const page = /** @type {any} */ (globalThis);
        const Oscillator = page.OscillatorNode;
        /** @type {string[]} */
        const begun = [];
        const sounded = new Promise((resolve) => {
          page.OscillatorNode = class extends Oscillator {
            start() {
              begun.push(document.visibilityState);
              resolve(begun);
            }

            stop() {}
          };
        });
        const { messages } = state;
        for (const [at, visibilityState] of ['visible', 'hidden'].entries()) {
          Object.defineProperty(document, 'visibilityState', {
            value: visibilityState,
            configurable: true,
          });
          page.changeState({ ...state, messages: messages.slice(0, at + 1) });
        }
        await sounded;
        return begun;
      },
      { ...IN_ROOM, messages: [said('Ben', 'room', 'Seen'), said('Ben', 'room', 'Not seen')] },
    );
    assert.deepEqual(await tones, ['hidden']);
  }),
);

test(
  'a message that was refused stands again where it was written, unless another has been begun',
  within(),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, SCREENS.phone);
    await setState(ada, IN_ROOM, { tab: 'chat' });
    for (const text of ['Can you hear me?', 'Another']) {
      await ada.page.evaluate((text) => /** @type {any} */ (globalThis).refuseText(text), text);
      assert.equal(await ada.at('chat-input').inputValue(), 'Can you hear me?');
    }
  }),
);

test(
  'a row shows who does not hear one and why a connection is poor, also on a telephone on its side',
  within(60),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, SCREENS.wide);
    const { page } = ada;
    const people = [
      person('Ben', { delayMs: 780, roundTripMs: 640, hearsMe: false }),
      person('Cleo', { hearsMe: false }),
      person('Dan', { delayMs: 250 }),
    ];
    const rest = ['Eve', 'Finn', 'Gil', 'Hal'].map((name) => person(name));
    for (const [width, height] of [
      [1280, 800],
      [844, 390],
      [568, 320],
    ]) {
      await page.setViewportSize({ width, height });
      await setState(ada, { ...IN_ROOM, people: height < 500 ? people : [...people, ...rest] });
      const seen = await Promise.all(
        people.map(({ name }) => ada.sees(name).locator('summary').innerText()),
      );
      assert.deepEqual(
        seen.map((text) => text.replaceAll(/\s+/g, ' ').trim()),
        [
          'Poor · arrives late: the way is long · does not hear you',
          'Clear · does not hear you',
          'Fair',
        ],
        `${width}x${height}`,
      );
      await look(ada, `rows-${width}x${height}`, { seenBefore: true });
    }
  }),
);

test(
  'what is wrong looks otherwise than what is only said, each once and with what helps',
  within(),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, SCREENS.wide);
    const { page } = ada;
    const again = page.getByRole('button', { name: 'Try again' });
    const alert = page.locator('.alerts .alert:visible');
    const looks = () => alert.evaluate((element) => getComputedStyle(element).backgroundColor);
    await setState(ada, { ...IN_ROOM, microphone: 'asking' });
    assert.deepEqual([await alert.count(), await again.isVisible()], [1, false]);
    const calm = await looks();
    await setState(ada, { ...IN_ROOM, microphone: 'denied' });
    assert.deepEqual([await alert.count(), await again.isVisible()], [1, true]);
    assert.notEqual(await looks(), calm);
    // What stands in the alerts is no notice as well.
    const notices = page.locator('.notices p');
    const notice = (/** @type {string} */ kind) =>
      page.evaluate((kind) => /** @type {any} */ (globalThis).notice(kind, 'Said.'), kind);
    for (const kind of ['server-away', 'microphone-lost']) await notice(kind);
    assert.equal(await notices.count(), 0);
    await notice('other');
    assert.equal(await notices.count(), 1);
    // Alone there is one button to invite others, and so there is in company.
    const invite = page.getByRole('button', { name: /invite link/i }).filter({ visible: true });
    for (const people of [[], PEOPLE]) {
      await setState(ada, { ...IN_ROOM, people });
      assert.equal(await invite.count(), 1, `${people.length} others`);
    }
    // The host and the time are in the header; who sees one's address is folded.
    const summary = page.locator('.top summary');
    assert.match(await summary.innerText(), /^Encrypted, compare the code *localhost · .*25 min/);
    const folded = page.locator('.top details > .hint').last();
    assert.equal(await folded.isVisible(), false);
    await summary.click();
    assert.match(await folded.innerText(), /IP address/);
  }),
);

test(
  'in the chat an address is a link, and what only one person sees looks so before and after it is sent',
  within(),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, SCREENS.wide);
    const { page } = ada;
    const messages = [
      said('Ben', 'room', 'See https://example.org/a?b=1.'),
      { ...said('Ada', 'Ben', 'Between us'), person: true },
      said('Ada', 'room', 'For all'),
    ];
    await setState(ada, { ...IN_ROOM, messages });
    const link = ada.at('messages').getByRole('link');
    assert.equal(await link.getAttribute('href'), 'https://example.org/a?b=1');
    assert.match((await link.getAttribute('rel')) ?? '', /noopener/);
    const rows = ada.at('messages').locator('li');
    const own = await rows.evaluateAll((all) =>
      all.map(({ classList }) => [classList.contains('mine'), classList.contains('private')]),
    );
    assert.deepEqual(own, [
      [false, false],
      [true, true],
      [true, false],
    ]);
    const field = page.locator('.chat form');
    const marked = () => field.getAttribute('data-private');
    assert.equal(await marked(), 'false');
    await page.getByLabel('To whom').selectOption({ label: 'Only to Ben' });
    assert.equal(await marked(), 'true');
    assert.equal(await ada.at('chat-input').getAttribute('placeholder'), 'Only to Ben');
  }),
);

test(
  'on a phone no card moves when a reason appears on another',
  within(),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, SCREENS.phone);
    const names = ['Ben', 'Cleo', 'Dan'];
    const places = new Set();
    /** @type {Partial<PersonState>[]} */
    const states = [
      {},
      { lossPercent: 9.8 },
      { delayMs: 900, roundTripMs: 250, hearsMe: true, route: 'relayed' },
    ];
    for (const how of states) {
      const people = names.map((name) => person(name, name === 'Ben' ? how : {}));
      await setState(ada, { ...IN_ROOM, people });
      const place = (await ada.sees('Dan').boundingBox())?.y;
      assert.ok(place !== undefined);
      places.add(place);
      await look(ada, `cards-${JSON.stringify(how).replaceAll(/\W+/g, '-')}`, { seenBefore: true });
    }
    assert.equal(places.size, 1, [...places].join(' '));
  }),
);

test(
  'Enter on a password, pressed before one may join, joins then',
  within(),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, SCREENS.phone);
    const retryAt = await ada.page.evaluate(() => {
      const now = performance.now.bind(performance);
      /** @type {any} */ (globalThis).later = 0;
      performance.now = () => now() + /** @type {any} */ (globalThis).later;
      return now() + 3_600_000;
    });
    const refusal = { code: 'password-wrong', message: 'x', retryAt };
    await setState(ada, { ...IN_ROOM, phase: 'refused', refusal });
    assert.equal(await ada.at('rejoin').isDisabled(), true);
    await ada.page.locator('form input').fill('open sesame');
    await ada.page.keyboard.press('Enter');
    const asked = await ada.page.evaluate(() => /** @type {any} */ (globalThis).asked);
    assert.deepEqual(asked, []);
    await ada.page.evaluate(() => {
      /** @type {any} */ (globalThis).later = 3_600_001;
    });
    await ada.page.waitForFunction(() =>
      /** @type {any} */ (globalThis).asked.some((/** @type {string} */ what) => what === 'join'),
    );
  }),
);

test(
  'what an end advises is its first button',
  within(),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, SCREENS.phone);
    for (const [code, first] of [
      ['no-sound', 'Reload'],
      ['bad-name', 'Change name or room'],
      ['room-full', 'Join again'],
    ]) {
      await setState(ada, { ...IN_ROOM, ...refused(code) });
      assert.equal(await ada.page.locator('form button').first().innerText(), first);
      assert.equal(await ada.page.locator('form button.primary').innerText(), first);
    }
  }),
);

test(
  'while the server is away, the next attempt is counted down, and a press tries at once',
  within(),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, SCREENS.phone);
    await setState(ada, { ...IN_ROOM, phase: 'reconnecting', retryInMs: 6100 });
    assert.equal(await ada.at('try-now').innerText(), 'Try now (next in 7 s)');
    await ada.at('try-now').click();
    assert.deepEqual(await ada.page.evaluate(() => /** @type {any} */ (globalThis).asked), [
      'retryNow',
    ]);
  }),
);

test(
  'the name and Join are seen without scrolling on every phone, invited or not, whatever is lacking',
  within(60),
  Stage.for(async (stage) => {
    const browser = await stage.browserSpeakingOn();
    const ada = await openPage(stage, browser, SCREENS.phone);
    const { page } = ada;
    const lobby = { ...IN_ROOM, phase: 'lobby', room: '', microphone: 'none', people: [] };
    for (const [width, height] of [
      [320, 568],
      [360, 640],
      [568, 320],
      [390, 844],
    ]) {
      await page.setViewportSize({ width, height });
      for (const room of ['', 'Kitchen table of the third floor', 'private-r08f60t4kq2w'])
        for (const lasts of [true, false]) {
          await page.evaluate(
            ([state, how]) => /** @type {any} */ (globalThis).openLobby(state, how),
            /** @type {const} */ ([lobby, { room, lasts }]),
          );
          const size = `${width}x${height}${room && (room.startsWith('private') ? '-private' : '-invited')}${lasts ? '' : '-lacking'}`;
          await look(ada, `lobby-${size}`, { seenBefore: true });
          for (const hook of ['name', 'join']) {
            const box = await ada.at(hook).boundingBox();
            assert.ok(box && box.y + box.height <= height, `${size}: ${hook} is below the fold`);
          }
        }
    }
  }),
);
