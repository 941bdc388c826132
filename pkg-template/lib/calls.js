// Calls into the module, which is loaded inside the first one. What goes wrong goes into the promise.

import { CLIENT_OPTIONS } from './client-options.js';
import { NullspaceError } from './errors.js';
import * as glue from './glue.js';
import { classes, define, make, open, recordOf } from './handle.js';
import { crashed, trapped } from './runtime.js';

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

/** Options of a call that takes several requests, each of which goes through the same client. */
export const connectionOf = (options) =>
  Object.fromEntries(
    CLIENT_OPTIONS.filter((name) => options?.[name] !== undefined).map((name) => [name, options[name]]),
  );

/** Runs a function of the module. A trap reaches a synchronous caller as an exception of the engine. */
export const invoke = (call) => {
  try {
    return call();
  } catch (error) {
    if (!trapped(error)) throw error;
    glue.replaceInstance();
    throw crashed(String(error.message));
  }
};

/** Gives an error the stack of the caller: where it was made, inside the module, helps nobody. */
export const located = (error, from) => {
  if (error instanceof NullspaceError) Error.captureStackTrace?.(error, from);
  return error;
};

/** What holds a socket or a timer, as its public class. */
const wrapped = (value) => {
  if (value instanceof glue.PtySession)
    return make('PtySession', { inner: value, sessionId: value.sessionId, pid: value.pid });
  if (value instanceof glue.KeepAlive) return make('KeepAlive', { inner: value });
  return value;
};

/** A function of handles of the module, by the names of both: it gets what the handle remembers. */
export const onHandle = (name, key) => {
  const run = glue[`${name}Handle`][key];
  return async (record, ...args) => {
    if (!loaded) await ready();
    return wrapped(await invoke(() => run(open(record), ...args)));
  };
};

/** Functions of classes that `Nullspace` binds to a client: name, `run(args, client)`. */
export const statics = new Map();

/** Names that only this package calls. */
const INTERNAL = new Set([
  'openStream',
  'openSubscription',
  'openFeed',
  'openWatch',
  'sendUpload',
  'sendResumed',
  'sshAccess',
  'bodyOf',
  'startBuild',
  'askValidate',
  'askPlan',
  'preflight',
  'sendBlob',
  'openLogs',
  'askRetry',
  'wait',
  'nothing',
]);

/** wasm-bindgen puts a `_` before a reserved word such as `delete`. */
const publicName = (key) => key.replace(/^_/, '');

for (const name of Object.keys(classes)) {
  const type = classes[name];
  statics.set(name, new Map());
  for (const [exported, run] of Object.entries(glue[name] ?? {})) {
    const key = publicName(exported);
    // The last parameter holds a client's options, the one before the caller's.
    const parameters = run.length - 1;
    const call = async (args, client) => {
      if (!loaded) await ready();
      const given = args.slice(0, parameters);
      given[parameters] = client;
      try {
        return await invoke(() => run(...given));
      } catch (error) {
        throw located(error, call);
      }
    };
    statics.get(name).set(key, call);
    if (!INTERNAL.has(key)) define(type, key, (...args) => call(args, undefined));
  }
  for (const exported of Object.keys(glue[`${name}Handle`] ?? {})) {
    const key = publicName(exported);
    if (INTERNAL.has(key)) continue;
    const call = onHandle(name, exported);
    const method = async function (...args) {
      try {
        return await call(recordOf(this, name), ...args);
      } catch (error) {
        throw located(error, method);
      }
    };
    define(type.prototype, key, method);
  }
}

/** Methods of a public class that are those of the object of the module inside. */
export const delegate = (name, keys) => {
  for (const key of keys) {
    const method = async function (...args) {
      const { inner } = recordOf(this, name);
      try {
        return await invoke(() => inner[key](...args));
      } catch (error) {
        throw located(error, method);
      }
    };
    define(classes[name].prototype, key, method);
  }
};

/** Replaces a static by another one, also for clients. `make` gets the arguments and a client's options. */
export const replaceStatic = (name, hidden, key, replacement) => {
  const list = statics.get(name);
  const run = list.get(hidden);
  list.delete(hidden);
  addStatic(name, key, (args, client) => replacement(run, args, client));
};

/** Adds a static, also to clients. `run` gets the arguments and a client's options. */
export const addStatic = (name, key, run) => {
  statics.get(name).set(key, run);
  define(classes[name], key, (...args) => run(args, undefined));
};

/** Functions of a class that only this package calls: clients do not get them. */
export const takeStatics = (name, keys) => {
  const list = statics.get(name);
  return Object.fromEntries(
    keys.map((key) => {
      const run = list.get(key);
      list.delete(key);
      return [key, run];
    }),
  );
};
