// A terminal of a machine in this one.

import { written } from './output.mjs';
import { quoted } from '../pkg-template/lib/shell.js';

/** End of input, as a terminal types it. */
const END_OF_INPUT = '\u0004';

/** Passes what a terminal prints once `mark` came, and says so. */
const behind = (mark, write, begin) => {
  let held = Buffer.alloc(0);
  let isBehind = mark === undefined;
  if (isBehind) begin();
  return async (bytes) => {
    if (isBehind) return write(bytes);
    held = Buffer.concat([held, bytes]);
    const at = held.indexOf(mark);
    if (at === -1) return undefined;
    isBehind = true;
    begin();
    return write(held.subarray(at + mark.length));
  };
};

/**
 * How a command is run in a terminal, whose shell is all that the API starts there: the shell is told to become it. The line
 * itself and what the shell prints before it are not shown: they end with a mark that the line does not hold as it prints it.
 */
const replaced = (words) => {
  if (words.length === 0) return { envs: {}, line: undefined, mark: undefined };
  const name = `NULLSPACE_${Math.random().toString(36).slice(2, 10).toUpperCase()}`;
  return {
    // As a variable, since a terminal takes no line of more than 4 KiB.
    envs: { [name]: words.map(quoted).join(' ') },
    line: ` printf '%s_BEGINS\\n' ${name}; eval "unset ${name}; exec $${name}"; exit\n`,
    mark: `${name}_BEGINS\r\n`,
  };
};

/**
 * Runs until the shell in the machine, or the command that takes its place, ends; ends with its code. `isTyped` says whether what
 * is typed here goes there.
 */
export const terminal = async (machine, { words = [], envs, isTyped = true, signal, ...options }) => {
  const { stdin, stdout } = process;
  const size = () => ({ cols: stdout.columns || 80, rows: stdout.rows || 24 });
  const command = replaced(words);
  const session = await machine.pty.create({ ...options, ...size(), envs: { ...envs, ...command.envs } });
  const raw = isTyped && stdin.isTTY === true;
  let last = Promise.resolve();
  const type = (bytes) => {
    last = last.then(() => session.sendInput(bytes)).catch(() => {});
  };
  const stop = () => session.kill().catch(() => {});
  signal?.addEventListener('abort', stop, { once: true });
  const resize = () => session.resize(size()).catch(() => {});
  // Without a terminal here, the end of the input is the end of the shell's.
  const endInput = () => type(END_OF_INPUT);
  const attach = () => {
    if (!isTyped) return;
    if (raw) stdin.setRawMode(true);
    else stdin.once('end', endInput);
    stdin.on('data', type);
  };
  stdout.on('resize', resize);
  if (command.line) type(command.line);
  // The command alone gets what is typed: its shell would take keys for itself.
  const print = behind(command.mark, (bytes) => written(stdout, bytes), attach);
  try {
    for await (const bytes of session) await print(bytes);
    signal?.throwIfAborted();
    process.exitCode = (await session.wait()).exitCode;
  } finally {
    if (raw) stdin.setRawMode(false);
    stdin.off('data', type).off('end', endInput).destroy();
    stdout.off('resize', resize);
    await stop();
    await session.disconnect();
  }
};
