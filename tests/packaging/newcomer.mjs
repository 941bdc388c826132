// A newcomer's path, timed: an empty folder, `npm install` of the tarball, the first block of the README, a machine's output.
//
//   node tests/packaging/newcomer.mjs --tarball dist/nullspace-0.1.0.tgz
//
// The engine is NULLSPACE_TEST_ENGINE. Ends with 'N passed, N failed'.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

import { cleanUpOnSignals, endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../scripts/lib/engine.mjs';

const run = promisify(execFile);
const { values: options } = parseArgs({ options: { tarball: { type: 'string' } } });
if (!options.tarball || !process.env.NULLSPACE_TEST_ENGINE) {
  console.error(
    'usage: NULLSPACE_TEST_ENGINE=... node tests/packaging/newcomer.mjs --tarball dist/nullspace-<version>.tgz',
  );
  process.exit(2);
}
/** Fewer lines of code than this must do. */
const LINES = 12;

const readme = readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8');
const install = readme.slice(readme.indexOf('\n## First program\n'));
const code = install.match(/```(?:ts|js)\n([\s\S]*?)```/)?.[1] ?? '';

cleanUpOnSignals();
const folder = temporaryDirectory('newcomer');
let failed = 0;
try {
  const lines = code.split('\n').filter((line) => line.trim() !== '').length;
  assert.ok(lines > 0 && lines < LINES, `the README's first block has ${lines} lines`);
  const engine = await startEngine({ binary: process.env.NULLSPACE_TEST_ENGINE });
  // The two lines that the engine prints, and nothing else of this project.
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    NULLSPACE_API_URL: engine.url,
    NULLSPACE_API_KEY: engine.apiKey,
  };
  const begun = performance.now();
  await run('npm', ['install', '--no-audit', '--no-fund', path.resolve(options.tarball)], { cwd: folder, env });
  const installed = performance.now();
  writeFileSync(path.join(folder, 'first.mjs'), code);
  const { stdout } = await run(process.execPath, ['first.mjs'], { cwd: folder, env });
  const ended = performance.now();
  assert.match(stdout, /^hello from \S+\n/);
  await engine.stop();
  const seconds = (from, to) => ((to - from) / 1000).toFixed(1);
  console.log(
    `ok     a newcomer: ${lines} lines; npm install ${seconds(begun, installed)} s, first output ${seconds(installed, ended)} s later`,
  );
} catch (error) {
  failed = 1;
  console.log(`FAILED a newcomer\n${error.stderr ?? ''}${error.message}`);
} finally {
  removeDirectory(folder);
  await endAll();
}
console.log(`${1 - failed} passed, ${failed} failed`);
process.exit(failed);
