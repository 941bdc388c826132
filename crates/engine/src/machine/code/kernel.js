// One context of the code interpreter: runs cells of JavaScript in V8's REPL mode, as the consoles of browsers do
// (declarations stay and can be made again, `await` works), and keeps what they define. See kernel.py for the lines that
// come and go. They come in on descriptor 4 and go out on 3: standard input is at its end for a cell and its children,
// and what children print on 1 and 2 reaches the engine as it is, up to a mark at the end of each cell.

const { AsyncLocalStorage } = require('node:async_hooks');
const { createHash, randomBytes } = require('node:crypto');
const fs = require('node:fs');
const inspector = require('node:inspector');
const { Socket } = require('node:net');
const { join } = require('node:path');
const { createInterface } = require('node:readline');
const { pathToFileURL } = require('node:url');
const { inspect, types } = require('node:util');
const vm = require('node:vm');
const { Worker } = require('node:worker_threads');

/** A part of Node that is no promise of it. */
const internal = (name, pick) => {
  const { emitWarning } = process;
  // That these are for Node itself is known here, and nothing to tell a cell.
  process.emitWarning = () => {};
  try {
    return pick(require(name));
  } catch {
    return undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
};
// The parser of Node's own REPL, and what runs the code after an `await` and cleans up when that is cut off.
const acorn = internal('internal/deps/acorn/acorn/dist/acorn', (found) => found);
const clearAsyncIdStack = internal('internal/async_hooks', (found) => found.clearAsyncIdStack);
const binding = (name) => internal('internal/test/binding', (found) => found.internalBinding(name));
const runMicrotasks = binding('task_queue')?.runMicrotasks;
const watchdog = binding('contextify');
const setPromiseHooks = binding('async_wrap')?.setPromiseHooks;

const [context, artifacts, mark] = process.argv.slice(1);
const LARGEST = 8 << 20;
const FORMS = {
  'text/html': 'html',
  'text/markdown': 'markdown',
  'image/svg+xml': 'svg',
  'image/png': 'png',
  'image/jpeg': 'jpeg',
  'application/pdf': 'pdf',
  'text/latex': 'latex',
  'application/json': 'json',
  'application/javascript': 'javascript',
};
const KEPT = {
  'image/png': 'png',
  'image/jpeg': 'jpg',
  'image/svg+xml': 'svg',
  'text/html': 'html',
  'application/pdf': 'pdf',
};

const writeAll = (descriptor, bytes) => {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(descriptor, bytes, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
};
const tell = (type, fields) => writeAll(3, Buffer.from(`${JSON.stringify({ type, ...fields })}\n`));

/** The number of the cell that began what runs now. */
const origin = new AsyncLocalStorage();
/** The number of the cell that runs; 0 = none. */
let current = 0;
// What the kernel itself starts, and errors without an origin, count for the cell that runs.
const isLate = () => (origin.getStore() ?? current) !== current;
/** What a cell leaves running says nothing in the cells after it: the engine keeps it in the log of the kernel. */
const say = (name, text, isOver = isLate()) => {
  if (text === '') return;
  if (isOver || current === 0) tell('late', { text });
  else tell(name, { text, timestamp: Date.now() });
};

// What cells print themselves is told in its place between the other events.
for (const [name, stream] of [
  ['stdout', process.stdout],
  ['stderr', process.stderr],
]) {
  stream.write = (chunk, encoding, done) => {
    say(name, typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8'));
    const call = typeof encoding === 'function' ? encoding : done;
    if (call) process.nextTick(call);
    return true;
  };
}

let count = 0;
let pictures = 0;

const keep = (kind, mime, name, content) => {
  const id = `art_${randomBytes(10).toString('hex')}`;
  const artifact = {
    id,
    context_id: context,
    execution_count: count,
    kind,
    mime_type: mime,
    name,
    size_bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    created_at: new Date().toISOString(),
  };
  fs.mkdirSync(artifacts, { recursive: true, mode: 0o700 });
  fs.writeFileSync(join(artifacts, id), content);
  // The description last: what has one is whole.
  fs.writeFileSync(join(artifacts, `${id}.new`), JSON.stringify(artifact));
  fs.renameSync(join(artifacts, `${id}.new`), join(artifacts, `${id}.json`));
  tell('artifact', { artifact });
};

const isBundle = (value) =>
  value !== null &&
  typeof value === 'object' &&
  Object.keys(value).length > 0 &&
  Object.keys(value).every((key) => key in FORMS || key === 'text/plain');

const show = (value, isMain) => {
  if (isLate()) return say('stdout', `${inspect(value, { depth: 6 })}\n`);
  const bundle = isBundle(value) ? value : {};
  const text = typeof bundle['text/plain'] === 'string' ? bundle['text/plain'] : inspect(value, { depth: 6 });
  const result = { text: text.slice(0, LARGEST), is_main_result: isMain };
  const cut = text.length > LARGEST ? { text: text.length - LARGEST } : {};
  for (const [mime, made] of Object.entries(bundle)) {
    if (!(mime in FORMS)) continue;
    const binary = ['image/png', 'image/jpeg', 'application/pdf'].includes(mime);
    const content =
      typeof made === 'string'
        ? Buffer.from(made, binary ? 'base64' : 'utf8')
        : made instanceof Uint8Array
          ? Buffer.from(made)
          : undefined;
    if (content && mime in KEPT) {
      pictures += 1;
      const kind = mime.startsWith('image/') ? 'image' : mime === 'text/html' ? 'html' : 'document';
      keep(kind, mime, `execution-${count}-${pictures}.${KEPT[mime]}`, content);
    }
    if (content && content.length > LARGEST) {
      cut[FORMS[mime]] = content.length;
      continue;
    }
    result[FORMS[mime]] = content ? content.toString(binary ? 'base64' : 'utf8') : made;
  }
  if (Object.keys(cut).length > 0) result.truncated = cut;
  tell('result', result);
};

/** Shows values as results: any value, or an object of media types and contents. */
globalThis.display = (...values) => {
  for (const value of values) show(value, false);
};

// ---- Cells ----

/** A conversation with V8, for one cell: `ask`, and `take`, which brings a value over. */
const open = () => {
  const session = new inspector.Session();
  session.connect();
  // The answer to what does not wait comes before this returns.
  const ask = (method, parameters, answered = () => {}) => session.post(method, parameters, answered);
  let value;
  let holder;
  const box = {
    put: (made) => {
      value = made;
    },
  };
  const key = `nullspace-${randomBytes(8).toString('hex')}`;
  globalThis[key] = box;
  ask('Runtime.evaluate', { expression: `globalThis[${JSON.stringify(key)}]` }, (_, { result }) => {
    holder = result.objectId;
  });
  delete globalThis[key];
  const take = (remote) => {
    value = undefined;
    let argument = { value: remote.value };
    if (remote.objectId) argument = { objectId: remote.objectId };
    else if (remote.unserializableValue) argument = { unserializableValue: remote.unserializableValue };
    const functionDeclaration = 'function (value) { this.put(value); }';
    ask('Runtime.callFunctionOn', { objectId: holder, functionDeclaration, arguments: [argument] });
    const taken = value;
    value = undefined;
    return taken;
  };
  return { ask, take, close: () => session.disconnect() };
};

// Code that the inspector runs has no `import()`: this is it. Paths are looked up where the cell is.
const IMPORT = '__nullspace_import__';
Object.defineProperty(globalThis, IMPORT, {
  value: (name, options) => {
    const isPath = /^\.{0,2}\//.test(`${name}`);
    const found = isPath ? new URL(name, pathToFileURL(`${process.cwd()}/`)).href : name;
    return options === undefined ? import(found) : import(found, options);
  },
});

// V8 ends the whole process when it waits for a promise that is collected, such as `new Promise(() => {})`: what a cell
// awaits is kept until the cell has ended.
const HOLD = '__nullspace_hold__';
const held = new Set();
Object.defineProperty(globalThis, HOLD, {
  value: (awaited) => {
    held.add(awaited);
    return awaited;
  },
});

/** Every node of a syntax tree, and whether it is outside of all functions. */
function* nodes(node, isOutside = true) {
  yield [node, isOutside];
  const isBelow = isOutside && !/Function|PropertyDefinition|StaticBlock/.test(node.type);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (typeof child?.type === 'string') yield* nodes(child, isBelow);
    }
  }
}

/** What a declaration `import ... from` means in a cell. */
const imported = (node, code) => {
  const from = `await ${IMPORT}(${node.source.raw})`;
  const whole = node.specifiers.find((one) => one.type === 'ImportNamespaceSpecifier');
  const names = node.specifiers
    .filter((one) => one !== whole)
    .map((one) => {
      const name = one.imported ? code.slice(one.imported.start, one.imported.end) : 'default';
      return `${name}: ${one.local.name}`;
    });
  const parts = [];
  if (whole) parts.push(`${whole.local.name} = ${from}`);
  if (names.length > 0) parts.push(`{ ${names.join(', ')} } = ${whole ? whole.local.name : from}`);
  return parts.length > 0 ? `const ${parts.join(', ')};` : `${from};`;
};

/** The code as it runs. One that cannot be parsed stays as it is, for V8 to say why. */
const prepared = (code) => {
  if (/^\s*\{/.test(code) && !/;\s*$/.test(code)) {
    // An object and not a block, when it can be one.
    try {
      new vm.Script(`(async () => (${code}\n))`);
      return prepared(`(${code}\n)`);
    } catch {}
  }
  if (!acorn || !/import|await/.test(code)) return code;
  let tree;
  try {
    tree = acorn.parse(code, {
      ecmaVersion: 'latest',
      allowAwaitOutsideFunction: true,
      allowImportExportEverywhere: true,
      allowHashBang: true,
    });
  } catch {
    return code;
  }
  const changes = [];
  for (const [node, isOutside] of nodes(tree)) {
    if (node.type === 'AwaitExpression' && isOutside) {
      changes.push([node.argument.start, node.argument.start, `${HOLD}(`], [node.argument.end, node.argument.end, ')']);
    }
    if (node.type === 'ImportExpression') changes.push([node.start, node.start + 'import'.length, IMPORT]);
    if (node.type === 'ImportDeclaration') changes.push([node.start, node.end, imported(node, code)]);
  }
  let made = code;
  // From the end, and what is put before something after that.
  for (const [start, end, text] of changes.sort((a, b) => b[0] - a[0] || b[1] - a[1])) {
    made = made.slice(0, start) + text + made.slice(end);
  }
  return made;
};

/** Ends the cell that runs. */
let settle;

/** Thrown to leave code that called `process.exit`. */
class Exit {}
class ProcessExit extends Error {
  name = 'ProcessExit';
}
// The kernel goes on, as it does after `sys.exit` of Python: what was defined stays.
process.exit = (code = process.exitCode) => {
  process.exitCode = undefined;
  const number = Number(code ?? 0);
  if (!isLate() && settle) {
    const error = new ProcessExit(`process.exit(${code}) ended the cell; what was defined is still there`);
    error.stack = `${error.name}: ${error.message}`;
    settle(number === 0 ? undefined : error);
  }
  throw new Exit();
};

// Errors that nobody awaited or caught.
const uncaught = (error) => {
  if (error instanceof Exit) return;
  if (settle && !isLate()) settle(error);
  else say('stderr', `Uncaught ${inspect(error)}\n`);
};
process.on('uncaughtException', uncaught);
process.on('unhandledRejection', uncaught);

const interruption = () => new Error('Script execution was interrupted by `SIGINT`');
// Node's own watch for the signal is on to the end. It stops code that runs, and else notes the signal. A handler of ours
// would have to be off while code runs: a signal that came just then was lost, or ended the process.
watchdog.startSigintWatchdog();
/** Whether an interrupt came since the last call that stopped no code. */
const wasInterrupted = () => {
  // The note is read and forgotten when one who watches leaves.
  watchdog.startSigintWatchdog();
  return watchdog.stopSigintWatchdog();
};
/** How often a cell that waits looks whether it was interrupted, in milliseconds. */
const LOOK = 20;

// Code that follows a timer, a file or a socket is called by Node itself, which stops it at no signal. A thread sees that
// this one looks no more, and has V8 stop it.
/** Places in memory of both threads: the cell that waits; how often it has looked; what `stop` says. */
const [WAITS, LOOKS, SAYS, LENGTH] = [0, 1, 2, 3];
/** What `stop` says. */
const [NOTHING, STOP, LEAVE] = [0, 1, 2];
/** After how many milliseconds without a look a cell does not come back by itself. */
const STUCK = 5 * LOOK;
const shared = new Int32Array(new SharedArrayBuffer(LENGTH * Int32Array.BYTES_PER_ELEMENT));
const watch = `
const { Session } = require('node:inspector');
const { workerData: shared } = require('node:worker_threads');
const watchdog = require('internal/test/binding').internalBinding('contextify');
const wasInterrupted = ${wasInterrupted};
const sleeping = new Int32Array(new SharedArrayBuffer(4));
const session = new Session();
session.connectToMainThread();
watchdog.startSigintWatchdog();
for (;;) {
  Atomics.wait(shared, ${WAITS}, 0);
  const [cell, looks] = shared;
  Atomics.wait(sleeping, 0, 0, ${STUCK});
  if (cell === 0 || shared[${WAITS}] !== cell || shared[${LOOKS}] !== looks || !wasInterrupted()) continue;
  // Until it is stopped, or looks again.
  let isStopped = false;
  do {
    session.post('Runtime.evaluate', { expression: '${IMPORT}.stop(' + cell + ')' });
    Atomics.wait(shared, ${SAYS}, ${NOTHING});
    isStopped = shared[${SAYS}] === ${STOP};
    if (isStopped) session.post('Runtime.terminateExecution');
    Atomics.store(shared, ${SAYS}, ${NOTHING});
    Atomics.notify(shared, ${SAYS});
    Atomics.wait(sleeping, 0, 0, 1);
  } while (!isStopped && shared[${WAITS}] === cell && shared[${LOOKS}] === looks);
}`;
let watcher;
/** Tells the thread which cell waits, if one does. */
const watched = (cell) => {
  if (cell !== 0 && !watcher && watchdog && clearAsyncIdStack) {
    watcher = new Worker(watch, { eval: true, workerData: shared });
    watcher.on('error', () => {}).unref();
  }
  Atomics.store(shared, WAITS, cell);
  Atomics.notify(shared, WAITS);
};
let wasStopped = false;
/** Whether V8 does without the calls that Node has it make at each step of a promise. */
let areHooksOff = false;
/** Is called by the thread, in the middle of what runs here, if something does. */
globalThis[IMPORT].stop = (cell) => {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 10;
  const below = `${new Error().stack}`.split('\n    at ').slice(3);
  Error.stackTraceLimit = stackTraceLimit;
  wasStopped = cell === current;
  // A stop within one of those calls ends the call alone, and what was to be stopped goes on.
  if (wasStopped && !areHooksOff) {
    areHooksOff = true;
    setPromiseHooks?.(undefined, undefined, undefined, undefined);
  }
  const isRunning = wasStopped && below.length > 0 && !below.some((frame) => /^promise\w*Hook/.test(frame));
  // Node ends the process over entries of code that did not come back.
  if (isRunning) clearAsyncIdStack();
  Atomics.store(shared, SAYS, isRunning ? STOP : LEAVE);
  Atomics.notify(shared, SAYS);
  // Nothing else runs before it is stopped.
  Atomics.wait(shared, SAYS, isRunning ? STOP : LEAVE);
};
/** Whether an interrupt came for a cell that waits. */
const looked = () => {
  Atomics.add(shared, LOOKS, 1);
  return wasInterrupted() || wasStopped;
};

const failure = (error) => {
  const isError = error !== null && typeof error === 'object' && typeof error.stack === 'string';
  if (!isError) return { name: 'Error', value: inspect(error), traceback: '' };
  // Frames of Node and of this file say nothing about the cell.
  const lines = error.stack
    .split('\n')
    .filter((line) => !/^\s+at (.*[( ])?(node:|evalmachine|eval at|\[eval\]|new Promise \(<anonymous>)/.test(line))
    .map((line) => line.replace(/\bcell-(\d+)(?=:\d)/g, '<cell $1>'));
  return { name: String(error.name), value: String(error.message), traceback: `${lines.join('\n')}\n` };
};

let last;
globalThis._ = last;
/** The value of the last cell is `_`, unless cells use that name for something else. */
const remember = (value) => {
  if (!Object.is(globalThis._, last)) return;
  last = value;
  globalThis._ = value;
};

const evaluate = (code, { ask, take }, settle) => {
  const expression = `${prepared(code)}\n//# sourceURL=cell-${count}`;
  ask('Runtime.evaluate', { expression, replMode: true, awaitPromise: true }, (refused, answer) => {
    // The only refusal is that of code that was interrupted.
    if (refused) return settle(interruption());
    const { result, exceptionDetails } = answer;
    const value = take(exceptionDetails?.exception ?? result);
    const failed = (error) => error instanceof Exit || settle(error, undefined, true);
    if (exceptionDetails) failed(value);
    // A cell such as `main()` ends with what it began.
    else if (types.isPromise(value)) value.then((made) => settle(undefined, made), failed);
    else settle(undefined, value);
  });
};
/** Calls what it is given, where Node stops it at an interrupt also while it does not come back. */
const guarded = (call) => {
  globalThis[IMPORT].call = call;
  script.runInThisContext({ breakOnSigint: true });
};
const script = new vm.Script(`${IMPORT}.call()`);

const run = ({ code, envs = {} }) =>
  new Promise((resolve) => {
    count += 1;
    pictures = 0;
    current = count;
    const before = Object.keys(envs).map((name) => [name, process.env[name]]);
    Object.assign(process.env, envs);
    const conversation = open();
    const end = (error, value, isFailure = error !== undefined) => {
      clearInterval(looking);
      watched(0);
      settle = undefined;
      if (areHooksOff) {
        areHooksOff = false;
        // It is enabled again below, and the calls with it.
        origin.disable();
      }
      // Not from within one of its answers.
      process.nextTick(() => {
        conversation.close();
        if (settle === undefined) held.clear();
      });
      for (const [name, old] of before) {
        if (old === undefined) delete process.env[name];
        else process.env[name] = old;
      }
      origin.run(count, () => {
        try {
          if (isFailure) tell('error', failure(error));
          else {
            remember(value);
            if (value !== undefined) show(value, true);
          }
        } catch (raised) {
          tell('error', failure(raised));
        }
      });
      tell('number_of_executions', { execution_count: count });
      current = 0;
      writeAll(2, Buffer.from(`\0${mark}\0`));
      tell('end');
      resolve();
    };
    let outcome;
    // An interrupt would cut off what tells of the end, too: not before the code has left.
    let isGuarded = true;
    const own = (...how) => {
      if (outcome) return;
      outcome = how;
      if (!isGuarded) end(...how);
    };
    settle = own;
    // One that came between cells interrupts nothing.
    wasInterrupted();
    wasStopped = false;
    const looking = setInterval(() => looked() && own(interruption()), LOOK);
    // Not below an `await` of ours, which would hold back what follows those of the cell.
    setImmediate(() => {
      let begin = () => origin.run(count, () => evaluate(code, conversation, own));
      // Once more after an interrupt: what the cell had put off until it waits may not come back either.
      for (let isCutOff = true; isCutOff; ) {
        try {
          guarded(() => {
            begin?.();
            // What follows an `await` of something that is there already.
            runMicrotasks();
          });
          isCutOff = false;
        } catch {
          // What was cut off left its entries here.
          clearAsyncIdStack();
          begin = undefined;
          own(interruption());
        }
      }
      isGuarded = false;
      if (outcome) end(...outcome);
      else watched(count);
    });
  });

tell('ready');
(async () => {
  // Not a stream of files: that would read ahead in a thread, which the end of the process would wait for.
  const input = new Socket({ fd: 4, readable: true, writable: false });
  for await (const line of createInterface({ input, crlfDelay: Infinity })) await run(JSON.parse(line));
  process.reallyExit(0);
})();
