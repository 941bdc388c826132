// Makes the classes that Rust exports into the package's public ones: the module is loaded inside the first call,
// handles get what wasm-bindgen cannot express (symbols, inspection, `free` removed), and clients hold options.

import { codeMethods, Execution } from './code.js';
import { NullspaceError } from './errors.js';
import { iterate, monitorEvent, subscribe } from './feeds.js';
import * as glue from './glue.js';
import { crashed, openUpload, setGlue, sshIdentity, trapped } from './runtime.js';
import { checkSshAnswer } from './ssh-answer.js';

setGlue(glue);

const {
  CodeInterpreter,
  Command,
  Commands,
  CommandStream,
  Feed,
  Files,
  FileWatch,
  Git,
  KeepAlive,
  Lifecycle,
  Machine,
  MachineLifecycle,
  MachinePage,
  Monitor,
  Process,
  Pty,
  PtySession,
  Snapshot,
  TemplateWarmPool,
  MachineVolumes,
  Volume,
} = glue;

/** Literals, since minifiers rename classes. */
const classes = {
  CodeInterpreter,
  Machine,
  MachinePage,
  Commands,
  Command,
  CommandStream,
  Files,
  FileWatch,
  Git,
  KeepAlive,
  Process,
  Pty,
  PtySession,
  MachineLifecycle,
  Lifecycle,
  Monitor,
  Feed,
  Snapshot,
  TemplateWarmPool,
  MachineVolumes,
  Volume,
};
const INSPECT = Symbol.for('nodejs.util.inspect.custom');

// ---- Loading -------------------------------------------------------------------------------------------------

let load;
let loading;
let loaded = false;

/** Each entry says how the module is had. Nothing is loaded yet. */
export const install = (loader) => {
  load = loader;
};

const ready = () => {
  loading ??= (async () => {
    try {
      glue.instantiate(await load());
      loaded = true;
    } catch (cause) {
      loading = undefined; // the next call tries again
      throw new NullspaceError({
        code: 'wasm_unavailable',
        message: `The SDK's WebAssembly module could not be loaded: ${cause?.message ?? cause}. A page with a Content-Security-Policy needs script-src 'wasm-unsafe-eval'.`,
        cause,
      });
    }
  })();
  return loading;
};

// ---- Calls ---------------------------------------------------------------------------------------------------

/** What a handle showed when it was made: still readable when its instance is gone. */
const kept = new WeakMap();
/** Getters that never change, by class. */
const constants = {
  Machine: ['id', 'cwd', 'trafficAccessToken'],
  TemplateWarmPool: ['id'],
  Volume: ['id', 'name'],
  Command: ['pid'],
  PtySession: ['sessionId', 'pid'],
};
/** How they are kept, by prototype. */
const keepers = new Map();

/**
 * The machines of a page read last. What the module holds, and what a handle of it holds, lives until the engine finalizes the
 * handle, long after nobody has it: so the rows are held here, and a page that nothing follows needs no handle any more.
 */
const ITEMS = Symbol('items');
const LAST = Symbol('last');
const { takeItems, free: freePage } = MachinePage.prototype;
const { nothingFollows } = MachinePage;
delete MachinePage.prototype.takeItems;
delete MachinePage.nothingFollows;

keepers.set(MachinePage.prototype, (page) => {
  if (ITEMS in page) return;
  Object.defineProperty(page, ITEMS, { value: takeItems.call(page), writable: true });
  const last = !page.hasNext;
  Object.defineProperty(page, LAST, { value: last, writable: true });
  if (last) freePage.call(page);
});

const keep = (value) => {
  // Most answers are no handle.
  if (value?.__wbg_inst !== undefined) keepers.get(Object.getPrototypeOf(value))?.(value);
  return value;
};

/** Handles that were let go of. */
const closed = new WeakSet();

/** Runs an export. A trap reaches a synchronous caller as an exception of the engine. */
const call = (method, self, args) => {
  if (closed.has(self))
    throw new NullspaceError({ code: 'handle_closed', message: 'this handle was closed: connect to get another one' });
  try {
    return method.apply(self, args);
  } catch (error) {
    if (!trapped(error)) {
      if (loaded && !(error instanceof NullspaceError)) glue.unwound();
      throw error;
    }
    glue.replaceInstance();
    throw crashed(String(error.message));
  }
};

