// The transport of browsers, workers and the edge, and of callers who gave a `fetch` of their own.

import { answered, ERROR_BODY_LIMIT, isRaw, wholeBody } from './content.js';

/** The `fetch` that was there when the package was loaded: another one later is a test library's. */
export const originalFetch = globalThis.fetch;

/**
 * Sends one request through `fetch`, the caller's or the global one. What is given and told is that of `exchange` in
 * node-http.js, and `cause` of a failure is what `fetch` threw; an outcome with a status has the `response`, whose headers Rust reads.
 * `collects`: the runtime's `fetch` cannot send streams. `request` is what the global `fetch` is called with. One of the caller, or one that
 * took the place of the global one, is called with `(url, init)`.
 */
export const exchange = (
  fetch,
  head,
  request,
  body,
  content,
  timeoutMs,
  { awaited, decode, collects, streamError },
  settled,
) => {
  const [decoder, method, url, ...fields] = head.split('\n');
  const decoding = awaited(decoder);
  // Told when the answer is there.
  decoding?.catch(() => {});
  const silence = content !== undefined || isRaw(decoder);
  const controller = new AbortController();
  let over = false;
  // The body was handed over as a stream: the timer is the stream's from then on.
  let handed = false;
  let late;
  let timer;
  const settle = (outcome) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    settled(outcome);
  };
  const fail = (phase, cause, message = messageOf(cause)) => settle({ phase, timedOut: false, message, cause });
  // Tells at once: not every `fetch` listens to its signal.
  const arm = () => {
    clearTimeout(timer);
    // Content may go on when nobody waits any more: a timer for it would keep the process.
    if ((over && !handed) || !(timeoutMs > 0 && timeoutMs <= 0x7fffffff)) return;
    timer = setTimeout(() => {
      late = `${silence ? 'nothing moved for' : 'no whole answer within'} ${timeoutMs / 1000} s`;
      settle({ phase: 'read', timedOut: true, message: late });
      controller.abort();
    }, timeoutMs);
  };
  const alive = silence ? arm : () => {};
  arm();

  const run = async () => {
    let response;
    try {
      const sent = content ? await outgoing(content, collects, alive) : body;
      const isStream = typeof sent?.getReader === 'function';
      const init = { signal: controller.signal };
      if (!request) {
        const headers = {};
        for (let index = 0; index < fields.length; index += 2) headers[fields[index]] = fields[index + 1];
        Object.assign(init, { method, headers, redirect: 'manual' });
      }
      if (sent !== undefined) init.body = sent;
      if (isStream) init.duplex = 'half';
      response = await (fetch ?? globalThis.fetch)(request ?? url, init);
    } catch (error) {
      fail(phaseOf(error) ?? (content ? 'write' : 'connect'), error);
      return;
    }
    // No `instanceof`: a Response of another realm or of a polyfill works as well.
    const status = response?.status;
    if (typeof status !== 'number' || typeof response.headers?.get !== 'function') {
      fail('protocol', response, '`fetch` resolved with something that is no Response');
      return;
    }
    if (status === 0) {
      fail('protocol', response, 'the server answered with a redirect, which API calls do not follow');
      return;
    }
    alive();
    const outcome = {
      status,
      response,
      // For a tracer or a log, which mostly nobody has.
      get requestId() {
        return response.headers.get('x-request-id') ?? undefined;
      },
    };
    if (status < 200 || status > 299) {
      outcome.text = (await response.text()).slice(0, ERROR_BODY_LIMIT);
    } else if (decoder === '#stream') {
      const stopped = (error) => streamError(late ?? messageOf(error), error);
      outcome.answer = watched(response.body, alive, () => clearTimeout(timer), stopped);
      handed = true;
      settle(outcome);
      arm();
    } else if (isRaw(decoder)) {
      const chunks = [];
      const reader = response.body?.getReader();
      for (let step = await reader?.read(); step && !step.done; step = await reader.read()) {
        alive();
        chunks.push(step.value);
      }
      answered(outcome, () => wholeBody(decoder, chunks));
    } else if (decoder !== '') {
      const text = await response.text();
      await decoding;
      answered(outcome, () => decode(decoder, text));
    }
    settle(outcome);
  };
  run().catch((error) => fail('read', error));

  return () => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    controller.abort();
  };
};

/**
 * `fetch` does not say how far it got, except in Node, where the cause has a code. "Not connected" is assumed otherwise: a create
 * is repeated for half a minute after a lost answer, but not when nobody listens.
 */
const phaseOf = (error) => {
  const code = error?.cause?.code;
  if (typeof code !== 'string') return undefined;
  if (code.startsWith('HPE_')) return 'protocol';
  return ['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'].includes(code)
    ? 'read'
    : undefined;
};

/** The message of whatever was thrown, with that of its cause: "fetch failed" alone helps nobody. */
const messageOf = (thrown) => {
  const message = typeof thrown === 'string' ? thrown : thrown?.message;
  if (typeof message !== 'string') return 'something that is no error was thrown';
  return typeof thrown.cause?.message === 'string' ? `${message}: ${thrown.cause.message}` : message;
};

/** What `fetch` is given. Streams are watched, so that silence is noticed and what they throw is known. */
const outgoing = async (entry, collects, alive) => {
  const value = entry.value.isSource ? entry.value.stream() : entry.value;
  if (typeof value.getReader !== 'function') return value;
  const watchedSource = watched(
    value,
    alive,
    () => {},
    (error) => {
      entry.thrown = error;
      return error;
    },
  );
  // Chromium sends streams over HTTP/2 only, other browsers not at all: a Blob may lie on disk there.
  return collects ? new Response(watchedSource).blob() : watchedSource;
};

/** The same bytes; tells of each piece, of the end, and of an error, which it may replace. */
const watched = (stream, alive, ended, failing) => {
  if (!stream) return new Blob([]).stream();
  const reader = stream.getReader();
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) {
            ended();
            controller.close();
          } else {
            alive();
            controller.enqueue(value);
          }
        } catch (error) {
          ended();
          controller.error(failing(error));
        }
      },
      cancel(reason) {
        ended();
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
};
