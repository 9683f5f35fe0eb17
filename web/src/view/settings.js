/** What is remembered of somebody's wishes, and where they are changed: before joining and in the room. */

import { h, meter, toggle } from './dom.js';
import { keyName, microphoneWords } from './words.js';

/** @typedef {import('../peer.js').Peer} Peer */

const KEY = 'voicemesh.settings';
const ACTIVATIONS = /** @type {const} */ ([
  ['voice', 'When I speak'], ['push-to-talk', 'While I hold a key'], ['always', 'Always'],
]);

export class Settings {
  name = '';
  input = '';
  output = '';
  /** @type {import('../peer.js').Activation} */
  activation = 'voice';
  processing = { echo: true, noise: true, gain: true };
  key = 'Space';
  sounds = true;
  relayOnly = false;

  /** @param {Storage} storage */
  constructor(storage) {
    this.storage = storage;
    try {
      const kept = JSON.parse(storage.getItem(KEY) ?? '{}');
      for (const name of ['name', 'input', 'output', 'key']) {
        if (typeof kept[name] === 'string') /** @type {any} */ (this)[name] = kept[name];
      }
      for (const name of ['sounds', 'relayOnly']) {
        if (typeof kept[name] === 'boolean') /** @type {any} */ (this)[name] = kept[name];
      }
      if (ACTIVATIONS.some(([value]) => value === kept.activation)) this.activation = kept.activation;
      const { echo = true, noise = true, gain = true } = kept.processing ?? {};
      this.processing = { echo: echo === true, noise: noise === true, gain: gain === true };
    } catch {
      // What cannot be read is forgotten.
    }
  }

  /** @param {Partial<Omit<Settings, 'storage' | 'change'>>} changes */
  change(changes) {
    Object.assign(this, changes);
    const { storage: _, ...kept } = this;
    try {
      this.storage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // Then it is forgotten with the page.
    }
  }
}

/**
 * Microphone, speaker, processing and activation.
 * @param {Peer} peer
 * @param {Settings} settings
 * @param {{preview: boolean}} options `preview`: the microphone is opened here only when asked for
 */
export function soundSettings(peer, settings, { preview }) {
  const id = preview ? 'lobby' : 'room';
  const level = meter('Your microphone’s level');
  const words = h('p', { class: 'hint' });
  const input = h('select', { id: `${id}-input`, onchange: () => choose('input', input.value) });
  const output = h('select', { id: `${id}-output`, onchange: () => choose('output', output.value) });
  const outputRow = h('div', { class: 'row' }, h('label', { for: `${id}-output` }, 'Speaker'), output);
  const check = h('button', { type: 'button', class: 'quiet', onclick: () => (checking() ? peer.stopPreview() : peer.startPreview()) });
  const checking = () => peer.state.microphone === 'on';
  const processing = /** @type {const} */ ([
    ['echo', 'Remove the echo of my speakers'], ['noise', 'Suppress background noise'], ['gain', 'Even out my loudness'],
  ]).map(([name, label]) => toggle(label, settings.processing[name], (on) => {
    settings.change({ processing: { ...settings.processing, [name]: on } });
    peer.setProcessing(settings.processing);
  }).element);
  const activation = h('select', {
    id: `${id}-activation`,
    onchange: () => {
      const value = /** @type {import('../peer.js').Activation} */ (activation.value);
      settings.change({ activation: value });
      peer.setActivation(value);
    },
  }, ...ACTIVATIONS.map(([value, label]) => h('option', { value }, label)));
  activation.value = settings.activation;
  const key = h('button', { type: 'button', class: 'quiet', onclick: () => listenForKey() }, `Key: ${keyName(settings.key)}`);

  function listenForKey() {
    key.textContent = 'Press the key to hold…';
    key.addEventListener('keydown', (event) => {
      event.preventDefault();
      if (event.code !== 'Escape' && event.code !== 'Tab') settings.change({ key: event.code });
      key.textContent = `Key: ${keyName(settings.key)}`;
    }, { once: true });
  }

  /** @param {'input' | 'output'} which @param {string} device */
  function choose(which, device) {
    settings.change({ [which]: device });
    if (which === 'output') void peer.setOutput(device);
    else if (!preview || checking()) void peer.setInput(device);
    else peer.preferInput(device);
  }

  async function list() {
    const { inputs, outputs, canChooseOutput } = await peer.devices();
    fill(input, inputs, settings.input, 'Default microphone');
    fill(output, outputs, settings.output, 'Default speaker');
    outputRow.hidden = !canChooseOutput || outputs.length === 0;
  }
  navigator.mediaDevices?.addEventListener('devicechange', list);
  void list();
  let listedFor = '';

  return {
    element: h('div', { class: 'stack' },
      h('div', { class: 'row' }, h('label', { for: `${id}-input` }, 'Microphone'), input, preview ? check : null),
      level.element, words, outputRow,
      h('div', { class: 'row' }, h('label', { for: `${id}-activation` }, 'Send my voice'), activation, key),
      h('fieldset', {}, h('legend', {}, 'My microphone'), ...processing)),
    update() {
      const { microphone, activation: active } = peer.state;
      // Names of devices are told only once the microphone is allowed.
      if (microphone !== listedFor) void list();
      listedFor = microphone;
      check.textContent = checking() ? 'Stop the check' : 'Check';
      words.textContent = checking() ? 'Speak: the bar should reach its middle.' : microphoneWords(microphone);
      words.hidden = words.textContent === '' || (!preview && checking());
      key.hidden = active !== 'push-to-talk';
      activation.value = active;
    },
    frame: () => level.set(peer.levels().own),
    close: () => navigator.mediaDevices?.removeEventListener('devicechange', list),
  };
}

/** @param {HTMLSelectElement} select @param {{id: string, label: string}[]} devices @param {string} chosen @param {string} first */
function fill(select, devices, chosen, first) {
  const named = devices.filter(({ id }) => id !== 'default' && id !== 'communications');
  const options = [h('option', { value: '' }, first),
    ...named.map(({ id, label }, at) => h('option', { value: id }, label || `${first.replace('Default ', '')} ${at + 1}`))];
  select.replaceChildren(...options);
  select.value = named.some(({ id }) => id === chosen) ? chosen : '';
}
