// Spans for a tracer of OpenTelemetry: of the caller's, so that nothing of it is imported here. One span a call of the API, its tries
// as events. Names and attributes are those of the semantic conventions of HTTP clients.

/** Where the API of OpenTelemetry keeps what all its copies share. */
const API = Symbol.for('opentelemetry.js.api.1');
/** `SpanKind.CLIENT` and `SpanStatusCode.ERROR`. */
const CLIENT = 2;
const ERROR = 2;

/** Spans under way, by the number that the module knows them by. */
const spans = new Map();
let next = 1;
/** What was active when a call of the SDK was made: requests are sent from one queue, later. By the number of the call. */
const contexts = [];

/** Notes what is active where a call is made. */
export const noteContext = (place) => {
  contexts[place] = globalThis[API]?.context?.active();
};

/** It has been answered. */
export const forgetContext = (place) => {
  contexts[place] = undefined;
};

/** Starts spans: a client gives it to the module. Its answer is the number of a span. */
export const startSpan = (tracer) => (method, template, address, place) => {
  const url = new URL(address);
  // Queries hold paths and tokens.
  const shown = `${url.origin}${url.pathname}`;
  const path = template || url.pathname.replace(/\/[a-z]+_\w+(?=\/|$)/g, '/{id}');
  const span = tracer.startSpan(
    `${method} ${path}`,
    {
      kind: CLIENT,
      attributes: {
        'http.request.method': method,
        'url.full': shown,
        'url.template': path,
        'server.address': url.hostname.replace(/^\[|\]$/g, ''),
        'server.port': Number(url.port) || (url.protocol === 'https:' ? 443 : 80),
      },
    },
    contexts[place],
  );
  const number = next++;
  spans.set(number, { span, tries: 0, last: undefined });
  return number;
};

/** Ends a span, as its last try ended. */
export const endSpan = (number) => {
  const { span, tries, last } = spans.get(number) ?? {};
  if (!span) return;
  spans.delete(number);
  if (tries > 1) span.setAttribute('http.request.resend_count', tries - 1);
  if (last) span.setAttributes(last);
  if (last?.['error.type']) span.setStatus({ code: ERROR });
  span.end();
};

/** Ends all: the module that knew their numbers is gone. */
export const endSpans = () => {
  for (const number of [...spans.keys()]) {
    spans.get(number).last ??= { 'error.type': 'sdk_crashed' };
    endSpan(number);
  }
};

/** One try of a span: its header, and what is told of its end. */
export const tryOf = (number) => {
  const entry = spans.get(number);
  if (!entry) return undefined;
  const { traceId, spanId, traceFlags, traceState } = entry.span.spanContext();
  const count = entry.tries++;
  // Until it ends otherwise.
  entry.last = { 'error.type': 'aborted' };
  return {
    headers: [
      ['traceparent', `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`],
      ...(traceState ? [['tracestate', traceState.serialize()]] : []),
    ],
    ended({ status, phase, timedOut, cause, requestId, message }) {
      const failed = status === undefined ? message !== undefined || phase !== undefined : status >= 400;
      const why = timedOut ? 'timeout' : (cause?.code ?? phase ?? 'connect');
      entry.last = {
        ...(status && { 'http.response.status_code': status }),
        ...(failed && { 'error.type': String(status ?? why) }),
      };
      entry.span.addEvent('nullspace.try', {
        ...entry.last,
        ...(count > 0 && { 'http.request.resend_count': count }),
        ...(requestId && { 'nullspace.request_id': requestId }),
      });
    },
  };
};
