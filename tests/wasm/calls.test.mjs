// What the calls send and give: the JavaScript surface over a server with canned answers.

import assert from 'node:assert/strict';
import test from 'node:test';

import { sdk } from './package.mjs';
import { machine, pool, serve } from './server.mjs';

const { Machine, MachinePage, TemplateWarmPool } = sdk;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const using = async (server, use) => {
  try {
    return await use(server);
  } finally {
    await server.close();
  }
};

test('create sends the defaults, a key and an idempotency key, and gives a machine', async () =>
  using(await serve(), async ({ requests, options }) => {
    const made = await Machine.create(options);
    assert.ok(made instanceof Machine);
    assert.equal(made.id, 'mch_1');
    assert.equal(made.cwd, '/workspace');
    assert.equal(made.trafficAccessToken, undefined);
    const [{ method, path, headers, body }] = requests;
    assert.deepEqual([method, path], ['POST', '/v1/machines']);
    assert.equal(headers.authorization, 'Bearer test-key');
    assert.equal(headers['content-type'], 'application/json');
    assert.match(headers['idempotency-key'], UUID);
    assert.equal(body.template, 'base');
    assert.equal(body.vcpus, 2);
    assert.equal(body.memory_mb, 512);
    assert.equal(body.timeout_ms, 300_000);
  }));

test('create sends every option under its wire name, metadata verbatim', async () =>
  using(await serve(), async ({ requests, options }) => {
    await Machine.create({
      ...options,
      template: 'team/app:stable',
      vcpus: 4,
      memoryMb: 1024,
      diskMb: 8192,
      timeout: 120,
      timeoutAction: 'hibernate',
      autoResume: true,
      inactivityTimeoutMs: 60_000,
      autoDeleteAfterMs: 86_400_000,
      cwd: '/srv',
      envs: { snake_case: 'a', camelCase: 'b' },
      metadata: { deepKey: { in_side: [1, 2.5, null, true, 'x'] } },
      idempotencyKey: 'key-1',
      network: {
        maskRequestHost: 'localhost:${PORT}',
        allowPublicTraffic: false,
        egress: sdk.NetworkEgressPolicy.custom({
          allowCidrs: ['10.0.0.0/8'],
          denyCidrs: ['10.1.0.0/16'],
          rateLimit: { kbitPerSec: 1000, burst: 64 },
        }),
      },
      volumes: [{ ref: 'vol_1', mountPath: '/data', readOnly: true }],
      undefinedIsAbsent: undefined,
    });
    const [{ body, headers }] = requests;
    assert.equal(headers['idempotency-key'], 'key-1');
    assert.equal(body.template, 'team/app:stable');
    assert.equal(body.vcpus, 4);
    assert.equal(body.memory_mb, 1024);
    assert.equal(body.disk_mb, 8192);
    assert.equal(body.timeout_ms, 120_000);
    assert.equal(body.timeout_action, 'hibernate');
    assert.equal(body.auto_resume, true);
    assert.equal(body.inactivity_timeout_ms, 60_000);
    assert.equal(body.auto_delete_after_ms, 86_400_000);
    assert.equal(body.cwd, '/srv');
    assert.deepEqual(body.envs, { snake_case: 'a', camelCase: 'b' });
    assert.deepEqual(body.metadata, { deepKey: { in_side: [1, 2.5, null, true, 'x'] } });
    assert.deepEqual(body.network, {
      mask_request_host: 'localhost:${PORT}',
      allow_public_traffic: false,
      egress: {
        mode: 'custom',
        allow_cidrs: ['10.0.0.0/8'],
        deny_cidrs: ['10.1.0.0/16'],
        rate_limit: { kbit_per_sec: 1000, burst: 64 },
      },
    });
    assert.deepEqual(body.volumes, [{ ref: 'vol_1', mount_path: '/data', read_only: true }]);
  }));

test('create takes a warm pool by id or as the object', async () =>
  using(await serve(), async ({ requests, options }) => {
    await Machine.create({ ...options, warmPool: 'twp_1', warmPoolMode: 'require', warmPoolWaitMs: 1500 });
    assert.deepEqual(requests[0].body.warm_pool, { id: 'twp_1', mode: 'require', wait_ms: 1500 });
    const held = await TemplateWarmPool.get('twp_7', options);
    await Machine.create({ ...options, warmPool: held });
    assert.equal(requests[2].body.warm_pool.id, 'twp_7');
    await Machine.create({ ...options, warmPool: { id: 'twp_8' } });
    assert.equal(requests[3].body.warm_pool.id, 'twp_8');
  }));

