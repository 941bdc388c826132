// Files and directories of the computer as something to upload, in Node, Deno and Bun.

const builtin = (name) => process.getBuiltinModule(name);

/** Hashes piece by piece. */
export const hasher = () => builtin('node:crypto').createHash('sha256');

const readerOf = (path) => async (begin, end) => {
  const file = await builtin('node:fs/promises').open(path, 'r');
  try {
    const bytes = new Uint8Array(end - begin);
    let done = 0;
    while (done < bytes.length) {
      const { bytesRead } = await file.read(bytes, done, bytes.length - done, begin + done);
      if (bytesRead === 0) return bytes.subarray(0, done);
      done += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
};

/** `{ name, mode, size, read }` of a file, `{ name, directoryMode, entries }` of a directory. */
export const openPath = async (given) => {
  const { lstat, readdir, readFile, readlink, stat } = builtin('node:fs/promises');
  const { basename, join, resolve } = builtin('node:path');
  const found = await stat(given);
  const name = basename(resolve(given));
  if (found.isFile()) {
    const read = readerOf(given);
    return {
      name,
      // Windows has none.
      mode: process.platform === 'win32' ? undefined : (found.mode & 0o777).toString(8).padStart(4, '0'),
      size: found.size,
      async read(begin, end) {
        const bytes = await read(begin, end);
        if (bytes.length !== end - begin) throw new Error(`${given} changed while it was uploaded`);
        return bytes;
      },
    };
  }
  if (!found.isDirectory()) throw new TypeError(`${given} is neither a file nor a directory`);
  const entries = async function* (skip, addRules, ignoreFile) {
    const rules = await readFile(join(given, ignoreFile), 'utf8').catch(() => undefined);
    if (rules !== undefined) addRules(rules);
    const walk = async function* (directory, above) {
      const list = await readdir(directory, { withFileTypes: true });
      for (const entry of list.sort((a, b) => (a.name < b.name ? -1 : 1))) {
        const path = above === '' ? entry.name : `${above}/${entry.name}`;
        const full = join(directory, entry.name);
        if (skip(path, entry.isDirectory())) continue;
        const { mode, size, mtimeMs: time } = await lstat(full);
        if (entry.isDirectory()) {
          yield { path, directory: true, mode: mode & 0o777, time };
          yield* walk(full, path);
        } else if (entry.isSymbolicLink()) {
          yield { path, link: await readlink(full), mode: 0o777, time };
        } else if (entry.isFile()) {
          yield { path, size, mode: mode & 0o777, time, read: readerOf(full) };
        }
      }
    };
    yield* walk(given, '');
  };
  return { name, directoryMode: process.platform === 'win32' ? undefined : found.mode & 0o777, entries };
};

/** Where a source of a context is, and its path in there; nothing for one outside. */
export const contextPath = (root, source) => {
  const { isAbsolute, relative, resolve, sep } = builtin('node:path');
  const top = resolve(root);
  const full = resolve(top, source);
  const inside = relative(top, full);
  const isInside = inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside);
  return { full, inside: isInside ? inside.split(sep).join('/') : undefined };
};
