/** What the receiving end of a link tells the sending end about packets (PROTOCOL.md, section 9). Pure: told the time in ms. */

/** A packet that arrives this long after the first that is not acknowledged is acknowledged at once, with all before it. */
const ACK_INTERVAL_MS = 60;
/** When no packet follows, an acknowledgement goes this long after the first that waits. */
const ACK_DELAY_MS = 110;

/** What has been received on a link and is still to be acknowledged. */
export class AckDue {
  /** @type {number | null} */
  #newest = null;
  #newestAt = 0;
  #earlier = 0;
  /** When the first and the last packet arrived that are not acknowledged yet. @type {{since: number, until: number} | null} */
  #waiting = null;

  /**
   * @param {number} now
   * @param {number} sequence
   */
  received(now, sequence) {
    const ahead = this.#newest === null ? 0 : ((sequence - this.#newest) << 16) >> 16;
    if (this.#newest === null || ahead > 0) {
      if (ahead > 32) this.#earlier = 0;
      else if (ahead > 0)
        this.#earlier = ((ahead === 32 ? 0 : this.#earlier << ahead) | (1 << (ahead - 1))) >>> 0;
      [this.#newest, this.#newestAt] = [sequence, now];
    } else if (ahead < 0 && ahead >= -32) {
      this.#earlier = (this.#earlier | (1 << (-ahead - 1))) >>> 0;
    }
    this.#waiting = { since: this.#waiting?.since ?? now, until: now };
  }

  /**
   * @param {number} now
   * @returns {{newest: number, earlier: number, at: number} | null} when it is time to send them; `at`: when the newest arrived
   */
  take(now) {
    if (this.#waiting === null || this.#newest === null) return null;
    const { since, until } = this.#waiting;
    if (until < since + ACK_INTERVAL_MS && now < since + ACK_DELAY_MS) return null;
    this.#waiting = null;
    return { newest: this.#newest, earlier: this.#earlier, at: this.#newestAt };
  }
}

/** A train that is not complete is reported this long after its first packet. */
const TRAIN_TIMEOUT_MS = 600;
/** Trains of one link that are answered: at most one in this time. */
const TRAIN_INTERVAL_MS = 200;
const MOST_PACKETS = 8;

/** What has arrived of the train of BandwidthProbes that is on its way over a link. */
export class TrainReceiver {
  /** @type {{number: number, packets: number, received: number, firstAt: number, lastAt: number} | null} */
  #train = null;
  #reportedAt = -Infinity;

  /** @param {number} now @param {{train: number, packets: number}} probe */
  received(now, { train: number, packets }) {
    if (this.#train?.number === number) {
      this.#train.received = Math.min(this.#train.received + 1, MOST_PACKETS);
      this.#train.lastAt = now;
    } else {
      this.#train = { number, packets, received: 1, firstAt: now, lastAt: now };
    }
  }

  /**
   * @param {number} now
   * @returns {{train: number, received: number, spanUs: number} | null} when the train is complete or late
   */
  report(now) {
    const train = this.#train;
    if (!train || (train.received < train.packets && now < train.firstAt + TRAIN_TIMEOUT_MS))
      return null;
    this.#train = null;
    if (now < this.#reportedAt + TRAIN_INTERVAL_MS) return null;
    this.#reportedAt = now;
    const spanUs = Math.min(Math.round((train.lastAt - train.firstAt) * 1000), 0xffffffff);
    return { train: train.number, received: train.received, spanUs };
  }
}
