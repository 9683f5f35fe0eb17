/** A reverse proxy between browser and server that can be configured wrongly, and changed while it runs. */

import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';

/**
 * @typedef {object} Behaviour
 * @property {string} [strip] the path that is removed
 * @property {string} [host] the Host that the server gets; the browser's own if not said
 * @property {boolean} [upgrade] whether WebSockets are passed on
 * @property {number} [status] answered by the proxy itself
 * @property {string} [location] where that sends the browser
 */

export class Proxy {
  /** @type {Behaviour} */
  behaviour = {};
  /** @type {Set<import('node:net').Socket>} */
  #sockets = new Set();

  /** @param {string} upstream host and port */
  constructor(upstream) {
    this.upstream = upstream;
    this.server = createServer((from, to) => this.#pass(from, to));
    this.server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {});
    });
    this.server.on('upgrade', (from, socket) =>
      this.#upgrade(from, /** @type {import('node:net').Socket} */ (socket)),
    );
  }

  /** @param {string} upstream @param {Behaviour} behaviour */
  static async start(upstream, behaviour) {
    const proxy = new Proxy(upstream);
    proxy.behaviour = behaviour;
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    return proxy;
  }

  get url() {
    const address = this.server.address();
    return `http://127.0.0.1:${address && typeof address === 'object' ? address.port : 0}`;
  }

  /** Behaves differently from now on, and ends what is open. @param {Behaviour} behaviour */
  change(behaviour) {
    this.behaviour = behaviour;
    for (const socket of this.#sockets) socket.destroy();
  }

  close() {
    this.server.close();
    this.change({});
  }

  /** @param {import('node:http').IncomingMessage} from */
  #head(from) {
    const { strip = '', host = from.headers.host } = this.behaviour;
    const path = from.url?.startsWith(strip) ? from.url.slice(strip.length) : from.url;
    return { path: path || '/', headers: { ...from.headers, host } };
  }

  /** @param {import('node:http').IncomingMessage} from @param {import('node:http').ServerResponse} to */
  #pass(from, to) {
    if (this.behaviour.status) {
      const { location } = this.behaviour;
      to.writeHead(this.behaviour.status, location ? { location } : {}).end('proxy\n');
      return;
    }
    const { path, headers } = this.#head(from);
    const [hostname, port] = this.upstream.split(':');
    const passed = request({ hostname, port, path, headers, method: from.method }, (answer) => {
      to.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(to);
    });
    passed.on('error', () => to.writeHead(502).end('proxy\n'));
    from.pipe(passed);
  }

  /** @param {import('node:http').IncomingMessage} from @param {import('node:net').Socket} socket */
  #upgrade(from, socket) {
    const { path, headers } = this.#head(from);
    const [hostname, port] = this.upstream.split(':');
    const refuse = (/** @type {number | undefined} */ status) =>
      socket.end(`HTTP/1.1 ${status} refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    if (this.behaviour.status) {
      refuse(this.behaviour.status);
    } else if (this.behaviour.upgrade === false) {
      const { upgrade, connection, ...rest } = headers;
      const passed = request({ hostname, port, path, headers: rest }, (answer) => {
        answer.resume();
        refuse(answer.statusCode);
      });
      passed.on('error', () => refuse(502));
      passed.end();
    } else {
      const passed = connect(Number(port), hostname, () => {
        const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
        passed.write(`GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
        passed.pipe(socket).pipe(passed);
      });
      passed.on('error', () => socket.destroy());
      socket.on('close', () => passed.destroy());
    }
  }
}
