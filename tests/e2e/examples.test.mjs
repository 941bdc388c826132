// The examples, as a user runs them: with an engine of their own, which has no rights.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { withoutRights } from '../../scripts/lib/engine.mjs';
import { engineForTests } from './support/engine.mjs';

const run = promisify(execFile);
let engine;
before(async () => {
  engine = await engineForTests(withoutRights(process.env.NULLSPACE_TEST_ENGINE, temporaryDirectory('engine')));
});
after(() => engine?.stopWell());

test('node-quickstart shows a machine, its output, a refused connection and a warm machine', async () => {
  const { stdout, stderr } = await run(process.execPath, ['examples/node-quickstart/index.mjs'], {
    env: { ...process.env, NULLSPACE_API_URL: engine.url, NULLSPACE_API_KEY: engine.apiKey },
  });
  assert.match(stdout, /made {12}mch_/);
  assert.match(stdout, /command output {2}hello from .*, uid 0/);
  assert.match(stdout, /under deny_all {2}connection refused/);
  assert.match(stdout, /source: 'ready_instance'/);
  assert.match(stdout, /listed {10}mch_\S+ running base/);
  assert.equal(stderr, '');
  assert.equal((await engine.Machine.list({ fields: ['id'] })).length, 0);
  assert.equal((await engine.TemplateWarmPool.list({ state: 'enabled' })).length, 0);
});

test('a wrong key ends the example with an error that says what to do', async () => {
  await assert.rejects(
    run(process.execPath, ['examples/node-quickstart/index.mjs'], {
      env: { ...process.env, NULLSPACE_API_URL: engine.url, NULLSPACE_API_KEY: 'wrong' },
    }),
    (error) => error.code === 1 && /AuthError/.test(error.stderr),
  );
});
