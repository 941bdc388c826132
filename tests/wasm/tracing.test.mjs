// Spans for the caller's tracer, with the real OpenTelemetry; and NULLSPACE_DEBUG, whose lines are those of the Python SDK 1.0.3.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import test, { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { WebSocketServer } from 'ws';

import { pkg, sdk } from './package.mjs';
import { serve, throughFetch } from './server.mjs';

const { Nullspace } = sdk;
const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const tracer = provider.getTracer('test');
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
after(() => context.disable());

const traced = async (answer, use, options = {}) => {
  const server = await serve(answer);
  exporter.reset();
  try {
    await use(new Nullspace({ ...server.options, tracer, ...options }), server);
    return exporter.getFinishedSpans();
  } finally {
    await server.close();
  }
};
const shape = ({ name, kind, attributes, status, events }) => ({
  name,
  kind,
  attributes,
  status: status.code,
  events: events.map((event) => [event.name, event.attributes]),
});

/** By which way requests go: that of Node, a `fetch` of the caller, the global one. */
const WAYS = {
  'node:http': (run) => run({}),
  'a given fetch': (run) => run({ fetch: globalThis.fetch }),
  'the global fetch': (run) =>
    throughFetch(async (watching) => {
      await run({});
      assert.equal(watching.requests, 3);
    }),
};

const isASpan = async (options) => {
  let address;
  const spans = await traced(
    () => false,
    async ({ Machine }, { url, requests }) => {
      address = new URL(url);
      const machine = await Machine.create();
      await machine.commands.run('echo hi');
      await Machine.list({ query: { metadata: { token: 'secret' } } });
      const ids = exporter.getFinishedSpans().map((span) => span.spanContext());
      assert.deepEqual(
        requests.map(({ headers }) => headers.traceparent),
        ids.map(({ traceId, spanId }) => `00-${traceId}-${spanId}-01`),
      );
    },
    options,
  );
  const common = {
    'server.address': '127.0.0.1',
    'server.port': Number(address.port),
  };
  assert.deepEqual(spans.map(shape), [
    {
      name: 'POST /v1/machines',
      kind: SpanKind.CLIENT,
      attributes: {
        ...common,
        'http.request.method': 'POST',
        'url.full': `${address.origin}/v1/machines`,
        'url.template': '/v1/machines',
        'http.response.status_code': 201,
      },
      status: SpanStatusCode.UNSET,
      events: [['nullspace.try', { 'http.response.status_code': 201, 'nullspace.request_id': 'req_1' }]],
    },
    {
      name: 'POST /v1/machines/{id}/exec',
      kind: SpanKind.CLIENT,
      attributes: {
        ...common,
        'http.request.method': 'POST',
        'url.full': `${address.origin}/v1/machines/mch_1/exec`,
        'url.template': '/v1/machines/{id}/exec',
        'http.response.status_code': 200,
      },
      status: SpanStatusCode.UNSET,
      events: [['nullspace.try', { 'http.response.status_code': 200, 'nullspace.request_id': 'req_2' }]],
    },
    {
      name: 'GET /v1/machines',
      kind: SpanKind.CLIENT,
      attributes: {
        ...common,
        'http.request.method': 'GET',
        // Without the query, which may hold what is nobody's business.
        'url.full': `${address.origin}/v1/machines`,
        'url.template': '/v1/machines',
        'http.response.status_code': 200,
      },
      status: SpanStatusCode.UNSET,
      events: [['nullspace.try', { 'http.response.status_code': 200, 'nullspace.request_id': 'req_3' }]],
    },
  ]);
};
for (const [name, way] of Object.entries(WAYS))
  test(`a call is a span of kind client, named and described by the conventions, which the request carries on: ${name}`, () =>
    way(isASpan));

test('the tries of one call are events of its span', async () => {
  let count = 0;
  const spans = await traced(
    (_, _response, respond) => {
      count += 1;
      if (count < 3) respond(429, { code: 'rate_limit_exceeded', error: 'slower' }, { 'retry-after': '0' });
      return count < 3;
    },
    async ({ Machine }) => {
      await Machine.create();
    },
  );
  assert.equal(spans.length, 1);
  const { attributes, status, events } = shape(spans[0]);
  assert.deepEqual(
    events.map(([, { 'nullspace.request_id': _, ...rest }]) => rest),
    [
      { 'http.response.status_code': 429, 'error.type': '429' },
      { 'http.response.status_code': 429, 'error.type': '429', 'http.request.resend_count': 1 },
      { 'http.response.status_code': 201, 'http.request.resend_count': 2 },
    ],
  );
  assert.equal(attributes['http.request.resend_count'], 2);
  assert.equal(attributes['http.response.status_code'], 201);
  assert.equal(attributes['error.type'], undefined);
  assert.equal(status, SpanStatusCode.UNSET);
});

