// Proxies from the environment (Node).

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import test from 'node:test';

import { sdk } from './package.mjs';
import { serve } from './server.mjs';

const { Machine } = sdk;

const proxy = async () => {
  const seen = [];
  const server = http.createServer((request, response) => {
    seen.push([request.method, request.url, request.headers['proxy-authorization']]);
    const target = new URL(request.url);
    const onward = http.request(target, { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.writeHead(502).end());
    request.pipe(onward);
  });
  server.on('connect', (request, socket) => {
    seen.push(['CONNECT', request.url, request.headers['proxy-authorization']]);
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    seen,
    address: `127.0.0.1:${server.address().port}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
};

const withEnv = async (settings, use) => {
  Object.assign(process.env, settings);
  try {
    return await use();
  } finally {
    for (const name of Object.keys(settings)) delete process.env[name];
  }
};

test('plain requests go through http_proxy, with its credentials', async () => {
  const api = await serve();
  const way = await proxy();
  try {
    await withEnv({ http_proxy: `http://user:p%40ss@${way.address}` }, () => Machine.list(api.options));
    assert.deepEqual(way.seen, [
      ['GET', `${api.url}/v1/machines`, `Basic ${Buffer.from('user:p@ss').toString('base64')}`],
    ]);
    assert.equal(api.requests[0].headers.authorization, 'Bearer test-key');
    assert.equal(api.requests[0].path, '/v1/machines');
  } finally {
    await api.close();
    way.close();
  }
});

test('no_proxy exempts hosts, domains, ports and everything', async () => {
  const api = await serve();
  const way = await proxy();
  const port = new URL(api.url).port;
  try {
    for (const exempt of ['127.0.0.1', '*', `127.0.0.1:${port}`, 'example.com, 127.0.0.1']) {
      await withEnv({ HTTP_PROXY: `http://${way.address}`, NO_PROXY: exempt }, () => Machine.list(api.options));
      assert.deepEqual(way.seen, [], exempt);
    }
    await withEnv({ HTTP_PROXY: `http://${way.address}`, NO_PROXY: '127.0.0.1:1, .example.com' }, () =>
      Machine.list(api.options),
    );
    assert.equal(way.seen.length, 1);
  } finally {
    await api.close();
    way.close();
  }
});

test('https goes through CONNECT, and a refusal is a TransportError without the credentials', async () => {
  const way = await proxy();
  try {
    await withEnv({ https_proxy: `http://user:secret-word@${way.address}` }, () =>
      assert.rejects(Machine.list({ baseUrl: 'https://api.example.com', apiKey: 'k' }), (error) => {
        assert.ok(error instanceof sdk.TransportError, String(error));
        assert.match(error.message, /proxy refused the connection with status 403/);
        assert.ok(!error.message.includes('secret-word'));
        return true;
      }),
    );
    assert.deepEqual(way.seen, [
      ['CONNECT', 'api.example.com:443', `Basic ${Buffer.from('user:secret-word').toString('base64')}`],
    ]);
  } finally {
    way.close();
  }
});

test('a proxy that nobody runs is a TransportError', async () => {
  const closed = net.createServer();
  await new Promise((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const { port } = closed.address();
  await new Promise((resolve) => closed.close(resolve));
  await withEnv({ https_proxy: `http://127.0.0.1:${port}` }, () =>
    assert.rejects(Machine.list({ baseUrl: 'https://api.example.com', apiKey: 'k' }), { code: 'transport_error' }),
  );
});
