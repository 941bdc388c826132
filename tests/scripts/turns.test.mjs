// How much runs at once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as soon } from 'node:timers/promises';

import { turns } from '../../scripts/lib/turns.mjs';

test('as many as there are places run at once, in the order of asking; a failure gives its place back', async () => {
  const turn = turns(2);
  const begun = [];
  const ends = [];
  const all = [0, 1, 2, 3].map((name) =>
    turn(() => {
      begun.push(name);
      return new Promise((resolve, reject) => (ends[name] = { resolve, reject }));
    }),
  );
  await soon();
  assert.deepEqual(begun, [0, 1]);
  ends[1].reject(new Error('it failed'));
  await assert.rejects(all[1], /it failed/);
  await soon();
  assert.deepEqual(begun, [0, 1, 2]);
  ends[0].resolve('zero');
  assert.equal(await all[0], 'zero');
  ends[2].resolve();
  await soon();
  assert.deepEqual(begun, [0, 1, 2, 3]);
  ends[3].resolve();
  await Promise.all([all[2], all[3]]);
  assert.equal(await turn(async () => 'a place is free again'), 'a place is free again');
});
