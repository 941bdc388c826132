// What is walked along: commands, terminals, watches, pages of machines, events.

import { delegate, invoke, onHandle, replaceStatic } from './calls.js';
import { InvalidRequestError, NullspaceError } from './errors.js';
import { iterate, monitorEvent, subscribe } from './feeds.js';
import * as glue from './glue.js';
import { classes, define, getter, make, recordOf } from './handle.js';
import { pipesPart } from './parts.js';

// Runtimes without explicit resource management lack the symbol; compilers then use this registered one.
export const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');

/** What `await using` does at the end of the block. */
export const disposes = (name, dispose) =>
  Object.defineProperty(classes[name].prototype, asyncDispose, { configurable: true, writable: true, value: dispose });

const iterates = (name, value) =>
  Object.defineProperty(classes[name].prototype, Symbol.asyncIterator, { configurable: true, writable: true, value });

/**
 * Walks along an object of the module with `next`. It is opened by the first step; leaving the loop closes it. `signal` ends
 * it at any time.
 */
const walk = (open, close, signal, given = (step) => step) => {
  const steps = (async function* () {
    const inner = await open();
    try {
      for (;;) {
        const step = await invoke(() => inner.next({ signal }));
        if (step === undefined) return;
        yield given(step);
      }
    } finally {
      await invoke(() => close(inner));
    }
  })();
  steps[asyncDispose] ??= async () => {
    await steps.return();
  };
  return steps;
};

// ---- Commands -------------------------------------------------------------------------------------------------

export const openStream = onHandle('Commands', 'openStream');
export const stream = (record, command, options, signal) => {
  let given = (event) => event;
  return walk(
    async () => {
      if (options?.encoding === 'bytes') given = (await pipesPart()).asBytes;
      return openStream(record, command, options);
    },
    (inner) => inner.close(),
    signal,
    (event) => given(event),
  );
};
define(classes.Commands.prototype, 'stream', function (command, options) {
  return stream(recordOf(this, 'Commands'), command, options, options?.signal);
});

const { run } = classes.Commands.prototype;
define(classes.Commands.prototype, 'run', async function (command, options) {
  if (options?.encoding !== 'bytes' && options?.stdin === undefined) return run.call(this, command, options);
  const record = recordOf(this, 'Commands');
  return (await pipesPart()).run(record, command, options);
});

/** The command on its socket, if it is heard; a socket that died with the module is none. */
const heardBy = ({ heard }) => (heard && glue.isCurrent(heard) ? heard : undefined);

export const ofCommands = Object.fromEntries(
  ['wait', 'kill', 'sendStdin', 'getLogs', 'closeStdin'].map((key) => [key, onHandle('Commands', key)]),
);
for (const key of ['kill', 'sendStdin', 'getLogs'])
  define(classes.Command.prototype, key, async function (...args) {
    const { machine, pid } = recordOf(this, 'Command');
    return ofCommands[key](machine, pid, ...args);
  });
for (const key of ['wait', 'closeStdin'])
  define(classes.Command.prototype, key, async function (options) {
    const record = recordOf(this, 'Command');
    const heard = heardBy(record);
    if (record.pipes && key === 'closeStdin') return record.pipes.closeStdin(options);
    if (record.pipes) return record.pipes.whileWaiting(() => ofCommands.wait(record.machine, record.pid, options));
    return heard ? invoke(() => heard[key](options)) : ofCommands[key](record.machine, record.pid, options);
  });
define(classes.Command.prototype, 'disconnect', async function () {
  const record = recordOf(this, 'Command');
  record.pipes?.disconnect();
  heardBy(record)?.disconnect();
});
for (const kind of ['stdout', 'stderr'])
  getter(classes.Command.prototype, kind, function () {
    const { pipes } = recordOf(this, 'Command');
    if (pipes) return pipes.take(kind);
    throw new InvalidRequestError({
      code: 'invalid_request',
      message: `${kind} is a stream of a command that was run with { background: true, encoding: 'bytes' }`,
    });
  });
getter(classes.Command.prototype, 'stdin', function () {
  const record = recordOf(this, 'Command');
  record.stdin ??= new WritableStream({
    write: async (chunk) => (await pipesPart()).feed(chunk, (bytes) => this.sendStdin(bytes)),
    close: () => this.closeStdin(),
  });
  return record.stdin;
});
disposes('Command', async function () {
  await this.kill().catch(() => {});
});

/** Between two looks at the output of a command that is not on a socket. Milliseconds. */
const LOOK_MS = 250;

iterates('Command', async function* () {
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
});

