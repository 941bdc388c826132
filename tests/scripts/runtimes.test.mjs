import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { inRoot } from '../../scripts/lib/project.mjs';
import { projects, titles } from '../packaging/table.mjs';

test('the table of runtimes knows every consumer project', () => {
  assert.deepEqual(projects().sort(), readdirSync(inRoot('tests/packaging/consumers')).sort());
});

test('the README has a row for every consumer project, and none failed', () => {
  const readme = readFileSync(inRoot('README.md'), 'utf8');
  const rows = readme.slice(readme.indexOf('<!-- runtimes'), readme.indexOf('<!-- /runtimes'));
  const missing = titles().filter((title) => !rows.includes(`| ${title} |`));
  assert.deepEqual(missing, [], 'run `npm run test:packaging` and commit the README');
  assert.ok(!rows.includes('FAILED'), rows);
});
