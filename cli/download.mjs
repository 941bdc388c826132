// Files and directories out of a machine or a volume. What it says about names and links is checked: a machine may be somebody else's.

import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod, lstat, mkdir, rename, rm, stat, symlink } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { problem } from './ending.mjs';

/** Files at once. */
const AT_ONCE = 6;

const refused = (name, why) =>
  problem(`the server names a file ${JSON.stringify(name)}, ${why}: nothing more was copied`, {
    code: 'invalid_response',
  });

/** A name of one file here, and of nothing else. */
const checked = (name) => {
  if (typeof name !== 'string' || ['', '.', '..'].includes(name) || /[/\0]/.test(name))
    throw refused(name, 'which is no name');
  if (process.platform === 'win32' && /[\\:*?"<>|]|[. ]$/.test(name)) throw refused(name, 'which Windows cannot have');
  return name;
};

/** Permissions as the machine tells them; those of owner, group and others alone. */
const permissions = (mode) => (/^[0-7]{3,5}$/.test(mode ?? '') ? Number.parseInt(mode, 8) & 0o777 : undefined);

/** A file, which appears when all of it has come. */
export const downloadFile = async (files, { path: from, mode }, to, { signal }) => {
  const draft = `${to}.${randomBytes(6).toString('hex')}.part`;
  try {
    const bytes = await files.read(from, { format: 'stream', signal });
    await pipeline(Readable.fromWeb(bytes), createWriteStream(draft, { flags: 'wx', mode: 0o600 }), { signal });
    await chmod(draft, permissions(mode) ?? 0o666 & ~process.umask());
    await rename(draft, to);
  } finally {
    await rm(draft, { force: true });
  }
};

/** A directory that is none of ours may not be a link that leads elsewhere. */
const makeDirectory = async (directory) => {
  await mkdir(directory).catch(async (error) => {
    if (error.code !== 'EEXIST' || !(await lstat(directory)).isDirectory()) throw error;
  });
};

/**
 * Whether a link in `depth` directories of what is copied may lead out of it. Steps up count only at the beginning, where they leave
 * directories that were made here; behind a name, which may be a link itself, they could lead anywhere.
 */
const leadsOut = (target, depth) => {
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const up = parts.findIndex((part) => part !== '..');
  const isBelow = up === -1 || !parts.slice(up).includes('..');
  return target.startsWith('/') || !isBelow || (up === -1 ? parts.length : up) > depth;
};

/** What is below a directory, parents first. */
async function* below(place, from, signal, depth = 0, names = []) {
  const seen = new Set();
  for (const entry of await place.list(from, { signal })) {
    const name = checked(entry.name);
    if (seen.has(name)) throw refused(name, 'twice');
    seen.add(name);
    const found = { ...entry, path: path.posix.join(from, name), names: [...names, name], depth };
    yield found;
    if (entry.isDir && entry.type !== 'symlink') yield* below(place, found.path, signal, depth + 1, found.names);
  }
}

/** A directory and all in it, joined with what is there. Links come last: no file is written through one. */
export const downloadDirectory = async (place, from, to, { signal, leftOut }) => {
  await mkdir(to, { recursive: true });
  if (!(await stat(to)).isDirectory()) throw problem(`${to} is no directory`);
  const [files, links, directories] = [[], [], []];
  for await (const entry of below(place, from, signal)) {
    const here = path.join(to, ...entry.names);
    if (entry.type === 'symlink') links.push([entry, here]);
    else if (entry.isDir) directories.push([entry, here]);
    else if (entry.type === 'file') files.push([entry, here]);
    else leftOut(entry.path, `it is neither a file nor a directory`);
  }
  for (const [, here] of directories) await makeDirectory(here);
  let next = 0;
  let bytes = 0;
  const work = async () => {
    while (next < files.length) {
      const [entry, here] = files[next++];
      await downloadFile(place, entry, here, { signal });
      bytes += entry.size;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  for (const [{ symlinkTarget: target, path: link, depth }, here] of links) {
    if (typeof target !== 'string' || leadsOut(target, depth)) leftOut(link, 'it leads out of the directory');
    else {
      await rm(here, { force: true });
      await symlink(target, here);
    }
  }
  // Children first: a directory that may not be written to is complete by then.
  for (const [{ mode }, here] of directories.reverse())
    await chmod(here, permissions(mode) ?? 0o777 & ~process.umask());
  return { files: files.length, bytes };
};
