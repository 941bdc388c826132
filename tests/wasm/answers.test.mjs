// Whatever a server answers, a call ends: with what was asked for, or with an error that says what was wrong.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test from 'node:test';
import { Worker } from 'node:worker_threads';

import { sdk } from './package.mjs';
import { machine, serve } from './server.mjs';

const { Machine } = sdk;
const LIMIT_MS = 60_000;

const within = (promise) => {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(reject, LIMIT_MS, new Error('the call hangs'))));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

const good = machine();
const text = JSON.stringify(good);
/** Name, and how a body is written; each must reject with `invalid_response`. */
const bodies = [
  ['no JSON', '<html>not found</html>'],
  ['nothing', ''],
  ['JSON cut short', text.slice(0, -20)],
  ['JSON and more', `${text}{}`],
  ['an array', '[]'],
  ['null', 'null'],
  ['a number', '42'],
  ['a string', '"mch_1"'],
  ['an empty object', '{}'],
  ['an id that is a number', JSON.stringify({ ...good, id: 7 })],
  ['an id that is null', JSON.stringify({ ...good, id: null })],
  ['no config', JSON.stringify({ ...good, config: undefined })],
  ['a config that is an array', JSON.stringify({ ...good, config: [] })],
  ['a size with a fraction', JSON.stringify({ ...good, config: { vcpus: 1.5, memory_mb: 512 } })],
  ['a size that is a string', JSON.stringify({ ...good, config: { vcpus: 2, memory_mb: '512' } })],
  ['a date that is none', JSON.stringify({ ...good, created_at: 'now' })],
  ['metadata that is a string', JSON.stringify({ ...good, metadata: 'x' })],
  ['bytes that are no UTF-8', Buffer.from([0xff, 0xfe, 0x7b, 0x7d])],
  ['10 MB of junk', 'x'.repeat(10_000_000)],
  ['10 MB of opening brackets', '['.repeat(10_000_000)],
];

