/** A TURN server that refuses everybody: it answers each request for an allocation with 401 (RFC 8656, section 7.2). */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const ALLOCATE = 0x0003;
const ALLOCATE_ERROR = 0x0113;
const [ERROR_CODE, REALM, NONCE] = [0x0009, 0x0014, 0x0015];

/** @param {number} type @param {Buffer} value */
function attribute(type, value) {
  const padded = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
  padded.writeUInt16BE(type, 0);
  padded.writeUInt16BE(value.length, 2);
  value.copy(padded, 4);
  return padded;
}

/** @returns {Promise<{url: string, close: () => void}>} */
export async function refusingTurn() {
  const socket = createSocket('udp4');
  socket.on('message', (request, { port, address }) => {
    if (request.length < 20 || request.readUInt16BE(0) !== ALLOCATE) return;
    const body = Buffer.concat([
      attribute(ERROR_CODE, Buffer.from([0, 0, 4, 1, ...Buffer.from('Unauthorized')])),
      attribute(REALM, Buffer.from('voicemesh.test')),
      attribute(NONCE, Buffer.from('nonce')),
    ]);
    const head = Buffer.from(request.subarray(0, 20));
    head.writeUInt16BE(ALLOCATE_ERROR, 0);
    head.writeUInt16BE(body.length, 2);
    socket.send(Buffer.concat([head, body]), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { url: `turn:127.0.0.1:${socket.address().port}`, close: () => socket.close() };
}
