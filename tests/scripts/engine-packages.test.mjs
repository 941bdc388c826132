// What the npm packages of the engine say of themselves.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { endAll, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { checkPrograms, mainManifest, PLATFORMS, platformManifest } from '../../scripts/lib/engine-packages.mjs';
import { inRoot, packageVersion } from '../../scripts/lib/project.mjs';

after(endAll);

test('the program of a platform comes as an optional dependency of the very same version', () => {
  assert.deepEqual(mainManifest().optionalDependencies, {
    'nullspace-engine-linux-x64': packageVersion(),
    'nullspace-engine-linux-arm64': packageVersion(),
  });
  assert.deepEqual(mainManifest(['linux-x64']).optionalDependencies, {
    'nullspace-engine-linux-x64': packageVersion(),
  });
  for (const platform of Object.keys(PLATFORMS)) {
    const { name, version, os, cpu, scripts, dependencies } = platformManifest(platform);
    assert.deepEqual([name, version], [`nullspace-engine-${platform}`, packageVersion()]);
    assert.deepEqual([os, cpu], [[platform.split('-')[0]], [platform.split('-')[1]]]);
    assert.deepEqual([scripts, dependencies], [undefined, undefined]);
  }
  assert.deepEqual([mainManifest().scripts, mainManifest().dependencies], [undefined, undefined]);
});

test('the program is found beside it, and its absence is explained', () => {
  const folder = path.join(temporaryDirectory('packages'), 'node_modules');
  const main = path.join(folder, 'nullspace-engine');
  cpSync(inRoot('npm-engine'), main, { recursive: true });
  const load = (manifest) => {
    writeFileSync(path.join(main, 'package.json'), JSON.stringify(manifest));
    const require = createRequire(path.join(main, 'index.js'));
    for (const file of Object.keys(require.cache)) if (file.startsWith(main)) delete require.cache[file];
    return require(path.join(main, 'index.js')).binaryPath;
  };
  const here = `nullspace-engine-${process.platform}-${process.arch}`;
  assert.throws(
    load({ ...mainManifest(), optionalDependencies: { [here]: '1.0.0' } }),
    /is not installed.*--omit=optional/,
  );
  assert.throws(load({ ...mainManifest(), optionalDependencies: {} }), /there is no nullspace-engine for/);
  const program = path.join(folder, here, 'bin/nullspace-engine');
  mkdirSync(path.dirname(program), { recursive: true });
  writeFileSync(program, '');
  assert.equal(load(mainManifest())(), program);
});

/** The header of a program, and its table, as elf.h has them. */
const program = (machine, kinds = [1]) => {
  const bytes = Buffer.alloc(64 + 56 * kinds.length);
  bytes.write('\x7fELF\x02\x01\x01', 'latin1');
  bytes.writeUInt16LE(3, 16);
  bytes.writeUInt16LE(machine, 18);
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(kinds.length, 56);
  for (const [index, kind] of kinds.entries()) bytes.writeUInt32LE(kind, 64 + 56 * index);
  return bytes;
};
const [X64, ARM64, INTERPRETER] = [62, 183, 3];

test('an engine is packed for the processor that it and its agent are made for', () => {
  // As the agent lies in an engine: anywhere. Code that compares with the first bytes of a program is none.
  const engine = (outer, inner) => Buffer.concat([outer, Buffer.from('\x7fELF\x75\xd6 code', 'latin1'), inner]);
  checkPrograms(engine(program(X64), program(X64)), 'linux-x64');
  checkPrograms(engine(program(ARM64), program(ARM64)), 'linux-arm64');
  for (const [bytes, message] of [
    [engine(program(X64), program(X64)), /linux-arm64 is, or holds, a program for x64/],
    [engine(program(ARM64), program(X64)), /linux-arm64 is, or holds, a program for x64/],
    [engine(program(ARM64), program(243)), /a program for another processor/],
    [engine(program(ARM64, [1, INTERPRETER]), program(ARM64)), /needs a loader/],
    [engine(program(ARM64), program(ARM64, [INTERPRETER])), /needs a loader/],
    [program(ARM64), /holds another one/],
    [engine(Buffer.from('#!/bin/sh\n'), program(ARM64)), /must be a program/],
    [Buffer.alloc(0), /must be a program/],
  ])
    assert.throws(() => checkPrograms(bytes, 'linux-arm64'), message);
});