for (const transport of ['node:http', 'fetch']) {
  const more = transport === 'fetch' ? { fetch: globalThis.fetch } : {};

  for (const [name, body] of bodies) {
    test(`${transport}: ${name} in place of a machine is invalid_response`, async () => {
      const server = await serve((_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'x-request-id': 'req_9' });
        response.end(body);
        return true;
      });
      try {
        await assert.rejects(within(Machine.getInfoById('mch_1', { ...server.options, ...more })), (error) => {
          assert.ok(error instanceof sdk.InvalidResponseError, String(error));
          assert.equal(error.code, 'invalid_response');
          assert.ok(error.message.length < 1000);
          return true;
        });
        assert.equal(server.requests.length, 1);
      } finally {
        await server.close();
      }
    });
  }

  /** Name, what is written on the socket. Each must reject with `transport_error`. */
  const sockets = [
    ['closes at once', (socket) => socket.destroy()],
    ['closes after the status line', (socket) => socket.end('HTTP/1.1 200 OK\r\n')],
    [
      'closes in the middle of the body',
      (socket) => socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\n\r\n${text.slice(0, 10)}`),
    ],
    [
      'closes in the middle of a chunk',
      (socket) => socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{"id"'),
    ],
    ['speaks no HTTP', (socket) => socket.end('hello there\r\n\r\n')],
    [
      'resets in the middle of the body',
      (socket) => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\n\r\n${text.slice(0, 10)}`);
        setTimeout(() => socket.resetAndDestroy(), 20);
      },
    ],
  ];
  for (const [name, answer] of sockets) {
    test(`${transport}: a server that ${name} is transport_error`, async () => {
      const server = net.createServer((socket) => {
        socket.on('error', () => {});
        socket.once('data', () => answer(socket));
      });
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
      try {
        const baseUrl = `http://127.0.0.1:${server.address().port}`;
        await assert.rejects(within(Machine.getInfoById('mch_1', { baseUrl, apiKey: 'k', ...more })), (error) => {
          assert.ok(error instanceof sdk.TransportError, String(error));
          assert.equal(error.code, 'transport_error');
          return true;
        });
      } finally {
        server.close();
      }
    });
  }

  test(`${transport}: a server that answers nothing is transport_error after requestTimeout`, async () => {
    const server = await serve(() => true);
    try {
      const started = Date.now();
      await assert.rejects(within(Machine.getInfoById('mch_1', { ...server.options, requestTimeout: 0.2, ...more })), {
        name: 'TransportError',
        code: 'transport_error',
      });
      assert.ok(Date.now() - started < 20_000);
    } finally {
      await server.close();
    }
  });

  test(`${transport}: a server that never ends its answer is transport_error after requestTimeout`, async () => {
    const server = await serve((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"id":');
      return true;
    });
    try {
      await assert.rejects(within(Machine.getInfoById('mch_1', { ...server.options, requestTimeout: 0.2, ...more })), {
        code: 'transport_error',
      });
    } finally {
      await server.close();
    }
  });

  test(`${transport}: nobody listens is transport_error, and is not repeated`, async () => {
    const server = await serve();
    await server.close();
    const started = Date.now();
    await assert.rejects(within(Machine.create({ ...server.options, ...more })), {
      name: 'TransportError',
      code: 'transport_error',
    });
    assert.ok(Date.now() - started < 20_000);
    // What went wrong below is there for programs: fetch wraps it once more.
    await assert.rejects(Machine.getInfoById('mch_1', { ...server.options, ...more }), ({ cause }) => {
      assert.equal((cause.cause ?? cause).code, 'ECONNREFUSED');
      return true;
    });
  });

  test(`${transport}: an error envelope becomes its class, with all it says`, async () => {
    const server = await serve((_request, _response, respond) => {
      respond(404, {
        error: 'no machine mch_1',
        code: 'machine_not_found',
        request_id: 'req_body',
        retryable: false,
        suggested_action: 'List machines.',
        details: { machineId: 'mch_1', snake_case: 1 },
      });
      return true;
    });
    try {
      await assert.rejects(Machine.getInfoById('mch_1', { ...server.options, ...more }), (error) => {
        assert.ok(error instanceof sdk.NotFoundError && error instanceof sdk.NullspaceError && error instanceof Error);
        assert.equal(error.name, 'NotFoundError');
        assert.equal(error.message, 'no machine mch_1');
        assert.equal(error.code, 'machine_not_found');
        assert.equal(error.status, 404);
        assert.equal(error.requestId, 'req_body');
        assert.equal(error.retryable, false);
        assert.equal(error.suggestedAction, 'List machines.');
        assert.deepEqual(error.details, { machineId: 'mch_1', snake_case: 1 });
        return true;
      });
    } finally {
      await server.close();
    }
  });

  for (const [name, body] of [
    ['no JSON', 'Bad gateway'],
    ['an array', '[1]'],
    ['null', 'null'],
    ['10 MB of junk', 'x'.repeat(10_000_000)],
    ['nothing', ''],
  ]) {
    test(`${transport}: an error answer that holds ${name} is still an error of that status`, async () => {
      const server = await serve((_request, _response, respond) => {
        respond(502, body);
        return true;
      });
      try {
        await assert.rejects(within(Machine.getInfoById('mch_1', { ...server.options, ...more })), (error) => {
          assert.ok(error instanceof sdk.NullspaceError, String(error));
          assert.equal(error.status, 502);
          assert.equal(error.requestId, 'req_1');
          assert.ok(error.message.length < 5000);
          return true;
        });
      } finally {
        await server.close();
      }
    });
  }

  test(`${transport}: 429 is tried again as told, three times at most`, async () => {
    const server = await serve((_request, _response, respond) => {
      respond(429, { error: 'slow down', code: 'rate_limit_exceeded' }, { 'retry-after': '0.05' });
      return true;
    });
    try {
      await assert.rejects(Machine.getInfoById('mch_1', { ...server.options, ...more }), {
        name: 'RateLimitError',
        retryAfter: 0.05,
        status: 429,
      });
      assert.equal(server.requests.length, 4);
    } finally {
      await server.close();
    }
  });

  test(`${transport}: a create whose answer was lost is asked again with the same key`, async () => {
    const server = await serve((_request, response) => {
      if (server.requests.length > 2) return false;
      response.destroy();
      return true;
    });
    try {
      const made = await Machine.create({ ...server.options, ...more });
      assert.equal(made.id, 'mch_1');
      assert.equal(server.requests.length, 3);
      assert.equal(new Set(server.requests.map(({ headers }) => headers['idempotency-key'])).size, 1);
      assert.equal(new Set(server.requests.map((request) => request.text)).size, 1);
    } finally {
      await server.close();
    }
  });
}

test('a kept connection that the server has closed is replaced without an error', async () => {
  const server = await serve((_request, response) => {
    // The answer ends, and the socket right after it, without a word in the headers.
    const { socket } = response;
    response.once('finish', () => setTimeout(() => socket.destroy(), 5));
    return false;
  });
  try {
    for (let call = 0; call < 20; call++) {
      await Machine.getInfoById('mch_1', server.options);
      await new Promise((resolve) => setTimeout(resolve, call % 10));
    }
  } finally {
    await server.close();
  }
});

test('what is sent once is not sent into a connection that was closed while the process was busy', async (t) => {
  // In a thread of its own, since this one stands still.
  const worker = new Worker(
    `const http = require('node:http');
    const { parentPort } = require('node:worker_threads');
    const server = http.createServer((request, response) => request.resume().on('end', () => response.writeHead(204).end()));
    // Without a word of it in the headers, as most servers do it.
    server.on('connection', (socket) => socket.setTimeout(200, () => socket.destroy()));
    server.keepAliveTimeout = 0;
    server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));`,
    { eval: true },
  );
  t.after(() => worker.terminate());
  const [port] = await once(worker, 'message');
  const options = { apiKey: 'k', baseUrl: `http://127.0.0.1:${port}` };
  for (let call = 0; call < 3; call++) {
    await Machine.killById('mch_1', options);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1200);
  }
});

test('redirects are not followed', async () => {
  const server = await serve((request, _response, respond) => {
    respond(302, '', { location: '/v1/machines/mch_2' });
    return request.path !== '/elsewhere';
  });
  try {
    await assert.rejects(Machine.getInfoById('mch_1', server.options), { name: 'NullspaceError' });
    assert.equal(server.requests.length, 1);
  } finally {
    await server.close();
  }
});
