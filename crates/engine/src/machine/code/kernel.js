// One context of the code interpreter: runs cells of JavaScript in the way of Node's own REPL (declarations stay, `await`
// works) and keeps what they define. See kernel.py for the lines that come and go. They go out on descriptor 3: what
// children of a cell print on 1 and 2 reaches the engine as it is, up to a mark at the end of each cell.

const { createHash, randomBytes } = require('node:crypto');
const fs = require('node:fs');
const { join } = require('node:path');
const { createInterface } = require('node:readline');
const repl = require('node:repl');
const { PassThrough, Readable } = require('node:stream');
const { inspect } = require('node:util');

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

// What cells print themselves is told in its place between the other events.
for (const [name, stream] of [
  ['stdout', process.stdout],
  ['stderr', process.stderr],
]) {
  stream.write = (chunk, encoding, done) => {
    const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
    if (text !== '') tell(name, { text, timestamp: Date.now() });
    const call = typeof encoding === 'function' ? encoding : done;
    if (call) process.nextTick(call);
    return true;
  };
}
const input = fs.createReadStream('', { fd: 0, autoClose: false });
Object.defineProperty(process, 'stdin', { configurable: true, get: () => Readable.from([]) });

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
  const bundle = isBundle(value) ? value : {};
  const text = typeof bundle['text/plain'] === 'string' ? bundle['text/plain'] : inspect(value, { depth: 6 });
  const result = { text: text.slice(0, LARGEST), is_main_result: isMain };
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
    if (content && content.length > LARGEST) continue;
    result[FORMS[mime]] = content ? content.toString(binary ? 'base64' : 'utf8') : made;
  }
  tell('result', result);
};

/** Shows values as results: any value, or an object of media types and contents. */
globalThis.display = (...values) => {
  for (const value of values) show(value, false);
};

const output = new PassThrough();
output.resume();
const server = repl.start({
  input: new PassThrough(),
  output,
  prompt: '',
  terminal: false,
  useGlobal: true,
  breakEvalOnSigint: true,
});
server.removeAllListeners('exit');

/** Ends the cell that runs. */
let settle;
// The REPL sends some errors of a cell here, and so come those that nobody awaited.
const uncaught = (error) => {
  if (settle) settle(error);
  else tell('stderr', { text: `Uncaught ${inspect(error)}\n`, timestamp: Date.now() });
};
server._domain?.removeAllListeners('error').on('error', uncaught);
process.on('uncaughtException', uncaught);
process.on('unhandledRejection', uncaught);

// Between cells there is nothing to interrupt; one that waits for something ends.
const interrupted = () => settle?.(new Error('Script execution was interrupted by `SIGINT`'));
process.on('SIGINT', interrupted);

const failure = (error) => {
  const isError = error !== null && typeof error === 'object' && typeof error.stack === 'string';
  if (!isError) return { name: 'Error', value: inspect(error), traceback: '' };
  // Frames of Node say nothing about the cell.
  const lines = error.stack
    .split('\n')
    .filter((line) => !/^\s+at (.*[( ])?(node:|REPL\d|\[eval\]|new Promise \(<anonymous>)/.test(line));
  return { name: String(error.name), value: String(error.message), traceback: `${lines.join('\n')}\n` };
};

const run = ({ code, envs = {} }) =>
  new Promise((resolve) => {
    count += 1;
    pictures = 0;
    const before = Object.keys(envs).map((name) => [name, process.env[name]]);
    Object.assign(process.env, envs);
    settle = (error, value) => {
      settle = undefined;
      for (const [name, old] of before) {
        if (old === undefined) delete process.env[name];
        else process.env[name] = old;
      }
      try {
        if (error) tell('error', failure(error instanceof repl.Recoverable ? error.err : error));
        else if (value !== undefined) show(value, true);
      } catch (raised) {
        tell('error', failure(raised));
      }
      tell('number_of_executions', { execution_count: count });
      writeAll(2, Buffer.from(`\0${mark}\0`));
      tell('end');
      resolve();
    };
    const own = settle;
    // While code runs, Node itself stops it, which a handler of ours would prevent.
    process.removeListener('SIGINT', interrupted);
    server.eval(`${code}\n`, server.context, `<cell ${count}>`, (error, value) => {
      if (settle === own) own(error, value);
    });
    process.on('SIGINT', interrupted);
  });

tell('ready');
(async () => {
  for await (const line of createInterface({ input, crlfDelay: Infinity })) await run(JSON.parse(line));
  process.exit(0);
})();
