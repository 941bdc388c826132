// What `npm start` and `npm test` do on a computer that lacks programs: they say so at once, in one line to paste.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { root } from '../../scripts/lib/project.mjs';
import { checkRequirements } from '../../scripts/lib/setup.mjs';

/** Runs a script where PATH holds `programs` and nothing else, apt-get neither. */
function withOnly(t, script, programs) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'requirements-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of programs) {
    const { stdout } = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' });
    symlinkSync(stdout.trim(), path.join(folder, name));
  }
  const { CC, CHROMIUM, ...env } = process.env;
  return spawnSync(process.execPath, [path.join(root, 'scripts', script)], {
    cwd: root,
    env: { ...env, PATH: folder },
    encoding: 'utf8',
    timeout: 20_000,
  });
}

const TO_BUILD = ['node', 'npm', 'cargo', 'rustc', 'bash', 'tar', 'cc'];

test('npm test names every missing program of the system in one line to paste, before anything is built', (t) => {
  const { status, stdout } = withOnly(t, 'test.mjs', TO_BUILD);
  assert.equal(status, 1, stdout);
  const [line, ...more] = stdout.match(/^.*apt-get install.*$/gm);
  assert.deepEqual(more, []);
  for (const name of ['openssh-client', 'openssl', 'util-linux']) assert.ok(line.includes(` ${name}`), line);
  assert.match(stdout, /missing: .*ssh, scp and ssh-keygen/);
  assert.doesNotMatch(stdout, /Find a wasm toolchain|Build/);
  assert.match(stdout, /\n0 passed, 1 failed\n$/);
});

test('npm start asks for what it builds with, and for nothing that only tests need', (t) => {
  const { status, stdout } = withOnly(
    t,
    'start.mjs',
    TO_BUILD.filter((name) => name !== 'cc'),
  );
  assert.equal(status, 1, stdout);
  assert.match(stdout, /^\s*sudo apt-get install -y build-essential$/m);
});

test('the smaller commands ask for no more than what builds', () => checkRequirements());
