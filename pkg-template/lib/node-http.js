// The transport of Node: node:http(s) with kept-alive connections. A third of the CPU of the global fetch, half of
// its memory, and ready in a fifth of its time (measured: bench/).
//
// `process.getBuiltinModule` instead of `import`: bundlers leave it alone, and nothing is loaded before it is used.

import { answered, ERROR_BODY_LIMIT, isRaw, pump, sizeOf, wholeBody } from './content.js';
import { proxyFor, tunnelAgent } from './node-proxy.js';
import { now, releaseLimit, restartLimit, startLimit } from './node-timers.js';

const builtin = (name) => process.getBuiltinModule(name);

const agents = new Map();

// Idle sockets are unreferenced by Node's agent: they keep no process alive.
const keepAlive = { keepAlive: true, maxFreeSockets: 32, scheduling: 'lifo' };

const agentFor = (secure, proxy) => {
  const key = secure ? `https ${proxy?.href ?? ''}` : 'http';
  let agent = agents.get(key);
  if (!agent) {
    if (secure) agent = proxy ? tunnelAgent(proxy, keepAlive) : new (builtin('node:https').Agent)(keepAlive);
    else agent = new (builtin('node:http').Agent)(keepAlive);
    agents.set(key, agent);
  }
  return agent;
};

/** What is known of an origin, so that no URL is parsed for a call. */
const origins = new Map();

const ORIGINS = 32;

