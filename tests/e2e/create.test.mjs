// Create, and everything that can happen around it.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { InvalidRequestError, NetworkEgressPolicy, NotFoundError, NullspaceError } from 'nullspace';

import { engineForTests, SMALL, sh, until } from './support/engine.mjs';

/** @type {Awaited<ReturnType<typeof engineForTests>>} */
let engine;
before(async () => {
  engine = await engineForTests();
});
after(() => engine?.stopWell());

const idsWith = async (metadata) => {
  const { items } = await engine.Machine.list({ query: { metadata }, limit: 100 });
  return items.map(({ id }) => id);
};

test('every option that this engine has is taken and shown', async () => {
  const machine = await engine.Machine.create({
    template: 'base',
    vcpus: 1,
    memoryMb: 256,
    diskMb: 1024,
    timeout: 90,
    timeoutAction: 'destroy',
    cwd: '/tmp',
    envs: { A: 'b', EMPTY: '' },
    metadata: { list: [1, null, { deep_key: 'x' }], text: 'ü' },
    internetAccess: true,
    ephemeral: true,
    inactivityTimeoutMs: 600_000,
    network: {
      allowPublicTraffic: false,
      maskRequestHost: 'localhost:${PORT}',
      egress: {
        mode: 'custom',
        allowCidrs: ['10.0.0.0/8'],
        denyCidrs: ['10.1.0.0/16'],
        rateLimit: { kbitPerSec: 1000 },
      },
    },
  });
  const info = await machine.getInfo();
  assert.equal(info.status, 'running');
  assert.deepEqual({ ...info.config }, { vcpus: 1, memoryMb: 256, diskMb: 1024 });
  assert.equal(info.timeoutMs, 90_000);
  assert.equal(info.timeoutAction, 'destroy');
  assert.equal(info.ephemeral, true);
  assert.equal(info.inactivityTimeoutMs, 600_000);
  assert.equal(info.cwd, '/tmp');
  const egress = {
    mode: 'custom',
    allowCidrs: ['10.0.0.0/8'],
    denyCidrs: ['10.1.0.0/16'],
    rateLimit: { kbitPerSec: 1000 },
  };
  assert.deepEqual(info.network, { egress });
  await machine.updateEgress(NetworkEgressPolicy.denyAll());
  assert.deepEqual((await machine.getInfo()).network, { egress: { mode: 'deny_all' } });
  assert.deepEqual(info.metadata, { list: [1, null, { deep_key: 'x' }], text: 'ü' });
  assert.ok(info.timeoutAt.getTime() - Date.now() <= 90_000);
  assert.ok(machine.trafficAccessToken, 'a machine whose previews are closed has a token');
  assert.equal(await sh(machine, 'echo "$A|$EMPTY|$PWD"'), 'b||/tmp');
  await machine.kill();
});

test('command options reach the command', async () => {
  const machine = await engine.Machine.create(SMALL);
  const run = await machine.commands.run('sh', {
    args: ['-c', 'echo "$1|$X|$PWD"; exit 4', 'sh', 'two  words'],
    cwd: '/etc',
    envs: { X: 'y' },
  });
  assert.deepEqual([run.exitCode, run.stdout, run.stderr], [4, 'two  words|y|/etc\n', '']);
  await assert.rejects(
    machine.commands.run('sleep 30', { shell: true, timeout: 1 }),
    (error) => error instanceof NullspaceError && error.code === 'exec_timeout',
  );
  const many = await Promise.all(Array.from({ length: 20 }, (_, i) => sh(machine, `echo ${i}`)));
  assert.deepEqual(
    many,
    Array.from({ length: 20 }, (_, i) => String(i)),
  );
  await machine.kill();
});

test('what is not there is refused by name, and makes no machine', async () => {
  const metadata = { case: randomUUID() };
  await assert.rejects(
    engine.Machine.create({ ...SMALL, metadata, volumes: [{ ref: 'data', mountPath: '/data' }] }),
    (error) => error instanceof NotFoundError && /volume "data"/.test(error.message),
  );
  await assert.rejects(engine.Machine.create({ ...SMALL, metadata, template: 'no-such-template' }), NotFoundError);
  await assert.rejects(
    engine.Machine.create({ ...SMALL, metadata, snapshotId: 'snap_missing', vcpus: undefined, memoryMb: undefined }),
    NotFoundError,
  );
  assert.deepEqual(await idsWith(metadata), []);
});

test('options that contradict each other are refused before a request', async () => {
  let requests = 0;
  const onRequest = () => {
    requests += 1;
  };
  await assert.rejects(
    engine.Machine.create({ network: { egress: { mode: 'custom', allowCidrs: ['10.0.0.0/33'] } }, onRequest }),
    (error) => error instanceof InvalidRequestError && error.message.includes('allowCidrs[0]'),
  );
  await assert.rejects(engine.Machine.create({ warmPoolMode: 'require', onRequest }), /warmPool/);
  await assert.rejects(engine.Machine.create({ memory: 512, onRequest }), /memoryMb/);
  assert.equal(requests, 0);
});