/** Gives an error the stack of the caller: where it was made, inside the module, helps nobody. */
const located = (error, from) => {
  if (error instanceof NullspaceError) Error.captureStackTrace?.(error, from);
  return error;
};

const frees = new Map();
const hidden = new Set(['constructor', 'free', '__destroy_into_raw']);
const statics = new Map();

for (const name of Object.keys(classes)) {
  const type = classes[name];
  Object.defineProperty(type, 'name', { value: name, configurable: true });
  statics.set(name, []);
  const lasting = constants[name] ?? [];
  const getters = lasting.map((key) => [key, Object.getOwnPropertyDescriptor(type.prototype, key).get]);
  if (lasting.length > 0)
    keepers.set(type.prototype, (handle) => {
      if (kept.has(handle)) return;
      const record = {};
      for (const [key, get] of getters) record[key] = get.call(handle);
      kept.set(handle, record);
    });

  for (const key of Object.getOwnPropertyNames(type)) {
    if (key.startsWith('__') || typeof type[key] !== 'function') continue;
    const method = type[key];
    // The last parameter holds a client's options, the one before the caller's.
    const parameters = method.length - 1;
    const run = async (args, client) => {
      if (!loaded) await ready();
      const given = args.slice(0, parameters);
      given[parameters] = client;
      try {
        return keep(await call(method, type, given));
      } catch (error) {
        throw located(error, run);
      }
    };
    statics.get(name).push([key, run]);
    define(type, key, (...args) => run(args, undefined));
  }

  for (const key of Object.getOwnPropertyNames(type.prototype)) {
    if (hidden.has(key)) continue;
    const { value, get } = Object.getOwnPropertyDescriptor(type.prototype, key);
    if (get) {
      const constant = lasting.includes(key);
      const owned = ['commands', 'lifecycle', 'process', 'pty', 'files', 'git', 'volumes', 'codeInterpreter'].includes(
        key,
      );
      Object.defineProperty(type.prototype, key, {
        configurable: true,
        enumerable: false,
        get() {
          if (constant) return kept.get(this)[key];
          if (!owned) return call(get, this, []);
          const record = kept.get(this);
          const child = record[key] ?? call(get, this, []);
          // Not enumerable: toJSON and inspection show the plain fields only.
          if (!(key in record)) Object.defineProperty(record, key, { value: child });
          return child;
        },
      });
    } else {
      // Every method answers with a promise: what goes wrong, goes into it.
      const run = async function (...args) {
        try {
          return keep(await call(value, this, args));
        } catch (error) {
          throw located(error, run);
        }
      };
      define(type.prototype, key, run);
    }
  }
  // A handle of a dead instance must not free memory of the next one.
  frees.set(type.prototype, type.prototype.free);
  delete type.prototype.free;

  const show = function () {
    if (name === 'MachinePage') return { items: this.items, hasNext: this.hasNext, nextToken: this.nextToken };
    const { trafficAccessToken, ...shown } = kept.get(this) ?? {};
    return shown;
  };
  define(type.prototype, 'toJSON', show);
  Object.defineProperty(type.prototype, INSPECT, {
    configurable: true,
    value(_depth, options, inspect) {
      return `${name} ${inspect ? inspect(show.call(this), options) : JSON.stringify(show.call(this))}`;
    },
  });
  Object.defineProperty(type.prototype, Symbol.toStringTag, { value: name, configurable: true });
}

function define(target, key, value) {
  Object.defineProperty(value, 'name', { value: key, configurable: true });
  Object.defineProperty(target, key, { value, configurable: true, writable: true, enumerable: false });
}

// ---- Ends of handles ------------------------------------------------------------------------------------------

