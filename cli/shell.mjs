// `nullspace machine shell`: a terminal of the machine in this one.

/** Runs until the shell in the machine ends; ends with its code. */
export const shell = async (machine, options) => {
  const { stdin, stdout } = process;
  const size = () => ({ cols: stdout.columns || 80, rows: stdout.rows || 24 });
  const terminal = await machine.pty.create({ ...options, ...size() });
  const raw = stdin.isTTY === true;
  const type = (bytes) => terminal.sendInput(bytes).catch(() => {});
  const resize = () => terminal.resize(size()).catch(() => {});
  // Without a terminal here, the end of the input is the end of the shell's.
  const endInput = () => type('\u0004');
  if (raw) stdin.setRawMode(true);
  stdin.on('data', type);
  if (!raw) stdin.once('end', endInput);
  stdout.on('resize', resize);
  try {
    for await (const bytes of terminal) stdout.write(bytes);
    process.exitCode = (await terminal.wait()).exitCode;
  } finally {
    if (raw) stdin.setRawMode(false);
    stdin.off('data', type).off('end', endInput).pause();
    stdout.off('resize', resize);
    await terminal.kill().catch(() => {});
    await terminal.disconnect();
  }
};
