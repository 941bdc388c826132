// Options of clients and calls: two tenants side by side, keys that expire, hooks, `fetch`.

import assert from 'node:assert/strict';
import test from 'node:test';

import { sdk } from './package.mjs';
import { machine, serve, throughFetch } from './server.mjs';

const { Machine, Nullspace, TemplateWarmPool } = sdk;

const using = async (server, use) => {
  try {
    return await use(server);
  } finally {
    await server.close();
  }
};

test('two tenants side by side use their own key, server and headers', async () =>
  using(await serve(), async (one) =>
    using(await serve(), async (two) => {
      const first = new Nullspace({ baseUrl: one.url, apiKey: 'key-1', headers: { 'x-tenant': 'one' } });
      const second = new Nullspace({ baseUrl: `${two.url}/prefix/`, apiKey: 'key-2' });
      const [a, b] = await Promise.all([
        first.Machine.create(),
        second.Machine.list({ headers: { 'x-more': '1' } }).catch((error) => error),
      ]);
      assert.ok(a instanceof Machine && a instanceof first.Machine);
      assert.equal(one.requests[0].headers.authorization, 'Bearer key-1');
      assert.equal(one.requests[0].headers['x-tenant'], 'one');
      assert.equal(two.requests[0].headers.authorization, 'Bearer key-2');
      assert.equal(two.requests[0].headers['x-more'], '1');
      assert.equal(two.requests[0].path, '/prefix/v1/machines');
      assert.equal(b.code, 'not_found');
      // A handle keeps its client.
      await a.commands.run('ls');
      assert.equal(one.requests[1].headers['x-tenant'], 'one');
    }),
  ));

test("a call's options win over the client's, and undefined does not", async () =>
  using(await serve(), async ({ url, requests }) => {
    const client = new Nullspace({ baseUrl: url, apiKey: 'key-1', headers: { 'x-a': '1', 'x-b': '1' } });
    await client.Machine.list({ apiKey: 'key-2', baseUrl: undefined, headers: { 'x-b': '2' } });
    assert.equal(requests[0].headers.authorization, 'Bearer key-2');
    assert.equal(requests[0].headers['x-a'], '1');
    assert.equal(requests[0].headers['x-b'], '2');
  }));

test('many clients in turn keep apart, and what is remembered of one is never what a call or the environment says', async () =>
  using(await serve(), async ({ url, requests }) => {
    const clients = Array.from({ length: 12 }, (_, n) => new Nullspace({ baseUrl: url, apiKey: `key-${n}` }));
    for (let round = 0; round < 3; round++)
      await Promise.all(clients.map(({ Machine: { list } }, n) => list(n % 2 ? { limit: n } : undefined)));
    for (let n = 0; n < 12; n++) {
      const own = requests.filter(({ headers }) => headers.authorization === `Bearer key-${n}`);
      assert.deepEqual(
        [own.length, own.every(({ query }) => query.get('limit') === (n % 2 ? String(n) : null))],
        [3, true],
      );
    }
    requests.length = 0;
    const [client] = clients;
    await client.Machine.list({ apiKey: 'of-the-call' });
    await client.Machine.list();
    const reason = new Error('own');
    await assert.rejects(client.Machine.list({ signal: AbortSignal.abort(reason) }), (error) => error === reason);
    await assert.rejects(client.Machine.list({ limt: 5 }), /limit/);
    const fromEnvironment = new Nullspace({ baseUrl: url });
    for (const key of ['env-1', 'env-2']) {
      process.env.NULLSPACE_API_KEY = key;
      await fromEnvironment.Machine.list();
    }
    delete process.env.NULLSPACE_API_KEY;
    assert.deepEqual(
      requests.map(({ headers }) => headers.authorization),
      ['Bearer of-the-call', 'Bearer key-0', 'Bearer env-1', 'Bearer env-2'],
    );
    // A wrong option of the client is told by every call, not only by the first.
    const wrong = new Nullspace({ baseUrl: url, apiKey: 'k', retries: 5 });
    for (let i = 0; i < 2; i++) await assert.rejects(wrong.Machine.list(), /retries/);
  }));

test('Authorization cannot be replaced by a header', async () =>
  using(await serve(), async ({ options, requests }) => {
    await Machine.list({ ...options, headers: { Authorization: 'Bearer other' } }).catch((error) =>
      assert.match(error.message, /uthorization/),
    );
    for (const { headers } of requests) assert.equal(headers.authorization, 'Bearer test-key');
  }));

