// What goes wrong between a program and the API, on request: what the SDK makes of it, and that nothing waits for ever.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';

import { NotFoundError, Nullspace, NullspaceError, RateLimitError, TransportError } from 'nullspace';

import { temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../scripts/lib/engine.mjs';
import { engineForTests, SMALL, until } from './support/engine.mjs';

let engine;
let client;
before(async () => {
  engine = await engineForTests({ args: ['--faults'] });
  client = new Nullspace(engine.client);
});
after(() => engine?.stopWell());
afterEach(() => engine.request('DELETE', '/faults/v1/rules'));

/** Sets the rules: the next requests fail by them. */
async function fail(...rules) {
  const answer = await engine.request('PUT', '/faults/v1/rules', { body: { rules } });
  assert.equal(answer.status, 200, await answer.text());
}
const hits = async () =>
  (await (await engine.request('GET', '/faults/v1/rules')).json()).rules.map((rule) => rule.hits);
const advance = (ms) => engine.request('POST', '/faults/v1/clock', { body: { advance_ms: ms } });
const create = (options) => client.Machine.create({ ...SMALL, ...options });

test('429 is waited for as long as the server says, and tried again', async () => {
  await fail({ path: '/v1/machines', fault: { kind: 'status', status: 429, retry_after: 1 } });
  const begun = Date.now();
  await client.Machine.list();
  assert.ok(Date.now() - begun >= 1000);
  assert.deepEqual(await hits(), [2]);
});

test('429 for ever is a RateLimitError with the seconds, after four requests', async () => {
  await fail({ path: '/v1/machines', fault: { kind: 'status', status: 429, retry_after: 0 }, times: 100 });
  await assert.rejects(client.Machine.list(), (error) => {
    assert.ok(error instanceof RateLimitError);
    assert.deepEqual([error.status, error.retryAfter, error.retryable], [429, 0, true]);
    assert.match(error.requestId, /^req_/);
    return true;
  });
  assert.deepEqual(await hits(), [4]);
});

test('an abort ends the wait for a rate limit', async () => {
  await fail({ path: '/v1/machines', fault: { kind: 'status', status: 429, retry_after: 600 }, times: 100 });
  const begun = Date.now();
  await assert.rejects(client.Machine.list({ signal: AbortSignal.timeout(200) }), { name: 'TimeoutError' });
  assert.ok(Date.now() - begun < 5000);
});

test('503 is an error that says it can be tried again', async () => {
  await fail({ path: '/v1/machines/*', fault: { kind: 'status', status: 503 } });
  await assert.rejects(client.Machine.getInfoById('mch_x'), (error) => {
    assert.deepEqual([error.constructor, error.status, error.retryable], [NullspaceError, 503, true]);
    return true;
  });
  await assert.rejects(client.Machine.getInfoById('mch_x'), NotFoundError);
});

test('a slow answer ends with the time for the request, or with the abort', async () => {
  await fail({ path: '/v1/machines', fault: { kind: 'delay', ms: 60_000 }, times: 2 });
  const begun = Date.now();
  await assert.rejects(client.Machine.list({ requestTimeout: 0.3 }), TransportError);
  const reason = new Error('no more');
  const ending = new AbortController();
  setTimeout(() => ending.abort(reason), 200);
  await assert.rejects(client.Machine.list({ signal: ending.signal }), reason);
  assert.ok(Date.now() - begun < 10_000);
});

test('a body that is cut is a TransportError, not half an answer', async () => {
  const machine = await create();
  await fail({ path: '/v1/machines', fault: { kind: 'cut_body', after_bytes: 20 } });
  await assert.rejects(client.Machine.list(), TransportError);
  await machine.files.write('/workspace/big', new Uint8Array(4 << 20));
  await fail({ method: 'GET', path: '/v1/machines/*', fault: { kind: 'cut_body', after_bytes: 1 << 20 }, times: 10 });
  await assert.rejects(machine.files.read('/workspace/big', { format: 'bytes' }), TransportError);
  const stream = await machine.files.read('/workspace/big', { format: 'stream' });
  let seen = 0;
  await assert.rejects(async () => {
    for await (const bytes of stream) seen += bytes.length;
  }, TransportError);
  assert.equal(seen, 1 << 20);
  await machine.kill();
});

test('a create whose answer is lost makes one machine', async () => {
  for (const fault of [{ kind: 'drop' }, { kind: 'cut_body', after_bytes: 5 }]) {
    await fail({ method: 'POST', path: '/v1/machines', fault, when: 'after' });
    const machine = await create({ metadata: { fault: fault.kind } });
    assert.deepEqual(await hits(), [2]);
    const { items } = await client.Machine.list({ query: { metadata: { fault: fault.kind } } });
    assert.deepEqual(
      items.map(({ id }) => id),
      [machine.id],
    );
    await machine.kill();
  }
});

test('a call that is not repeatable is not repeated', async () => {
  const machine = await create();
  await fail({ path: '/v1/machines/*/exec', fault: { kind: 'drop' }, when: 'after', times: 10 });
  await assert.rejects(machine.commands.run('echo x >> /workspace/ran', { shell: true }), TransportError);
  assert.deepEqual(await hits(), [1]);
  assert.equal(await machine.files.read('/workspace/ran'), 'x\n');
  await machine.kill();
});

test('a socket that is cut ends a stream with an error, and the command', async () => {
  const machine = await create();
  await fail({ path: '/v1/machines/*/ws', fault: { kind: 'cut_socket', after_frames: 3 } });
  await assert.rejects(async () => {
    for await (const event of machine.commands.stream('while :; do echo x; sleep 0.05; done', { shell: true })) {
      assert.notEqual(event.kind, 'exit');
    }
  }, TransportError);
  await until('the command ended', async () => !(await machine.commands.list()).some((each) => each.running));
  await fail({ path: '/v1/machines/*/ws', fault: { kind: 'cut_socket', after_frames: 2 } });
  const terminal = await machine.pty.create();
  await assert.rejects(async () => {
    for (;;) {
      await terminal.sendInput('echo hello\n');
      await terminal[Symbol.asyncIterator]().next();
    }
  }, NullspaceError);
  // A terminal outlives its connection.
  const again = await machine.pty.connect({ sessionId: terminal.sessionId });
  await again.kill();
  await machine.kill();
});

test('a stream of events goes on over a cut socket: none is lost, none comes twice', async () => {
  const machine = await create();
  await fail({ path: '*', fault: { kind: 'cut_socket', after_frames: 2 }, times: 3 });
  const seen = [];
  const following = (async () => {
    for await (const event of machine.lifecycle.streamEvents()) {
      seen.push(event);
      if (event.operation === 'destroy') return;
    }
  })();
  for (let n = 1; n <= 8; n++) {
    await machine.setTimeout(100 + n);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await machine.kill();
  await following;
  assert.equal(new Set(seen.map(({ id }) => id)).size, seen.length);
  assert.deepEqual(
    seen.map(({ operation }) => operation),
    ['create', ...Array(8).fill('timeout_updated'), 'destroy'],
  );
});

test('a clock that moves ends leases, pauses machines and deletes them in time', async () => {
  const [short, sleeper, pool] = await Promise.all([
    create({ timeout: 600 }),
    create({ timeout: 600, timeoutAction: 'hibernate', autoDeleteAfterMs: 3_600_000 }),
    client.TemplateWarmPool.create('base', {
      minReady: 0,
      maxReady: 1,
      memoryMb: 64,
      vcpus: 1,
      idleTimeoutSeconds: 600,
    }),
  ]);
  const { ahead_ms: before } = await (await engine.request('GET', '/faults/v1/clock')).json();
  const moved = await (await advance(700_000)).json();
  assert.equal(moved.ahead_ms - before, 700_000);
  assert.ok(new Date(moved.now) - Date.now() > 600_000);
  await until('the lease is over', async () => {
    try {
      await short.getInfo();
    } catch (error) {
      return error instanceof NotFoundError;
    }
  });
  await until('it is paused', async () => (await client.Machine.getInfoById(sleeper.id)).status === 'paused');
  await advance(3_700_000);
  await until('it is deleted', async () => {
    try {
      await client.Machine.getInfoById(sleeper.id);
    } catch (error) {
      return error instanceof NotFoundError;
    }
  });
  // The last one is noted when all is done.
  const events = await until('its end is noted', async () => {
    const page = await client.Lifecycle.listMachineEvents(sleeper.id, { order: 'asc' });
    return page.events.some(({ operation }) => operation === 'destroy') && page.events;
  });
  assert.deepEqual(
    events.map(({ operation, reason }) => [operation, reason]).filter(([operation]) => operation !== 'create'),
    [
      ['timeout_expired', 'timeout'],
      ['hibernate', undefined],
      ['timeout_expired', 'auto_delete'],
      ['destroy', 'auto_delete'],
    ],
  );
  await pool.delete();
});

test('keepAlive holds a lease as the clock moves less than it, and tells when it is lost', async () => {
  const machine = await create({ timeout: 60 });
  const lease = await machine.keepAlive({ timeout: 600, refreshEverySecs: 1 });
  await advance(300_000);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await advance(400_000);
  assert.equal(await machine.isRunning(), true);
  await advance(700_000);
  await assert.rejects(lease.wait(), NotFoundError);
  await lease.close();
});

test('wrong rules are refused with their place and a good one', async () => {
  for (const [rule, place] of [
    [{ path: '/x', fault: { kind: 'explode' } }, 'rules[0].fault'],
    [{ path: 'x', fault: { kind: 'drop' } }, 'rules[0].path'],
    [{ path: '/x', fault: { kind: 'status', status: 200 } }, 'rules[0].fault.status'],
  ]) {
    const answer = await engine.request('PUT', '/faults/v1/rules', { body: { rules: [rule] } });
    assert.equal(answer.status, 400);
    assert.ok((await answer.json()).error.includes(place));
  }
});

test('an engine that was not asked to fail has none of this, and one for all the network refuses to', async () => {
  const plain = await startEngine({ binary: process.env.NULLSPACE_TEST_ENGINE });
  try {
    const headers = { authorization: `Bearer ${plain.apiKey}` };
    for (const path of ['rules', 'clock']) {
      assert.equal((await fetch(`${plain.url}/faults/v1/${path}`, { headers })).status, 404);
    }
  } finally {
    await plain.stop();
  }
  const state = path.join(temporaryDirectory('faults'), 'state');
  const open = ['serve', '--faults', '--allow-remote', '--listen', '0.0.0.0:0', '--state', state, '--api-key', 'key'];
  const { status, stderr } = spawnSync(process.env.NULLSPACE_TEST_ENGINE, open, { encoding: 'utf8', timeout: 20_000 });
  assert.equal(status, 1, stderr);
  assert.match(stderr, /--faults .* needs a loopback address: use --listen 127\.0\.0\.1/);
  // Nor does it obey who has no key.
  assert.equal((await fetch(`${engine.url}/faults/v1/rules`)).status, 401);
});
