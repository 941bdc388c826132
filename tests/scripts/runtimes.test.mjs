import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { inRoot } from '../../scripts/lib/project.mjs';
import { projects, titles } from '../packaging/table.mjs';

test('the table of runtimes knows every consumer project', () => {
  assert.deepEqual(projects().sort(), readdirSync(inRoot('tests/packaging/consumers')).sort());
});

test('docs/runtimes.md has a row for every consumer project, and none failed', () => {
  const page = readFileSync(inRoot('docs/runtimes.md'), 'utf8');
  const rows = page.slice(page.indexOf('<!-- runtimes'), page.indexOf('<!-- /runtimes'));
  const missing = titles().filter((title) => !rows.includes(`| ${title} |`));
  assert.deepEqual(missing, [], 'run `npm run test:packaging` and commit the table');
  assert.ok(!rows.includes('FAILED'), rows);
});
