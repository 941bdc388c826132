import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { limitsFile, limitsPage, limitsSource } from '../../scripts/limits.mjs';

test('docs/limits.md shows every limit that both sides check', () => {
  const page = readFileSync(limitsFile, 'utf8');
  const source = limitsSource();
  assert.equal(page, limitsPage(page, source), 'run `node scripts/limits.mjs` and commit the page');
  const constants = source.match(/^pub const /gm).length;
  const [table] = page.match(/<!-- limits[\s\S]*<!-- \/limits/);
  assert.equal(table.match(/^\| (?!what)/gm).length, constants);
});