test('commands run in the machine; a non-zero exit is no error', async () =>
  using(
    await serve(({ path }, _response, respond) => {
      if (!path.endsWith('/exec')) return false;
      respond(200, { exit_code: 3, stdout: 'héllo\n', stderr: 'oh\n', pid: 9 });
      return true;
    }),
    async ({ requests, options }) => {
      const made = await Machine.create(options);
      const result = await made.commands.run('printf', {
        args: ['%s', 'a b'],
        cwd: '/tmp',
        envs: { A: 'b' },
        timeout: 5,
      });
      assert.deepEqual(result, { exitCode: 3, stdout: 'héllo\n', stderr: 'oh\n', pid: 9 });
      const { path, body } = requests[1];
      assert.equal(path, '/v1/machines/mch_1/exec');
      const asked = { command: 'printf', args: ['%s', 'a b'], cwd: '/tmp', envs: { A: 'b' }, timeout_secs: 5 };
      assert.deepEqual(body, { ...asked, background: false });
      assert.equal(made.commands, made.commands);
    },
  ));

test('list gives a page, and for await reads all pages with the same filters', async () =>
  using(
    await serve(({ path, query }, _response, respond) => {
      if (path !== '/v1/machines') return false;
      const next = { '': 'two', two: 'three' }[query.get('next_token') ?? ''];
      respond(200, {
        items: [machine(`mch_${query.get('next_token') ?? 'one'}`)],
        has_next: next !== undefined,
        ...(next && { next_token: next }),
      });
      return true;
    }),
    async ({ requests, options }) => {
      const page = await Machine.list({
        ...options,
        limit: 1,
        query: { state: ['running', 'paused'], template: 'base', metadata: { project: 'docs' } },
      });
      assert.ok(page instanceof MachinePage);
      assert.deepEqual(
        page.items.map(({ id }) => id),
        ['mch_one'],
      );
      assert.equal(page.hasNext, true);
      assert.equal(page.nextToken, 'two');
      assert.ok(page.items[0].createdAt instanceof Date);
      const ids = [];
      for await (const { id } of page) ids.push(id);
      assert.deepEqual(ids, ['mch_one', 'mch_two', 'mch_three']);
      for (const { query } of requests) {
        assert.equal(query.get('state'), 'running,paused');
        assert.equal(query.get('limit'), '1');
        assert.equal(query.get('template'), 'base');
        assert.deepEqual(JSON.parse(query.get('metadata')), { project: 'docs' });
      }
    },
  ));

test('nextItems reads one page more, and nothing at the end', async () =>
  using(
    await serve(({ path, query }, _response, respond) => {
      if (path !== '/v1/machines') return false;
      const last = query.get('next_token') === 'two';
      respond(
        200,
        last
          ? { items: [machine('mch_2')], has_next: false }
          : { items: [machine('mch_1')], has_next: true, next_token: 'two' },
      );
      return true;
    }),
    async ({ requests, options }) => {
      const page = await Machine.list(options);
      assert.deepEqual(
        (await page.nextItems()).map(({ id }) => id),
        ['mch_2'],
      );
      assert.equal(page.hasNext, false);
      assert.equal(page.nextToken, undefined);
      assert.deepEqual(await page.nextItems(), []);
      assert.equal(requests.length, 2);
    },
  ));

test('list with fields gives plain rows', async () =>
  using(
    await serve(({ path }, _response, respond) => {
      if (path !== '/v1/machines') return false;
      respond(200, { items: [{ id: 'mch_1', created_at: '2026-01-02T03:04:05Z' }], has_next: false });
      return true;
    }),
    async ({ requests, options }) => {
      const rows = await Machine.list({ ...options, fields: ['id', 'createdAt'] });
      assert.deepEqual(rows, [{ id: 'mch_1', createdAt: new Date('2026-01-02T03:04:05Z') }]);
      assert.equal(requests[0].query.get('fields'), 'id,created_at');
    },
  ));

