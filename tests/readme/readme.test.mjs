// Every code block of README.md runs, each as a program of its own, against an engine.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { cleanUpOnSignals, endAll } from '../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../scripts/lib/engine.mjs';
import { blocks } from './extract.mjs';

const run = promisify(execFile);
const here = new URL('.', import.meta.url);
const readme = readFileSync(new URL('../../README.md', here), 'utf8');

cleanUpOnSignals();
let engine;
before(async () => {
  engine = await startEngine({ binary: process.env.NULLSPACE_TEST_ENGINE });
});
after(async () => {
  const how = await engine?.stop();
  await endAll();
  assert.equal(how?.code, 0);
});

const expected = blocks(readme);

test('there are blocks, and each was made a program', () => {
  assert.ok(expected.length >= 10, `${expected.length} blocks`);
  const programs = readdirSync(new URL('blocks', here)).filter((name) => name.endsWith('.mjs'));
  assert.deepEqual(programs.sort(), expected.map(({ name }) => `${name}.mjs`).sort());
});

for (const { name, line } of expected) {
  test(`README.md line ${line}: ${name}`, async () => {
    await run(process.execPath, [new URL(`blocks/${name}.mjs`, here).pathname], {
      env: { ...process.env, NULLSPACE_API_URL: engine.url, NULLSPACE_API_KEY: engine.apiKey },
      timeout: 60_000,
    });
  });
}

test('no block leaves a machine or a pool behind', async () => {
  for (const [path, items] of [
    ['/v1/machines', 'machines'],
    ['/v1/template-warm-pools?state=enabled', 'pools'],
  ]) {
    const answer = await fetch(engine.url + path, { headers: { authorization: `Bearer ${engine.apiKey}` } });
    assert.deepEqual((await answer.json()).items, [], `${items} are left`);
  }
});

test('the commands it names exist', () => {
  const { scripts } = JSON.parse(readFileSync(`${process.env.NULLSPACE_TEST_ROOT}/package.json`, 'utf8'));
  const named = new Set(
    [...readme.matchAll(/npm (?:run )?(start|test|build|pack|engine|lint|fmt|test:\w+)\b/g)].map((m) => m[1]),
  );
  assert.ok(named.size >= 3);
  for (const name of named) assert.ok(Object.hasOwn(scripts, name), `npm run ${name}`);
});
