// A tiny server for tests: canned answers in the API's shape, or whatever a test puts in their place.

import http from 'node:http';

/** `mch_...` with everything that must be there. */
export const machine = (id = 'mch_1', more = {}) => ({
  id,
  status: 'running',
  config: { vcpus: 2, memory_mb: 512 },
  template: 'base',
  created_at: '2026-01-02T03:04:05Z',
  metadata: {},
  ...more,
});

/** A warm pool with everything that must be there. */
export const pool = (id = 'twp_1', more = {}) => ({
  id,
  name: 'base',
  template_ref: 'base',
  resolved_template: 'nullspace/base:latest',
  resources: { vcpus: 2, memory_mb: 512 },
  min_ready: 1,
  max_ready: 1,
  idle_timeout_seconds: 600,
  stale_after_seconds: 900,
  checkout_policy: 'prefer',
  version_policy: 'pinned_build',
  rollout_generation: 1,
  rollout_status: {},
  status: { target: 1, ready: 1, warming: 0, claimed: 0, draining: 0, failed: 0, expired: 0, unavailable: 0 },
  state: 'enabled',
  labels: {},
  metadata: {},
  created_at: '2026-01-02T03:04:05Z',
  updated_at: '2026-01-02T03:04:05Z',
  ...more,
});

/** A template with everything that must be there. */
export const template = (more = {}) => ({
  id: 'tmpl_1',
  name: 'app',
  description: '',
  builtin: false,
  canonical_ref: 'team/app:stable',
  visibility: 'private',
  ...more,
});

/** A build with everything that must be there. */
export const build = (more = {}) => ({
  build_id: 'tb_1',
  template_id: 'tmpl_1',
  name: 'app',
  tags: ['stable'],
  status: 'building',
  build_backend: 'native',
  source_type: 'declarative',
  created_at: '2026-01-02T03:04:05Z',
  updated_at: '2026-01-02T03:04:05Z',
  ...more,
});

/** What a healthy server answers: `[status, body]`. */
const usual = ({ method, path, body }) => {
  const id = path.split('/')[3];
  if (method === 'POST' && path === '/v1/machines')
    return [201, machine('mch_1', { metadata: body?.metadata ?? {}, cwd: body?.cwd ?? '/workspace' })];
  if (method === 'GET' && path === '/v1/machines')
    return [200, { items: [machine('mch_1'), machine('mch_2')], has_next: false }];
  if (/^\/v1\/machines\/[^/]+$/.test(path))
    return method === 'DELETE' ? [200, { id, status: 'destroyed' }] : [200, machine(id)];
  if (/^\/v1\/machines\/[^/]+\/exec$/.test(path))
    return [200, { exit_code: 0, stdout: `${body.command.replace(/^echo /, '')}\n`, stderr: '', pid: 7 }];
  if (/^\/v1\/machines\/[^/]+\/metrics$/.test(path)) {
    return [
      200,
      [
        {
          timestamp: '2026-01-02T03:04:05Z',
          cpu_percent: 1.5,
          cpu_count: 2,
          mem_used_bytes: 1,
          mem_total_bytes: 2,
          disk_used_bytes: 3,
          disk_total_bytes: 4,
          network_rx_bytes: 5,
          network_tx_bytes: 6,
        },
      ],
    ];
  }
  if (method === 'GET' && path === '/v1/template-warm-pools') return [200, { items: [pool()] }];
  if (path.startsWith('/v1/template-warm-pools')) return [method === 'POST' && id === undefined ? 201 : 200, pool(id)];
  return [404, { error: 'no such thing', code: 'not_found' }];
};

/**
 * Starts a server on a free port. `answer(request, response, respond)` may answer a request by itself (return true), or
 * leave it to the usual answers. `requests` holds all that came, bodies parsed.
 */
export const serve = async (answer = () => false, { cors = false } = {}) => {
  const requests = [];
  const server = http.createServer((request, response) => {
    if (cors) {
      response.setHeader('access-control-allow-origin', '*');
      response.setHeader('access-control-allow-headers', '*, authorization');
      response.setHeader('access-control-allow-methods', '*');
      if (request.method === 'OPTIONS') return void response.writeHead(204).end();
    }
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const { pathname, searchParams } = new URL(request.url, 'http://stub');
      const seen = {
        method: request.method,
        url: request.url,
        path: pathname,
        query: searchParams,
        headers: request.headers,
        text,
        body: text && request.headers['content-type'] === 'application/json' ? JSON.parse(text) : undefined,
      };
      requests.push(seen);
      const respond = (status, body, headers = {}) => {
        response.writeHead(status, {
          'content-type': 'application/json',
          'x-request-id': `req_${requests.length}`,
          ...headers,
        });
        response.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
      };
      if (!answer(seen, response, respond)) respond(...usual(seen));
    });
  });
  // Longer than any test: a socket that a client holds on to is then seen.
  server.keepAliveTimeout = 120_000;
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    http: server,
    options: { baseUrl: `http://127.0.0.1:${server.address().port}`, apiKey: 'test-key' },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
    [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
      return this.close();
    },
  };
};

/** Node's `fetch` in the place of node:http, as with a proxy that was set for the whole process. */
export const throughFetch = async (run) => {
  await fetch('data:,').then((response) => response.text());
  const place = Symbol.for('undici.globalDispatcher.1');
  const agent = globalThis[place];
  class Watching {
    requests = 0;
    dispatch(...args) {
      this.requests += 1;
      return agent.dispatch(...args);
    }
  }
  const watching = new Watching();
  globalThis[place] = watching;
  try {
    await run(watching);
  } finally {
    globalThis[place] = agent;
  }
};
