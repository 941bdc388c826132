/** Seconds of a command when the model says nothing. */
const DEFAULT_SECONDS = 120;

export const nullspaceShell = (machine, { cwd, envs } = {}) => ({
  async run({ commands, timeoutMs, maxOutputLength }) {
    const timeout = timeoutMs == null ? DEFAULT_SECONDS : Math.max(1, Math.ceil(timeoutMs / 1000));
    const cut = (text) => (maxOutputLength == null ? text : text.slice(0, maxOutputLength));
    const output = [];
    for (const command of commands) {
      try {
        const { exitCode, stdout, stderr } = await machine.commands.run(command, { shell: true, cwd, envs, timeout });
        output.push({ stdout: cut(stdout), stderr: cut(stderr), outcome: { type: 'exit', exitCode } });
      } catch (error) {
        if (error?.code !== 'exec_timeout') throw error;
        const { stdout = '', stderr = '' } = error.details ?? {};
        output.push({ stdout: cut(stdout), stderr: cut(stderr), outcome: { type: 'timeout' } });
        // What follows may need what did not end.
        break;
      }
    }
    return { output, ...(maxOutputLength != null && { maxOutputLength }) };
  },
});

export const nullspaceEditor = (machine, { applyDiff }) => {
  /** What goes wrong is told to the model, which can try again. */
  const tried = async (work) => {
    try {
      await work();
      return { status: 'completed' };
    } catch (error) {
      return { status: 'failed', output: String(error?.message ?? error) };
    }
  };
  return {
    createFile: ({ path, diff }) => tried(() => machine.files.write(path, applyDiff('', diff, 'create'))),
    updateFile: ({ path, diff }) =>
      tried(async () => machine.files.write(path, applyDiff(await machine.files.read(path), diff))),
    deleteFile: ({ path }) => tried(() => machine.files.remove(path)),
  };
};
