import { bytesOf, unlessMissing } from './shared.js';

export { nullspaceSandbox } from './ai-sdk-harness.js';

const DESCRIPTION =
  'An isolated Linux machine. Commands run with /bin/sh as root; relative paths start at /workspace. Files stay between calls.';

const KINDS = { file: 'file', dir: 'directory' };
/** As `stat` names them. */
const FOLLOWED = { 'regular file': 'file', 'regular empty file': 'file', directory: 'directory' };

/** A command that has ended reads nothing any more. */
const unlessEnded = (error) => {
  if (error?.name !== 'NotFoundError' && error?.name !== 'ConflictError') throw error;
};

const lines = (text, from = 1, to = Number.POSITIVE_INFINITY) =>
  text
    .split(/(?<=\n)/)
    .slice(from - 1, to)
    .join('');

const encoded = (text, encoding = 'utf-8') => {
  if (/^utf-?8$/i.test(encoding)) return new TextEncoder().encode(text);
  throw new TypeError(`encoding is ${JSON.stringify(encoding)}: give "utf-8", or write bytes with writeBinaryFile`);
};

/** One stream of a command. Nobody has to read it: what is not read waits in memory, as it does for a pipe of Node. */
const channel = () => {
  let controller;
  const stream = new ReadableStream({
    start: (own) => {
      controller = own;
    },
  });
  let isOpen = true;
  const end = (work) => {
    if (isOpen) work();
    isOpen = false;
  };
  return {
    stream,
    push: (bytes) => {
      if (isOpen) controller.enqueue(bytes);
    },
    close: () => end(() => controller.close()),
    fail: (error) => end(() => controller.error(error)),
  };
};

export const nullspaceSession = (machine, { description = DESCRIPTION } = {}) => {
  const options = ({ workingDirectory, env, abortSignal }) => ({
    shell: true,
    cwd: workingDirectory,
    envs: env,
    signal: abortSignal,
    timeout: 'none',
  });

  const read = async (format, { path, abortSignal }) =>
    (await unlessMissing(machine.files.read(path, { format, signal: abortSignal }))) ?? null;

  const write = async (content, { path, abortSignal }) => {
    await machine.files.write(path, content, { signal: abortSignal });
  };

  const describe = (path, signal) => unlessMissing(machine.files.info(path, { signal }));

  return {
    description,

    async run(wanted) {
      const { exitCode, stdout, stderr } = await machine.commands.run(wanted.command, options(wanted));
      return { exitCode, stdout, stderr };
    },

    async spawn(wanted) {
      const killed = new AbortController();
      const signal = wanted.abortSignal ? AbortSignal.any([wanted.abortSignal, killed.signal]) : killed.signal;
      const events = machine.commands.stream(wanted.command, { ...options(wanted), signal });
      const [stdout, stderr] = [channel(), channel()];
      const { value: started } = await events.next();
      const { pid } = started;
      if (!wanted.stdin) await machine.commands.closeStdin(pid).catch(unlessEnded);
      const ended = (async () => {
        try {
          for await (const event of events) {
            if (event.kind === 'stdout') stdout.push(bytesOf(event));
            else if (event.kind === 'stderr') stderr.push(bytesOf(event));
            else if (event.kind === 'exit') return { exitCode: event.exitCode };
          }
          throw new Error('the command ended without an exit code');
        } catch (error) {
          // Who kills a command knows that it has ended.
          if (killed.signal.aborted && !wanted.abortSignal?.aborted) return { exitCode: 137 };
          stdout.fail(error);
          stderr.fail(error);
          throw error;
        } finally {
          stdout.close();
          stderr.close();
        }
      })();
      // Nobody has to wait.
      ended.catch(() => {});
      return {
        pid,
        stdout: stdout.stream,
        stderr: stderr.stream,
        ...(wanted.stdin && {
          stdin: new WritableStream({
            write: (bytes) => machine.commands.sendStdin(pid, bytes),
            close: () => machine.commands.closeStdin(pid).catch(unlessEnded),
            // What writes to it failed: the command must not wait for more.
            abort: () => machine.commands.closeStdin(pid).catch(unlessEnded),
          }),
        }),
        wait: () => ended,
        async kill() {
          killed.abort();
          await ended.catch(() => {});
        },
      };
    },

    readFile: (wanted) => read('stream', wanted),
    readBinaryFile: (wanted) => read('bytes', wanted),
    async readTextFile({ encoding = 'utf-8', startLine, endLine, ...wanted }) {
      const bytes = await read('bytes', wanted);
      return bytes && lines(new TextDecoder(encoding).decode(bytes), startLine, endLine);
    },
    writeFile: (wanted) => write(wanted.content, wanted),
    writeBinaryFile: (wanted) => write(wanted.content, wanted),
    writeTextFile: async ({ encoding, ...wanted }) => write(encoded(wanted.content, encoding), wanted),

    async stat({ path, abortSignal }) {
      const info = await describe(path, abortSignal);
      if (!info) return null;
      if (info.type !== 'symlink') return { type: KINDS[info.type] ?? 'other', size: info.size };
      const args = ['-L', '-c', '%s %F', '--', info.path];
      const { exitCode, stdout } = await machine.commands.run('stat', { args, signal: abortSignal });
      if (exitCode !== 0) return null;
      const [, size, kind] = stdout.match(/^(\d+) (.*)/);
      return { type: FOLLOWED[kind] ?? 'other', size: Number(size) };
    },
    async listDirectory({ path, abortSignal }) {
      const entries = await unlessMissing(machine.files.list(path, { signal: abortSignal }));
      return (
        entries?.map(({ name, type }) => ({ name, type: type === 'symlink' ? type : (KINDS[type] ?? 'other') })) ?? null
      );
    },
    async deleteFile({ path, abortSignal }) {
      const info = await describe(path, abortSignal);
      if (!info) return false;
      if (info.isDir) throw new Error(`${path} is a directory`);
      await machine.files.remove(path, { signal: abortSignal });
      return true;
    },
  };
};

