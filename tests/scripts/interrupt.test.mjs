// `npm start`, `npm test` and `npm run engine`, stopped in the middle: nothing may be left.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { root } from '../../scripts/lib/project.mjs';

/** A script with a temporary directory of its own, which also marks everything that it starts. */
function startScript(t, file, { args = [], env } = {}) {
  const tmp = mkdtempSync(path.join(os.tmpdir(), 'interrupt-'));
  chmodSync(tmp, 0o755); // engines of another user have their state in it
  const child = spawn(process.execPath, [path.join(root, 'scripts', file), ...args], {
    cwd: root,
    // Tests that it starts are no part of this one.
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, TMPDIR: tmp, INTERRUPT_TEST: tmp, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const ended = new Promise((resolve) => child.once('close', (code) => resolve(code)));
  t.after(() => {
    child.kill('SIGKILL');
    rmSync(tmp, { recursive: true, force: true });
  });
  return { child, ended, tmp, output: () => output };
}

async function printed(script, pattern) {
  const deadline = Date.now() + 120_000;
  while (!pattern.test(script.output())) {
    assert.ok(Date.now() < deadline && script.child.exitCode === null, `never printed ${pattern}:\n${script.output()}`);
    await sleep(5);
  }
}

/** Processes whose environment or arguments name the script's temporary directory. */
const marked = (tmp) =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return ['environ', 'cmdline'].some((file) => readFileSync(`/proc/${pid}/${file}`, 'utf8').includes(tmp));
      } catch {
        return false; // gone, or not ours
      }
    });

for (const [signal, moment, env] of [
  ['SIGINT', /Check requirements/],
  // Not the engine that is there already: cargo has something to do.
  ['SIGINT', /Build the engine/, { NULLSPACE_TEST_ENGINE: '' }],
  ['SIGTERM', /Start the engine \.\.\./],
  ['SIGINT', /Install the package into a new project \.\.\./],
  ['SIGTERM', /Run examples\/node-quickstart \.\.\./],
  ['SIGINT', /Stop the engine \.\.\./],
]) {
  test(`npm start, ${signal} at ${moment.source}: exit code 130, nothing left`, async (t) => {
    const script = startScript(t, 'start.mjs', { env });
    await printed(script, moment);
    script.child.kill(signal);
    assert.equal(await script.ended, 130, script.output());
    assert.deepEqual(readdirSync(script.tmp), []);
    assert.deepEqual(marked(script.tmp), []);
    assert.ok(!script.output().includes('FAILED'), script.output());
  });
}

test('npm test, SIGINT while a suite runs: exit code 130, nothing left', async (t) => {
  const script = startScript(t, 'test.mjs', { args: ['readme'] });
  await printed(script, /Test: blocks of README/);
  await sleep(2000); // engines run by then
  script.child.kill('SIGINT');
  assert.equal(await script.ended, 130, script.output());
  assert.deepEqual(readdirSync(script.tmp), []);
  assert.deepEqual(marked(script.tmp), []);
  assert.ok(!script.output().includes('FAILED'), script.output());
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  test(`npm run engine passes flags through and ${signal} on`, async (t) => {
    const state = mkdtempSync(path.join(os.tmpdir(), 'engine-'));
    t.after(() => rmSync(state, { recursive: true, force: true }));
    const flags = ['--listen', '127.0.0.1:0', '--state', path.join(state, 'state'), '--api-key', 'a-key-of-the-test'];
    const script = startScript(t, 'task.mjs', { args: ['engine', ...flags] });
    await printed(script, /^NULLSPACE_API_URL=http:\/\/127\.0\.0\.1:\d+$/m);
    const url = script.output().match(/^NULLSPACE_API_URL=(.*)$/m)[1];
    const answer = await fetch(`${url}/v1/machines`, { headers: { authorization: 'Bearer a-key-of-the-test' } });
    assert.equal(answer.status, 200);
    script.child.kill(signal);
    assert.equal(await script.ended, 0, script.output());
    assert.ok(!script.output().includes('a-key-of-the-test'));
    assert.deepEqual(marked(script.tmp), []);
  });
}