/** What a handle holds goes now instead of whenever the engine collects it. Calls under way hold it themselves. */
const release = (handle) => {
  if (closed.has(handle)) return;
  closed.add(handle);
  if (glue.isCurrent(handle)) frees.get(Object.getPrototypeOf(handle)).call(handle);
};
for (const type of [Machine, TemplateWarmPool, Volume])
  define(type.prototype, 'close', async function () {
    for (const { value } of Object.values(Object.getOwnPropertyDescriptors(kept.get(this))))
      if (typeof value === 'object' && frees.has(Object.getPrototypeOf(value))) release(value);
    release(this);
  });
define(MachinePage.prototype, 'close', async function () {
  if (!this[LAST]) release(this);
  this[LAST] = true;
});

// ---- Symbols -------------------------------------------------------------------------------------------------

// Runtimes without explicit resource management lack the symbol; compilers then use this registered one.
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');

/** What `await using` does at the end of the block. */
const disposes = (type, dispose) =>
  Object.defineProperty(type.prototype, asyncDispose, { configurable: true, writable: true, value: dispose });

// Quietly: an error of the block is worth more than one of the cleaning up, and the lease ends the machine anyway.
disposes(Machine, async function () {
  await this.kill().catch(() => {});
});
disposes(Command, async function () {
  await this.kill().catch(() => {});
});
disposes(KeepAlive, async function () {
  await this.close();
});

const page = Object.getOwnPropertyDescriptors(MachinePage.prototype);
const pageGetter = (name, get) =>
  Object.defineProperty(MachinePage.prototype, name, { configurable: true, enumerable: false, get });
pageGetter('items', function () {
  return this[ITEMS];
});
pageGetter('hasNext', function () {
  return this[LAST] ? false : page.hasNext.get.call(this);
});
pageGetter('nextToken', function () {
  return this[LAST] ? undefined : page.nextToken.get.call(this);
});
define(MachinePage.prototype, 'nextItems', async function (options) {
  if (this[LAST]) return call(nothingFollows, MachinePage, [options, undefined]);
  this[ITEMS] = await page.nextItems.value.call(this, options);
  return this[ITEMS];
});

Object.defineProperty(MachinePage.prototype, Symbol.asyncIterator, {
  configurable: true,
  writable: true,
  async *value() {
    yield* this.items;
    while (this.hasNext) yield* await this.nextItems();
  },
});

// ---- Streams -------------------------------------------------------------------------------------------------

/** Takes a method that only this file may call off its class. */
const take = (type, key) => {
  const method = type.prototype[key];
  delete type.prototype[key];
  return method;
};

/**
 * Walks along a handle with `next` and `close`. It is opened by the first step; leaving the loop closes it. `signal` ends
 * it at any time.
 */
const walk = (open, next, close, signal) => {
  const steps = (async function* () {
    const handle = await open();
    try {
      for (;;) {
        const step = await next.call(handle, { signal });
        if (step === undefined) return;
        yield step;
      }
    } finally {
      await close.call(handle);
    }
  })();
  steps[asyncDispose] ??= async () => {
    await steps.return();
  };
  return steps;
};

const openStream = take(Commands, 'openStream');
const { next: nextEvent, close: closeStream } = CommandStream.prototype;
define(Commands.prototype, 'stream', function (command, options) {
  return walk(() => openStream.call(this, command, options), nextEvent, closeStream, options?.signal);
});

const nextOutput = take(PtySession, 'next');
const unread = take(PtySession, 'unread');
Object.defineProperty(PtySession.prototype, Symbol.asyncIterator, {
  configurable: true,
  writable: true,
  value() {
    return walk(() => this, nextOutput, unread);
  },
});
disposes(PtySession, take(PtySession, 'dispose'));