test('a key function is asked again after a 401, once', async () =>
  using(
    await serve((request, _response, respond) => {
      if (request.headers.authorization === 'Bearer key-2') return false;
      respond(401, { error: 'expired', code: 'unauthorized' });
      return true;
    }),
    async ({ url, requests }) => {
      let asked = 0;
      const apiKey = async () => `key-${++asked}`;
      const client = new Nullspace({ baseUrl: url, apiKey });
      const made = await client.Machine.create();
      assert.equal(made.id, 'mch_1');
      assert.equal(asked, 2);
      assert.deepEqual(
        requests.map(({ headers }) => headers.authorization),
        ['Bearer key-1', 'Bearer key-2'],
      );
      assert.equal(requests[0].headers['idempotency-key'], requests[1].headers['idempotency-key']);
      // The handle knows the good key.
      await made.getInfo();
      assert.equal(asked, 2);
      assert.equal(requests.length, 3);
    },
  ));

test('a key that stays wrong is an AuthError after the second try', async () =>
  using(
    await serve((_request, _response, respond) => {
      respond(401, { error: 'no', code: 'unauthorized' });
      return true;
    }),
    async ({ url, requests }) => {
      let asked = 0;
      await assert.rejects(Machine.list({ baseUrl: url, apiKey: () => `key-${++asked}` }), {
        name: 'AuthError',
        code: 'unauthorized',
        status: 401,
      });
      assert.equal(asked, 2);
      assert.equal(requests.length, 2);
      await assert.rejects(Machine.list({ baseUrl: url, apiKey: 'fixed' }), { name: 'AuthError' });
      assert.equal(requests.length, 3);
    },
  ));

test('hooks see each try, without secrets', async () =>
  using(
    await serve((_request, _response, respond) => {
      tries += 1;
      if (tries > 1) return false;
      respond(429, { error: 'slow', code: 'rate_limit_exceeded' }, { 'retry-after': '0.01' });
      return true;
    }),
    async ({ options, url }) => {
      tries = 0;
      const events = [];
      await Machine.create({
        ...options,
        headers: { 'x-plain': 'shown', 'x-api-secret': 'hidden-1' },
        onRequest: (event) => events.push(['request', event]),
        onResponse: (event) => events.push(['response', event]),
      });
      assert.deepEqual(
        events.map(([kind, { attempt }]) => [kind, attempt]),
        [
          ['request', 1],
          ['response', 1],
          ['request', 2],
          ['response', 2],
        ],
      );
      const [, request] = events[0];
      assert.equal(request.method, 'POST');
      assert.equal(request.url, `${url}/v1/machines`);
      assert.equal(typeof request.operation, 'string');
      assert.equal(request.headers['x-plain'], 'shown');
      assert.ok(!JSON.stringify(events).includes('test-key'), JSON.stringify(events));
      const [, first] = events[1];
      const [, last] = events[3];
      assert.equal(first.status, 429);
      assert.equal(last.status, 201);
      assert.equal(last.requestId, 'req_2');
      assert.ok(last.durationMs >= 0 && last.durationMs < 10_000);
      assert.equal(typeof structuredClone(last), 'object');
    },
  ));
let tries = 0;

test('a hook hears of a request that got no answer', async () => {
  const server = await serve();
  await server.close();
  const events = [];
  await Machine.list({ ...server.options, onResponse: (event) => events.push(event) }).catch(() => {});
  assert.equal(events.length, 1);
  assert.equal(events[0].status, undefined);
  assert.equal(typeof events[0].error, 'string');
});

test('a given fetch gets the text of the URL and plain options, and its answer is used', async () => {
  const calls = [];
  const fetch = async (url, init) => {
    calls.push([url, init]);
    return new Response(JSON.stringify(machine('mch_9')), { status: 201, headers: { 'x-request-id': 'req_1' } });
  };
  const made = await Machine.create({ baseUrl: 'http://nowhere.invalid', apiKey: 'k', fetch });
  assert.equal(made.id, 'mch_9');
  const [[url, init]] = calls;
  assert.equal(url, 'http://nowhere.invalid/v1/machines');
  assert.equal(init.method, 'POST');
  assert.equal(Object.entries(init.headers).find(([name]) => name.toLowerCase() === 'authorization')[1], 'Bearer k');
  assert.equal(JSON.parse(init.body).template, 'base');
  // The handle keeps it.
  await made.kill();
  assert.equal(calls[1][1].method, 'DELETE');
});

test('what a given fetch throws becomes the cause of a TransportError', async () => {
  for (const thrown of [new Error('no network'), 'text', undefined]) {
    const fetch = async () => {
      throw thrown;
    };
    await assert.rejects(Machine.list({ baseUrl: 'http://nowhere.invalid', apiKey: 'k', fetch }), (error) => {
      assert.ok(error instanceof sdk.TransportError, String(error));
      assert.equal(error.code, 'transport_error');
      assert.equal(error.cause, thrown);
      return true;
    });
  }
});

