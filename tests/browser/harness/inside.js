/** What the tests put into a page before its own code runs. Each function stands alone: it is sent there as text. */

/** @typedef {{connections: () => RTCPeerConnection[], forget: () => void, made: () => number, seconds: () => number, heard: () => string}} Inside */

/**
 * Everything that a page's sound contexts play is recorded, and its connections can be found.
 * @param {{processed: boolean}} options whether the browser may shape what its microphone hears, as the page asks
 */
export function install({ processed }) {
  /** @type {WeakRef<RTCPeerConnection>[]} */
  const connections = [];
  const Connection = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Connection {
    /** @param {RTCConfiguration} [configuration] */
    constructor(configuration) {
      super(configuration);
      connections.push(new WeakRef(this));
    }
  };

  const { mediaDevices } = navigator;
  const getUserMedia = mediaDevices?.getUserMedia.bind(mediaDevices);
  if (!processed && mediaDevices) {
    mediaDevices.getUserMedia = ({ audio, ...rest } = {}) => {
      const asked = typeof audio === 'object' ? audio : {};
      const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      return getUserMedia({ ...rest, audio: { ...asked, ...plain } });
    };
  }

  /** @type {WeakMap<BaseAudioContext, MediaStreamAudioDestinationNode>} */
  const taps = new WeakMap();
  /** @type {Float32Array[][]} */
  const recordings = [];
  const { connect, disconnect } = /** @type {any} */ (AudioNode.prototype);

  /**
   * Needs no code in the audio thread, which the page's content security policy would not allow.
   * @param {MediaStreamTrack} track
   * @param {Float32Array[]} blocks
   */
  async function keep(track, blocks) {
    // A page that is busy reads later, and loses nothing of 20 s.
    const { readable } = new /** @type {any} */ (globalThis).MediaStreamTrackProcessor({
      track,
      maxBufferSize: 2_000,
    });
    const reader = readable.getReader();
    let ends = NaN;
    for (;;) {
      /** @type {{done: boolean, value: AudioData}} */
      const { done, value } = await reader.read();
      if (done) return;
      const block = new Float32Array(value.numberOfFrames);
      value.copyTo(block, { planeIndex: 0, format: 'f32-planar' });
      // What a frozen page missed takes its time in the recording all the same.
      const missed = Math.round((value.timestamp - ends) * 0.048);
      if (missed > 960) blocks.push(new Float32Array(missed));
      ends = value.timestamp + (value.numberOfFrames * 1e6) / value.sampleRate;
      value.close();
      if (blocks.length < 20_000) blocks.push(block);
    }
  }

  /** @param {AudioContext} context */
  function tapOf(context) {
    const known = taps.get(context);
    if (known) return known;
    const input = new MediaStreamAudioDestinationNode(context, {
      channelCount: 1,
      channelCountMode: 'explicit',
    });
    /** @type {Float32Array[]} */
    const blocks = [];
    recordings.push(blocks);
    taps.set(context, input);
    void keep(input.stream.getAudioTracks()[0], blocks);
    return input;
  }

  /** @param {any[]} rest @this {AudioNode} @returns {any} */
  AudioNode.prototype.connect = function (/** @type {any} */ target, ...rest) {
    if (target instanceof AudioDestinationNode && this.context instanceof AudioContext) {
      connect.call(this, tapOf(this.context), rest[0]);
    }
    return connect.call(this, target, ...rest);
  };
  /** @param {any[]} rest @this {AudioNode} */
  AudioNode.prototype.disconnect = function (...rest) {
    const known = taps.get(this.context);
    if (known && rest[0] instanceof AudioDestinationNode) {
      disconnect.call(this, known, ...rest.slice(1));
    }
    return disconnect.call(this, ...rest);
  };

  /** @type {Inside} */
  const inside = {
    connections: () =>
      connections
        .map((reference) => reference.deref())
        .filter((connection) => connection !== undefined),
    made: () => connections.length,
    forget: () =>
      recordings.forEach((blocks) => {
        blocks.length = 0;
      }),
    seconds: () =>
      Math.max(
        0,
        ...recordings.map((blocks) => blocks.reduce((sum, block) => sum + block.length, 0)),
      ) / 48_000,
    heard() {
      const loudness = (/** @type {Float32Array[]} */ blocks) =>
        blocks.reduce(
          (sum, block) => sum + block.reduce((energy, sample) => energy + sample * sample, 0),
          0,
        );
      const loudest =
        recordings.toSorted((a, b) => loudness(b) - loudness(a) || b.length - a.length)[0] ?? [];
      const samples = new Int16Array(loudest.reduce((sum, block) => sum + block.length, 0));
      let at = 0;
      for (const block of loudest) {
        for (const sample of block) samples[at++] = Math.max(-1, Math.min(1, sample)) * 32_767;
      }
      const bytes = new Uint8Array(samples.buffer);
      let text = '';
      for (let from = 0; from < bytes.length; from += 32_768)
        text += String.fromCharCode(...bytes.subarray(from, from + 32_768));
      return btoa(text);
    },
  };
  Object.defineProperty(globalThis, 'insideOfTests', { value: inside });
}
