/** Base64url without padding (RFC 4648, section 5). */

/** @param {Uint8Array} bytes */
export const toBase64Url = (bytes) =>
  // Not all at once as arguments, of which there may be so many only.
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

/** Null for anything else, also for a text with bits beyond its last byte. @param {string} text */
export function fromBase64Url(text) {
  if (!/^[\w-]*$/.test(text) || text.length % 4 === 1) return null;
  const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) =>
    letter.charCodeAt(0),
  );
  return toBase64Url(bytes) === text ? bytes : null;
}
