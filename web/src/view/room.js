/** In the room: people, chat, talk groups, and what one has to know or do. */

import { isolated } from '../names.js';
import { copy, mediaQuery } from '../optional.js';
import { BASE } from '../place.js';
import { bar } from './bar.js';
import { chat } from './chat.js';
import { button, h, icon, keyed, setAttribute, setText } from './dom.js';
import { groups } from './groups.js';
import { roomModeration } from './moderation.js';
import { paint, personCard } from './person.js';
import { chime } from './sounds.js';
import {
  decodingWords,
  durationWords,
  encodingWords,
  heldWords,
  hues,
  keylessWords,
  lackWords,
  messageWords,
  microphoneWords,
  outputWords,
  permissionWords,
  privacyWords,
  serverWords,
  silenceWords,
  uploadWords,
  waitWords,
} from './words.js';

/** @import { Message, PersonState } from '../state.js' */
/** @import { App } from './view.js' */

/** More people than that are rows, and so are all on a telephone on its side. */
const MOST_CARDS = 6;

/** @param {App} app */
export function room(app) {
  const { peer, settings, tell } = app;
  const { room: roomName } = peer.state;
  const list = h('ul', 'cards');
  const showPeople = keyed(
    list,
    (/** @type {PersonState} */ person) => person.id,
    (person) => personCard(app, person),
  );
  /** @type {ReturnType<typeof showPeople>} */
  let cards = new Map();
  const isShort = mediaQuery('(max-height: 500px)');
  const count = h('small');
  const copyButton = (/** @type {string} */ look, /** @type {string} */ hook) =>
    button(look, copyLink, { test: hook }, icon('link'), 'Copy invite link');
  const alone = h(
    'div',
    'alone',
    'You are alone here.',
    h('p', 'hint', 'Send the invite link to the people you want to talk to.'),
    copyButton('primary', 'invite'),
  );
  const talk = chat(app);
  const groupList = groups(app);
  const own = bar(app);
  const decisions = roomModeration(app);
  const closed = h(
    'p',
    { className: 'hint', hidden: true, test: 'locked' },
    'This room is closed to newcomers.',
  );
  const talking = h('p', { className: 'hint talking', hidden: true });

  const tryNow = button('quiet', () => peer.retryNow(), { test: 'try-now' }, 'Try now');
  const lock = peer.lock?.lock(app, alert);
  const [server, silence, keyless, upload, permission, held] = [
    alert(tryNow),
    alert(),
    alert(),
    alert(),
    alert(),
    alert(),
  ];
  const start = button(
    'primary',
    () => peer.sound.resumePlayback(),
    { test: 'resume' },
    'Start sound',
  );
  const chooseOutput = button('quiet', own.showSettings, {}, 'Choose another');
  const sound = alert(start, chooseOutput);
  const choose = button('quiet', own.showSettings, {}, 'Choose another');
  const again = button('primary', () => peer.sound.setInput(settings.input), {}, 'Try again');
  const ownTab = h(
    'a',
    { href: peer.linkOf(roomName), target: '_blank', rel: 'noopener' },
    'Open in its own tab',
  );
  const microphone = alert(again, choose, ownTab);
  const [encoding, decoding] = [alert(reload()), alert(reload())];

  const byHand = h('input', {
    readOnly: true,
    value: peer.linkOf(roomName),
    ariaLabel: 'Invite link',
    test: 'link-by-hand',
  });
  const copying = alert(
    byHand,
    button('quiet', () => copying.say(''), {}, 'Done'),
  );
  copying.calm(true);

  const said = [
    copying,
    ...(lock?.alerts ?? []),
    server,
    silence,
    keyless,
    encoding,
    decoding,
    permission,
    held,
    upload,
    sound,
    microphone,
  ];
  const alerts = h(
    'div',
    { className: 'alerts', role: 'group', ariaLabel: 'Not as it should be' },
    ...said.map(({ element }) => element),
  );

  const about = h('p', 'hint');
  const since = h('span');
  const info = h(
    'details',
    'info',
    h(
      'summary',
      {},
      lock?.mark ?? (peer.state.safetyCode ? null : 'Not encrypted · '),
      BASE.host,
      ' · ',
      since,
    ),
    ...(lock?.about ?? []),
    about,
  );
  const link = copyButton('quiet', 'copy-link');
  const heading = h('h1', { tabIndex: -1, dir: 'auto' }, roomName);
  const unread = h('span', { className: 'unread', hidden: true });
  let missed = 0;
  const tabs = h(
    'nav',
    { className: 'tabs', ariaLabel: 'Parts of the room' },
    ...['People', 'Chat', 'Groups'].map((words, at) =>
      button(
        '',
        () => showTab(words.toLowerCase()),
        { 'data-tab': words.toLowerCase(), ariaPressed: String(at === 0) },
        words,
        at === 1 ? unread : null,
      ),
    ),
  );
  const parts = h(
    'main',
    'parts',
    h(
      'section',
      { className: 'people', ariaLabel: 'People' },
      h('h2', {}, 'People ', count),
      closed,
      decisions.element,
      alone,
      talking,
      list,
    ),
    h('div', 'side', talk.element, groupList.element),
  );
  const element = h(
    'div',
    { className: 'room', 'data-tab': 'people' },
    h('header', 'top', heading, info, link),
    alerts,
    tabs,
    parts,
    own.element,
  );

  /** @param {string} id */
  function showTab(id) {
    element.setAttribute('data-tab', id);
    for (const tab of tabs.children)
      setAttribute(tab, 'aria-pressed', tab.getAttribute('data-tab') === id);
    if (id === 'chat') talk.seen();
    countMissed([]);
  }

  /** @param {Message[]} fresh from others */
  function countMissed(fresh) {
    if (fresh.length + missed === 0) return;
    const isSeen = talk.element.offsetParent !== null && document.visibilityState === 'visible';
    const last = fresh[fresh.length - 1];
    // Screen readers say it; to the eye the number on the tab, or in the title, says so already.
    if (last && !isSeen) tell(messageWords(last), 'message');
    if (last && settings.sounds && document.visibilityState === 'hidden')
      void chime('message', settings.output);
    missed = isSeen ? 0 : missed + fresh.length;
    unread.hidden = missed === 0;
    setText(unread, `${missed} new`);
    document.title = `${missed ? `(${missed}) ` : ''}${roomName} · voicemesh`;
  }

  /** In a long list, who speaks is named above it. @param {readonly PersonState[]} people */
  function showTalking(people) {
    const isLong = people.length > MOST_CARDS;
    setAttribute(list, 'data-rows', isLong || isShort.matches);
    talking.hidden = !isLong;
    if (!isLong) return;
    const names = people.filter((person) => person.speaking).map((person) => isolated(person.name));
    setText(talking, names.length > 0 ? `Speaking: ${names.join(', ')}` : 'No one is speaking.');
  }

  async function copyLink() {
    if (await copy(byHand.value)) {
      copying.say('');
      tell('The invite link is copied. Everyone who opens it is in this room.');
    } else {
      copying.say('This browser does not let the page copy. Copy the invite link from here:');
      byHand.select();
    }
  }

  return {
    element,
    focus: () => heading.focus(),
    update() {
      const { state } = peer;
      cards = showPeople([...state.people].sort(byName));
      const colours = hues([peer.ownId, ...state.people.map(({ id }) => id)]);
      for (const [id, card] of cards) paint(card.face, colours.get(id));
      own.paint(colours.get(peer.ownId));
      alone.hidden = state.people.length > 0;
      link.hidden = !alone.hidden;
      setText(count, String(state.people.length + 1));
      showTalking(state.people);
      closed.hidden = !state.locked;
      decisions.update();
      groupList.update();
      countMissed(talk.update());
      server.say(serverWords(state));
      setText(tryNow, waitWords('Try now', state.retryInMs ?? 0).replace('(', '(next '));
      silence.say(silenceWords(state));
      keyless.say(keylessWords(state));
      permission.say(permissionWords(state));
      held.say(heldWords(state));
      held.calm(true);
      upload.say(uploadWords(state));
      sound.say(outputWords(state));
      start.hidden = state.output !== 'waits';
      chooseOutput.hidden = state.output !== 'default';
      decoding.say(decodingWords(state));
      encoding.say(encodingWords(state));
      microphone.say(microphoneWords(state.microphone));
      again.hidden = ['asking', 'unavailable'].includes(state.microphone);
      choose.hidden = !['missing', 'lost', 'failed'].includes(state.microphone);
      ownTab.hidden = state.microphone !== 'blocked';
      microphone.calm(state.microphone === 'asking');
      sound.calm(state.output !== 'none');
      // On a small screen they scroll, and whatever scrolls must be reached by keys.
      alerts.tabIndex = said.filter(({ isShown }) => isShown()).length > 1 ? 0 : -1;
      setText(about, `${privacyWords(state)} ${lackWords(app.able)}`);
      lock?.update(state);
      setText(since, durationWords(performance.now() - state.joinedAt));
      own.update();
    },
    frame() {
      const { people } = peer.sound.levels();
      for (const [id, card] of cards) card.level.set(people.get(id) ?? 0);
      own.frame();
    },
    close() {
      talk.close();
      own.close();
    },
  };
}

/** The same order for everybody, whatever the server's. @param {PersonState} a @param {PersonState} b */
const byName = (a, b) => a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1);

const reload = () => button('quiet', () => location.reload(), {}, 'Reload');

/** A line that appears when there is something to say, with what one can do about it. @param {HTMLElement[]} actions */
function alert(...actions) {
  const words = h('p', { role: 'status' });
  const element = h('div', 'alert', words, ...actions);
  return {
    element,
    say: (/** @type {string} */ text) => setText(words, text),
    isShown: () => words.textContent !== '',
    /** What waits for the user looks different from what is wrong. @param {boolean} on */
    calm: (on) => setAttribute(element, 'data-calm', on),
  };
}
