// The canned server of the call benchmarks: answers at once, so that what is measured is the client. Prints its URL.
// It speaks the machine calls and, with the same number of rows, the get and list calls of the peers.

import { createServer } from 'node:http';

const DATE = '2026-01-02T03:04:05.678Z';

/** Five dates a row, like a real one. */
const machine = (n) => ({
  id: `mch_${n.toString(36).padStart(16, '0')}`,
  status: 'running',
  config: { vcpus: 2, memory_mb: 512 },
  template: 'base',
  metadata: { project: 'docs', user: `user-${n}` },
  created_at: DATE,
  started_at: DATE,
  timeout_ms: 300000,
  timeout_at: DATE,
  expires_at: DATE,
  remaining_ms: 299000,
  timeout_action: 'destroy',
  last_active_at: DATE,
  ephemeral: false,
  cwd: '/workspace',
});

const e2bSandbox = (n) => ({
  sandboxID: `sbx${n}`,
  templateID: 'base',
  alias: 'base',
  clientID: 'c',
  envdVersion: '0.2.0',
  startedAt: DATE,
  endAt: DATE,
  state: 'running',
  cpuCount: 2,
  memoryMB: 512,
  diskSizeMB: 1024,
  metadata: { project: 'docs', user: `user-${n}` },
});

const openaiModel = (n) => ({ id: `model-${n}`, object: 'model', created: 1767323045, owned_by: 'system' });

const runloopDevbox = (n) => ({
  id: `dbx_${n}`,
  status: 'running',
  capabilities: [],
  create_time_ms: 1767323045678,
  end_time_ms: null,
  launch_parameters: { resource_size_request: 'SMALL' },
  metadata: { project: 'docs', user: `user-${n}` },
  state_transitions: [{ status: 'running', transition_time_ms: 1767323045678 }],
});

const rows = (make, count) => Array.from({ length: count }, (_, n) => make(n));
const cache = new Map();
const page = (kind, count, make) => {
  const key = `${kind} ${count}`;
  if (!cache.has(key)) cache.set(key, Buffer.from(JSON.stringify(make(count))));
  return cache.get(key);
};

const one = {
  get: Buffer.from(JSON.stringify(machine(1))),
  kill: Buffer.from(JSON.stringify({ id: machine(1).id, status: 'destroyed' })),
  e2b: Buffer.from(JSON.stringify({ ...e2bSandbox(1), envdAccessToken: 't' })),
  openai: Buffer.from(JSON.stringify(openaiModel(1))),
  runloop: Buffer.from(JSON.stringify(runloopDevbox(1))),
};

const answer = (method, url) => {
  const { pathname, searchParams } = new URL(url, 'http://bench');
  const count = Number(searchParams.get('limit') ?? 100);
  if (pathname === '/v1/machines') {
    if (method === 'POST') return [201, one.get];
    return [200, page('machines', count, (n) => ({ items: rows(machine, n), has_next: false }))];
  }
  if (pathname.startsWith('/v1/machines/')) return [200, method === 'DELETE' ? one.kill : one.get];
  if (pathname === '/v2/sandboxes') return [200, page('e2b', count, (n) => rows(e2bSandbox, n))];
  if (pathname.startsWith('/sandboxes/')) return [200, one.e2b];
  if (pathname === '/v1/models')
    return [200, page('openai', 100, (n) => ({ object: 'list', data: rows(openaiModel, n) }))];
  if (pathname.startsWith('/v1/models/')) return [200, one.openai];
  if (pathname === '/v1/devboxes')
    return [
      200,
      page('runloop', count, (n) => ({
        devboxes: rows(runloopDevbox, n),
        has_more: false,
        total_count: n,
        remaining_count: 0,
      })),
    ];
  if (pathname.startsWith('/v1/devboxes/')) return [200, one.runloop];
  return [404, Buffer.from('{"error":"no such path","code":"not_found"}')];
};

const server = createServer((request, response) => {
  request.resume();
  request.once('end', () => {
    const [status, body] = answer(request.method, request.url);
    response.writeHead(status, ['content-type', 'application/json', 'content-length', String(body.length)]);
    response.end(body);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
process.once('SIGTERM', () => process.exit(0));
// The parent's end closes this pipe.
process.stdin.resume().once('end', () => process.exit(0));
