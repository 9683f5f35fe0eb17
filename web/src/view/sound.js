/** Microphone, speaker, and how one's voice is sent: before joining and in the room. */

import { onDeviceChange } from '../optional.js';
import { button, h, meter, setAttribute, setText, toggle } from './dom.js';
import { chime } from './sounds.js';
import { encodingWords, keyName, microphoneWords } from './words.js';

/** @import { App } from './view.js' */

/** A level that a voice reaches and a quiet room does not. */
const HEARD = 0.45;

/** @param {App} app @param {boolean} preview before joining, where the microphone is opened only when asked for */
export function devices({ peer, settings }, preview) {
  const level = meter();
  const words = h('p', { className: 'hint', role: 'status' });
  const plays = h('p', { className: 'hint', role: 'status' });
  const isOn = () => peer.state.microphone === 'on';
  const input = h('select', { onchange: () => choose('input', input.value) });
  const output = h('select', { onchange: () => choose('output', output.value) });
  const check = button(
    'quiet',
    () =>
      !preview
        ? peer.sound.setInput(settings.input)
        : isOn()
          ? peer.stopPreview()
          : peer.sound.openMicrophone(),
    { test: 'check' },
  );
  const hear = button(
    'quiet',
    () => peer.sound.setMonitored(!peer.state.monitored),
    { test: 'hear-myself' },
    'Hear myself',
  );
  const channel = h('select', {
    test: 'channel',
    onchange: () => {
      settings.change({ channel: Number(channel.value) });
      peer.sound.setChannel(settings.channel);
    },
  });
  const channels = h('div', 'field', h('label', {}, 'Channel of the microphone', channel));
  const play = button('quiet', () => chime('joined', settings.output), {}, 'Play a sound');
  const overall = h('input', {
    type: 'range',
    min: '0',
    max: '200',
    step: '5',
    value: String(settings.volume * 100),
    test: 'overall',
    oninput: () => {
      settings.change({ volume: Number(overall.value) / 100 });
      peer.sound.setOverallVolume(settings.volume);
    },
  });
  let heard = false;
  let listed = '';
  let listedFor = '';
  let listedChannels = '';

  /** @param {'input' | 'output'} which @param {string} device */
  function choose(which, device) {
    settings.change({ [which]: device });
    heard = false;
    if (which === 'output')
      void peer.sound
        .setOutput(device)
        .then(() => setText(plays, peer.state.output === 'on' ? 'The sound goes there now.' : ''));
    else if (!preview || isOn()) void peer.sound.setInput(device);
    else peer.sound.preferInput(device);
  }

  // Until the browser has named what there is.
  if (settings.input === '') fill(input, [], '', 'Default microphone');
  if (settings.output === '') fill(output, [], '', 'Default speaker');

  async function list() {
    const found = await peer.sound.devices();
    const now = JSON.stringify(found);
    // A list that may be open is filled anew only where it changed.
    if (now === listed) return;
    listed = now;
    fill(input, found.inputs, settings.input, 'Default microphone');
    fill(output, found.outputs, settings.output, 'Default speaker');
    output.disabled = !found.canChooseOutput;
  }
  /** @param {{count: number, heard: number}} found */
  function listChannels({ count, heard }) {
    channels.hidden = !isOn() || (count < 2 && settings.channel === 0);
    const now = `${count} ${heard} ${settings.channel}`;
    if (channels.hidden || now === listedChannels) return;
    listedChannels = now;
    const best =
      settings.channel > 0
        ? 'Automatic'
        : `Automatic (now ${heard > 0 ? `channel ${heard}` : 'a mix of all'})`;
    channel.replaceChildren(
      ...[
        best,
        ...Array.from(
          { length: Math.max(count, settings.channel) },
          (_, at) => `Channel ${at + 1}`,
        ),
      ].map((words, at) => h('option', { value: String(at) }, words)),
    );
    channel.value = String(settings.channel);
  }

  const ends = new AbortController();
  onDeviceChange(list, ends.signal);

  return {
    element: h(
      'div',
      'stack',
      h(
        'div',
        'field',
        h('label', {}, 'Microphone', input),
        h('div', 'name', check, hear),
        level.element,
        words,
      ),
      channels,
      h('div', 'field', h('label', {}, 'Speaker', output), play, plays),
      h('label', 'overall', 'Overall volume', overall),
    ),
    update() {
      const { microphone } = peer.state;
      if (peer.state.output !== 'on') setText(plays, '');
      if (microphone !== listedFor) {
        listedFor = microphone;
        heard = false;
        // The browser gives the names of devices only once the microphone is allowed.
        void list();
      }
      setText(check, !preview ? 'Turn on' : isOn() ? 'Stop' : 'Test');
      check.hidden = !preview && isOn();
      hear.hidden = !isOn();
      setAttribute(hear, 'aria-pressed', peer.state.monitored);
      listChannels(peer.state.channels);
      level.element.hidden = !isOn();
    },
    frame() {
      const { own } = peer.sound.levels();
      heard ||= own > HEARD;
      level.set(own);
      setText(
        words,
        !isOn() || peer.state.cannotEncode
          ? encodingWords(peer.state) || microphoneWords(peer.state.microphone)
          : peer.state.monitored
            ? 'You hear yourself a second later. Wear headphones.'
            : peer.state.muted
              ? 'You are muted.'
              : heard
                ? 'Your microphone works.'
                : 'Say something.',
      );
    },
    close: () => ends.abort(),
  };
}

