/** The words of deepagents for what went wrong with a file; `undefined` for what is no matter of the file. */
const reason = ({ code = '', message = '' }) => {
  if (/machine_not_found/.test(code)) return undefined;
  if (/is a directory/i.test(message)) return 'is_directory';
  if (/not_found/.test(code)) return 'file_not_found';
  if (/permission_denied|forbidden/.test(code)) return 'permission_denied';
  return /invalid|path/.test(code) ? 'invalid_path' : undefined;
};

/** Each on its own: one that fails does not stop the others. */
const each = (items, work, failed) =>
  Promise.all(
    items.map(async (item) => {
      try {
        return await work(item);
      } catch (error) {
        const why = reason(error);
        if (why === undefined) throw error;
        return failed(item, why);
      }
    }),
  );

export const nullspaceBackend = (BaseSandbox, machine) =>
  new (class extends BaseSandbox {
    id = machine.id;

    async execute(command) {
      // One text, in the order in which it was printed.
      let output = '';
      const heard = (text) => {
        output += text;
      };
      const options = { shell: true, timeout: 'none', onStdout: heard, onStderr: heard };
      const { exitCode, truncated = false } = await machine.commands.run(command, options);
      return { output, exitCode, truncated };
    }

    uploadFiles(files) {
      return each(
        files,
        async ([path, bytes]) => {
          await machine.files.write(path, bytes);
          return { path, error: null };
        },
        ([path], error) => ({ path, error }),
      );
    }

    downloadFiles(paths) {
      return each(
        paths,
        async (path) => ({ path, content: await machine.files.read(path, { format: 'bytes' }), error: null }),
        (path, error) => ({ path, content: null, error }),
      );
    }
  })();
