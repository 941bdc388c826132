// What the glue imports: the other half of src/wasm. Nothing in here knows the API.

import { base64Of, bytesOf, contentNamed, isRaw } from './content.js';
import { DecodeError, decoders } from './decoders.js';
import { NullspaceError, toError } from './errors.js';
import { originalFetch, exchange as fetchExchange } from './fetch-http.js';
import * as glue from './glue.js';
import { decodersPart, loadedPart, socketPart, templateContextPart, uploadPart } from './parts.js';

export { forget, heed } from './abort.js';
export { holdContent, holdMultipart, releaseContent } from './content.js';
export { command, handle, handleId } from './handle.js';
export { toError };

/** Spans of callers who gave a tracer: tracing.js, which comes with it. */
let tracing;
export const setTracing = (given) => {
  tracing = given;
};
export const endSpan = (span) => tracing.endSpan(span);
const tryOf = (span) => (span === undefined ? undefined : tracing.tryOf(span));

// ---- Crashes -------------------------------------------------------------------------------------------------

/**
 * What is under way. No `Set`: one that things come into and go out of makes new tables again and again, and V8 keeps what the old
 * tables held (everything that a call had) until a full collection.
 */
const slots = () => {
  const places = [];
  const free = [];
  return {
    add(item) {
      const place = free.pop() ?? places.length;
      places[place] = item;
      return place;
    },
    remove(place, item) {
      if (places[place] !== item) return;
      places[place] = undefined;
      free.push(place);
    },
    takeAll() {
      const all = places.filter((item) => item !== undefined);
      places.length = 0;
      free.length = 0;
      return all;
    },
  };
};

/** Calls in flight, by the number that the module gave them. An instance that crashed never settles them: {@link crashed} does. */
let waiting = [];

/** The promise of a call. */
export const pending = (place) => {
  tracing?.noteContext(place);
  return new Promise((resolve, reject) => {
    waiting[place] = { resolve, reject };
  });
};

/** Settles it. */
export const settle = (place, good, value) => {
  const call = waiting[place];
  waiting[place] = undefined;
  tracing?.forgetContext(place);
  if (good) call?.resolve(value);
  else call?.reject(value);
};

/** An exception that came out of the module and is no end of it: the call that it came out of fails with it. */
export const passed = (error) => {
  const place = glue.unwound();
  if (place === undefined) throw error;
  settle(place, false, error);
};

const crash = (message) =>
  new NullspaceError({
    code: 'sdk_crashed',
    message: `The SDK's WebAssembly module crashed and this call was lost (${message}). The next call starts a fresh module; handles can be used again.`,
    retryable: false,
  });

/** Ends of what the module has under way: requests, timers and sockets that nobody would end after a crash. */
const live = slots();
const whileAlive = (cancel) => {
  const place = live.add(cancel);
  return () => {
    live.remove(place, cancel);
    cancel();
  };
};

/** Counts crashes: what was asked by an instance that is gone is not answered to the next one. */
let crashes = 0;

/** Called by the panic hook and for traps that have none. */
export const crashed = (message) => {
  const error = crash(message);
  crashes += 1;
  const lost = waiting;
  waiting = [];
  for (const call of lost) call?.reject(error);
  const ends = live.takeAll();
  for (const end of ends) end();
  tracing?.endSpans();
  return error;
};

/**
 * Whether an exception that came out of the module is its end: a panic (`unreachable`), a failed allocation, a
 * stack overflow, which V8 reports as RangeError and SpiderMonkey as InternalError.
 */
export const trapped = (error) => {
  const name = error?.name;
  const trap =
    error instanceof WebAssembly.RuntimeError ||
    name === 'RuntimeError' ||
    name === 'InternalError' ||
    (name === 'RangeError' && /call stack/i.test(error.message));
  if (trap) crashed(String(error.message));
  return trap;
};

/** Use of a connection whose instance crashed. */
export const stale = () =>
  new NullspaceError({
    code: 'sdk_crashed',
    message: "This connection was lost when the SDK's WebAssembly module crashed: open it again.",
    retryable: false,
  });

/** `new` of a class of the module. */
export const illegal = (name) => {
  throw new TypeError(`${name} has no public constructor`);
};

// ---- Answers -------------------------------------------------------------------------------------------------

/** Text of a 2xx answer -> checked value. Throws a message that names the place. */
export const decode = (name, text) => {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw `the answer is no JSON: ${excerpt(text)}`;
  }
  return shape(name, value);
};

