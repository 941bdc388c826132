// The table of integrations in docs/agents.md names the versions that are tested, and examples that are there and short.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { inRoot } from '../../scripts/lib/project.mjs';

const read = (...parts) => readFileSync(inRoot(...parts), 'utf8');
const consumer = JSON.parse(read('tests/packaging/consumers/agent-frameworks/package.json')).dependencies;
const own = JSON.parse(read('package.json')).devDependencies;
const rows = read('docs/agents.md')
  .split('\n')
  .map((line) => line.match(/^\| .*`([^`]+)` \| ([\d.]+) \| .* \| (.+) \|$/))
  .filter(Boolean)
  .map(([, name, version, example]) => ({ name, version, example: example.match(/\((.*)\)/)?.[1] }));

test('every integration is named with the version that is tested', () => {
  assert.equal(rows.length, 7);
  for (const { name, version } of rows) assert.equal(version, consumer[name] ?? own[name], name);
});

test('every adapter of the package has a row and an example of at most 30 lines', () => {
  const adapters = Object.keys(JSON.parse(read('pkg-template/package.json')).exports)
    .filter((key) => existsSync(inRoot('pkg-template/adapters', `${path.basename(key)}.js`)))
    .map((key) => path.basename(key));
  assert.ok(adapters.length >= 5);
  for (const adapter of adapters) assert.ok(read('docs/agents.md').includes(`\`nullspace/${adapter}\``), adapter);
  const examples = rows.flatMap(({ example }) => example ?? []);
  assert.equal(examples.length, 6);
  const program = read('tests/packaging/consumers/agent-frameworks/main.mjs');
  for (const example of examples) {
    const lines = read('docs', example).trimEnd().split('\n');
    assert.ok(lines.length <= 30, `${example} has ${lines.length} lines`);
    assert.ok(program.includes(`'./${path.basename(example)}'`), example);
  }
});
