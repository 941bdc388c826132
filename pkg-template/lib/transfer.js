// Bytes through `fetch`, where the platform has no transport of its own or the caller gave a `fetch`.

import { contentNamed, isRaw, wholeBody } from './content.js';

/** An error body beyond this is cut: it is shown to a person. */
const ERROR_BODY_LIMIT = 1 << 20;

/**
 * Sends one request whose body, or whose answer's body, passes as it is. What comes back is that of `exchange` in
 * node-http.js; the time limit is for silence. `collects`: the runtime's `fetch` cannot send streams.
 */
export const transfer = (fetch, head, body, content, decoder, timeoutMs, { decode, collects, streamError }) => {
  const [method, url, ...fields] = head.split('\n');
  const entry = contentNamed(content);
  const controller = new AbortController();
  let timedOut = false;
  let timer;
  const alive = () => {
    clearTimeout(timer);
    if (timeoutMs > 0 && timeoutMs <= 0x7fffffff)
      timer = setTimeout(() => {
        timedOut = true;
        controller.abort();
      }, timeoutMs);
  };
  const failed = (phase, error) => ({
    phase,
    timedOut,
    message: timedOut ? `nothing moved for ${timeoutMs / 1000} s` : (error?.message ?? String(error)),
  });

  const run = async () => {
    alive();
    const headers = [];
    for (let index = 0; index < fields.length; index += 2) headers.push([fields[index], fields[index + 1]]);
    let payload = entry ? await outgoing(entry, collects, alive) : body;
    const streamed = typeof payload?.getReader === 'function';
    let response;
    try {
      response = await (fetch ?? globalThis.fetch)(url, {
        method,
        headers,
        body: payload,
        redirect: 'manual',
        signal: controller.signal,
        ...(streamed ? { duplex: 'half' } : {}),
      });
    } catch (error) {
      return failed('write', error);
    }
    payload = undefined;
    alive();
    const outcome = {
      status: response.status,
      requestId: response.headers.get('x-request-id') ?? undefined,
      retryAfter: response.headers.get('retry-after') ?? undefined,
      dispatchProof: response.headers.get('x-nullspace-dispatch-proof') ?? undefined,
    };
    try {
      if (!response.ok) {
        outcome.text = (await response.text()).slice(0, ERROR_BODY_LIMIT);
      } else if (decoder === '#stream') {
        outcome.answer = watched(
          response.body,
          alive,
          () => clearTimeout(timer),
          (error) => streamError(failed('read', error).message, error),
        );
        return { outcome, goesOn: true };
      } else if (isRaw(decoder)) {
        const chunks = [];
        const reader = response.body?.getReader();
        for (let step = await reader?.read(); step && !step.done; step = await reader.read()) {
          alive();
          chunks.push(step.value);
        }
        outcome.answer = finish(outcome, () => wholeBody(decoder, chunks));
      } else if (decoder !== '') {
        const text = await response.text();
        outcome.answer = finish(outcome, () => decode(decoder, text));
      }
    } catch (error) {
      return failed('read', error);
    }
    return outcome;
  };

  let goesOn = false;
  return {
    promise: run()
      .catch((error) => failed('write', error))
      .then((outcome) => {
        goesOn = outcome.goesOn === true;
        if (!goesOn) clearTimeout(timer);
        return goesOn ? outcome.outcome : outcome;
      }),
    cancel() {
      // A body that was handed over belongs to its reader.
      if (!goesOn) controller.abort();
    },
  };
};

const finish = (outcome, read) => {
  try {
    return read();
  } catch (reason) {
    outcome.phase = 'decode';
    outcome.message = typeof reason === 'string' ? reason : reason.message;
    return undefined;
  }
};

/** What `fetch` is given. Streams are watched, so that silence is noticed and what they throw is known. */
const outgoing = async (entry, collects, alive) => {
  const { value } = entry;
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
