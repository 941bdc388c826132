// What happens to a machine as a whole: leases, pauses, forks, snapshots, events, and commands in the background.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { ConflictError, InvalidRequestError, Nullspace, NotFoundError } from 'nullspace';

import { engineForTests, SMALL, sh, until } from './support/engine.mjs';

const engine = await engineForTests();
after(() => engine.stopWell());
const { Machine, Snapshot, Lifecycle, TemplateWarmPool } = new Nullspace(engine.client);

test('a lease is moved from now on', async () => {
  const machine = await Machine.create({ ...SMALL, timeout: 30 });
  const lease = await machine.setTimeout(600, { timeoutAction: 'hibernate' });
  assert.equal(lease.timeoutMs, 600_000);
  assert.equal(lease.timeoutAction, 'hibernate');
  const left = lease.timeoutAt.getTime() - Date.now();
  assert.ok(left > 590_000 && left <= 600_500, `${left} ms are left`);
  assert.equal((await machine.getInfo()).timeoutAction, 'hibernate');
  await machine.kill();
});

test('a lease that is kept alive outlives its first length, and ends when nobody renews it', async () => {
  const machine = await Machine.create({ ...SMALL, timeout: 2 });
  const lease = await machine.keepAlive({ timeout: 2, refreshEverySecs: 0.5 });
  await sleep(4000);
  assert.ok(await machine.isRunning());
  await lease.close();
  await until('the machine ends with its lease', async () => {
    const info = await machine.getInfo().catch((error) => error);
    return info instanceof NotFoundError || info.status === 'destroyed';
  });
});

test('keeping a machine alive that was killed says so', async () => {
  const machine = await Machine.create(SMALL);
  const lease = await machine.keepAlive({ timeout: 2, refreshEverySecs: 0.2 });
  await machine.kill();
  await assert.rejects(lease.wait(), NotFoundError);
  await lease.close();
});

test('a paused machine keeps its id, its files and its processes', async () => {
  const machine = await Machine.create(SMALL);
  await sh(machine, 'echo kept > /workspace/file');
  const command = await machine.commands.run('sleep 600', { shell: true, background: true });
  const snapshot = await machine.pause();
  assert.equal(snapshot.machineId, machine.id);
  assert.equal((await machine.getInfo()).status, 'paused');
  await assert.rejects(machine.commands.run('true'), ConflictError);
  const resumed = await Machine.resume(machine.id);
  assert.equal(resumed.id, machine.id);
  assert.equal(await sh(resumed, 'cat /workspace/file'), 'kept');
  assert.deepEqual(
    (await resumed.commands.list()).map(({ pid, running }) => [pid, running]),
    [[command.pid, true]],
  );
  await resumed.hibernate();
  const connected = await Machine.connect(machine.id);
  assert.equal((await connected.getInfo()).status, 'running');
  assert.equal(await sh(connected, 'cat /workspace/file'), 'kept');
  await connected.kill();
});

test('a fork has the files of then, and changes of one are not seen by the other', async () => {
  const machine = await Machine.create(SMALL);
  await sh(machine, 'echo before > /workspace/file');
  const key = `fork-${Date.now()}`;
  const fork = await machine.fork({ idempotencyKey: key });
  const again = await machine.fork({ idempotencyKey: key });
  assert.notEqual(fork.id, machine.id);
  assert.equal(again.id, fork.id, 'one key, one machine');
  await sh(machine, 'echo after > /workspace/file');
  assert.equal(await sh(fork, 'cat /workspace/file'), 'before');
  await sh(fork, 'echo fork > /workspace/other');
  assert.equal((await machine.commands.run('cat', { args: ['/workspace/other'] })).exitCode, 1);
  await Promise.all([machine.kill(), fork.kill()]);
});

test('a snapshot outlives its machine and makes others', async () => {
  const machine = await Machine.create(SMALL);
  await sh(machine, 'echo snap > /workspace/file');
  const { id } = await machine.createSnapshot();
  await machine.kill();
  assert.equal((await Snapshot.get(id)).machineId, machine.id);
  assert.deepEqual(
    (await Snapshot.list({ machineId: machine.id })).map((snapshot) => snapshot.id),
    [id],
  );
  const made = await Machine.create({ snapshotId: id, timeout: 60 });
  assert.equal(await sh(made, 'cat /workspace/file'), 'snap');
  assert.equal((await made.getInfo()).config.memoryMb, SMALL.memoryMb);
  await made.kill();
  const { events } = await Lifecycle.listSnapshotEvents(id, { operation: 'snapshot_created' });
  assert.deepEqual([...new Set(events.map(({ snapshotId }) => snapshotId))], [id]);
  await Snapshot.delete(id);
  await assert.rejects(Snapshot.get(id), NotFoundError);
  await assert.rejects(Machine.create({ snapshotId: id }), NotFoundError);
  await assert.rejects(Machine.create({ snapshotId: id, vcpus: 2 }), InvalidRequestError);
});