test('info, metrics and the end of a machine, with a handle and by id', async () =>
  using(await serve(), async ({ requests, options }) => {
    const held = await Machine.connect('mch_5', options);
    assert.equal((await held.getInfo()).id, 'mch_5');
    assert.equal(await held.isRunning(), true);
    assert.equal((await held.getMetrics())[0].cpuPercent, 1.5);
    assert.equal(await held.kill(), undefined);
    assert.equal((await Machine.getInfoById('mch_6', options)).config.memoryMb, 512);
    assert.ok((await Machine.getMetricsById('mch_6', options))[0].timestamp instanceof Date);
    assert.equal(await Machine.killById('mch_6', options), undefined);
    assert.deepEqual(
      requests.map(({ method, path }) => `${method} ${path}`),
      [
        'GET /v1/machines/mch_5',
        'GET /v1/machines/mch_5',
        'GET /v1/machines/mch_5',
        'GET /v1/machines/mch_5/metrics',
        'DELETE /v1/machines/mch_5',
        'GET /v1/machines/mch_6',
        'GET /v1/machines/mch_6/metrics',
        'DELETE /v1/machines/mch_6',
      ],
    );
  }));

test('connect resumes a paused machine and may move its lease', async () =>
  using(
    await serve(({ method, path }, _response, respond) => {
      if (method === 'GET') respond(200, machine('mch_5', { status: 'paused', snapshot_id: 'snap_1' }));
      else if (path.endsWith('/resume')) respond(200, machine('mch_5'));
      else respond(200, { timeout_ms: 60_000, timeout_action: 'destroy' });
      return true;
    }),
    async ({ requests, options }) => {
      const held = await Machine.connect('mch_5', { ...options, timeout: 60 });
      assert.equal(held.id, 'mch_5');
      assert.deepEqual(
        requests.map(({ method, path }) => `${method} ${path}`),
        ['GET /v1/machines/mch_5', 'POST /v1/machines/mch_5/resume', 'POST /v1/machines/mch_5/timeout'],
      );
      assert.deepEqual(requests[2].body, { timeout_ms: 60_000 });
    },
  ));

test('runOnce makes a machine, runs and destroys it', async () =>
  using(await serve(), async ({ requests, options }) => {
    const result = await Machine.runOnce('echo hello', options);
    assert.equal(result.stdout, 'hello\n');
    assert.deepEqual(
      requests.map(({ method }) => method),
      ['POST', 'POST', 'DELETE'],
    );
  }));

test('runOnce destroys its machine when the command fails', async () =>
  using(
    await serve(({ path }, _response, respond) => {
      if (!path.endsWith('/exec')) return false;
      respond(404, { error: 'no such program', code: 'file_error' });
      return true;
    }),
    async ({ requests, options }) => {
      await assert.rejects(Machine.runOnce('nothing', options), { code: 'file_error' });
      assert.equal(requests.at(-1).method, 'DELETE');
    },
  ));

test('warm pools are made, listed, waited for and deleted', async () =>
  using(
    await serve(({ method, path }, _response, respond) => {
      if (method !== 'GET' || path !== '/v1/template-warm-pools/twp_1') return false;
      looks += 1;
      respond(200, pool('twp_1', { min_ready: 2, status: { ...pool().status, ready: looks } }));
      return true;
    }),
    async ({ requests, options }) => {
      looks = 0;
      const made = await TemplateWarmPool.create('base', {
        ...options,
        minReady: 2,
        maxReady: 4,
        labels: { team: 'a' },
      });
      assert.equal(made.id, 'twp_1');
      assert.equal(requests[0].body.template_ref, 'base');
      assert.equal(requests[0].body.min_ready, 2);
      assert.equal(requests[0].body.max_ready, 4);
      assert.deepEqual(requests[0].body.labels, { team: 'a' });
      const progress = [];
      const info = await made.waitUntilReady({
        intervalMs: 5,
        onProgress: ({ status }) => progress.push(status.ready),
      });
      assert.equal(info.status.ready, 2);
      assert.deepEqual(progress, [1, 2]);
      assert.equal((await TemplateWarmPool.list(options))[0].templateRef, 'base');
      assert.equal(await made.delete(), undefined);
    },
  ));
let looks = 0;

test('answers survive JSON and structuredClone', async () =>
  using(await serve(), async ({ options }) => {
    const info = await Machine.getInfoById('mch_1', options);
    assert.deepEqual(structuredClone(info), info);
    assert.equal(JSON.parse(JSON.stringify(info)).createdAt, '2026-01-02T03:04:05.000Z');
  }));

