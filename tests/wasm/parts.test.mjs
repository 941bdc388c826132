// Parts of the package that calls load: lib/parts.js, and lib/all-parts.js for entries that load nothing later.

import assert from 'node:assert/strict';
import test from 'node:test';

import { pkg } from './package.mjs';

const parts = await import(new URL('lib/parts.js', pkg));
const names = Object.keys(parts)
  .flatMap((key) => key.match(/^(\w+)Part$/)?.[1] ?? [])
  .filter((name) => name !== 'loaded');
const { giveAllParts } = await import(new URL('lib/all-parts.js', pkg));

test('no part is there before it is needed', () => {
  assert.deepEqual(
    names.filter((name) => parts.loadedPart(name)),
    [],
  );
});

test('all parts can be given at once, for runtimes that load nothing later', async () => {
  giveAllParts();
  for (const name of names) {
    const given = parts.loadedPart(name);
    assert.ok(given, `lib/all-parts.js gives no ${name}`);
    assert.equal(await parts[`${name}Part`](), given);
  }
});
