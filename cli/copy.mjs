// `nullspace machine cp`

import { stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { Machine } from 'nullspace';

import { downloadDirectory, downloadFile } from './download.mjs';
import { interruption, misuse } from './ending.mjs';
import { progress, show, shown } from './output.mjs';
import { given } from './values.mjs';

/** Standard input or output. */
const STANDARD = '-';

/** `mch_...:/path`, or nothing for a path of this computer. */
const remote = (text) => text.match(/^(mch_\w+):(.*)$/s)?.slice(1);

const told = ({ path: where, files, bytes }) =>
  shown(files === undefined ? where : `${where}  ${files} files, ${bytes} bytes`);

/** A path that ends so stands for the directory in which the copy keeps its name. */
const isInto = (to) =>
  to === '' || to === '.' || to === '..' || to.endsWith('/') || to.endsWith('/.') || to.endsWith('/..');

const upload = async (from, machine, to, { conflict, signal }) => {
  const { files } = machine;
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

/** What a path of a machine is; a link counts as what it leads to. */
const describe = async (machine, from, signal) => {
  const found = await machine.files.info(from, { signal });
  if (found.type !== 'symlink') return { ...found, path: from };
  const behind = await machine.files.info(`${from}/.`, { signal }).catch(() => undefined);
  return { isDir: behind?.isDir === true, path: from, size: found.size };
};

const download = async (machine, from, to, { signal }) => {
  const found = await describe(machine, from, signal);
  if (to === STANDARD) {
    if (found.isDir)
      throw misuse(`${from} is a directory, and standard output takes one file: name a path of this computer`);
    const bytes = await machine.files.read(from, { format: 'stream', signal });
    await pipeline(Readable.fromWeb(bytes), process.stdout, { signal, end: false });
    return undefined;
  }
  const isHeld = async () => !found.isDir && (await stat(to).catch(() => undefined))?.isDirectory() === true;
  const name = path.posix.basename(path.posix.resolve('/', from));
  const target = isInto(to) || (await isHeld()) ? path.join(to, name) : to;
  if (found.isDir) {
    const leftOut = (what, why) => console.error(shown(`${what} is left out: ${why}`));
    return { path: target, ...(await downloadDirectory(machine, from, target, { signal, leftOut })) };
  }
  await downloadFile(machine, found, target, { signal });
  return { path: target };
};

export const copy = {
  args: [
    ['<from>', 'a path here, ID:PATH, or - for standard input'],
    ['<to>', 'a path here, ID:PATH, or - for standard output'],
  ],
  options: [
    ['--conflict <what>', 'into a machine: merge, replace or error'],
    ['-q, --quiet', 'say nothing'],
  ],
  async run(from, to, { conflict, quiet }) {
    const [source, target] = [remote(from), remote(to)];
    if (!source === !target) throw misuse('one of the two must be in a machine: ID:PATH');
    const { signal } = interruption();
    const machine = await Machine.connect((source ?? target)[0]);
    const result = target
      ? await upload(from, machine, target[1], { conflict, signal })
      : await download(machine, source[1], to, { signal });
    if (result && !quiet) show(result, told);
  },
};