const schema = (properties, required) => ({ type: 'object', properties, required, additionalProperties: false });
const string = (description) => ({ type: 'string', description });

export const nullspaceTools = ({ tool, jsonSchema }, machine) => ({
  bash: tool({
    description: 'Runs a shell command in an isolated Linux machine. Gives its exit code and output.',
    inputSchema: jsonSchema(schema({ command: string('A line for /bin/sh') }, ['command'])),
    async execute({ command }, { abortSignal }) {
      const { exitCode, stdout, stderr } = await machine.commands.run(command, {
        shell: true,
        timeout: 300,
        signal: abortSignal,
      });
      return { exitCode, stdout, stderr };
    },
  }),
  readFile: tool({
    description: 'Reads a text file of the machine.',
    inputSchema: jsonSchema(schema({ path: string('Relative paths start at /workspace') }, ['path'])),
    execute: ({ path }, { abortSignal }) => machine.files.read(path, { signal: abortSignal }),
  }),
  writeFile: tool({
    description: 'Writes a text file of the machine; directories above it are made.',
    inputSchema: jsonSchema(
      schema({ path: string('Relative paths start at /workspace'), content: string('All of the file') }, [
        'path',
        'content',
      ]),
    ),
    async execute({ path, content }, { abortSignal }) {
      await machine.files.write(path, content, { signal: abortSignal });
      return `wrote ${path}`;
    },
  }),
  runCode: tool({
    description: 'Runs a cell of Python, as in a notebook: later cells know what it defined.',
    inputSchema: jsonSchema(schema({ code: string('Python') }, ['code'])),
    async execute({ code }, { abortSignal }) {
      const { text, logs, error } = await machine.runCode(code, { signal: abortSignal });
      return { text, stdout: logs.stdout.join(''), stderr: logs.stderr.join(''), error: error?.traceback };
    },
  }),
});
