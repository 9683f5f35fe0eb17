/** Two notes when somebody comes, the same backwards when somebody goes. */

const NOTES = { joined: [523, 784], left: [784, 523] };

/** @type {AudioContext | null} */
let context = null;

/** @param {'joined' | 'left'} kind */
export function chime(kind) {
  context ??= new AudioContext();
  const sound = context;
  NOTES[kind].forEach((frequency, at) => {
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
