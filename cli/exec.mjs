// `nullspace machine exec`, and `nullspace run`, which makes a machine for one command.

import { isUtf8 } from 'node:buffer';

import { Machine } from 'nullspace';

import { interruption, misuse } from './ending.mjs';
import { isJson, show, showId, written } from './output.mjs';
import { terminal } from './terminal.mjs';
import { creation } from './creation.mjs';
import { given, number, pairs } from './values.mjs';

/** Nobody asked for a limit: the longest that the API takes. Seconds. */
const UNLIMITED = 86_400;

const inside = [
  ['-i, --interactive', 'pass standard input on from a terminal too (from a pipe or a file it always is)'],
  ['-t, --tty', 'in a terminal of the machine'],
  ['-n, --no-stdin', 'leave standard input alone, as loops want that read their own'],
  ['-s, --shell', 'the command is text for a shell'],
  ['-d, --detach', 'do not wait for its end'],
  ['--cwd <path>', 'working directory'],
  ['-e, --env <name=value>', 'environment; repeatable', pairs],
  ['--timeout <seconds>', 'end it after this time, with exit code 124 (default: no limit)', number],
];

/** How many bytes at the end are the beginning of a character that has not come whole. */
const begun = (bytes) => {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return back < length ? back : 0;
  }
  return 0;
};

/** Passes what comes on to a process as its standard input, and the end. */
const feed = async (commands, pid, input, signal) => {
  // A command may let its input wait for as long as it likes.
  const options = { signal, requestTimeout: UNLIMITED };
  // Text as text, which every server takes.
  const send = (bytes) => commands.sendStdin(pid, isUtf8(bytes) ? bytes.toString() : bytes, options);
  try {
    let held = Buffer.alloc(0);
    for await (const chunk of input) {
      const bytes = Buffer.concat([held, chunk]);
      const end = bytes.length - begun(bytes);
      held = bytes.subarray(end);
      if (end > 0) await send(bytes.subarray(0, end));
    }
    if (held.length > 0) await send(held);
    await commands.closeStdin(pid, options);
  } catch (error) {
    // It ended, or closed its input: what it did not read is nobody's loss.
    if (!['ConflictError', 'NotFoundError'].includes(error.name)) throw error;
  }
};

/** Runs a command to its end, its streams being ours. */
const attached = async (machine, command, options, { stdin, interrupted }) => {
  const over = new AbortController();
  const kept = { stdout: [], stderr: [] };
  let result;
  try {
    for await (const event of machine.commands.stream(command, { ...options, signal: interrupted.signal })) {
      if (event.kind === 'started') {
        result = { pid: event.pid };
        feed(machine.commands, event.pid, stdin ? process.stdin : [], over.signal).catch((error) => {
          if (over.signal.aborted) return;
          // The command may have ended just now, which its own stream tells.
          const timer = setTimeout(() => interrupted.abort(error), 1000);
          over.signal.addEventListener('abort', () => clearTimeout(timer));
        });
      } else if (event.kind === 'exit') {
        process.exitCode = event.exitCode;
      } else if (isJson()) {
        kept[event.kind].push(event.data);
      } else {
        await written(process[event.kind], event.bytes ?? event.data);
      }
    }
  } finally {
    over.abort();
    process.stdin.destroy();
  }
  if (isJson())
    show({ exitCode: process.exitCode, stdout: kept.stdout.join(''), stderr: kept.stderr.join(''), ...result });
};

/** Runs `words` in a machine as the flags say. */
const execute = async (machine, words, interrupted, { shell, tty, interactive, stdin, detach, cwd, env, timeout }) => {
  const fromPipe = process.stdin.isTTY !== true;
  const isFed = stdin !== false && (interactive === true || fromPipe);
  if (tty) {
    if (detach || timeout !== undefined || isJson())
      throw misuse('a terminal goes without --detach, --timeout and --json');
    const typed = shell && words.length > 0 ? ['/bin/sh', '-c', words.join(' ')] : words;
    await terminal(machine, { ...given({ cwd, envs: env }), words: typed, isTyped: isFed, signal: interrupted.signal });
    return;
  }
  if (words.length === 0) throw misuse('say what to run, such as: nullspace exec ID -- ls -la');
  const [program, ...args] = words;
  const options = given({
    shell,
    args: shell || args.length === 0 ? undefined : args,
    cwd,
    envs: env,
    timeout: timeout ?? UNLIMITED,
  });
  const command = shell ? words.join(' ') : program;
  if (!detach) return attached(machine, command, options, { stdin: isFed, interrupted });
  const { pid } = await machine.commands.run(command, { ...options, background: true });
  return { id: machine.id, pid };
};

export const exec = {
  args: [
    ['<machine>', 'id of the machine'],
    ['[command...]', 'the program and its arguments; options behind it are its own'],
  ],
  options: inside,
  further: true,
  async run(id, words, flags) {
    const interrupted = interruption();
    const machine = await Machine.connect(id, { signal: interrupted.signal });
    const started = await execute(machine, words, interrupted, flags);
    if (started) show({ pid: started.pid }, ({ pid }) => pid);
  },
};

const OWN = ['--timeout', '--cwd', '--env'];

export const run = {
  args: [['[command...]', 'the program and its arguments; options behind it are its own (default: a shell)']],
  options: [
    ...creation.options
      .filter(([flags]) => !OWN.some((name) => flags.includes(`${name} `)))
      .map(([flags, ...rest]) => [flags.replace(/^-t, /, ''), ...rest]),
    ['--lease <seconds>', 'with --detach or --keep: how long the machine lives (default: 300)', number],
    ['--keep', 'keep the machine after the command, and print its id'],
    ['--rm', 'destroy the machine when the command ended (that is the default)'],
    ...inside,
  ],
  async run(words, flags) {
    const { detach, keep, lease } = flags;
    const isShell = words.length === 0 && !flags.shell;
    if (isShell && process.stdin.isTTY !== true && !flags.tty)
      throw misuse('say what to run, such as: nullspace run -- ls -la');
    // Its environment and directory are the command's alone.
    const wanted = creation.wanted({ ...flags, env: undefined, cwd: undefined, timeout: lease });
    const interrupted = interruption();
    const machine = await Machine.create({ ...wanted, signal: interrupted.signal });
    if (detach) {
      const { id, pid } = await execute(machine, words, interrupted, flags).catch(async (error) => {
        await machine.kill().catch(() => {});
        throw error;
      });
      showId({ id, pid });
      return;
    }
    const lasting = await machine.keepAlive();
    try {
      interrupted.signal.throwIfAborted();
      await execute(machine, words, interrupted, isShell ? { ...flags, tty: true, interactive: true } : flags);
    } finally {
      await lasting.close().catch(() => {});
      if (keep) console.error(machine.id);
      else await machine.kill();
    }
  },
};
