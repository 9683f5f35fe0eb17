/**
 * In rooms with a key, descriptions of links carry a tag over the fingerprint of the DTLS certificate (PROTOCOL.md, section
 * 18), so that no server puts its own end into a link.
 *
 * @typedef {import('./messages.js').Signal} Signal
 */

import { fromBase64Url, toBase64Url } from './base64.js';

/** The last line of a description, before the tag. */
const TAG = 'a=voicemesh-tag:';
const FINGERPRINT = 'a=fingerprint:';
const FINGERPRINT_BYTES = 32;

/**
 * A signal with the tag if it is a description. Without a fingerprint there is none, and the other end takes it for forged.
 * @param {Signal} signal @param {(fingerprint: Uint8Array) => Uint8Array | null} tagOf @returns {Signal}
 */
export function tagged(signal, tagOf) {
  if (signal.kind !== 'offer' && signal.kind !== 'answer') return signal;
  const { kind, sdp } = signal;
  const fingerprint = fingerprintOf(sdp);
  const tag = fingerprint && tagOf(fingerprint);
  if (!tag) return signal;
  return { kind, sdp: `${sdp}${sdp.endsWith('\n') ? '' : '\r\n'}${TAG}${toBase64Url(tag)}\r\n` };
}

/**
 * A signal without its tag; null if it is a description whose tag is not the member's.
 * @param {Signal} signal @param {(fingerprint: Uint8Array, tag: Uint8Array) => boolean} verifies @returns {Signal | null}
 */
export function authenticated(signal, verifies) {
  if (signal.kind !== 'offer' && signal.kind !== 'answer') return signal;
  const { kind, sdp } = signal;
  const at = sdp.lastIndexOf(TAG);
  if (at < 1 || sdp[at - 1] !== '\n') return null;
  const description = sdp.slice(0, at);
  const tag = fromBase64Url(sdp.slice(at + TAG.length).trimEnd());
  const fingerprint = fingerprintOf(description);
  return tag && fingerprint && verifies(fingerprint, tag) ? { kind, sdp: description } : null;
}

/**
 * The one certificate that a description names (RFC 8122, section 5), by SHA-256. Null if it names several, or in a way that
 * another reader could take differently. @param {string} sdp
 */
function fingerprintOf(sdp) {
  const named = sdp
    .split('\n')
    .filter((line) => line.startsWith(FINGERPRINT))
    .map((line) => line.slice(FINGERPRINT.length).trimEnd());
  const mentioned = sdp.toLowerCase().split('fingerprint').length - 1;
  const all = named.map(octets);
  const [first] = all;
  const isOne =
    first &&
    mentioned === all.length &&
    all.every((one) => one?.every((octet, at) => octet === first[at]));
  return isOne ? first : null;
}

/** `sha-256 AB:CD:…`, as every stack writes it. @param {string} text */
function octets(text) {
  const match = /^sha-256 ((?:[0-9a-f]{2}:){31}[0-9a-f]{2})$/i.exec(text);
  if (!match || !text.startsWith('sha-256 ')) return null;
  const found = match[1].split(':').map((octet) => parseInt(octet, 16));
  return found.length === FINGERPRINT_BYTES ? Uint8Array.from(found) : null;
}