test('events tell what happened to a machine, in order, page by page', async () => {
  const machine = await Machine.create(SMALL);
  await machine.setTimeout(60);
  await machine.kill();
  const page = await machine.lifecycle.list({ order: 'asc', status: 'succeeded' });
  assert.deepEqual(
    page.events.map(({ operation }) => operation),
    ['create', 'timeout_updated', 'destroy'],
  );
  assert.ok(page.events.every(({ machineId, occurredAt }) => machineId === machine.id && occurredAt instanceof Date));
  const all = await Lifecycle.listMachineEvents(machine.id, { status: 'succeeded' });
  assert.deepEqual(
    all.events.map(({ operation }) => operation),
    ['destroy', 'timeout_updated', 'create'],
    'newest first',
  );
  const first = await Lifecycle.listEvents({ machineId: machine.id, status: 'succeeded', order: 'asc', limit: 1 });
  assert.deepEqual([first.events.length, first.hasMore], [1, true]);
  // `list_lifecycle` of the Python SDK.
  const created = await machine.lifecycle.list({ operation: 'create', status: 'succeeded' });
  assert.equal(created.events.length, 1);
});

test('a command in the background has the time limit that it is given, and no other, heard or not', async () => {
  const machine = await Machine.create(SMALL);
  // The long form has the number that is the default of commands that are waited for.
  const timeout = process.env.NULLSPACE_TEST_LONG ? 30 : 1;
  const start = (options) =>
    machine.commands.run('echo begun; sleep 600 & wait', { shell: true, background: true, ...options });
  const forms = [{}, { onStdout: () => {} }];
  const unlimited = await Promise.all(forms.map(start));
  const limited = await Promise.all(forms.map((form) => start({ ...form, timeout })));
  for (const command of limited) {
    const { exitCode, stdout } = await command.wait({ timeout: timeout + 20 });
    assert.deepEqual({ exitCode, stdout }, { exitCode: 137, stdout: 'begun\n' });
  }
  const listed = await machine.commands.list();
  const runs = ({ pid }) => listed.find((one) => one.pid === pid)?.running;
  assert.deepEqual([...limited, ...unlimited].map(runs), [false, false, true, true]);
  await machine.kill();
});

test('a command in the background is fed, read and waited for', async () => {
  const machine = await Machine.create(SMALL);
  const command = await machine.commands.run('read line; echo "got $line"; echo oops >&2; exit 3', {
    shell: true,
    background: true,
  });
  assert.ok(command.pid > 0);
  await command.sendStdin('words\n');
  const ended = await command.wait({ timeout: 10 });
  assert.deepEqual([ended.exitCode, ended.stdout, ended.stderr], [3, 'got words\n', 'oops\n']);
  assert.equal((await machine.commands.getLogs(command.pid)).exitCode, 3, 'readable after its end');

  const sleeper = await machine.commands.run('sleep 600', { shell: true, background: true });
  await assert.rejects(sleeper.wait({ timeout: 0.3 }), { code: 'timeout' });
  await sleeper.kill();
  assert.notEqual((await sleeper.wait({ timeout: 10 })).exitCode, 0);
  await assert.rejects(machine.commands.getLogs(999_999), NotFoundError);
  await machine.kill();
});

test('a program given as text runs in its interpreter', async () => {
  const machine = await Machine.create(SMALL);
  const bash = await machine.process.codeRun('echo "$A in $PWD"; exit 4', {
    language: 'bash',
    envs: { A: 'b' },
    cwd: '/tmp',
  });
  assert.deepEqual([bash.exitCode, bash.stdout], [4, 'b in /tmp\n']);
  // A machine has what the computer has: Python is not everywhere.
  if ((await machine.commands.run('command -v python3', { shell: true })).exitCode === 0)
    assert.equal((await machine.process.codeRun('print(6 * 7)')).stdout, '42\n');
  await assert.rejects(machine.process.codeRun(''), InvalidRequestError);
  await machine.kill();
});

test('a pool is changed, turned off and on, and emptied', async () => {
  const pool = await TemplateWarmPool.create('base', { name: 'turned', minReady: 1, maxReady: 2, ...sizes });
  await pool.waitUntilReady({ timeout: 30 });
  const changed = await pool.update({ name: 'renamed', memoryMb: 96, labels: { team: 'a' } });
  assert.equal(changed.name, 'renamed');
  assert.deepEqual({ ...changed.resources }, { vcpus: 1, memoryMb: 96 });
  assert.deepEqual(
    (await TemplateWarmPool.list({ labels: { team: 'a' } })).map(({ id }) => id),
    [pool.id],
  );
  assert.equal((await pool.disable()).state, 'disabled');
  assert.equal((await pool.enable()).state, 'enabled');
  await pool.reconcile();
  await pool.waitUntilReady({ timeout: 30 });
  assert.equal((await pool.drain()).state, 'draining');
  await until('the pool is empty', async () => (await pool.getInfo()).status.ready === 0);
  await pool.delete();
});
const sizes = { vcpus: 1, memoryMb: 64 };