test('a call that fails, is refused or aborted ends its span with an error', async () => {
  const spans = await traced(
    ({ path }, response, respond) => {
      if (path.endsWith('mch_gone')) respond(404, { code: 'machine_not_found', error: 'no such machine' });
      else if (path.endsWith('mch_cut')) response.destroy();
      // mch_late is never answered.
      return path.startsWith('/v1/machines/');
    },
    async ({ Machine }) => {
      await assert.rejects(Machine.getInfoById('mch_gone'));
      await assert.rejects(Machine.killById('mch_cut'));
      const stop = new AbortController();
      const late = Machine.getInfoById('mch_late', { signal: stop.signal });
      setTimeout(() => stop.abort(new Error('enough')), 50);
      await assert.rejects(late, /enough/);
      await assert.rejects(Machine.getInfoById('mch_late', { requestTimeout: 0.05 }));
    },
  );
  assert.deepEqual(
    spans.map(({ attributes, status }) => [attributes['error.type'], status.code]),
    [
      ['404', SpanStatusCode.ERROR],
      ['ECONNRESET', SpanStatusCode.ERROR],
      ['aborted', SpanStatusCode.ERROR],
      ['timeout', SpanStatusCode.ERROR],
    ],
  );
  const refused = new Nullspace({ baseUrl: 'http://127.0.0.1:9', apiKey: 'k', tracer });
  exporter.reset();
  await assert.rejects(refused.Machine.list());
  assert.equal(exporter.getFinishedSpans()[0].attributes['error.type'], 'ECONNREFUSED');
});

test('a span is a child of what was active where its own call was made, however many run at once', async () => {
  const parents = Array.from({ length: 8 }, (_, n) => tracer.startSpan(`parent ${n}`));
  const spans = await traced(
    () => false,
    async ({ Machine }) => {
      await Promise.all(
        parents.map((parent, n) =>
          context.with(trace.setSpan(context.active(), parent), async () => {
            // Two requests: the second is sent when the answer of the first has come.
            await Machine.connect(`mch_${n}`, { timeout: 60 }).catch(() => {});
            await Machine.getInfoById(`mch_${n}`);
          }),
        ),
      );
    },
  );
  assert.equal(spans.length, 24);
  for (const span of spans) {
    const n = Number(span.attributes['url.full'].match(/mch_(\d)/)[1]);
    assert.equal(span.parentSpanContext.spanId, parents[n].spanContext().spanId, span.name);
    assert.equal(span.spanContext().traceId, parents[n].spanContext().traceId);
  }
});

test('a WebSocket is a span until it is open, and carries it on', async () => {
  let seen;
  const spans = await traced(
    () => false,
    async ({ Machine }, { http }) => {
      const sockets = new WebSocketServer({ server: http });
      sockets.on('connection', (socket, request) => {
        seen = request.headers.traceparent;
        socket.on('message', (text) => {
          const { id, type } = JSON.parse(text);
          if (type !== 'exec_start') return;
          socket.send(JSON.stringify({ type: 'exec_started', id, pid: 7 }));
          socket.send(JSON.stringify({ type: 'exec_exit', id, pid: 7, exit_code: 0 }));
        });
      });
      const machine = await Machine.connect('mch_1');
      for await (const _ of machine.commands.stream('true'));
      sockets.close();
    },
  );
  const { name, attributes } = spans.at(-1);
  assert.equal(name, 'GET /v1/machines/{id}/ws');
  assert.equal(attributes['http.response.status_code'], 101);
  const { traceId, spanId } = spans.at(-1).spanContext();
  assert.equal(seen, `00-${traceId}-${spanId}-01`);
});

