// Each file of tests/e2e runs through a gateway, or it is said why not.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import {
  namePattern,
  OF_ONE_ENGINE,
  TESTS_OF_ONE_ENGINE,
  THROUGH_A_GATEWAY,
} from '../../scripts/lib/cluster-files.mjs';
import { inRoot } from '../../scripts/lib/project.mjs';

test('each file is in one list, and no list has a file or a test that is gone', () => {
  const there = readdirSync(inRoot('tests/e2e'))
    .filter((name) => /\.test\.(mjs|ts)$/.test(name))
    .map((name) => name.replace(/\.ts$/, '.mjs'));
  const listed = [...Object.keys(THROUGH_A_GATEWAY), ...Object.keys(OF_ONE_ENGINE)];
  assert.deepEqual(listed.sort(), there.sort());
  for (const [file, names] of Object.entries(TESTS_OF_ONE_ENGINE)) {
    assert.ok(file in THROUGH_A_GATEWAY, file);
    const text = readFileSync(inRoot('tests/e2e', file), 'utf8');
    for (const name of names) assert.ok(text.includes(name), `${file}: ${name}`);
  }
});

test('the pattern of a file leaves its tests of one engine out, and no other', () => {
  const pattern = (file) => new RegExp(namePattern(file).slice(1, -1));
  assert.ok(!pattern('volumes.test.mjs').test('volumes outlive a kill -9 of the engine'));
  assert.ok(pattern('volumes.test.mjs').test('pause, snapshot and fork keep mounts'));
  assert.ok(
    !pattern('uploads.test.mjs').test("an aborted upload leaves nothing, neither there nor on the engine's disk"),
  );
  assert.equal(namePattern('files.test.mjs'), undefined);
});
