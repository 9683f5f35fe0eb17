/**
 * How this member takes part, told to the server when it changes and at most four times a second (PROTOCOL.md, section 4).
 * Pure: told the time in ms.
 */

import { status as statusMessage } from './messages.js';

/** @typedef {import('./mesh.js').Mesh} Mesh */
/** @typedef {import('./messages.js').Status} Status */

const INTERVAL_MS = 250;

export class OwnStatus {
  #told = '{}';
  #inJoin = '{}';
  #toldAt = -Infinity;

  /** @param {Mesh} mesh */
  constructor(mesh) {
    this.mesh = mesh;
  }

  /** @param {Status} status only what is true */
  set(status) {
    this.mesh.config.status = status;
  }

  /** A join with it is sent. */
  joining() {
    this.#inJoin = JSON.stringify(this.mesh.config.status ?? {});
  }

  /** A join is answered: what has changed since it was sent is sent again. */
  joined() {
    this.#told = this.#inJoin;
  }

  /** @param {number} now */
  tick(now) {
    const { config, serverTakesStatus, signaling } = this.mesh;
    const status = config.status ?? {};
    const text = JSON.stringify(status);
    if (
      text === this.#told ||
      !serverTakesStatus ||
      !signaling.isJoined ||
      now < this.#toldAt + INTERVAL_MS
    )
      return;
    [this.#told, this.#toldAt] = [text, now];
    signaling.send(statusMessage(status));
  }
}
