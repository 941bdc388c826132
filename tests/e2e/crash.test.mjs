// The end of an engine, good and bad, and the start after it.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { engineForTests, SMALL, sh, until } from './support/engine.mjs';
import {
  controlGroups,
  descendants,
  loopDevicesBelow,
  machineDirectories,
  mountsBelow,
  stillAlive,
} from './support/host.mjs';

after(endAll);

/** Starts on a state directory that the test removes at its end. */
async function engineOn(t, state) {
  const engine = await engineForTests({ state });
  t.after(() => engine.stop());
  return engine;
}

function stateFor(t) {
  const directory = temporaryDirectory('state');
  t.after(() => removeDirectory(directory));
  return path.join(directory, 'state');
}

/** A running machine with a process of its own, a paused one, and a pool with ready ones. */
async function populate(engine) {
  const running = await engine.Machine.create({ ...SMALL, diskMb: 512, metadata: { role: 'running' } });
  running.commands.run('sleep 1000', { shell: true, timeout: 1000 }).catch(() => {});
  await sh(running, 'echo busy > /workspace/file');
  const paused = await engine.Machine.create({ ...SMALL, metadata: { role: 'paused' } });
  const answer = await engine.request('POST', `/v1/machines/${paused.id}/hibernate`);
  assert.equal(answer.status, 200, await answer.text());
  const pool = await engine.TemplateWarmPool.create('base', { vcpus: 1, memoryMb: 64, name: 'kept', minReady: 2 });
  await pool.waitUntilReady({ timeout: 30, intervalMs: 20 });
  const processes = descendants(engine.pid);
  assert.ok(processes.length >= 3, `machines are processes: ${JSON.stringify(processes)}`);
  return { running, paused, pool, processes, groups: controlGroups(processes, engine.pid) };
}

async function nothingIsLeft(state, { processes, groups }) {
  await until('no process is left', () => stillAlive(processes).length === 0);
  assert.deepEqual(mountsBelow(state), []);
  assert.deepEqual(loopDevicesBelow(state), []);
  assert.deepEqual(
    groups.filter((group) => existsSync(group)),
    [],
  );
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal} ends the engine with 0 and leaves nothing`, async (t) => {
    const state = stateFor(t);
    const engine = await engineOn(t, state);
    const before = await populate(engine);
    if (process.getuid() === 0) assert.ok(before.groups.length > 0, 'as root, machines are in control groups');
    engine.signal(signal);
    assert.deepEqual(await engine.ended, { code: 0, signal: null }, engine.log().slice(-2000));
    await nothingIsLeft(state, before);
  });
}

test('after kill -9, the next start cleans up, knows what died, and goes on', async (t) => {
  const state = stateFor(t);
  const first = await engineOn(t, state);
  const before = await populate(first);
  first.signal('SIGKILL');
  assert.equal((await first.ended).signal, 'SIGKILL');

  const second = await engineOn(t, state);
  await nothingIsLeft(state, { ...before, processes: before.processes });
  const rows = await second.Machine.list({ fields: ['id', 'status'] });
  const status = Object.fromEntries(rows.map((row) => [row.id, row.status]));
  assert.equal(status[before.running.id], 'error');
  assert.ok(['paused', 'error'].includes(status[before.paused.id]), `the paused one is ${status[before.paused.id]}`);
  assert.ok(!rows.some((row) => row.status === 'running' || row.status === 'creating'), JSON.stringify(rows));

  const dead = await second.Machine.getInfoById(before.running.id);
  assert.equal(dead.status, 'error');
  const handle = await second.Machine.connect(before.running.id);
  await assert.rejects(handle.commands.run('true'));
  await handle.kill();
  await second.Machine.killById(before.paused.id);

  // The pool is remembered and filled again.
  const pool = await second.TemplateWarmPool.get(before.pool.id);
  await pool.waitUntilReady({ timeout: 30, intervalMs: 20 });
  const machine = await second.Machine.create({ vcpus: 1, memoryMb: 64, warmPool: pool, warmPoolMode: 'require' });
  assert.equal(await sh(machine, 'echo alive'), 'alive');
  await machine.kill();
  await pool.delete();
  await until('no directory of a machine is left', () => machineDirectories(state).length === 0);
});

test('an idempotency key is remembered over a restart', async (t) => {
  const state = stateFor(t);
  const first = await engineOn(t, state);
  const machine = await first.Machine.create({ ...SMALL, idempotencyKey: 'the-same-key' });
  first.signal('SIGKILL');
  await first.ended;
  const second = await engineOn(t, state);
  const outcome = await second.Machine.create({ ...SMALL, idempotencyKey: 'the-same-key' }).then(
    ({ id }) => id,
    (error) => error.code,
  );
  assert.ok(outcome === machine.id || /conflict|not_found|recovery/.test(outcome), outcome);
  const { items } = await second.Machine.list();
  assert.ok(items.length <= 1 && items.every(({ id }) => id === machine.id), 'a second machine was made');
});

test('two engines on one state directory: the second refuses', async (t) => {
  const state = stateFor(t);
  await engineOn(t, state);
  await assert.rejects(engineForTests({ state }), /in use|lock|another engine|already/i);
});
