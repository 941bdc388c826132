// The table of `.dockerignore` patterns, asked of `buildah` (a Debian package): `node scripts/test.mjs buildah`.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import TABLE from '../wasm/dockerignore-table.mjs';

const scratch = temporaryDirectory('buildah');
after(() => removeDirectory(scratch));

/** Where buildah 1.28 is not Docker of today, whose rules (moby/patternmatcher) the table has. */
const DIFFERS = {
  '**,!**/*.txt': 'it looks into no directory that is left out, BuildKit does for an exception with a star',
  '*,! keep': 'it keeps the blank after the exclamation mark',
  '**foo': 'it knows no names that end so',
  'a+(b)|c{1}$^': 'it takes them for a regular expression',
  '[*?]': 'it takes a star in a class for a pattern, as BuildKit does: then nothing fits that anybody means',
};

const storage = ['--root', path.join(scratch, 'storage'), '--runroot', path.join(scratch, 'run')];

for (const [index, [patterns, out, kept]] of TABLE.entries()) {
  const why = DIFFERS[patterns.join()];
  test(`buildah agrees about ${JSON.stringify(patterns)}`, { skip: why }, () => {
    const [context, copied] = ['context', 'copied'].map((name) => path.join(scratch, `${index}`, name));
    const paths = [...out, ...kept].filter((name) => name !== '');
    const holds = (directory, name) => name.startsWith(`${directory.replace(/\/$/, '')}/`) && name !== directory;
    const isDirectory = (name) => name.endsWith('/') || paths.some((other) => holds(name, other));
    mkdirSync(context, { recursive: true });
    for (const name of paths) {
      const file = path.join(context, name);
      mkdirSync(isDirectory(name) ? file : path.dirname(file), { recursive: true });
      if (!isDirectory(name)) writeFileSync(file, 'x');
    }
    writeFileSync(path.join(context, '.dockerignore'), `${patterns.join('\n')}\n`);
    const dockerfile = path.join(scratch, `${index}`, 'Dockerfile');
    writeFileSync(dockerfile, 'FROM scratch\nCOPY . /\n');
    const flags = [
      '--isolation',
      'chroot',
      '--quiet',
      '--no-cache',
      '-f',
      dockerfile,
      '-o',
      `type=local,dest=${copied}`,
    ];
    try {
      execFileSync('buildah', [...storage, 'build', ...flags, context], { stdio: 'pipe' });
    } catch (error) {
      // A context in which nothing is left cannot be copied.
      assert.match(String(error.stderr), /no items matching/);
    }
    const isThere = (name) => lstatSync(path.join(copied, name), { throwIfNoEntry: false }) !== undefined;
    for (const name of out.filter((name) => name !== '')) {
      // A directory is made again for what is kept in it.
      if (kept.some((other) => holds(name, other))) continue;
      assert.equal(isThere(name), false, `${name} is left out`);
    }
    for (const name of kept.filter((name) => name !== '')) assert.equal(isThere(name), true, `${name} is kept`);
  });
}