test('one idempotency key makes one machine, one after the other and at once', async () => {
  const metadata = { case: randomUUID() };
  const idempotencyKey = randomUUID();
  const first = await engine.Machine.create({ ...SMALL, metadata, idempotencyKey });
  const again = await engine.Machine.create({ ...SMALL, metadata, idempotencyKey });
  assert.equal(again.id, first.id);

  const atOnce = randomUUID();
  const made = await Promise.all(
    Array.from({ length: 10 }, () => engine.Machine.create({ ...SMALL, metadata, idempotencyKey: atOnce })),
  );
  assert.equal(new Set(made.map(({ id }) => id)).size, 1);
  assert.deepEqual((await idsWith(metadata)).sort(), [first.id, made[0].id].sort());
  await Promise.all([first.kill(), made[0].kill()]);
});

test('the end of its time destroys a machine', async () => {
  const machine = await engine.Machine.create({ ...SMALL, timeout: 1 });
  assert.ok((await machine.getInfo()).remainingMs <= 1000);
  await until('the machine is gone', () =>
    engine.Machine.getInfoById(machine.id).then(
      ({ status }) => status === 'destroyed',
      (error) => error instanceof NotFoundError,
    ),
  );
  await assert.rejects(machine.commands.run('true'), NotFoundError);
});

test('fifty creates at once make fifty machines that work', async () => {
  const metadata = { case: randomUUID() };
  const machines = await Promise.all(Array.from({ length: 50 }, () => engine.Machine.create({ ...SMALL, metadata })));
  assert.equal(new Set(machines.map(({ id }) => id)).size, 50);
  const answers = await Promise.all(machines.map((machine) => sh(machine, 'echo $((6 * 7))')));
  assert.ok(answers.every((answer) => answer === '42'));
  assert.equal((await idsWith(metadata)).length, 50);
  await Promise.all(machines.map((machine) => machine.kill()));
  assert.deepEqual(await idsWith(metadata), []);
});

test('an aborted create rejects with the reason and leaves no machine', async () => {
  for (const delay of [0, 1, 3, 6, 12, 25, 50]) {
    const metadata = { case: randomUUID() };
    const controller = new AbortController();
    const reason = new Error('changed my mind');
    const creating = engine.Machine.create({ ...SMALL, metadata, signal: controller.signal });
    const outcome = creating.then(
      (machine) => machine.kill(),
      (error) => assert.equal(error, reason),
    );
    await sleep(delay);
    controller.abort(reason);
    await outcome;
    await until(`no machine after an abort at ${delay} ms`, async () => (await idsWith(metadata)).length === 0);
  }
});

test('connect resumes a paused machine, a look does not', async () => {
  const machine = await engine.Machine.create(SMALL);
  await sh(machine, 'echo kept > /workspace/note');
  const paused = await engine.request('POST', `/v1/machines/${machine.id}/hibernate`);
  assert.equal(paused.status, 200, await paused.text());
  assert.equal((await engine.Machine.getInfoById(machine.id)).status, 'paused');
  assert.equal(await machine.isRunning(), false);
  assert.deepEqual(
    (await engine.Machine.list({ state: 'paused' })).items.map(({ id }) => id),
    [machine.id],
  );
  await engine.Machine.getMetricsById(machine.id);
  assert.equal((await engine.Machine.getInfoById(machine.id)).status, 'paused');

  const again = await engine.Machine.connect(machine.id, { timeout: 60 });
  assert.equal(again.id, machine.id);
  assert.equal(await sh(again, 'cat /workspace/note'), 'kept');
  const info = await again.getInfo();
  assert.equal(info.status, 'running');
  assert.ok(info.remainingMs <= 60_000);
  await again.kill();
});

test('close lets go of a handle, not of the machine', async () => {
  const machine = await engine.Machine.create({ ...SMALL });
  const { commands } = machine;
  const running = commands.run('sleep 0.2; echo done', { shell: true });
  await machine.close();
  await machine.close();
  assert.equal((await running).stdout, 'done\n', 'what is under way goes on');
  const closed = (call) => assert.rejects(call, { code: 'handle_closed' });
  await closed(machine.getInfo());
  await closed(commands.run('true'));
  assert.match(machine.id, /^mch_/);
  assert.throws(() => machine.files, { code: 'handle_closed' });
  const again = await engine.Machine.connect(machine.id);
  assert.equal(await again.isRunning(), true);
  const page = await engine.Machine.list({ limit: 1 });
  await page.close();
  assert.deepEqual([page.items.length, page.hasNext, await page.nextItems()], [1, false, []]);
  await again.kill();
  const pool = await engine.TemplateWarmPool.create('base', { name: 'closed', minReady: 0, maxReady: 1 });
  await pool.close();
  await closed(pool.getInfo());
  await (await engine.TemplateWarmPool.get(pool.id)).delete();
});

test('runOnce leaves nothing', async () => {
  const before = (await engine.Machine.list({ fields: ['id'] })).length;
  const { exitCode, stdout } = await engine.Machine.runOnce('printf', { args: ['%s', 'once'] });
  assert.deepEqual([exitCode, stdout], [0, 'once']);
  assert.equal((await engine.Machine.list({ fields: ['id'] })).length, before);
});