test('leases, pauses, forks, snapshots and policies', async () =>
  using(
    await serve(({ method, path }, _response, respond) => {
      const snapshot = { id: 'snap_1', machine_id: 'mch_1', size_bytes: 4096, created_at: '2026-01-02T03:04:05Z' };
      if (path.endsWith('/timeout'))
        respond(200, { timeout_ms: 600_000, timeout_action: 'hibernate', timeout_at: '2026-01-02T03:04:05Z' });
      else if (path.endsWith('/hibernate') || path.endsWith('/snapshots'))
        respond(path.startsWith('/v1/machines') ? 201 : 200, path.startsWith('/v1/machines') ? snapshot : [snapshot]);
      else if (path.endsWith('/fork'))
        respond(201, { id: 'mch_2', status: 'running', config: { vcpus: 2, memory_mb: 512 } });
      else if (path.endsWith('/resume'))
        respond(200, { id: 'mch_1', status: 'running', config: { vcpus: 2, memory_mb: 512 } });
      else if (path.endsWith('/egress')) respond(200, { machine_id: 'mch_1', egress: { mode: 'deny_all' } });
      else if (path.endsWith('/host')) respond(200, { host: '127.0.0.1:4000' });
      else if (path.endsWith('/snap_1')) respond(200, snapshot);
      else if (method === 'GET' && path.includes('/lifecycle'))
        respond(200, { events: [], offset: 0, limit: 50, has_more: false });
      else return false;
      return true;
    }),
    async ({ requests, options }) => {
      const held = await Machine.create(options);
      const lease = await held.setTimeout(600, { timeoutAction: 'hibernate' });
      assert.deepEqual(lease, {
        timeoutMs: 600_000,
        timeoutAction: 'hibernate',
        timeoutAt: new Date('2026-01-02T03:04:05Z'),
      });
      assert.deepEqual(requests.at(-1).body, { timeout_ms: 600_000, timeout_action: 'hibernate' });
      assert.equal((await held.pause()).sizeBytes, 4096);
      assert.equal(requests.at(-1).path, '/v1/machines/mch_1/hibernate');
      assert.equal((await Machine.resume('mch_1', options)).id, 'mch_1');
      const child = await held.fork({ idempotencyKey: 'fork-1' });
      assert.ok(child instanceof Machine);
      assert.equal(child.id, 'mch_2');
      assert.equal(requests.at(-1).headers['idempotency-key'], 'fork-1');
      assert.equal((await held.createSnapshot()).id, 'snap_1');
      assert.match(requests.at(-1).headers['idempotency-key'], UUID);
      assert.deepEqual(await held.updateEgress(sdk.NetworkEgressPolicy.denyAll()), { mode: 'deny_all' });
      assert.deepEqual([requests.at(-1).method, requests.at(-1).body], ['PATCH', { egress: { mode: 'deny_all' } }]);
      assert.equal((await held.getHost(8080)).host, '127.0.0.1:4000');
      assert.equal(await held.getUrl(8080), 'http://127.0.0.1:4000');
      assert.equal(await held.getWebSocketUrl(8080), 'ws://127.0.0.1:4000');
      await assert.rejects(held.getHost(22), { code: 'invalid_request' });
      assert.deepEqual((await held.lifecycle.list({ limit: 5 })).events, []);
      assert.deepEqual((await sdk.Lifecycle.listEvents({ ...options, machineId: 'mch_1' })).hasMore, false);
      assert.equal((await sdk.Snapshot.list({ ...options, machineId: 'mch_1' }))[0].machineId, 'mch_1');
      assert.equal((await sdk.Snapshot.get('snap_1', options)).id, 'snap_1');
      assert.equal(await sdk.Snapshot.delete('snap_1', options), undefined);
      assert.equal(requests.at(-1).method, 'DELETE');
    },
  ));

test('a command in the background is a handle', async () =>
  using(
    await serve(({ path, body }, _response, respond) => {
      if (path.endsWith('/exec'))
        respond(200, body.background ? { pid: 42 } : { exit_code: 0, stdout: '', stderr: '' });
      else if (path.endsWith('/processes')) respond(200, [{ pid: 42, command: 'sleep 1', running: polls++ < 1 }]);
      else if (path.endsWith('/logs')) respond(200, { stdout: 'out', stderr: '', output: 'out', exit_code: 3 });
      else if (/\/(kill|stdin)$/.test(path)) respond(204);
      else return false;
      return true;
    }),
    async ({ requests, options }) => {
      polls = 0;
      const held = await Machine.create(options);
      const command = await held.commands.run('sleep 1', { shell: true, background: true });
      assert.ok(command instanceof sdk.Command);
      assert.equal(command.pid, 42);
      await command.sendStdin('hello\n');
      assert.deepEqual(
        [requests.at(-1).path, requests.at(-1).body],
        ['/v1/machines/mch_1/processes/42/stdin', { data: 'hello\n' }],
      );
      await held.commands.sendStdin(42, new Uint8Array([0x61, 0xff]));
      assert.deepEqual(requests.at(-1).body, { data_base64: 'Yf8=' });
      await assert.rejects(command.sendStdin(7), /string or bytes/);
      const ended = await command.wait({ intervalMs: 10 });
      assert.equal(ended.exitCode, 3);
      assert.equal((await held.commands.getLogs(42)).stdout, 'out');
      assert.equal((await held.commands.list())[0].command, 'sleep 1');
      await command.kill();
      assert.equal(requests.at(-1).path, '/v1/machines/mch_1/processes/42/kill');
      await assert.rejects(held.commands.kill('42'), { code: 'invalid_request' });
    },
  ));
