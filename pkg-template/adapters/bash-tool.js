export const bashToolSandbox = (machine) => ({
  async executeCommand(command) {
    const { stdout, stderr, exitCode } = await machine.commands.run(command, { shell: true, timeout: 'none' });
    return { stdout, stderr, exitCode };
  },
  readFile: (path) => machine.files.read(path),
  async writeFiles(files) {
    await machine.files.writeFiles(files);
  },
});
