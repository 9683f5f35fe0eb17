/** In the room: people, chat, talk groups, and what one has to know or do. */

import { copy } from '../optional.js';
import { BASE, roomUrl } from '../place.js';
import { bar } from './bar.js';
import { chat } from './chat.js';
import { button, h, icon, keyed, setAttribute, setText } from './dom.js';
import { groups } from './groups.js';
import { personCard } from './person.js';
import { chime } from './sounds.js';
import { durationWords, lackWords, microphoneWords, outputWords, privacyWords, serverWords, silenceWords, uploadWords, waitWords } from './words.js';

/** @import { Message, PersonState } from '../state.js' */
/** @import { App } from './view.js' */

/** @param {App} app */
export function room(app) {
  const { peer, settings, tell } = app;
  const { room: roomName } = peer.state;
  const list = h('ul', 'cards');
  const showPeople = keyed(list, (/** @type {PersonState} */ person) => person.id, (person) => personCard(peer, person));
  /** @type {ReturnType<typeof showPeople>} */
  let cards = new Map();
  const count = h('small');
  const copyButton = (/** @type {string} */ look, /** @type {string} */ hook) => button(look, copyLink, { test: hook }, icon('link'), 'Copy invite link');
  const alone = h('div', 'alone', 'You are alone here.', h('p', 'hint', 'Send the invite link to the people you want to talk to.'), copyButton('primary', 'invite'));
  const talk = chat(app);
  const groupList = groups(app);
  const own = bar(app);

  const tryNow = button('quiet', () => peer.retryNow(), { test: 'try-now' }, 'Try now');
  const [server, silence, upload] = [alert(tryNow), alert(), alert()];
  const start = button('primary', () => peer.resumePlayback(), { test: 'resume' }, 'Start sound');
  const chooseOutput = button('quiet', own.showSettings, {}, 'Choose another');
  const sound = alert(start, chooseOutput);
  const choose = button('quiet', own.showSettings, {}, 'Choose another');
  const again = button('primary', () => peer.setInput(settings.input), {}, 'Try again');
  const microphone = alert(again, choose);

  const about = h('p', 'hint');
  const since = h('span');
  const info = h('details', 'info', h('summary', {}, BASE.host, ' · ', since), about);
  const link = copyButton('quiet', 'copy-link');
  const heading = h('h1', { tabIndex: -1, dir: 'auto' }, roomName);
  const unread = h('span', { className: 'unread', hidden: true });
  let missed = 0;
  const tabs = h('nav', { className: 'tabs', ariaLabel: 'Parts of the room' }, ...['People', 'Chat', 'Groups'].map((words, at) =>
    button('', () => showTab(words.toLowerCase()), { 'data-tab': words.toLowerCase(), ariaPressed: String(at === 0) }, words, at === 1 ? unread : null)));
  const element = h('div', { className: 'room', 'data-tab': 'people' },
    h('header', 'top', heading, info, link),
    server.element, silence.element, upload.element, sound.element, microphone.element, tabs,
    h('main', 'parts',
      h('section', { className: 'people', ariaLabel: 'People' }, h('h2', {}, 'People ', count), alone, list),
      h('div', 'side', talk.element, groupList.element)),
    own.element);

  /** @param {string} id */
  function showTab(id) {
    element.setAttribute('data-tab', id);
    for (const tab of tabs.children) setAttribute(tab, 'aria-pressed', tab.getAttribute('data-tab') === id);
    if (id === 'chat') talk.seen();
    countMissed([]);
  }

  /** @param {Message[]} fresh from others */
  function countMissed(fresh) {
    if (fresh.length + missed === 0) return;
    const isSeen = talk.element.offsetParent !== null && document.visibilityState === 'visible';
    const last = fresh[fresh.length - 1];
    if (last && !isSeen) tell(`${last.from}: ${last.text.slice(0, 200)}`);
    if (last && settings.sounds && document.visibilityState === 'hidden') void chime('message', settings.output);
    missed = isSeen ? 0 : missed + fresh.length;
    unread.hidden = missed === 0;
    setText(unread, `${missed} new`);
    document.title = `${missed ? `(${missed}) ` : ''}${roomName} · voicemesh`;
  }

  async function copyLink() {
    const link = roomUrl(roomName);
    if (await copy(link)) tell('The invite link is copied. Everyone who opens it is in this room.');
    else prompt('Copy this invite link:', link);
  }

  return {
    element,
    focus: () => heading.focus(),
    update() {
      const { state } = peer;
      cards = showPeople([...state.people].sort(byName));
      alone.hidden = state.people.length > 0;
      link.hidden = !alone.hidden;
      setText(count, String(state.people.length + 1));
      groupList.update();
      countMissed(talk.update());
      server.say(serverWords(state));
      setText(tryNow, waitWords('Try now', state.retryInMs ?? 0).replace('(', '(next '));
      silence.say(silenceWords(state));
      upload.say(uploadWords(state));
      sound.say(outputWords(state));
      start.hidden = state.output !== 'waits';
      chooseOutput.hidden = state.output !== 'default';
      microphone.say(microphoneWords(state.microphone));
      again.hidden = state.microphone === 'asking';
      choose.hidden = state.microphone === 'denied' || state.microphone === 'asking';
      microphone.calm(state.microphone === 'asking');
      sound.calm(state.output !== 'none');
      setText(about, `${privacyWords(state)} ${lackWords(app.lasts, true)}`);
      setText(since, durationWords(performance.now() - state.joinedAt));
      own.update();
    },
    frame() {
      const { people } = peer.levels();
      for (const [id, card] of cards) card.level.set(people.get(id) ?? 0);
      own.frame();
    },
    close: own.close,
  };
}

/** The same order for everybody, whatever the server's. @param {PersonState} a @param {PersonState} b */
const byName = (a, b) => a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1);

/** A line that appears when there is something to say, with what one can do about it. @param {HTMLElement[]} actions */
function alert(...actions) {
  const words = h('p', { role: 'status' });
  const element = h('div', 'alert', words, ...actions);
  return {
    element,
    say: (/** @type {string} */ text) => setText(words, text),
    /** What waits for the user looks different from what is wrong. @param {boolean} on */
    calm: (on) => setAttribute(element, 'data-calm', on),
  };
}
