// The transport of Node: node:http(s) with kept-alive connections. A third of the CPU of the global fetch, half of
// its memory, and ready in a fifth of its time (measured: bench/).
//
// `process.getBuiltinModule` instead of `import`: bundlers leave it alone, and nothing is loaded before it is used.

import { answered, ERROR_BODY_LIMIT, isRaw, pump, sizeOf, wholeBody } from './content.js';
import { proxyFor, tunnelAgent } from './node-proxy.js';
import { releaseLimit, restartLimit, startLimit } from './node-timers.js';

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
    origin = { url, secure, host: url.host, hostname: unbracketed(url), port: portOf(url) };
    if (origins.size >= ORIGINS) origins.clear();
    origins.set(text, origin);
  }
  return origin;
};

/** An IPv6 address as `http.request` takes it. */
const unbracketed = ({ hostname }) => hostname.replace(/^\[|\]$/g, '');

const portOf = ({ port, protocol }) => port || (protocol === 'https:' ? 443 : 80);

/** Where a request goes, and by which way. The environment decides anew each time: programs change it. */
const plan = (address) => {
  const cut = address.indexOf('/', address.indexOf('//') + 2);
  let path = cut < 0 ? '/' : address.slice(cut);
  if (!PLAIN.test(path) || path.includes('/.')) {
    const url = new URL(address);
    path = url.pathname + url.search;
  }
  const { url, secure, host, hostname, port } = originOf(cut < 0 ? address : address.slice(0, cut));
  const proxy = proxyFor(url);
  if (proxy && !secure) {
    // A proxy reads the whole URL of a plain request.
    const through = proxy.protocol === 'https:';
    return {
      secure: through,
      agent: agentFor(through),
      host,
      hostname: unbracketed(proxy),
      port: portOf(proxy),
      path: `${url.origin}${path}`,
      authorization: proxy.authorization,
    };
  }
  return { secure, agent: agentFor(secure, proxy), host, hostname, port, path, authorization: undefined };
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
export const exchange = (head, body, content, timeoutMs, { decode, streamError, done: settled }) => {
  const [decoder, method, address, ...fields] = head.split('\n');
  let request;
  let phase = () => 'connect';
  let done = false;
  let limit;
  const unlimited = () => {
    if (limit) releaseLimit(limit);
    limit = undefined;
  };
  const finish = (outcome) => {
    if (done) return;
    done = true;
    unlimited();
    request = undefined;
    settled(outcome);
  };

  const start = (mayRepeat) => {
    let way;
    try {
      way = plan(address);
    } catch (error) {
      finish({ phase: 'connect', timedOut: false, message: error.message, cause: error });
      return;
    }
    // Raw headers: Node then adds none by itself, and builds no map of them.
    const headers = ['Host', way.host, ...fields];
    if (way.authorization) headers.push('Proxy-Authorization', way.authorization);
    const size = content ? sizeOf(content.value) : undefined;
    if (size !== undefined) headers.push('Content-Length', String(size));
    else if (content) headers.push('Transfer-Encoding', 'chunked');
    else if (body !== undefined) headers.push('Content-Length', String(Buffer.byteLength(body)));
    else if (method !== 'GET' && method !== 'HEAD') headers.push('Content-Length', '0');

    const client = builtin(way.secure ? 'node:https' : 'node:http');
    let sent;
    let connected = false;
    let written = false;
    let responded = false;
    const fail = (error) => {
      if (done) return;
      // The server closed a kept connection just as it was used again: nobody read this request.
      if (mayRepeat && sent.reusedSocket && !responded && (error.code === 'ECONNRESET' || error.code === 'EPIPE')) {
        start(false);
        return;
      }
      const protocol = String(error.code).startsWith('HPE_');
      const reached = protocol ? 'protocol' : !connected ? 'connect' : responded || written ? 'read' : 'write';
      finish({ phase: reached, timedOut: false, message: describe(error, reached), cause: error });
    };
    try {
      const options = {
        agent: way.agent,
        host: way.hostname,
        port: way.port,
        path: way.path,
        method,
        headers,
      };
      // Only then: a property more costs a call in clear two percent, as does `protocol`, which the module knows.
      if (way.secure) options.servername = hostName(way.hostname);
      request = sent = client.request(options);
    } catch (error) {
      finish({ phase: 'connect', timedOut: false, message: error.message, cause: error });
      return;
    }
    // No property of the request: one more shape of that object makes the engine keep requests, and their answers, for long.
    phase = () => (!connected ? 'connect' : written ? 'read' : 'write');
    // A kept connection is there at once.
    if (sent.reusedSocket) connected = true;
    else
      sent.on('socket', (socket) => {
        if (!socket.connecting) connected = true;
        else socket.once(way.secure ? 'secureConnect' : 'connect', () => (connected = true));
      });
    sent.on('finish', () => (written = true));
    sent.on('error', fail);
    sent.on('response', (response) => {
      responded = true;
      const handed = read(response, decoder, { decode, streamError, alive }, finish, fail);
      // A server that refuses what is still being sent is not sent the rest.
      if (!handed && content && !written) response.once('close', () => sent.destroy());
    });
    if (content) send(sent, content, alive, fail);
    else sent.end(body);
  };

  const silence = content !== undefined || isRaw(decoder);
  const late = () => {
    const open = request;
    const reached = phase();
    const what =
      reached === 'connect' ? 'no connection within' : silence ? 'nothing moved for' : 'no whole answer within';
    finish({ phase: reached, timedOut: true, message: `${what} ${timeoutMs / 1000} s` });
    open?.destroy();
  };
  const alive = () => {
    if (silence && limit) restartLimit(limit);
  };
  if (timeoutMs > 0 && timeoutMs <= 0x7fffffff) limit = startLimit(timeoutMs, late);
  start(method === 'GET');

  return () => {
    if (done) return;
    done = true;
    unlimited();
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

/** A header, the first of its name. `headers` of Node would make a map of all. */
const headerOf = (raw, name) => {
  for (let index = 0; index < raw.length; index += 2)
    if (raw[index].length === name.length && raw[index].toLowerCase() === name) return raw[index + 1];
  return undefined;
};

/** Reads the answer; whether its body was handed over as a stream. */
const read = (response, decoder, { decode, streamError, alive }, finish, fail) => {
  const status = response.statusCode;
  const good = status >= 200 && status < 300;
  const { rawHeaders } = response;
  const outcome = {
    status,
    requestId: headerOf(rawHeaders, 'x-request-id'),
    retryAfter: headerOf(rawHeaders, 'retry-after'),
    dispatchProof: headerOf(rawHeaders, 'x-nullspace-dispatch-proof'),
    answer: undefined,
    phase: undefined,
    text: undefined,
  };
  if (good && decoder === '#stream') {
    finish({ ...outcome, answer: streamOf(response, streamError) });
    return true;
  }
  const chunks = [];
  let size = 0;
  const end = () => {
    if (good && isRaw(decoder)) {
      answered(outcome, () => wholeBody(decoder, chunks));
      finish(outcome);
      return;
    }
    const text = chunks.length === 1 ? chunks[0].toString() : Buffer.concat(chunks).toString();
    if (!good) {
      outcome.text = text;
    } else if (decoder !== '') {
      answered(outcome, () => decode(decoder, text));
    }
    finish(outcome);
  };
  response.on('data', (chunk) => {
    alive();
    size += chunk.length;
    if (!good && size > ERROR_BODY_LIMIT) {
      response.destroy();
      end();
      return;
    }
    chunks.push(chunk);
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
