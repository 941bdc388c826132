// Warm pools over the real engine.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { InvalidRequestError, NotFoundError, NullspaceError, TimeoutError, WarmPoolUnavailableError } from 'nullspace';

import { engineForTests, sh, until } from './support/engine.mjs';

const SIZE = { vcpus: 1, memoryMb: 64 };

/** @type {Awaited<ReturnType<typeof engineForTests>>} */
let engine;
before(async () => {
  engine = await engineForTests();
});
after(() => engine?.stopWell());

const readyPool = async (options) => {
  const pool = await engine.TemplateWarmPool.create('base', { ...SIZE, minReady: 1, ...options });
  const looks = [];
  const info = await pool.waitUntilReady({
    timeout: 30,
    intervalMs: 20,
    onProgress: ({ status }) => looks.push(status.ready),
  });
  assert.ok(info.status.ready >= (options?.minReady ?? 1));
  assert.equal(looks.at(-1), info.status.ready);
  return pool;
};

test('a ready machine is taken, works, and is replaced', async () => {
  const pool = await readyPool({ name: 'taken', maxReady: 2 });
  const machine = await engine.Machine.create({
    ...SIZE,
    warmPool: pool,
    warmPoolMode: 'require',
    metadata: { by: 'test' },
    timeout: 60,
  });
  const info = await machine.getInfo();
  assert.deepEqual(
    [info.warmPoolCheckout.source, info.warmPoolCheckout.hit, info.warmPoolCheckout.id, info.warmPoolCheckout.mode],
    ['ready_instance', true, pool.id, 'require'],
  );
  assert.deepEqual(info.metadata, { by: 'test' });
  assert.ok(info.remainingMs <= 60_000);
  assert.equal(await sh(machine, 'echo warm'), 'warm');
  await until('the pool is full again', async () => (await pool.getInfo()).status.ready >= 1);
  await pool.delete();
  assert.equal(await sh(machine, 'echo "still mine"'), 'still mine');
  await machine.kill();
});

test('ready machines of a pool are in no list before they are taken', async () => {
  const pool = await readyPool({ name: 'hidden', minReady: 2 });
  assert.equal((await engine.Machine.list({ fields: ['id'] })).length, 0);
  await pool.delete();
});

test('prefer falls back to a new machine, bypass always makes one', async () => {
  const empty = await engine.TemplateWarmPool.create('base', { ...SIZE, name: 'empty', minReady: 0, maxReady: 1 });
  const cold = await engine.Machine.create({ ...SIZE, warmPool: empty.id, warmPoolMode: 'prefer' });
  assert.equal((await cold.getInfo()).warmPoolCheckout.source, 'cold_create');

  const full = await readyPool({ name: 'full' });
  const bypassed = await engine.Machine.create({ ...SIZE, warmPool: full, warmPoolMode: 'bypass' });
  assert.equal((await bypassed.getInfo()).warmPoolCheckout.source, 'bypassed');
  // A pool's machines have no environment of their own: prefer makes one that has.
  const special = await engine.Machine.create({ ...SIZE, warmPool: full, warmPoolMode: 'prefer', envs: { A: 'b' } });
  assert.equal((await special.getInfo()).warmPoolCheckout.source, 'cold_create');
  assert.equal(await sh(special, 'echo $A'), 'b');
  await Promise.all([cold, bypassed, special].map((machine) => machine.kill()));
  await Promise.all([empty.delete(), full.delete()]);
});

test('require on an empty pool is its own error, and makes no machine', async () => {
  const pool = await engine.TemplateWarmPool.create('base', { ...SIZE, name: 'none', minReady: 0, maxReady: 1 });
  await assert.rejects(
    engine.Machine.create({ ...SIZE, warmPool: pool, warmPoolMode: 'require' }),
    (error) => error instanceof WarmPoolUnavailableError && error.code === 'warm_pool_unavailable',
  );
  assert.equal((await engine.Machine.list({ fields: ['id'] })).length, 0);
  await assert.rejects(pool.waitUntilReady({ minReady: 1, timeout: 0.2, intervalMs: 20 }), TimeoutError);

  const begun = Date.now();
  await assert.rejects(
    engine.Machine.create({ ...SIZE, warmPool: pool, warmPoolMode: 'require', warmPoolWaitMs: 300 }),
    WarmPoolUnavailableError,
  );
  assert.ok(Date.now() - begun >= 290, 'it did not wait');
  await pool.delete();
  await assert.rejects(engine.Machine.create({ ...SIZE, warmPool: pool.id, warmPoolMode: 'require' }), NullspaceError);
});

test('many takers of few machines: no machine is given twice, and who gets none is told', async () => {
  const pool = await readyPool({ name: 'contested' });
  const results = await Promise.allSettled(
    Array.from({ length: 8 }, () => engine.Machine.create({ ...SIZE, warmPool: pool, warmPoolMode: 'require' })),
  );
  const taken = results.filter(({ status }) => status === 'fulfilled').map(({ value }) => value);
  assert.ok(taken.length >= 1);
  assert.equal(new Set(taken.map(({ id }) => id)).size, taken.length);
  for (const { reason } of results.filter(({ status }) => status === 'rejected')) {
    assert.ok(reason instanceof WarmPoolUnavailableError, String(reason));
  }
  await Promise.all(taken.map((machine) => machine.kill()));
  await pool.delete();
});

test('pools are listed, found and refused by name', async () => {
  const pool = await engine.TemplateWarmPool.create('base', {
    ...SIZE,
    name: 'listed',
    minReady: 0,
    maxReady: 1,
    labels: { team: 'a' },
  });
  assert.deepEqual(
    (await engine.TemplateWarmPool.list({ labels: { team: 'a' } })).map(({ id }) => id),
    [pool.id],
  );
  const found = await engine.TemplateWarmPool.get(pool.id);
  assert.equal((await found.getInfo()).name, 'listed');
  await pool.delete();
  await assert.rejects(engine.TemplateWarmPool.get('twp_missing'), NotFoundError);
  await assert.rejects(engine.TemplateWarmPool.create('base', { minReady: 2, maxReady: 1 }), InvalidRequestError);
  await assert.rejects(engine.TemplateWarmPool.create('no-such-template', { minReady: 1 }), NotFoundError);
});
