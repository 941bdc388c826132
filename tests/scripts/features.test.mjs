// A ticked row of spec/FEATURES.md names who has it and a test that is there.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { inRoot } from '../../scripts/lib/project.mjs';

const rows = readFileSync(inRoot('spec', 'FEATURES.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| [x]'));

test('every ticked row names its clients and an existing test', () => {
  assert.ok(rows.length > 0);
  for (const row of rows) {
    const [, clients, file] =
      row.match(/^\| \[x\] ((?:ts|engine|py)(?:, (?:ts|engine|py))*)(?: \([^)]*\))?: (\S+) \|/) ?? [];
    assert.ok(clients, row.slice(0, 120));
    assert.ok(existsSync(inRoot(file)), `${file} of ${row.slice(0, 120)}`);
  }
});

test('what a row calls done is exercised by its test', () => {
  // The name in one of its spellings: get_info or getInfo, the path of the call, or the one that the row gives: (as `wait`).
  const missing = rows.filter((row) => {
    const [, other, file, name] = row.match(/(?:\(as `(\w+)`\))?: (\S+) \| `(\w+)`/) ?? [];
    // `iterate a ...` has no name to look for.
    if (!name) return false;
    const camel = name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
    const text =
      readFileSync(inRoot(file), 'utf8') +
      (file.endsWith('replay.test.mjs') ? readFileSync(inRoot('tests/contract/recordings/requests.json'), 'utf8') : '');
    // A word of its own: `list` is also in `listen`.
    const isNamed = (word) => new RegExp(`(?<![A-Za-z])${word}(?![a-z])`).test(text);
    return !isNamed(name) && !isNamed(other ?? camel);
  });
  assert.deepEqual(
    missing.map((row) => row.slice(0, 100)),
    [],
  );
});