/** @param {HTMLSelectElement} select @param {{id: string, label: string}[]} found @param {string} chosen @param {string} first */
function fill(select, found, chosen, first) {
  const named = found.filter(({ id }) => id !== 'default' && id !== 'communications');
  select.replaceChildren(
    h('option', { value: '' }, first),
    ...named.map(({ id, label }, at) =>
      h('option', { value: id }, label || `${first.replace('Default ', '')} ${at + 1}`),
    ),
  );
  select.value = named.some(({ id }) => id === chosen) ? chosen : '';
}

const ACTIVATIONS = /** @type {const} */ ([
  ['voice', 'When I speak', 'Voice activation'],
  ['push-to-talk', '', 'Push-to-talk'],
  ['always', 'Always', ''],
]);
const PROCESSING = /** @type {const} */ ([
  ['echo', 'Remove the echo of my speakers'],
  ['noise', 'Suppress background noise'],
  ['gain', 'Even out my loudness'],
]);

/** What is held to talk: the button alone where there are no keys. */
const held = () => h('span', {}, 'While I hold ', h('span', 'keyboard', 'a key or '), 'a button');

/** When one's voice is sent, and what is done to it before. @param {App} app @param {string} place */
export function voice({ peer, settings }, place) {
  const choices = ACTIVATIONS.map(([value, label, more]) => {
    const radio = h('input', {
      type: 'radio',
      name: `${place}-activation`,
      value,
      onchange: () => {
        settings.change({ activation: value });
        peer.sound.setActivation(value);
      },
    });
    return { radio, element: h('label', 'choice', radio, label || held(), h('small', {}, more)) };
  });
  const processing = PROCESSING.map(([name, label]) =>
    toggle(label, settings.processing[name], (on) => {
      settings.change({ processing: { ...settings.processing, [name]: on } });
      peer.sound.setProcessing(settings.processing);
    }),
  );
  const key = keyChooser(settings);
  return {
    element: h(
      'div',
      'stack',
      h(
        'fieldset',
        {},
        h('legend', {}, 'My voice is sent'),
        ...choices.map((choice) => choice.element),
      ),
      key,
      h('fieldset', {}, h('legend', {}, 'My microphone'), ...processing),
    ),
    update() {
      const { activation } = peer.state;
      for (const { radio } of choices) radio.checked = radio.value === activation;
      key.hidden = activation !== 'push-to-talk';
    },
  };
}

/** @param {App['settings']} settings */
function keyChooser(settings) {
  let listening = false;
  const listen = (/** @type {boolean} */ on) => {
    listening = on;
    setText(choose, on ? 'Press the key…' : `Key: ${settings.keyName} (change)`);
  };
  const choose = button('quiet', () => listen(!listening), {
    test: 'key',
    ariaLive: 'polite',
    onblur: () => listen(false),
    onkeydown: (event) => {
      if (!listening || event.code === 'Tab') return;
      event.preventDefault();
      event.stopPropagation();
      if (event.code !== 'Escape' && event.code !== '')
        settings.change({ key: event.code, keyName: keyName(event) });
      listen(false);
      // Some browsers press a button when the space bar is let go.
      choose.addEventListener('keyup', (up) => up.preventDefault(), { once: true });
    },
  });
  listen(false);
  return choose;
}