const openWatch = take(Files, 'openWatch');
const { next: nextChange, close: closeWatch } = FileWatch.prototype;
define(Files.prototype, 'watch', function (path, options) {
  const signal = options?.signal;
  // At once, not with the first step: what happens between would be missed.
  const opening = openWatch.call(this, path, options);
  const started = opening.then(() => {});
  started.catch(() => {}); // whoever steps or waits for it hears of it
  let over = false;
  const stop = async () => {
    if (over) return;
    over = true;
    const watch = await opening.catch(() => undefined);
    await (watch && closeWatch.call(watch));
  };
  return {
    started,
    async next() {
      if (over) return { done: true, value: undefined };
      try {
        const value = await nextChange.call(await opening, { signal });
        if (value !== undefined && !over) return { done: false, value };
      } catch (error) {
        // Stopped while waiting: that is an end, not an error.
        if (over) return { done: true, value: undefined };
        await stop();
        throw error;
      }
      await stop();
      return { done: true, value: undefined };
    },
    async return() {
      await stop();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
    [asyncDispose]: stop,
  };
});

const sendUpload = take(Files, 'sendUpload');
const sendResumed = take(Files, 'sendResumed');
define(Files.prototype, 'upload', async function (given, path, options) {
  const source = await openUpload(given, options);
  return sendUpload.call(this, source, path, options);
});
define(Files.prototype, 'resumeUpload', async function (uploadId, given, options) {
  const source = await openUpload(given, options);
  return sendResumed.call(this, uploadId, source, options);
});

const read = Files.prototype.read;
define(Files.prototype, 'read', async function (path, options) {
  const content = await read.call(this, path, options);
  // A signal holds for the whole of the bytes, not only until they begin to come.
  if (options?.format !== 'stream' || !options.signal) return content;
  return content.pipeThrough(new TransformStream(), { signal: options.signal });
});

const methods = codeMethods(take(CodeInterpreter, 'send'));
for (const [key, method] of Object.entries(methods)) define(CodeInterpreter.prototype, key, method);
for (const key of ['runCode', 'installPackages'])
  define(Machine.prototype, key, async function (what, options) {
    return this.codeInterpreter[key](what, options);
  });

const askSshAccess = take(Machine, 'sshAccess');
define(Machine.prototype, 'createSshAccess', async function (options) {
  if (options !== undefined && (options === null || typeof options !== 'object'))
    return askSshAccess.call(this, options);
  const { identityFile, keyDir, ...asked } = options ?? {};
  // Nothing to do with files: the key is the caller's own, and so is what becomes of the certificate.
  const isPlain = asked.publicKey !== undefined && identityFile === undefined && keyDir === undefined;
  const identity = isPlain ? undefined : await sshIdentity({ publicKey: asked.publicKey, identityFile, keyDir });
  // Without files the options go on as they are: what is wrong with them is said by the check of all options.
  if (!identity) {
    const access = checkSshAnswer(await askSshAccess.call(this, options));
    return { ...access, command: `ssh -p ${access.port} ${access.user}@${access.host}` };
  }
  const access = checkSshAnswer(await askSshAccess.call(this, { ...asked, publicKey: identity.publicKey }));
  return { ...access, ...(await identity.keep(this.id, access)) };
});

const { begin: beginFeed, next: nextTold, close: closeFeed } = Feed.prototype;
const feed = (open, signal) =>
  iterate(open, { begin: beginFeed, next: nextTold, close: closeFeed }, signal, asyncDispose);

const openEvents = take(MachineLifecycle, 'openStream');
define(MachineLifecycle.prototype, 'streamEvents', function (options) {
  return feed(() => openEvents.call(this, options), options?.signal).steps;
});

/** Puts `made` in the place of a static that only this file may call. It gets the options of the call and a client's. */
const replaceStatic = (name, hiddenKey, key, made) => {
  const list = statics.get(name);
  const [, run] = list.splice(
    list.findIndex(([known]) => known === hiddenKey),
    1,
  )[0];
  delete classes[name][hiddenKey];
  const make = ([options], client) =>
    made(
      feed(() => run([options], client), options?.signal ?? client?.signal),
      options ?? {},
    );
  list.push([key, make]);
  define(classes[name], key, (...args) => make(args, undefined));
};
replaceStatic('Lifecycle', 'openStream', 'streamEvents', ({ steps }) => steps);
replaceStatic('Lifecycle', 'openSubscription', 'subscribe', (opening, { onEvent, onError }) =>
  subscribe(opening, { tell: onEvent, onError }, asyncDispose),
);
replaceStatic('Monitor', 'openFeed', 'subscribe', ({ steps, begin }, hooks) => {
  const { onSnapshot, onUpdate, onMetrics, onProcesses, onError } = hooks;
  const seen = {
    ...steps,
    async next() {
      const { done, value } = await steps.next();
      return { done, value: done ? undefined : monitorEvent(value) };
    },
    [Symbol.asyncIterator]: () => seen,
  };
  const tell = ({ kind, ...event }) => {
    switch (kind) {
      case 'snapshot':
        return onSnapshot?.(event.machines);
      case 'update':
        return onUpdate?.(event);
      case 'metrics':
        return onMetrics?.(event);
      case 'processes':
        return onProcesses?.(event);
      default:
        return onError?.(new NullspaceError({ code: 'monitor_error', message: event.message }));
    }
  };
  const told = onSnapshot ?? onUpdate ?? onMetrics ?? onProcesses;
  return subscribe({ steps: seen, begin }, { tell: told && tell, onError }, asyncDispose);
});

// No call: it describes a mount for `Machine.create` and `machine.volumes.attach`.
define(Volume.prototype, 'mount', function (mountPath, { readOnly, subpath } = {}) {
  return {
    ref: this.id,
    mountPath,
    ...(readOnly === undefined ? {} : { readOnly }),
    ...(subpath === undefined ? {} : { subpath }),
  };
});

/** Between two looks at the output of a command that is not on a socket. Milliseconds. */
const LOOK_MS = 250;

Object.defineProperty(Command.prototype, Symbol.asyncIterator, {
  configurable: true,
  writable: true,
  async *value() {
    const seen = { stdout: 0, stderr: 0 };
    for (;;) {
      const logs = await this.getLogs();
      for (const kind of ['stdout', 'stderr']) {
        // The last character may be one whose other bytes have not come yet.
        const text = logs.exitCode === undefined ? logs[kind].replace(/\uFFFD$/, '') : logs[kind];
        if (text.length > seen[kind]) yield { kind, data: text.slice(seen[kind]) };
        seen[kind] = Math.max(seen[kind], text.length);
      }
      if (logs.exitCode !== undefined) {
        yield { kind: 'exit', exitCode: logs.exitCode };
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  },
});

// ---- Clients -------------------------------------------------------------------------------------------------

/** Holds the options of one tenant: nothing is global. */
export class Nullspace {
  constructor(options = {}) {
    if (options === null || typeof options !== 'object')
      throw new TypeError('new Nullspace(options) takes an object such as { apiKey, baseUrl }');
    const client = { ...options };
    for (const name of Object.keys(classes)) {
      if (statics.get(name).length === 0) continue;
      // The same prototype, so `instanceof` holds for either.
      // biome-ignore lint/complexity/useArrowFunction: what stands right of `instanceof` and `new` is a function
      const bound = function () {
        throw new TypeError(`${name} has no public constructor`);
      };
      Object.defineProperties(bound, { name: { value: name }, prototype: { value: classes[name].prototype } });
      for (const [key, run] of statics.get(name)) define(bound, key, (...args) => run(args, client));
      Object.defineProperty(this, name, { value: bound, enumerable: true });
    }
    // Keys stay out of logs.
    Object.defineProperty(this, INSPECT, { value: () => `Nullspace { baseUrl: ${JSON.stringify(client.baseUrl)} }` });
  }
}
Object.defineProperty(Nullspace, 'name', { value: 'Nullspace', configurable: true });

/** Makers of egress policies; plain objects of the same shape work as well. */
export const NetworkEgressPolicy = Object.freeze({
  allowAll: () => ({ mode: 'allow_all' }),
  denyAll: () => ({ mode: 'deny_all' }),
  custom: (policy = {}) => ({ ...policy, mode: 'custom' }),
});

export {
  CodeInterpreter,
  Command,
  Commands,
  Execution,
  Files,
  Git,
  KeepAlive,
  Lifecycle,
  Machine,
  MachineLifecycle,
  MachinePage,
  Monitor,
  Process,
  Pty,
  PtySession,
  Snapshot,
  TemplateWarmPool,
  MachineVolumes,
  Volume,
};