test('a fetch that answers with something else is transport_error', async () => {
  for (const answer of [undefined, null, {}, 'text', { status: 200 }, { status: 200, headers: {} }]) {
    await assert.rejects(Machine.list({ baseUrl: 'http://nowhere.invalid', apiKey: 'k', fetch: async () => answer }), {
      code: 'transport_error',
    });
  }
});

test('a global fetch that a test library has replaced is used', async () => {
  const original = globalThis.fetch;
  globalThis.fetch = async () => new Response('{"items":[],"has_next":false}');
  try {
    assert.deepEqual((await Machine.list({ baseUrl: 'http://nowhere.invalid', apiKey: 'k' })).items, []);
  } finally {
    globalThis.fetch = original;
  }
});

test('the fetch of the runtime sends what node:http would, and its answers are told alike', () =>
  throughFetch(async (watching) =>
    using(await serve(), async (server) => {
      const made = await Machine.create({ ...server.options, metadata: { text: 'ü' } });
      assert.equal(made.id, 'mch_1');
      const [request] = server.requests;
      assert.equal(request.method, 'POST');
      assert.equal(request.headers.authorization, 'Bearer test-key');
      assert.equal(request.headers['content-type'], 'application/json');
      assert.deepEqual(request.body.metadata, { text: 'ü' });
      await assert.rejects(Machine.list({ ...server.options, signal: AbortSignal.abort('a text') }), (thrown) => {
        assert.equal(thrown, 'a text');
        return true;
      });
      await server.close();
      await assert.rejects(Machine.list(server.options), { code: 'transport_error' });
      assert.ok(watching.requests >= 2, `${watching.requests} requests went through fetch`);
    }),
  ));

test('settings come from the environment and from .env, in that order', async () =>
  using(await serve(), async ({ url, requests }) => {
    process.env.NULLSPACE_API_URL = url;
    process.env.NULLSPACE_TOKEN = 'env-token';
    try {
      await Machine.list();
      assert.equal(requests[0].headers.authorization, 'Bearer env-token');
      process.env.NULLSPACE_API_KEY = ' env-key ';
      await Machine.list();
      assert.equal(requests[1].headers.authorization, 'Bearer env-key');
    } finally {
      delete process.env.NULLSPACE_API_URL;
      delete process.env.NULLSPACE_TOKEN;
      delete process.env.NULLSPACE_API_KEY;
    }
  }));

test('pools belong to their client as well', async () =>
  using(await serve(), async ({ url, requests }) => {
    const client = new Nullspace({ baseUrl: url, apiKey: 'pool-key' });
    const held = await client.TemplateWarmPool.create('base');
    assert.ok(held instanceof TemplateWarmPool);
    await held.getInfo();
    assert.equal(requests[1].headers.authorization, 'Bearer pool-key');
  }));

test('a hook may call the SDK, and what a getter of the caller throws ends its own call alone', async () =>
  using(await serve(), async (server) => {
    const inner = [];
    const other = new Nullspace(server.options);
    const { Machine } = new Nullspace({
      ...server.options,
      onRequest: () => inner.push(other.Machine.list()),
    });
    const held = await Machine.create();
    const [answers, asked] = [await Promise.all([held.getInfo(), Machine.list()]), inner.length];
    assert.equal(answers[0].id, held.id);
    assert.equal(asked, 3);
    assert.equal((await Promise.all(inner)).length, 3);

    const content = new Proxy(
      {},
      {
        get: () => {
          throw new RangeError('not that');
        },
      },
    );
    const waiting = held.getInfo();
    await assert.rejects(held.files.write('/a', content), RangeError);
    assert.equal((await waiting).id, held.id);
    assert.equal((await held.getInfo()).id, held.id);
  }));

test('content that goes on after the answer leaves no timer', async () =>
  using(await serve(), async (server) => {
    let more;
    const fetch = async (url, init) => {
      const reader = init.body?.getReader?.();
      if (!reader) return globalThis.fetch(url, init);
      await reader.read();
      more = () => reader.read();
      return new Response('{"error":{"code":"invalid_request","message":"no"}}', { status: 400 });
    };
    const held = await Machine.create({ ...server.options, fetch });
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const before = timers();
    const body = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(8)) });
    await assert.rejects(held.files.write('/a', body), { code: 'invalid_request' });
    assert.equal((await more()).done, false);
    assert.equal(timers(), before);
  }));