// ---- Terminals and leases -------------------------------------------------------------------------------------

delegate('PtySession', ['sendInput', 'resize', 'wait', 'kill', 'disconnect']);
for (const key of ['exitCode', 'isConnected'])
  getter(classes.PtySession.prototype, key, function () {
    const { inner } = recordOf(this, 'PtySession');
    return invoke(() => inner[key]);
  });
iterates('PtySession', function () {
  const { inner } = recordOf(this, 'PtySession');
  return walk(
    () => inner,
    () => inner.unread(),
  );
});
disposes('PtySession', async function () {
  const { inner } = recordOf(this, 'PtySession');
  await invoke(() => inner.dispose());
});

delegate('KeepAlive', ['close', 'wait']);
disposes('KeepAlive', async function () {
  await this.close();
});

// ---- Pages of machines ----------------------------------------------------------------------------------------

const nothingFollows = glue.MachinePage.nothing;

/** A list is a page that knows how to ask for the next one, or rows. */
replaceStatic('Machine', 'list', 'list', async (run, [options], client) => {
  const answer = await run([options], client);
  if (Array.isArray(answer)) return answer;
  const { signal, ...asked } = options ?? {};
  const next = (nextToken, more) => run([{ ...asked, ...more, nextToken }], client);
  return make('MachinePage', { ...pageOf(answer), next });
});

const pageOf = ({ items, hasNext, nextToken }) => {
  const follows = hasNext === true && nextToken !== undefined && nextToken !== '';
  return { items, hasNext: follows, nextToken: follows ? nextToken : undefined };
};

define(classes.MachinePage.prototype, 'nextItems', async function (options) {
  const record = recordOf(this, 'MachinePage');
  // Checks the options, whatever follows.
  const nothing = await invoke(() => nothingFollows(options));
  if (record.hasNext) Object.assign(record, pageOf(await record.next(record.nextToken, options)));
  else record.items = nothing;
  return record.items;
});
iterates('MachinePage', async function* () {
  yield* this.items;
  while (this.hasNext) yield* await this.nextItems();
});

// ---- Watches --------------------------------------------------------------------------------------------------

const openWatch = onHandle('Files', 'openWatch');
define(classes.Files.prototype, 'watch', function (path, options) {
  const signal = options?.signal;
  // At once, not with the first step: what happens between would be missed.
  const opening = openWatch(recordOf(this, 'Files'), path, options);
  const started = opening.then(() => {});
  started.catch(() => {}); // whoever steps or waits for it hears of it
  let over = false;
  const stop = async () => {
    if (over) return;
    over = true;
    const watch = await opening.catch(() => undefined);
    if (watch) invoke(() => watch.close());
  };
  return {
    started,
    async next() {
      if (over) return { done: true, value: undefined };
      try {
        const watch = await opening;
        const value = await invoke(() => watch.next({ signal }));
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

// ---- Events ---------------------------------------------------------------------------------------------------

const TELLS = {
  async begin(options) {
    return invoke(() => this.begin(options));
  },
  async next(options) {
    return invoke(() => this.next(options));
  },
  async close() {
    return invoke(() => this.close());
  },
};
const TELLS_MONITOR = {
  ...TELLS,
  async next(options) {
    const frame = await TELLS.next.call(this, options);
    return frame && monitorEvent(frame);
  },
};
const feed = (open, signal, tells = TELLS) => iterate(open, tells, signal, asyncDispose);

const openEvents = onHandle('MachineLifecycle', 'openStream');
define(classes.MachineLifecycle.prototype, 'streamEvents', function (options) {
  const record = recordOf(this, 'MachineLifecycle');
  return feed(() => openEvents(record, options), options?.signal);
});

/** A static that opens a feed. */
const feeds = (name, hidden, key, made, tells) =>
  replaceStatic(name, hidden, key, (run, [options], client) =>
    made(
      feed(() => run([options], client), options?.signal ?? client?.signal, tells),
      options ?? {},
    ),
  );
feeds('Lifecycle', 'openStream', 'streamEvents', (steps) => steps);
feeds('Lifecycle', 'openSubscription', 'subscribe', (steps, { onEvent, onError }) =>
  subscribe(steps, { tell: onEvent, onError }, asyncDispose),
);
const monitored = (steps, { onSnapshot, onUpdate, onMetrics, onProcesses, onError }) => {
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
  return subscribe(steps, { tell: told && tell, onError }, asyncDispose);
};
feeds('Monitor', 'openFeed', 'subscribe', monitored, TELLS_MONITOR);
