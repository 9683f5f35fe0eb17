/** Preferences that are remembered between visits. */

const KEY = 'voicemesh.settings';
const ACTIVATIONS = ['voice', 'push-to-talk', 'always'];

export class Settings {
  name = '';
  input = '';
  output = '';
  /** @type {import('../state.js').Activation} */
  activation = 'voice';
  processing = { echo: true, noise: true, gain: true };
  /** The microphone's channel, counted from 1; 0: automatic. */
  channel = 0;
  key = 'Space';
  keyName = 'Space';
  /** M and D: a single key is easily hit by chance, or by a program that types what one says. */
  shortcuts = true;
  sounds = true;
  relayOnly = false;
  /** The overall volume, 0 to 2. */
  volume = 1;
  silent = false;

  /** @param {Pick<Storage, 'getItem' | 'setItem'>} storage */
  constructor(storage) {
    const own = /** @type {Record<string, any>} */ (this);
    try {
      const kept = JSON.parse(storage.getItem(KEY) ?? '{}');
      for (const [name, value] of Object.entries(own)) {
        if (typeof value !== 'object' && typeof kept[name] === typeof value) own[name] = kept[name];
      }
      for (const name of Object.keys(this.processing))
        own.processing[name] = kept.processing?.[name] !== false;
    } catch {
      // What cannot be read is forgotten.
    }
    if (!(this.volume >= 0 && this.volume <= 2)) this.volume = 1;
    if (!(Number.isInteger(this.channel) && this.channel >= 0 && this.channel <= 64))
      this.channel = 0;
    if (!ACTIVATIONS.includes(this.activation)) this.activation = 'voice';
    this.storage = storage;
  }

  /** @param {Partial<Omit<Settings, 'storage' | 'change'>>} changes */
  change(changes) {
    Object.assign(this, changes);
    const { storage, ...kept } = this;
    try {
      storage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // Then it is forgotten with the page.
    }
  }
}
