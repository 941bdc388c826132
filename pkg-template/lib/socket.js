// WebSockets: the runtime's own, the caller's, or what an entry brings (Node: `ws`). Frames are parsed here and queued;
// Rust asks for them one by one.

import { base64Of } from './content.js';

/** Queued text beyond this pauses a socket that can be paused, below half of it goes on: what a slow reader holds. Characters. */
const HIGH = 1 << 20;
/** A socket that cannot be paused is closed beyond this: memory must not grow without end. Characters. */
const OVERFLOW = 64 << 20;
/** Bytes under way beyond which sending waits. */
const SENDING = 1 << 20;
/** A connection that answers no ping is dead. Milliseconds; PROTOCOL.md section 1. */
const PING_MS = 20_000;

/** Until a server that does not answer a close is left alone. */
const CLOSE_MS = 2000;

/** Base64url without padding, as the engine reads the key (PROTOCOL.md section 14). */
const base64url = (text) =>
  base64Of(new TextEncoder().encode(text)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');

/**
 * Opens a socket. `headers` is "name\nvalue\n...", used where the runtime allows headers.
 *
 * The promise never rejects: it resolves with `{ socket }`, `{ status, body, requestId }` when the server refused and
 * the runtime tells it, or `{ message, unusable }`.
 */
export const openSocket = (url, key, headers, timeoutMs, { own, library }) => {
  const address = url.replace(/^http/i, 'ws');
  let raw;
  let done = false;
  let settle;
  const promise = new Promise((resolve) => {
    settle = resolve;
  });
  const finish = (outcome) => {
    if (done) return;
    done = true;
    clearTimeout(timer);
    settle(outcome);
  };
  const timer = setTimeout(() => {
    finish({ message: `the WebSocket was not open within ${timeoutMs / 1000} s` });
    end(raw);
  }, timeoutMs);
  try {
    const brought = own ? undefined : library?.();
    const Type = own ?? brought ?? globalThis.WebSocket;
    if (typeof Type !== 'function')
      throw Object.assign(
        new Error(
          'is needed here: this runtime has no WebSocket, so pass a constructor such as that of the package `ws`',
        ),
        {
          unusable: true,
        },
      );
    if (Type !== brought) {
      raw = new Type(address, ['nullspace.v1', `nullspace.bearer.${base64url(key)}`]);
    } else {
      const fields = { authorization: `Bearer ${key}` };
      const parts = headers === '' ? [] : headers.split('\n');
      for (let index = 0; index < parts.length; index += 2) fields[parts[index]] = parts[index + 1];
      raw = new Type(address, { headers: fields, perMessageDeflate: false, followRedirects: false });
      refusals(raw, finish);
    }
  } catch (error) {
    finish({
      message: error.unusable ? error.message : `could not be opened: ${error.message}`,
      unusable: error.unusable ?? error.name === 'TypeError',
    });
    return { promise, cancel() {} };
  }
  const socket = new Socket(raw);
  raw.addEventListener('open', () => {
    if (done) return end(raw);
    socket.opened();
    finish({ socket });
  });
  raw.addEventListener('error', (event) => {
    const told = event?.message ?? event?.error?.message;
    finish({
      message:
        told ||
        'the WebSocket could not be opened; the runtime does not say why (a wrong key, a page whose origin the server does not admit, or no server)',
    });
  });
  raw.addEventListener('close', ({ code }) =>
    finish({ message: `the WebSocket was closed before it was open (${code})` }),
  );
  return {
    promise,
    cancel() {
      finish({ message: 'cancelled' });
      socket.close();
    },
  };
};

/** `ws` tells what the server answered instead of opening. */
const refusals = (raw, finish) =>
  raw.on('unexpected-response', (request, response) => {
    let body = '';
    response.setEncoding('utf8');
    const end = () => {
      finish({ status: response.statusCode, body, requestId: response.headers['x-request-id'] });
      request.destroy();
    };
    response.on('data', (text) => {
      body += text;
      if (body.length > 65_536) end();
    });
    response.on('end', end);
    response.on('error', end);
    response.on('close', end);
  });

const end = (raw) => {
  try {
    if (raw?.terminate && raw.readyState === 0) raw.terminate();
    else raw?.close();
    // A server that does not answer the close must not keep a process alive.
    if (raw?.terminate && raw.readyState !== 3) setTimeout(() => raw.terminate(), CLOSE_MS).unref?.();
  } catch {
    // It was not open yet: then closing it is enough of an end.
  }
};

class Socket {
  #raw;
  #frames = [];
  #sizes = [];
  #queued = 0;
  #paused = false;
  #waiting;
  #closed;
  #heart;
  #alive = true;

  constructor(raw) {
    this.#raw = raw;
    raw.addEventListener('message', ({ data }) => this.#take(data));
    raw.addEventListener('close', ({ code, reason }) =>
      this.#ended(`the connection was closed (${code}${reason ? `, ${reason}` : ''})`, { clean: code === 1000 }),
    );
    raw.addEventListener('error', () => {});
  }

  /** Only `ws` can ping; where it cannot be done the server's pings and TCP find out. */
  opened() {
    if (typeof this.#raw.ping !== 'function' || typeof this.#raw.on !== 'function') return;
    this.#raw.on('pong', () => (this.#alive = true));
    this.#heart = setInterval(() => {
      // A paused socket reads no pong.
      if (this.#paused) return;
      if (!this.#alive) {
        this.#ended(`the server answered no ping within ${PING_MS / 1000} s`);
        this.#raw.terminate();
        return;
      }
      this.#alive = false;
      this.#raw.ping();
    }, PING_MS);
    this.#heart.unref?.();
  }

  #take(data) {
    if (this.#closed) return;
    let frame;
    try {
      frame = JSON.parse(data);
      if (frame === null || typeof frame !== 'object') throw new TypeError('no object');
    } catch {
      this.#ended('the server sent a frame that is no JSON object');
      this.close();
      return;
    }
    this.#alive = true;
    if (this.#waiting) {
      this.#waiting({ frame });
      return;
    }
    this.#frames.push(frame);
    this.#sizes.push(data.length);
    this.#queued += data.length;
    if (typeof this.#raw.pause === 'function') {
      if (!this.#paused && this.#queued > HIGH) {
        this.#paused = true;
        this.#raw.pause();
      }
    } else if (this.#queued > OVERFLOW) {
      this.#ended(
        `more than ${OVERFLOW >> 20} MiB were waiting to be read, and this runtime's WebSocket cannot be paused: read faster`,
        { overflow: true },
      );
      this.close();
    }
  }

  #ended(reason, how) {
    if (this.#closed) return;
    this.#closed = { closed: reason, ...how };
    clearInterval(this.#heart);
    this.#waiting?.(this.#closed);
  }

  /** `{ frame }` or `{ closed, overflow, clean }`; never rejects. Frames that came before the end are given first. */
  next(limitMs) {
    if (this.#frames.length > 0) {
      const frame = this.#frames.shift();
      this.#queued -= this.#sizes.shift();
      if (this.#paused && this.#queued < HIGH / 2) {
        this.#paused = false;
        this.#alive = true;
        this.#raw.resume();
      }
      return Promise.resolve({ frame });
    }
    if (this.#closed) return Promise.resolve(this.#closed);
    return new Promise((resolve) => {
      let timer;
      const settle = (outcome) => {
        this.#waiting = undefined;
        clearTimeout(timer);
        resolve(outcome);
      };
      this.#waiting = settle;
      if (limitMs > 0 && limitMs <= 0x7fffffff)
        timer = setTimeout(() => settle({ closed: `nothing came within ${limitMs / 1000} s` }), limitMs);
    });
  }

  /** `undefined`, or why it was not sent. */
  async send(text) {
    while (!this.#closed && this.#raw.bufferedAmount > SENDING) await new Promise((resolve) => setTimeout(resolve, 5));
    if (this.#closed || this.#raw.readyState !== 1) return this.#closed?.closed ?? 'the connection is closed';
    this.#raw.send(text);
    return undefined;
  }

  close(last) {
    try {
      if (last !== undefined && this.#raw.readyState === 1) this.#raw.send(last);
    } catch {
      // The other side is gone: nothing can be told any more.
    }
    this.#frames = [];
    this.#sizes = [];
    this.#ended('the connection was closed from this side');
    if (this.#paused) this.#raw.resume?.();
    end(this.#raw);
  }
}
