// What a release is made of. Nothing here uploads anything.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { PLATFORMS } from './engine-packages.mjs';
import { inRoot, packageVersion } from './project.mjs';

/** Where a version stands, and what it is there. The first is the one that people change; `npm run release` refuses others. */
export const versions = () => {
  const read = (file) => readFileSync(inRoot(file), 'utf8');
  const lock = JSON.parse(read('package-lock.json'));
  return {
    'pkg-template/package.json': packageVersion(),
    'package.json': JSON.parse(read('package.json')).version,
    'package-lock.json': lock.version,
    'Cargo.toml': read('Cargo.toml').match(/^\[workspace\.package\]\nversion = "(.*)"$/m)?.[1],
    'Cargo.lock': read('Cargo.lock').match(/^name = "nullspace-engine"\nversion = "(.*)"$/m)?.[1],
  };
};

/** The section of CHANGELOG.md about a version; nothing when there is none. */
export const notesOf = (changelog, version) => {
  const begin = changelog
    .split('\n')
    .findIndex((line) => line === `## ${version}` || line.startsWith(`## ${version} `));
  if (begin < 0) return undefined;
  const rest = changelog.split('\n').slice(begin + 1);
  const end = rest.findIndex((line) => line.startsWith('## '));
  return rest
    .slice(0, end < 0 ? rest.length : end)
    .join('\n')
    .trim();
};

/** Tarballs in the order in which they are published: a package never names one that is not there yet. */
export const tarballs = (platforms = Object.keys(PLATFORMS)) =>
  [...platforms.map((platform) => `nullspace-engine-${platform}`), 'nullspace-engine', 'nullspace'].map((name) =>
    inRoot('dist', `${name}-${packageVersion()}.tgz`),
  );

/** Lines as `sha256sum --check` reads them. */
export const checksums = (files) =>
  files
    .map((file) => `${createHash('sha256').update(readFileSync(file)).digest('hex')}  ${path.basename(file)}\n`)
    .join('');
