// Files and directories out of a machine or a volume, in Node, Deno and Bun: whole, or not there. What an archive says about names
// and links is checked: whoever wrote into a machine may have chosen them.

import { InvalidRequestError, InvalidResponseError, NotFoundError, NullspaceError } from './errors.js';

const builtin = (name) => process.getBuiltinModule(name);
const BLOCK = 512;
/** Longest name that an archive may give. */
const LONGEST = 1 << 20;

const broken = (what) =>
  new InvalidResponseError({
    code: 'invalid_response',
    message: `the download was given up: ${what}`,
    retryable: false,
  });

const wrong = (name, what) =>
  new InvalidRequestError({ code: 'invalid_request', message: `option \`${name}\` ${what}`, retryable: false });

const exists = (path) =>
  builtin('node:fs/promises')
    .lstat(path)
    .then(
      (found) => found,
      () => undefined,
    );

/** The absolute path of a download. A directory that is there takes it under its own name. */
const placeOf = async ({ path, name, destination, overwrite }, isDirectory) => {
  const { basename, join, posix, resolve } = builtin('node:path');
  const { stat } = builtin('node:fs/promises');
  const own = name ?? (typeof path === 'string' ? posix.basename(posix.resolve('/', path)) : '');
  if (destination === undefined && (own === '' || basename(own) !== own))
    throw wrong('destination', 'is missing: what is downloaded has no name of its own');
  let place = resolve(destination ?? own);
  const isInto = destination !== undefined && /[/\\]$/.test(destination);
  if (isInto || (!isDirectory && (await stat(place).catch(() => undefined))?.isDirectory())) place = join(place, own);
  const found = await exists(place);
  if (found && !overwrite)
    throw new NullspaceError({
      code: 'target_exists',
      message: `${place} is there already: give another destination, or { overwrite: true }`,
      retryable: false,
    });
  return place;
};

/** What is written beside its place, with a name that nothing has. */
const draftOf = async (place) => {
  const { basename, dirname, join } = builtin('node:path');
  await builtin('node:fs/promises').mkdir(dirname(place), { recursive: true });
  return join(dirname(place), `.${basename(place)}.${builtin('node:crypto').randomBytes(6).toString('hex')}.part`);
};

/** Puts a draft in its place at once. */
const publish = async (draft, place, overwrite) => {
  const { rename, rm } = builtin('node:fs/promises');
  const old = await exists(place);
  const bothFiles = old && !old.isDirectory() && !(await exists(draft)).isDirectory();
  if (!old || bothFiles) {
    if (old && !overwrite) throw broken(`${place} was made meanwhile`);
    await rename(draft, place);
    return;
  }
  // A directory gives way to nothing but its absence: it is kept beside until the new one is there.
  const aside = `${draft}.old`;
  await rename(place, aside);
  try {
    await rename(draft, place);
  } catch (error) {
    await rename(aside, place);
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
};

/** Pieces of a stream. Leaving it early cancels the stream. */
async function* piecesOf(stream, signal) {
  const reader = stream.getReader();
  const stop = () => reader.cancel(signal.reason).catch(() => {});
  signal?.addEventListener('abort', stop, { once: true });
  let over = false;
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { done, value } = await reader.read();
      signal?.throwIfAborted();
      over = done;
      if (done) return;
      yield value;
    }
  } finally {
    signal?.removeEventListener('abort', stop);
    if (!over) await reader.cancel().catch(() => {});
  }
}

const write = async (file, bytes) => {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
};

/** Permissions of owner, group and others; `usual` ones less what this process leaves out. */
const permissions = (mode, usual) => (mode === undefined ? usual & ~process.umask() : mode & 0o777);
const octal = (mode) => (/^[0-7]{3,5}$/.test(mode ?? '') ? Number.parseInt(mode, 8) : undefined);

/** A file. `open()` resolves with the stream of its bytes. */
const saveFile = async (open, wanted) => {
  const { open: create, rm } = builtin('node:fs/promises');
  const place = await placeOf(wanted, false);
  const stream = await open();
  let draft;
  let bytes = 0;
  try {
    draft = await draftOf(place);
    const file = await create(draft, 'wx', 0o600);
    try {
      for await (const piece of piecesOf(stream, wanted.signal)) {
        await write(file, piece);
        bytes += piece.length;
      }
      await file.chmod(permissions(octal(wanted.mode), 0o666));
    } finally {
      await file.close();
    }
    await publish(draft, place, wanted.overwrite);
  } catch (error) {
    await stream.cancel(error).catch(() => {});
    if (draft) await rm(draft, { force: true });
    throw error;
  }
  return { path: place, bytes, files: 1, leftOut: [] };
};