/** Parsed answer or frame -> checked value. Throws as {@link decode} does. */
export const shape = (name, value) => {
  try {
    return decoderOf(name)(value);
  } catch (error) {
    throw error instanceof DecodeError ? error.message : String(error);
  }
};

const decoderOf = (name) => decoders[name] ?? (name === 'Texts' ? texts : loadedPart('decoders')?.moreDecoders[name]);

/** What an answer of this name waits for before it can be decoded: nothing, nearly always. */
const awaited = (name) => (name === '' || isRaw(name) || decoderOf(name) ? undefined : decodersPart());

/** One event of a stream of events: text or value -> checked value, with no decoder the value as it is. */
export const shapeEvent = (name, event) => {
  try {
    if (name !== '') return shape(name, event);
    const value = JSON.parse(event);
    if (value === null || typeof value !== 'object') throw `expected an object, got ${excerpt(event)}`;
    return value;
  } catch (reason) {
    const message = typeof reason === 'string' ? reason : `an event is no JSON: ${excerpt(event)}`;
    throw toError({ kind: 'invalid_response', code: 'invalid_response', message });
  }
};

/** The one answer without a type of its own. */
const texts = (value) => {
  if (!Array.isArray(value) || value.some((text) => typeof text !== 'string'))
    throw new Error('expected an array of strings');
  return value;
};

const excerpt = (text) =>
  text === '' ? 'it is empty' : JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);

// ---- Platform ------------------------------------------------------------------------------------------------

/**
 * What an entry adds: `exchange`, `webSocket` and `debug` (Node), `openPath`, `contextPath`,
 * `hasher`, `downloads`, `sshIdentity` (Node), `collectsStreams` (browsers), `env`, `readText`, `cwd`, `home`.
 */
const platform = {};
export const setPlatform = (parts) => Object.assign(platform, parts);

// Node's fetch keeps the dispatcher of `setGlobalDispatcher` here; unset until fetch is used, then an `Agent`.
const DISPATCHER = Symbol.for('undici.globalDispatcher.1');
const dispatcherReplaced = () => {
  const dispatcher = globalThis[DISPATCHER];
  return dispatcher !== undefined && dispatcher?.constructor?.name !== 'Agent';
};

/** Whether requests go through the platform's own transport: nothing was put in the place of the global `fetch`. */
const hasExchange = () =>
  platform.exchange !== undefined && globalThis.fetch === originalFetch && !dispatcherReplaced();

/** What a stream of bytes fails with once it was handed over. */
const streamError = (message, cause) =>
  toError({ kind: 'transport', code: 'transport_error', message: `the file did not come whole: ${message}`, cause });

/** What the transports need of here. */
const tools = {
  awaited,
  decode,
  streamError,
  get collects() {
    return platform.collectsStreams === true;
  },
};

/** Whether requests go through the global `fetch` as the runtime has it: nothing was put in its place. */
export const fetches = () => !hasExchange() && globalThis.fetch === originalFetch;

/** Gives the module what it waits for. What is asked after that runs in a task of its own. */
const give = (later, value) => {
  try {
    glue.give(later, value);
  } catch (error) {
    if (!trapped(error)) throw error;
    glue.replaceInstance();
  }
};

/**
 * Sends a request: through the platform's own transport, or through `fetch`, if the caller gave one or there is no other. See
 * node-http.js and fetch-http.js.
 */
export const exchange = (fetch, plainHead, request, body, content, timeoutMs, span, later) => {
  const asker = crashes;
  const tried = tryOf(span);
  const head = tried ? traced(plainHead, request, tried.headers) : plainHead;
  const tell = debugging() ? platform.debug.debug(...head.split('\n', 3).slice(1), now) : undefined;
  let end;
  let over = false;
  let place;
  const done = (outcome) => {
    if (over) return;
    over = true;
    if (place !== undefined) live.remove(place, cancel);
    tried?.ended(outcome);
    tell?.(outcome);
    // To nobody when its instance is gone.
    if (asker === crashes) give(later, outcome);
  };
  const cancel = () => {
    if (over) return;
    over = true;
    live.remove(place, cancel);
    tried?.ended({ phase: 'aborted' });
    end();
  };
  const entry = contentNamed(content);
  end =
    fetch === undefined && hasExchange()
      ? platform.exchange(head, body, entry, timeoutMs, tools, done)
      : fetchExchange(fetch, head, request, body, entry, timeoutMs, tools, done);
  if (!over) place = live.add(cancel);
  return { cancel };
};

