// Directories as a tar archive (ustar with pax headers) that is never made as a whole: its headers are, its files are read
// when their part is sent. Loaded with the first directory only.

import ignoring from './ignore.js';

/** What a directory may hold that is not uploaded; in the syntax of .gitignore. */
const IGNORE_FILE = '.nullspaceignore';
const BLOCK = 512;

const text = (value) => new TextEncoder().encode(value);
const octal = (value, length) => `${value.toString(8).padStart(length - 1, '0')}\0`;

const header = (name, { mode, size, time, type, link = '' }) => {
  const block = new Uint8Array(BLOCK);
  const put = (at, value) => block.set(text(value), at);
  put(0, name);
  put(100, octal(mode, 8));
  put(108, octal(0, 8));
  put(116, octal(0, 8));
  put(124, octal(size, 12));
  put(136, octal(Math.max(0, Math.floor(time / 1000)), 12));
  put(148, '        ');
  put(156, type);
  put(157, link);
  put(257, 'ustar\u000000');
  let sum = 0;
  for (const byte of block) sum += byte;
  put(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return block;
};

/** A line of a pax header, whose length counts its own digits. */
const record = (key, value) => {
  const rest = text(` ${key}=${value}\n`).length;
  let length = rest + String(rest).length;
  if (String(length).length > String(rest).length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
};

const padding = (size) => (BLOCK - (size % BLOCK)) % BLOCK;
const LARGEST_OCTAL = 8 ** 11 - 1;

/** Headers of one entry, with a pax header for what does not fit into the old fields. */
const headers = (entry) => {
  const name = entry.directory ? `${entry.path}/` : entry.path;
  const fields = {
    mode: entry.mode ?? (entry.directory ? 0o755 : 0o644),
    size: entry.size ?? 0,
    time: entry.time ?? 0,
  };
  const type = entry.directory ? '5' : entry.link !== undefined ? '2' : '0';
  let pax = '';
  if (text(name).length > 99) pax += record('path', name);
  if (entry.link !== undefined && text(entry.link).length > 99) pax += record('linkpath', entry.link);
  if (fields.size > LARGEST_OCTAL) pax += record('size', fields.size);
  const short = (value) => new TextDecoder().decode(text(value).subarray(0, 99)).replace(/\uFFFD+$/, '');
  const own = header(short(name), {
    ...fields,
    size: fields.size > LARGEST_OCTAL ? 0 : fields.size,
    type,
    link: short(entry.link ?? ''),
  });
  if (pax === '') return own;
  const body = text(pax);
  const all = new Uint8Array(BLOCK + body.length + padding(body.length) + BLOCK);
  all.set(header('pax', { mode: 0o644, size: body.length, time: 0, type: 'x' }));
  all.set(body, BLOCK);
  all.set(own, all.length - BLOCK);
  return all;
};

/** Whether a symlink leads out of the directory: those are not uploaded. */
const leadsOut = (path, link) => {
  if (link.startsWith('/')) return true;
  let depth = path.split('/').length - 1;
  for (const part of link.split('/')) {
    if (part === '..') depth -= 1;
    else if (part !== '' && part !== '.') depth += 1;
    if (depth < 0) return true;
  }
  return false;
};

/**
 * An archive. `entries(skip)` gives `{ path, directory?, link?, size?, mode?, time?, read? }` in order, parents first, without
 * what `skip(path, directory)` leaves out; `read(begin, end)` resolves with bytes of a file.
 */
export const archive = async (name, entries, patterns = []) => {
  const rules = ignoring().add(patterns);
  const skip = (path, directory) => path === IGNORE_FILE || rules.ignores(directory ? `${path}/` : path);
  const segments = [];
  let size = 0;
  const push = (length, read) => {
    if (length > 0) segments.push({ begin: size, end: size + length, read });
    size += length;
  };
  const plain = (bytes) => push(bytes.length, async (begin, end) => bytes.subarray(begin, end));
  for await (const entry of entries(skip, (lines) => rules.add(lines), IGNORE_FILE)) {
    if (entry.link !== undefined && leadsOut(entry.path, entry.link)) continue;
    plain(headers(entry));
    if (entry.directory || entry.link !== undefined) continue;
    push(entry.size, async (begin, end) => {
      const bytes = await entry.read(begin, end);
      if (bytes.length !== end - begin) throw new Error(`${entry.path} changed while it was uploaded`);
      return bytes;
    });
    plain(new Uint8Array(padding(entry.size)));
  }
  plain(new Uint8Array(2 * BLOCK));
  return { name, size, read: (begin, end) => readSegments(segments, begin, end) };
};

const readSegments = async (segments, begin, end) => {
  const bytes = new Uint8Array(end - begin);
  // The first segment that reaches beyond `begin`.
  let low = 0;
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle].end <= begin) low = middle + 1;
    else high = middle;
  }
  for (let index = low; index < segments.length && segments[index].begin < end; index++) {
    const segment = segments[index];
    const from = Math.max(begin, segment.begin);
    const to = Math.min(end, segment.end);
    bytes.set(await segment.read(from - segment.begin, to - segment.begin), from - begin);
  }
  return bytes;
};

const ofBlob = (blob) => async (begin, end) => new Uint8Array(await blob.slice(begin, end).arrayBuffer());

/** A `FileList` of a directory input, or files with a path in their `webkitRelativePath` or name. */
export const ofFiles = (files) => {
  const all = files.map((file) => [file.webkitRelativePath || file.name, file]);
  // The directory that was chosen is the first part of every path.
  const [top] = all[0]?.[0].split('/') ?? [];
  const shared = all.length > 0 && all.every(([path]) => path.startsWith(`${top}/`));
  const entries = async function* (skip, addRules, ignoreFile) {
    const list = all
      .map(([path, file]) => [shared ? path.slice(top.length + 1) : path, file])
      .sort(([a], [b]) => (a < b ? -1 : 1));
    const rules = list.find(([path]) => path === ignoreFile);
    if (rules) addRules(await rules[1].text());
    for (const [path, file] of list) {
      if (skip(path, false)) continue;
      yield { path, size: file.size, time: file.lastModified ?? 0, read: ofBlob(file), blob: file };
    }
  };
  return { name: shared ? top : undefined, entries };
};

/** A `FileSystemDirectoryHandle`. */
export const ofHandle = async (handle) => ({
  name: handle.name,
  entries: async function* (skip, addRules, ignoreFile) {
    const rules = await handle.getFileHandle(ignoreFile).then(
      (found) => found.getFile(),
      () => undefined,
    );
    if (rules) addRules(await rules.text());
    const walk = async function* (directory, above) {
      for await (const [name, found] of directory.entries()) {
        const path = above === '' ? name : `${above}/${name}`;
        if (skip(path, found.kind === 'directory')) continue;
        if (found.kind === 'directory') {
          yield { path, directory: true };
          yield* walk(found, path);
        } else {
          const file = await found.getFile();
          yield { path, size: file.size, time: file.lastModified, read: ofBlob(file), blob: file };
        }
      }
    };
    yield* walk(handle, '');
  },
});
