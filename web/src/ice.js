/** STUN and TURN servers as the server names them, without those that this browser cannot use. */

/**
 * A browser refuses a whole list for one entry. So each is tried alone, and one that is refused is left out.
 * @param {RTCIceServer[]} servers
 * @param {(servers: RTCIceServer[]) => void} attempt throws for what cannot be used
 * @returns {{usable: RTCIceServer[], dropped: string[]}} `dropped`: the URLs that were left out
 */
export function usableServers(servers, attempt = tryConnection) {
  try {
    attempt(servers);
    return { usable: servers, dropped: [] };
  } catch {
    /** @type {RTCIceServer[]} */
    const usable = [];
    /** @type {string[]} */
    const dropped = [];
    for (const server of servers) {
      for (const url of [server.urls].flat()) {
        try {
          attempt([{ ...server, urls: [url] }]);
          usable.push({ ...server, urls: [url] });
        } catch {
          dropped.push(url);
        }
      }
    }
    return { usable, dropped };
  }
}

/** @param {RTCIceServer[]} iceServers */
function tryConnection(iceServers) {
  new RTCPeerConnection({ iceServers }).close();
}

/**
 * Whether a candidate (RFC 8839, section 5.1) is for UDP and names one machine: packets to groups of them, or to all machines of a
 * network, are not sent for another peer.
 * @param {string} candidate
 */
export function leadsToOneMachine(candidate) {
  const [, , transport = '', , address = ''] = candidate.replace(/^candidate:/, '').split(' ');
  if (!/^udp$/i.test(transport) || address === '' || address === '::') return false;
  const first = /^\d+\.\d+\.\d+\.\d+$/.test(address)
    ? parseInt(address, 10)
    : (/^::ffff:(\d+)\./i.exec(address)?.[1] ?? 1);
  return Number(first) > 0 && Number(first) < 224 && !/^ff[0-9a-f]{2}:/i.test(address);
}

/** Whether TURN works for one connection: an error alone says little, since not every interface has a way to the server. */
export class TurnWatch {
  #error = 0;
  #hasAddress = false;

  /**
   * @param {RTCPeerConnectionIceErrorEvent} event
   * @returns {boolean} whether this is the first error of TURN: look at `failure` a little later
   */
  error({ url, errorCode }) {
    if (this.#error > 0 || !/^turns?:/i.test(url ?? '') || errorCode < 400) return false;
    this.#error = errorCode;
    return true;
  }

  /** @param {RTCIceCandidate | null} candidate */
  candidate(candidate) {
    if (candidate?.type === 'relay') this.#hasAddress = true;
  }

  /** The error's code (RFC 8656, or 701 for no answer) if no TURN server has given an address. */
  get failure() {
    return this.#error > 0 && !this.#hasAddress ? this.#error : null;
  }
}