/** The head of a request in a span; a request of the module gets its headers itself. */
const traced = (head, request, headers) => {
  // An address that is a right of its own gets nothing that is for the API.
  if (!request) return head.includes('\nAuthorization\n') ? withHeaders(head, headers) : head;
  if (request.headers.has('authorization'))
    for (const [name, value] of headers) if (!request.headers.has(name)) request.headers.set(name, value);
  return head;
};

/** Those that the caller set are his. */
const withHeaders = (head, headers) =>
  headers.reduce(
    (text, [name, value]) => (new RegExp(`\n${name}\n`, 'i').test(text) ? text : `${text}\n${name}\n${value}`),
    head,
  );

/** Whether each request is told of. The environment is asked once. */
let debugs;
const debugging = () => {
  debugs ??= platform.debug?.isDebugging(env('NULLSPACE_DEBUG')) === true;
  return debugs;
};

/** What is to be uploaded: see upload.js. What it is not is told by Rust, which checks the rest too. */
export const openUpload = async (given, options) => {
  const ignore = Array.isArray(options?.ignore) ? options.ignore.filter((line) => typeof line === 'string') : [];
  const { openSource } = await uploadPart();
  return openSource(given, ignore, platform);
};

/** What reads the files of a template, and the platform that it reads them from. */
export const templateContext = async () => ({ ...(await templateContextPart()), platform });

/** Downloads to files of this computer: see node-download.js. */
export const downloads = (key) => {
  if (platform.downloads) return platform.downloads[key];
  throw toError({
    kind: 'not_implemented',
    code: 'not_implemented',
    message:
      "there are no files here to download to: read(path, { format: 'stream' }) and archive(path) give the bytes",
  });
};

/** A key of this computer for SSH: see node-ssh.js. `undefined` where there are no files. */
export const sshIdentity = (given) => platform.sshIdentity?.(given);

/** Opens a WebSocket: see socket.js. `own` is the caller's constructor. */
export const webSocket = (url, key, plainHeaders, timeoutMs, own, span) => {
  const tried = tryOf(span);
  const headers = tried ? withHeaders(`\n${plainHeaders}`, tried.headers).replace(/^\n+/, '') : plainHeaders;
  let isOver = false;
  let opening;
  const opened = async () => {
    // What is heard on it is decoded at once.
    const [{ openSocket }] = await Promise.all([socketPart(), decodersPart()]);
    if (isOver) return { message: 'cancelled' };
    opening = openSocket(url, key, headers, timeoutMs, { own, library: platform.webSocket });
    return opening.promise;
  };
  const stop = whileAlive(() => {
    isOver = true;
    opening?.cancel();
  });
  const cancel = () => {
    stop();
    if (span !== undefined) endSpan(span);
  };
  return {
    promise: opened()
      .catch(({ message }) => ({ message }))
      .then((outcome) => {
        tried?.ended(outcome.socket ? { status: 101 } : outcome);
        if (span !== undefined) endSpan(span);
        if (!outcome.socket) stop();
        return outcome;
      }),
    cancel,
  };
};

/** Bytes that a terminal printed. */
export const terminalBytes = (base64, text) => {
  if (typeof base64 !== 'string') return new TextEncoder().encode(text ?? '');
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
};

/** Base64 of bytes; `undefined` for what has none. */
export const base64 = (value) => {
  const bytes = bytesOf(value);
  return bytes && base64Of(bytes);
};

/** A value of the environment; none in browsers and on the edge. */
export const env = (name) => platform.env?.(name);
/** A file's text, when there are files and this one can be read. */
export const readText = (path) => platform.readText?.(path);
/** Home directory. */
export const home = () => platform.home?.();

/** UUID, version 4. `randomUUID` is missing on pages that were loaded over plain http. */
export const uuid = () => {
  const { crypto } = globalThis;
  if (crypto?.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
};

/** A clock that does not jump. */
export const now = () => (globalThis.performance ?? Date).now();

/** A timer that Rust awaits and drops. Delays beyond what `setTimeout` can count (24 days) never end. */
export const timer = (ms) => {
  let handle;
  const promise = new Promise((resolve) => {
    if (ms <= 0x7fffffff) handle = setTimeout(resolve, ms);
  });
  return { promise, cancel: whileAlive(() => clearTimeout(handle)) };
};