let polls = 0;

/** Answers to a renewal: leases, until there are no more. */
const leases = (count) =>
  serve(({ path }, _response, respond) => {
    if (!path.endsWith('/timeout')) return false;
    if (count-- > 0) respond(200, { timeout_ms: 1000, timeout_action: 'destroy' });
    else respond(404, { error: 'gone', code: 'machine_not_found' });
    return true;
  });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test('a lease is renewed until it is closed', async () =>
  using(await leases(Number.POSITIVE_INFINITY), async ({ requests, options }) => {
    const held = await Machine.create(options);
    const renewals = () => requests.filter(({ path }) => path.endsWith('/timeout'));
    const lease = await held.keepAlive({ timeout: 1, refreshEverySecs: 0.02 });
    assert.ok(lease instanceof sdk.KeepAlive);
    assert.deepEqual(renewals()[0].body, { timeout_ms: 1000 });
    while (renewals().length < 3) await pause(5);
    await lease[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]();
    const closed = renewals().length;
    await pause(100);
    assert.equal(renewals().length, closed);
    assert.equal(await lease.wait(), undefined);
    assert.equal(await lease.close(), undefined);
    await assert.rejects(held.keepAlive({ timeout: 1, refreshEverySecs: 1 }), /refreshEverySecs/);
  }));

test('a lease that cannot be renewed any more says so once, to whom waits or closes', async () => {
  await using(await leases(2), async ({ options }) => {
    const lease = await (await Machine.create(options)).keepAlive({ timeout: 1, refreshEverySecs: 0.01 });
    await assert.rejects(lease.wait(), sdk.NotFoundError);
    assert.equal(await lease.close(), undefined);
  });
  await using(await leases(1), async ({ requests, options }) => {
    const lease = await (await Machine.create(options)).keepAlive({ timeout: 1, refreshEverySecs: 0.01 });
    while (requests.filter(({ path }) => path.endsWith('/timeout')).length < 2) await pause(5);
    await pause(50);
    await assert.rejects(lease.close(), sdk.NotFoundError);
  });
});

test('waiting for the end of a lease can be given up; the lease goes on', async () =>
  using(await leases(Number.POSITIVE_INFINITY), async ({ requests, options }) => {
    const lease = await (await Machine.create(options)).keepAlive({ timeout: 1, refreshEverySecs: 0.02 });
    await assert.rejects(lease.wait({ signal: AbortSignal.timeout(10) }), { name: 'TimeoutError' });
    const before = requests.length;
    while (requests.length < before + 2) await pause(5);
    await lease.close();
  }));

test('moments of filters are dates or texts, and what is neither is named before a request', async () => {
  const server = await serve(({ path }, _response, respond) => {
    if (!path.includes('lifecycle')) return false;
    respond(200, { events: [], offset: 0, limit: 50, has_more: false });
    return true;
  });
  try {
    const { options, requests } = server;
    const from = new Date('2026-01-02T03:04:05.678Z');
    const to = '2026-01-02T04:04:05+01:00';
    const machine = await Machine.connect('mch_1', options);
    await sdk.Lifecycle.listEvents({ ...options, from, to });
    await sdk.Lifecycle.listMachineEvents('mch_1', { ...options, from, to });
    await machine.lifecycle.list({ from, to });
    for (const { query } of requests.slice(1)) {
      assert.equal(query.get('from'), '2026-01-02T03:04:05.678Z');
      assert.equal(query.get('to'), to);
    }
    assert.equal(requests.length, 4);
    for (const wrong of [new Date('never'), 1767323045678, 'yesterday'])
      await assert.rejects(sdk.Lifecycle.listEvents({ ...options, from: wrong }), /`from`|option from/);
    assert.equal(requests.length, 4);
  } finally {
    await server.close();
  }
});