test("a caller's own traceparent stays, a caller's fetch gets it too, and a tracer that fails breaks no call", async () => {
  const headers = { traceparent: '00-11111111111111111111111111111111-2222222222222222-01' };
  await traced(
    () => false,
    async ({ Machine }, { requests }) => {
      await Machine.list();
      assert.equal(requests[0].headers.traceparent, headers.traceparent);
    },
    { headers },
  );
  const spans = await traced(
    () => false,
    async ({ Machine }, { requests }) => {
      await Machine.list();
      assert.match(requests[0].headers.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    },
    { fetch: (url, init) => fetch(url, init) },
  );
  assert.equal(spans.length, 1);
  const broken = {
    startSpan() {
      throw new Error('broken');
    },
  };
  await traced(
    () => false,
    async ({ Machine }, { requests }) => {
      assert.equal((await Machine.list()).items.length, 2);
      assert.equal(requests[0].headers.traceparent, undefined);
    },
    { tracer: broken },
  );
  assert.throws(() => new Nullspace({ tracer: {} }), /`tracer` must be a tracer of OpenTelemetry/);
});

test('without a tracer nothing is added', async () => {
  const spans = await traced(
    () => false,
    async ({ Machine }, { requests }) => {
      await Machine.list();
      assert.deepEqual(
        Object.keys(requests[0].headers).filter((name) => name.startsWith('trace')),
        [],
      );
    },
    { tracer: undefined },
  );
  assert.deepEqual(spans, []);
});

const debugged = (value, url) =>
  new Promise((resolve) => {
    const program = `
      const { Machine, Nullspace } = await import(${JSON.stringify(new URL('node.mjs', pkg).href)});
      const client = new Nullspace({ baseUrl: ${JSON.stringify(url)}, apiKey: 'nsk_secret' });
      await client.Machine.getInfoById('mch_1');
      await client.Machine.getInfoById('mch_gone').catch(() => {});
      await client.Machine.list({ nextToken: 'page', query: { metadata: { a: 'b' } } });`;
    const env = { PATH: process.env.PATH, ...(value === undefined ? {} : { NULLSPACE_DEBUG: value }) };
    execFile(
      process.execPath,
      ['--input-type=module', '-e', program],
      { env, cwd: fileURLToPath(pkg) },
      (error, stdout, stderr) => resolve({ error, stdout, stderr }),
    );
  });

test('NULLSPACE_DEBUG writes a line for each request and each answer, and no secret', async () => {
  const server = await serve(({ path }, _, respond) => {
    if (path.endsWith('gone')) respond(404, { code: 'machine_not_found', error: 'no' });
    return path.endsWith('gone');
  });
  try {
    const { error, stdout, stderr } = await debugged('1', server.url);
    assert.equal(error, null);
    assert.equal(stdout, '');
    const lines = stderr.trim().split('\n');
    const steady = lines.map((line) => line.replace(/\(\d+\.\d ms\)/, '(N ms)').replaceAll(server.url, 'URL'));
    assert.deepEqual(steady, [
      'DEBUG:nullspace:request: GET URL/v1/machines/mch_1',
      'DEBUG:nullspace:response: GET URL/v1/machines/mch_1 -> 200 (N ms) request_id=req_1',
      'DEBUG:nullspace:request: GET URL/v1/machines/mch_gone',
      'DEBUG:nullspace:response: GET URL/v1/machines/mch_gone -> 404 (N ms) request_id=req_2',
      'DEBUG:nullspace:request: GET URL/v1/machines?metadata=%7B%22a%22%3A%22b%22%7D&next_token=page',
      'DEBUG:nullspace:response: GET URL/v1/machines?metadata=%7B%22a%22%3A%22b%22%7D&next_token=page -> 200 (N ms) request_id=req_3',
    ]);
    for (const value of [undefined, '0', 'off', ''])
      assert.equal((await debugged(value, server.url)).stderr, '', `${value}`);
    assert.notEqual((await debugged(' YES ', server.url)).stderr, '');
  } finally {
    await server.close();
  }
});

test('the lines hide what a query or an address may give away', async () => {
  const { debug } = await import(new URL('lib/debug.js', pkg));
  const lines = [];
  const original = console.error;
  console.error = (line) => lines.push(line);
  try {
    debug(
      'GET',
      'https://user:pw@host/a?token=x&next_token=y&X-Amz-Signature=z&apikey=&b=%20&%=1#f',
      () => 0,
    )({ status: 200 });
  } finally {
    console.error = original;
  }
  assert.deepEqual(lines, [
    'DEBUG:nullspace:request: GET https://host/a?token=[redacted]&next_token=y&X-Amz-Signature=[redacted]&apikey=[redacted]&b=%20&%=1#f',
    'DEBUG:nullspace:response: GET https://host/a?token=[redacted]&next_token=y&X-Amz-Signature=[redacted]&apikey=[redacted]&b=%20&%=1#f -> 200 (0.0 ms) request_id=-',
  ]);
});