// ---- Archives -------------------------------------------------------------------------------------------------

/** Bytes in the amounts that are asked for. */
const bytesIn = (pieces) => {
  let rest = new Uint8Array(0);
  const some = async (most) => {
    while (rest.length === 0) {
      const { done, value } = await pieces.next();
      if (done) throw broken('the archive ends early');
      rest = value;
    }
    const taken = rest.subarray(0, most);
    rest = rest.subarray(taken.length);
    return taken;
  };
  return {
    some,
    async whole(length) {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length; ) {
        const piece = await some(length - at);
        bytes.set(piece, at);
        at += piece.length;
      }
      return bytes;
    },
  };
};

const text = (bytes) => {
  const end = bytes.indexOf(0);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(end < 0 ? bytes : bytes.subarray(0, end));
  } catch {
    throw broken('a name in the archive is no UTF-8');
  }
};

/** A number of a header: octal digits, or, of large ones, bytes behind a bit. */
const number = (field) => {
  let value = 0;
  if (field[0] & 0x80) for (const byte of field.subarray(1)) value = value * 256 + byte;
  else value = Number.parseInt(text(field).trim() || '0', 8);
  if (!Number.isSafeInteger(value) || value < 0) throw broken('a header of the archive holds no number');
  return value;
};

const checkSum = (header) => {
  let sum = 0;
  for (let at = 0; at < BLOCK; at++) sum += at >= 148 && at < 156 ? 32 : header[at];
  if (sum !== number(header.subarray(148, 156))) throw broken('a header of the archive is damaged');
};

/** Fields of a pax header: `length name=value\n`, one behind the other. */
const paxFields = (bytes) => {
  const fields = {};
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(32, at);
    const length = Number.parseInt(text(bytes.subarray(at, Math.max(at, space))), 10);
    if (space < 0 || !(length > space - at) || at + length > bytes.length)
      throw broken('a header of the archive is damaged');
    const [, key, value] = /^([^=]*)=(.*)\n$/s.exec(text(bytes.subarray(space + 1, at + length))) ?? [];
    if (key !== undefined) fields[key] = value;
    at += length;
  }
  return fields;
};

/** Entries of an archive, whose content is to be read before the next one. */
async function* entriesOf(bytes) {
  let more = {};
  for (;;) {
    const header = await bytes.whole(BLOCK);
    if (header.every((byte) => byte === 0)) return;
    checkSum(header);
    const type = String.fromCharCode(header[156] || 48);
    const size = more.size === undefined ? number(header.subarray(124, 136)) : Number(more.size);
    const padding = (BLOCK - (size % BLOCK)) % BLOCK;
    if (type === 'L' || type === 'K' || type === 'x' || type === 'g') {
      if (size > LONGEST) throw broken('a name in the archive is too long');
      const content = await bytes.whole(size);
      await bytes.whole(padding);
      if (type === 'L') more.path = text(content);
      else if (type === 'K') more.linkpath = text(content);
      else if (type === 'x') Object.assign(more, paxFields(content));
      continue;
    }
    const prefix =
      text(header.subarray(257, 262)) === 'ustar' && header[262] === 0 ? text(header.subarray(345, 500)) : '';
    const short = text(header.subarray(0, 100));
    let left = size;
    yield {
      path: more.path ?? (prefix ? `${prefix}/${short}` : short),
      link: more.linkpath ?? text(header.subarray(157, 257)),
      mode: number(header.subarray(100, 108)),
      type,
      size,
      async *content() {
        while (left > 0) {
          const piece = await bytes.some(left);
          left -= piece.length;
          yield piece;
        }
      },
    };
    while (left > 0) left -= (await bytes.some(left)).length;
    await bytes.whole(padding);
    more = {};
  }
}

