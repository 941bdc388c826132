// Who may talk to the engine, and what it tells its log.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { AuthError, Machine, TransportError } from 'nullspace';

import { engineForTests, SMALL, sh } from './support/engine.mjs';

/** @type {Awaited<ReturnType<typeof engineForTests>>} */
let engine;
before(async () => {
  engine = await engineForTests({ args: ['--allow-origin', 'http://localhost:5173'] });
});
after(() => engine?.stopWell());

/** A request with any header: fetch does not let one set Host and Origin. */
const raw = (headers, { method = 'GET', path = '/v1/machines' } = {}) =>
  new Promise((resolve, reject) => {
    http
      .request(new URL(path, engine.url), { method, headers, agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text) => {
          body += text;
        });
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
      })
      .on('error', reject)
      .end();
  });

const bearer = () => ({ authorization: `Bearer ${engine.apiKey}` });

test('without the key, or with a wrong one, nothing is answered', async () => {
  for (const headers of [
    {},
    { authorization: 'Bearer wrong' },
    { authorization: `Basic ${engine.apiKey}` },
    { authorization: 'Bearer ' },
  ]) {
    const { status, body, headers: answered } = await raw(headers);
    assert.equal(status, 401);
    assert.equal(JSON.parse(body).code, 'unauthorized');
    assert.ok(answered['x-request-id']);
  }
  assert.equal((await raw({}, { method: 'POST' })).status, 401);
  await assert.rejects(
    Machine.list({ baseUrl: engine.url, apiKey: 'wrong' }),
    (error) => error instanceof AuthError && error.requestId !== undefined,
  );
});

test('an apiKey function is asked again after a 401', async () => {
  const keys = ['expired', engine.apiKey];
  const page = await Machine.list({ baseUrl: engine.url, apiKey: () => keys.shift() });
  assert.deepEqual(page.items, []);
  assert.deepEqual(keys, []);
});

test('a foreign Host is refused: a web site could have pointed its name here', async () => {
  const { port } = new URL(engine.url);
  assert.equal((await raw({ ...bearer(), host: `127.0.0.1:${port}` })).status, 200);
  assert.equal((await raw({ ...bearer(), host: `localhost:${port}` })).status, 200);
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    'localhost.evil.example',
    `127.0.0.1.evil.example:${port}`,
  ]) {
    const { status } = await raw({ ...bearer(), host });
    assert.ok(status === 403 || status === 421, `${host} was answered with ${status}`);
  }
});

test('a foreign Origin is refused, one that was allowed is not', async () => {
  const foreign = await raw({ ...bearer(), origin: 'https://evil.example' });
  assert.equal(foreign.status, 403);
  assert.equal(foreign.headers['access-control-allow-origin'], undefined);
  const allowed = await raw({ ...bearer(), origin: 'http://localhost:5173' });
  assert.equal(allowed.status, 200);
  assert.equal(allowed.headers['access-control-allow-origin'], 'http://localhost:5173');
  const asked = await raw(
    {
      origin: 'http://localhost:5173',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type,idempotency-key',
    },
    { method: 'OPTIONS' },
  );
  assert.ok(asked.status === 200 || asked.status === 204, String(asked.status));
  assert.match(asked.headers['access-control-allow-headers'].toLowerCase(), /authorization/);
});

test('what is not there is 404, what is not built is 501, both with the envelope', async () => {
  const missing = await raw(bearer(), { path: '/v1/no-such-thing' });
  assert.equal(missing.status, 404);
  assert.ok(JSON.parse(missing.body).code);
  const wrong = await engine.request('POST', '/v1/machines', { body: 'text' });
  assert.equal(wrong.status, 400);
  assert.equal((await wrong.json()).code, 'invalid_request');
});

test('an engine that is not there is a TransportError', async () => {
  await assert.rejects(Machine.list({ baseUrl: 'http://127.0.0.1:9', apiKey: 'x' }), TransportError);
});

test('the log has the requests, and no secret', async () => {
  const machine = await engine.Machine.create({
    ...SMALL,
    envs: { TOKEN: 'env-secret-1234' },
    metadata: { note: 'metadata-secret-1234' },
    network: { allowPublicTraffic: false },
  });
  await sh(machine, 'echo command-secret-1234');
  await machine.kill();
  const log = engine.log();
  assert.ok(log.includes(machine.id) || /machines/.test(log), `the log says nothing:\n${log}`);
  for (const secret of [engine.apiKey, 'env-secret-1234', 'command-secret-1234', machine.trafficAccessToken]) {
    assert.ok(!log.includes(secret), `the log holds ${secret}`);
  }
});