// What `new URL` would leave as it is.
const PLAIN = /^\/[\w\-.~%!$&'()*+,;=:@/?]*$/;

const originOf = (text) => {
  let origin = origins.get(text);
  if (!origin) {
    const url = new URL(text);
    const secure = url.protocol === 'https:';
    origin = { url, host: url.host, direct: routeTo(url, secure, agentFor(secure)) };
    if (origins.size >= ORIGINS) origins.clear();
    origins.set(text, origin);
  }
  return origin;
};

/** When the last request ended. */
let lastEnd = Number.POSITIVE_INFINITY;
/** Milliseconds without one after which a kept connection may have been closed by the server. Few servers keep one for less. */
const RESTED = 1000;

/**
 * Begins a request. A process that was busy meanwhile does not know yet what was closed, and would write into it: a turn of the loop tells,
 * and another one takes what was closed from the agent.
 */
const begin = (start) => {
  if (now() - lastEnd < RESTED) return start();
  const { setImmediate } = builtin('node:timers');
  setImmediate(() => setImmediate(start));
};

/** A connection: its module and agent, and what it leads to. */
const routeTo = (url, secure, agent) => ({
  client: builtin(secure ? 'node:https' : 'node:http'),
  secure,
  agent,
  hostname: url.hostname.replace(/^\[|\]$/g, ''), // an IPv6 address as `http.request` takes it
  port: url.port || (secure ? 443 : 80),
});

const pathOf = (address, cut) => {
  const path = cut < 0 ? '/' : address.slice(cut);
  if (PLAIN.test(path) && !path.includes('/.')) return path;
  const url = new URL(address);
  return url.pathname + url.search;
};

/** Where a request goes, and by which way. The environment decides anew each time: programs change it. */
const plan = (address) => {
  const cut = address.indexOf('/', address.indexOf('//') + 2);
  const { url, host, direct } = originOf(cut < 0 ? address : address.slice(0, cut));
  const path = pathOf(address, cut);
  const proxy = proxyFor(url);
  if (!proxy) return { route: direct, host, path, authorization: undefined };
  if (direct.secure)
    return { route: { ...direct, agent: agentFor(true, proxy) }, host, path, authorization: undefined };
  // A proxy reads the whole URL of a plain request.
  const secure = proxy.protocol === 'https:';
  const { authorization } = proxy;
  return { route: routeTo(proxy, secure, agentFor(secure)), host, path: `${url.origin}${path}`, authorization };
};

/**
 * Sends one request and gives what ends it. `head` is "DECODER\nMETHOD\nURL\nname\nvalue\n...".
 *
 * `settled` is called once, unless the request was ended: with `{ status, answer }` (2xx), `{ status, text }` (any other
 * status), both with the few headers that matter, or `{ phase, timedOut, message, cause }` when no whole answer came. `phase` is how far it
 * got: connect, write, read, protocol, or decode when the answer came and was not what it should be.
 *
 * `content` is `{ value }` of content.js, sent instead of `body`. When it is there, or the answer's bytes are wanted as they
 * are (`#...`), the time limit is for silence, not for the whole.
 */
export const exchange = (head, body, content, timeoutMs, tools, settled) => {
  // Raw headers: Node then adds none by itself, and builds no map of them.
  const headers = head.split('\n');
  const decoder = headers[0];
  const method = headers[1];
  let request;
  let limit;
  let connected = false;
  let responded = false;
  // Only reads may be sent twice.
  let again = method === 'GET';
  let done = false;
  const phase = () => (!connected ? 'connect' : responded || request.writableFinished ? 'read' : 'write');
  const finish = (outcome) => {
    if (done) return;
    done = true;
    lastEnd = now();
    if (limit) releaseLimit(limit);
    limit = request = undefined;
    settled(outcome);
  };
  const fail = (error, reached) => {
    if (done) return;
    const known = reached ?? (String(error.code).startsWith('HPE_') ? 'protocol' : phase());
    finish({ phase: known, timedOut: false, message: describe(error, known), cause: error });
  };
  const silence = content !== undefined || isRaw(decoder);
  const alive = () => {
    if (silence && limit) restartLimit(limit);
  };

  let route;
  let options;
  try {
    const way = plan(headers[2]);
    route = way.route;
    headers.shift();
    headers[0] = 'Host';
    headers[1] = way.host;
    if (way.authorization) headers.push('Proxy-Authorization', way.authorization);
    const size = content ? sizeOf(content.value) : body === undefined ? undefined : Buffer.byteLength(body);
    if (size !== undefined) headers.push('Content-Length', String(size));
    else if (content) headers.push('Transfer-Encoding', 'chunked');
    else if (method !== 'GET' && method !== 'HEAD') headers.push('Content-Length', '0');
    options = { agent: route.agent, host: route.hostname, port: route.port, path: way.path, method, headers };
    // Only then: a property more costs a call in clear two percent, as does `protocol`, which the module knows.
    if (route.secure) options.servername = hostName(route.hostname);
  } catch (error) {
    fail(error, 'connect');
    return undefined;
  }

  const start = () => {
    if (done) return;
    let sent;
    try {
      sent = route.client.request(options);
    } catch (error) {
      fail(error, 'connect');
      return;
    }
    request = sent;
    // A kept connection is there at once.
    connected = sent.reusedSocket;
    if (!connected)
      sent.on('socket', (socket) => {
        if (!socket.connecting) connected = true;
        else socket.once(route.secure ? 'secureConnect' : 'connect', () => (connected = true));
      });
    sent.on('error', (error) => {
      // The server closed a kept connection just as it was used again: nobody read this request.
      if (
        again &&
        sent.reusedSocket &&
        !done &&
        !responded &&
        (error.code === 'ECONNRESET' || error.code === 'EPIPE')
      ) {
        again = false;
        start();
      } else fail(error);
    });
    sent.on('response', (response) => {
      responded = true;
      const handed = read(response, decoder, tools, alive, finish, fail);
      // A server that refuses what is still being sent is not sent the rest.
      if (!handed && content && !sent.writableFinished) response.once('close', () => sent.destroy());
    });
    if (content) send(sent, content, alive, fail);
    else sent.end(body);
  };

  const late = () => {
    const open = request;
    const reached = phase();
    const what =
      reached === 'connect' ? 'no connection within' : silence ? 'nothing moved for' : 'no whole answer within';
    finish({ phase: reached, timedOut: true, message: `${what} ${timeoutMs / 1000} s` });
    open?.destroy();
  };
  if (timeoutMs > 0 && timeoutMs <= 0x7fffffff) limit = startLimit(timeoutMs, late);
  begin(start);

  return () => {
    if (done) return;
    done = true;
    if (limit) releaseLimit(limit);
    request?.destroy();
  };
};

/** Sends content, no faster than the connection takes it. */
const send = (request, content, alive, fail) => {
  const drained = () =>
    new Promise((resolve) => {
      const go = () => {
        for (const event of ['drain', 'close']) request.off(event, go);
        resolve();
      };
      for (const event of ['drain', 'close']) request.on(event, go);
    });
  pump(content, async (bytes) => {
    if (request.destroyed) throw new Error('the connection was closed');
    alive();
    if (!request.write(bytes)) await drained();
    alive();
  }).then(
    () => request.end(),
    (error) => {
      // What the source threw; anything else the request has said already.
      if (content.thrown !== undefined) fail(error instanceof Error ? error : new Error(String(error)));
      request.destroy();
    },
  );
};

/** How a request ended. The headers of an answer are looked for when somebody asks: mostly nobody does. */
class Outcome {
  constructor(response) {
    this.status = response.statusCode;
    this.answer = undefined;
    this.phase = undefined;
    this.message = undefined;
    this.text = undefined;
    this.rawHeaders = response.rawHeaders;
  }

  get requestId() {
    return headerOf(this.rawHeaders, 'x-request-id');
  }
  get retryAfter() {
    return headerOf(this.rawHeaders, 'retry-after');
  }
  get dispatchProof() {
    return headerOf(this.rawHeaders, 'x-nullspace-dispatch-proof');
  }
}

/** A header, the first of its name. `headers` of Node would make a map of all. */
const headerOf = (raw, name) => {
  for (let index = 0; index < raw.length; index += 2)
    if (raw[index].length === name.length && raw[index].toLowerCase() === name) return raw[index + 1];
  return undefined;
};

/** Reads the answer; whether its body was handed over as a stream. */
const read = (response, decoder, { decode, streamError }, alive, finish, fail) => {
  const outcome = new Outcome(response);
  const good = outcome.status >= 200 && outcome.status < 300;
  if (good && decoder === '#stream') {
    outcome.answer = streamOf(response, streamError);
    finish(outcome);
    return true;
  }
  const chunks = [];
  let size = 0;
  const end = () => {
    if (good && isRaw(decoder)) answered(outcome, () => wholeBody(decoder, chunks));
    else {
      const text = chunks.length === 1 ? chunks[0].toString() : Buffer.concat(chunks).toString();
      if (!good) outcome.text = text;
      else if (decoder !== '') answered(outcome, () => decode(decoder, text));
    }
    finish(outcome);
  };
  response.on('data', (chunk) => {
    alive();
    size += chunk.length;
    chunks.push(chunk);
    if (good || size <= ERROR_BODY_LIMIT) return;
    response.destroy();
    end();
  });
  response.on('end', () => {
    if (response.complete) end();
    else fail(new Error('the answer ended early'));
  });
  response.on('error', fail);
  return false;
};

/** Until a body that was handed over must go on. Milliseconds; PROTOCOL.md section 1. */
const SILENCE_MS = 300_000;
/** Bytes that wait for the reader. */
const AHEAD = 1 << 18;

/** The body as a web stream that pauses the connection, ends only when all of it came, and cancels it. */
const streamOf = (response, streamError) => {
  // Nothing may be done to a controller that is closed: pieces can still be on their way then.
  let over = false;
  const end = (act) => {
    if (over) return;
    over = true;
    act();
  };
  return new ReadableStream(
    {
      start(controller) {
        response.setTimeout?.(SILENCE_MS, () =>
          response.destroy(new Error(`nothing moved for ${SILENCE_MS / 1000} s`)),
        );
        response.on('data', (chunk) => {
          if (over) return;
          controller.enqueue(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
          if (controller.desiredSize <= 0) response.pause();
        });
        response.once('end', () => {
          if (response.complete) end(() => controller.close());
          else end(() => controller.error(streamError('the answer ended early')));
        });
        // `on`: a second error after the first must have a listener too.
        response.on('error', (error) => end(() => controller.error(streamError(describe(error, 'read'), error))));
        response.once('close', () => end(() => controller.error(streamError('the connection was closed'))));
        response.pause();
      },
      pull() {
        response.resume();
      },
      cancel() {
        over = true;
        response.destroy();
      },
    },
    { highWaterMark: AHEAD, size: (chunk) => chunk.length },
  );
};

// No server name is sent for addresses.
const hostName = (name) => (builtin('node:net').isIP(name) ? '' : name);

const describe = (error, phase) => {
  if (error instanceof AggregateError && error.errors?.length > 0)
    return error.errors.map((one) => one.message).join(', ');
  if (error.message === 'aborted') return 'the connection was closed before the whole answer had come';
  if (phase === 'protocol') return `the answer is no valid HTTP: ${error.message}`;
  return error.message || String(error.code);
};