/** The parts of a path that stays where it is put. */
const namesOf = (path) => {
  const names = path.replace(/\/+$/, '').split('/');
  const isName = (name) =>
    !['', '.', '..'].includes(name) &&
    !name.includes('\0') &&
    !(process.platform === 'win32' && /[\\:*?"<>|]|[. ]$/.test(name));
  if (!names.every(isName)) throw broken(`the archive names a file ${JSON.stringify(path)}, which cannot be one here`);
  return names;
};

/**
 * Whether a link in `depth` directories of what is downloaded may lead out of it. Steps up count only at the beginning, where they
 * leave directories that were made here; behind a name, which may be a link itself, they could lead anywhere.
 */
const leadsOut = (target, depth) => {
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const up = parts.findIndex((part) => part !== '..');
  const isBelow = up === -1 || !parts.slice(up).includes('..');
  return target === '' || target.startsWith('/') || !isBelow || (up === -1 ? parts.length : up) > depth;
};

/** A directory, out of the stream of its archive. */
const saveDirectory = async (open, wanted) => {
  const { rm } = builtin('node:fs/promises');
  const place = await placeOf(wanted, true);
  const stream = await open();
  let draft;
  try {
    draft = await draftOf(place);
    const made = await unpack(stream, draft, wanted.signal);
    await publish(draft, place, wanted.overwrite);
    return { path: place, ...made };
  } catch (error) {
    await stream.cancel(error).catch(() => {});
    if (draft) await rm(draft, { recursive: true, force: true });
    throw error;
  }
};

const unpack = async (stream, top, signal) => {
  const { chmod, mkdir, open: create, symlink } = builtin('node:fs/promises');
  const { dirname, join } = builtin('node:path');
  await mkdir(top);
  const [links, directories, leftOut] = [[], [], []];
  let [files, bytes] = [0, 0];
  const pieces = piecesOf(stream, signal);
  try {
    for await (const entry of entriesOf(bytesIn(pieces))) {
      const names = namesOf(entry.path);
      const here = join(top, ...names);
      if (entry.type === '5') {
        await mkdir(here, { recursive: true });
        directories.push([here, entry.mode]);
      } else if (entry.type === '0') {
        await mkdir(dirname(here), { recursive: true });
        // A name that comes twice is refused. There is no link yet that it could lead through.
        const file = await create(here, 'wx', 0o600);
        try {
          for await (const piece of entry.content()) await write(file, piece);
          await file.chmod(permissions(entry.mode));
        } finally {
          await file.close();
        }
        files += 1;
        bytes += entry.size;
      } else if (entry.type === '2' && !leadsOut(entry.link, names.length - 1)) {
        links.push([here, entry.link]);
      } else leftOut.push(entry.path);
    }
    // Behind the last entry there are zeros alone. Only the end of the answer says that it is whole.
    while (!(await pieces.next()).done);
  } finally {
    await pieces.return();
  }
  for (const [here, link] of links) {
    await mkdir(dirname(here), { recursive: true });
    await symlink(link, here);
  }
  // Children first: a directory that may not be written to is complete by then.
  for (const [here, mode] of directories.reverse()) await chmod(here, permissions(mode));
  await chmod(top, permissions(undefined, 0o777));
  return { files, bytes, leftOut };
};

// ---- Calls ----------------------------------------------------------------------------------------------------

/** Options of a download: its own, and those of the calls that it makes, which check them. */
const read = (path, destination, options) => {
  if (destination !== undefined && (typeof destination !== 'string' || destination === ''))
    throw wrong('destination', "must be a path here, such as './models'");
  if (options === null || (options !== undefined && typeof options !== 'object')) return { path, asked: options };
  const { overwrite, archive, ...asked } = options ?? {};
  for (const [name, value] of Object.entries({ overwrite, archive }))
    if (value !== undefined && typeof value !== 'boolean') throw wrong(name, 'must be true or false');
  return { path, destination, overwrite, archive, asked, signal: asked.signal };
};

const downloadFile = async (files, path, destination, options) => {
  const { asked, archive, ...wanted } = read(path, destination, options);
  if (archive !== undefined) throw wrong('archive', 'is for directories');
  const { mode } = await files.info(path, asked);
  return saveFile(() => files.read(path, { ...asked, format: 'stream' }), { ...wanted, mode });
};

const downloadDir = async (files, path, destination, options) => {
  const { asked, archive, ...wanted } = read(path, destination, options);
  const open = () => files.archive(path, asked);
  if (!archive) return saveDirectory(open, wanted);
  const { posix } = builtin('node:path');
  const own = typeof path === 'string' ? posix.basename(posix.resolve('/', path)) : '';
  return saveFile(open, { ...wanted, name: own && `${own}.tar` });
};

/** By their public names; each gets the files of a machine or of a volume first. */
export const downloads = {
  downloadFile,
  downloadDir,
  async download(files, path, destination, options) {
    const { asked } = read(path, destination, options);
    // What a link leads to counts.
    const behind = await files.info(typeof path === 'string' ? `${path}/.` : path, asked).catch((error) => {
      if (error instanceof NotFoundError || error instanceof InvalidRequestError) return undefined;
      throw error;
    });
    return (behind?.isDir ? downloadDir : downloadFile)(files, path, destination, options);
  },
};
