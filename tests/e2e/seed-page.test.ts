// The documentation's page "Create, connect, list", each example in TypeScript. What that page says the TypeScript SDK
// cannot do (network policy and warm pools on create) is done here.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Machine, type Machine as MachineHandle, NotFoundError, TemplateWarmPool } from 'nullspace';

import { engineForTests } from './support/engine.mjs';

let engine: Awaited<ReturnType<typeof engineForTests>>;

before(async () => {
  engine = await engineForTests();
  // The examples give no key and no URL: both come from the environment.
  process.env.NULLSPACE_API_URL = engine.url;
  process.env.NULLSPACE_API_KEY = engine.apiKey;
});
after(() => engine?.stopWell());

test('create', async (t) => {
  const machine = await Machine.create({
    template: 'base',
    vcpus: 2,
    memoryMb: 512,
    diskMb: 8192,
    timeout: 300,
    cwd: '/workspace',
    envs: { APP_ENV: 'dev' },
    metadata: { project: 'docs' },
    network: { maskRequestHost: 'localhost:${PORT}' },
  });
  t.after(() => machine.kill().catch(() => {}));
  assert.match(machine.id, /^mch_/);
  const { stdout } = await machine.commands.run('echo "$APP_ENV $PWD"', { shell: true });
  assert.equal(stdout, 'dev /workspace\n');
  await machine.kill();
  await assert.rejects(machine.getInfo(), NotFoundError);
});

test('create from a template warm pool', async () => {
  const pool = await TemplateWarmPool.create('base', {
    name: 'review-api-small',
    minReady: 1,
    vcpus: 2,
    memoryMb: 512,
  });
  try {
    await pool.waitUntilReady({ timeout: 60, intervalMs: 50 });
    await using machine = await Machine.create({
      template: 'base',
      warmPool: pool.id,
      warmPoolMode: 'prefer',
      warmPoolWaitMs: 1500,
    });
    const { warmPoolCheckout } = await machine.getInfo();
    assert.equal(warmPoolCheckout?.source, 'ready_instance');
    assert.equal(warmPoolCheckout?.hit, true);
    assert.equal(warmPoolCheckout?.id, pool.id);
    assert.equal(warmPoolCheckout?.mode, 'prefer');
  } finally {
    await pool.delete();
  }
});

test('connect', async () => {
  const { id } = await Machine.create();
  const machine = await Machine.connect(id);
  assert.equal((await machine.getInfo()).status, 'running');
  await machine.kill();
});

test('list', async (t) => {
  const made: MachineHandle[] = [];
  t.after(() => Promise.all(made.map((machine) => machine.kill())));
  for (let i = 0; i < 3; i++)
    made.push(await Machine.create({ vcpus: 1, memoryMb: 64, metadata: { project: 'docs' } }));

  const page = await Machine.list({ limit: 2 });
  const seen: string[] = [];
  for (const item of page.items) seen.push(`${item.id} ${item.status} ${item.template}`);
  assert.equal(seen.length, 2);
  const elsewhere = await Machine.list({ limit: 2, nextToken: page.nextToken });
  assert.equal(elsewhere.items.length, 1);
  assert.equal(elsewhere.nextToken, undefined);
  while (page.hasNext) {
    for (const item of await page.nextItems()) seen.push(`${item.id} ${item.status} ${item.template}`);
  }
  assert.deepEqual(seen.sort(), made.map(({ id }) => `${id} running base`).sort());

  const filtered = await Machine.list({ query: { template: 'base', metadata: { project: 'docs' } }, limit: 20 });
  assert.equal(filtered.items.length, 3);
  const others = await Machine.list({ query: { metadata: { project: 'another' } } });
  assert.equal(others.items.length, 0);

  const all: string[] = [];
  for await (const item of await Machine.list({ limit: 1 })) all.push(item.id);
  assert.equal(all.length, 3);

  const rows = await Machine.list({ fields: ['id', 'status', 'template'] });
  for (const row of rows) assert.deepEqual(Object.keys(row).sort(), ['id', 'status', 'template']);
  assert.equal(rows.length, 3);
});

test('inspect', async () => {
  const machine = await Machine.create({ metadata: { project: 'docs' } });
  const info = await machine.getInfo();
  assert.deepEqual([info.id, info.status, info.template], [machine.id, 'running', 'base']);
  assert.deepEqual(info.metadata, { project: 'docs' });
  assert.ok(info.createdAt instanceof Date);
  assert.equal(await machine.isRunning(), true);
  assert.equal((await Machine.getInfoById(machine.id)).id, machine.id);
  const [sample] = await Machine.getMetricsById(machine.id);
  assert.equal(sample?.cpuCount, 2);
  await machine.kill();
});

test('cleanup', async () => {
  let id: string;
  {
    await using machine = await Machine.create({ template: 'base' });
    id = machine.id;
    assert.equal((await machine.commands.run('echo ready', { shell: true })).stdout, 'ready\n');
  }
  await assert.rejects(Machine.getInfoById(id), NotFoundError);

  const longLived = await Machine.create();
  await Machine.killById(longLived.id);
  await assert.rejects(Machine.connect(longLived.id), NotFoundError);
});
