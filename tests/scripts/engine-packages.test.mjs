// What the npm packages of the engine say of themselves.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { endAll, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { mainManifest, PLATFORMS, platformManifest } from '../../scripts/lib/engine-packages.mjs';
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
