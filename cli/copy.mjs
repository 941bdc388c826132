// `nullspace machine cp` and `nullspace volume cp`, and what they share with the other commands on files

import { stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { Machine, Volume } from 'nullspace';

import { downloadDirectory, downloadFile } from './download.mjs';
import { interruption, misuse } from './ending.mjs';
import { progress, show, shown } from './output.mjs';
import { given } from './values.mjs';

/** Standard input or output. */
const STANDARD = '-';

/** `mch_...:/path` or `vol_...:/path`, or nothing for a path of this computer. */
export const remote = (text) => text.match(/^((?:mch|vol)_\w+):(.*)$/s)?.slice(1);

const told = ({ path: where, files, bytes }) =>
  shown(files === undefined ? where : `${where}  ${files} files, ${bytes} bytes`);

/** A path that ends so stands for the directory in which the copy keeps its name. */
const isInto = (to) =>
  to === '' || to === '.' || to === '..' || to.endsWith('/') || to.endsWith('/.') || to.endsWith('/..');

const upload = async (from, files, to, { conflict, signal }) => {
  if (from === STANDARD) {
    const { path: where, size } = await files.write(to, Readable.toWeb(process.stdin), { signal });
    return { path: where, files: 1, bytes: size };
  }
  const found = await stat(from);
  const isHeld = async () =>
    found.isFile() && (await files.info(to, { signal }).catch(() => undefined))?.isDir === true;
  const target = isInto(to) || (await isHeld()) ? path.posix.join(to || '.', path.basename(path.resolve(from))) : to;
  const line = progress(from);
  try {
    const result = await files.upload(from, target, given({ conflict, onProgress: line.step, signal }));
    // The upload asks for them too, but only the local engine knows how.
    if (found.isFile()) await files.setPermissions(result.path, found.mode & 0o777, { signal });
    return result;
  } finally {
    line.end();
  }
};

/** What a path there is; a link counts as what it leads to. */
const describe = async (files, from, signal) => {
  const found = await files.info(from, { signal });
  if (found.type !== 'symlink') return { ...found, path: from };
  const behind = await files.info(`${from}/.`, { signal }).catch(() => undefined);
  return { isDir: behind?.isDir === true, path: from, size: found.size };
};

/** The bytes of a file, on standard output. */
export const print = async (files, from, signal) => {
  const bytes = await files.read(from, { format: 'stream', signal });
  await pipeline(Readable.fromWeb(bytes), process.stdout, { signal, end: false });
};

const download = async (files, from, to, { signal }) => {
  const found = await describe(files, from, signal);
  if (to === STANDARD) {
    if (found.isDir)
      throw misuse(`${from} is a directory, and standard output takes one file: name a path of this computer`);
    await print(files, from, signal);
    return undefined;
  }
  const isHeld = async () => !found.isDir && (await stat(to).catch(() => undefined))?.isDirectory() === true;
  const name = path.posix.basename(path.posix.resolve('/', from));
  const target = isInto(to) || (await isHeld()) ? path.join(to, name) : to;
  if (found.isDir) {
    const leftOut = (what, why) => console.error(shown(`${what} is left out: ${why}`));
    return { path: target, ...(await downloadDirectory(files, from, target, { signal, leftOut })) };
  }
  await downloadFile(files, found, target, { signal });
  return { path: target };
};

/** `what`: whose files they are; `held(id)` takes it up. */
const copying = (what, held) => ({
  args: [
    ['<from>', 'a path here, ID:PATH, or - for standard input'],
    ['<to>', 'a path here, ID:PATH, or - for standard output'],
  ],
  options: [
    ['--conflict <what>', `into a ${what}: merge, replace or error`],
    ['-q, --quiet', 'say nothing'],
  ],
  async run(from, to, { conflict, quiet }) {
    const [source, target] = [remote(from), remote(to)];
    if (!source === !target) throw misuse(`one of the two must be in a ${what}: ID:PATH`);
    const { signal } = interruption();
    const { files } = await held((source ?? target)[0]);
    const result = target
      ? await upload(from, files, target[1], { conflict, signal })
      : await download(files, source[1], to, { signal });
    if (result && !quiet) show(result, told);
  },
});

export const copy = copying('machine', (id) => (id.startsWith('vol_') ? Volume.get(id) : Machine.connect(id)));
export const copyOfVolume = copying('volume', (id) => Volume.get(id));
