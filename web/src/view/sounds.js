/** Two notes when a person joins, the same backwards when one leaves, one for a message. */

import { chooseSpeaker } from '../optional.js';

/** @type {Record<string, number[]>} */
const NOTES = { joined: [523, 784], left: [784, 523], message: [659] };

/** @type {AudioContext | null} */
let context = null;

/** @param {string} kind others are silent @param {string} output the speaker's id; '' is the system's */
export async function chime(kind, output) {
  const notes = NOTES[kind];
  // Where it does not sound, the words say the same.
  if (notes) await play(notes, output).catch(() => {});
}

/** @param {number[]} notes @param {string} output */
async function play(notes, output) {
  const sound = (context ??= new AudioContext());
  // From the system's speaker if the chosen one is gone.
  await chooseSpeaker(sound, output).catch(() => {});
  notes.forEach((frequency, at) => {
    const begins = sound.currentTime + 0.02 + at * 0.09;
    const tone = new OscillatorNode(sound, { frequency });
    const loudness = new GainNode(sound, { gain: 0 });
    loudness.gain.setValueAtTime(0, begins);
    loudness.gain.linearRampToValueAtTime(0.05, begins + 0.012);
    loudness.gain.exponentialRampToValueAtTime(0.0005, begins + 0.16);
    tone.connect(loudness).connect(sound.destination);
    tone.start(begins);
    tone.stop(begins + 0.17);
  });
}
