// The recorded requests of the Python SDK, sent as they are: no client of ours is between.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { cleanUpOnSignals, endAll } from '../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../scripts/lib/engine.mjs';
import { engineBinary } from '../../scripts/lib/project.mjs';

const { exchanges } = JSON.parse(readFileSync(new URL('recordings/requests.json', import.meta.url), 'utf8'));

cleanUpOnSignals();
let engine;
before(async () => {
  engine = await startEngine({ binary: engineBinary });
});
after(async () => {
  const how = await engine?.stop();
  await endAll();
  assert.equal(how?.code, 0);
});

function send({ method, path, body, idempotencyKey }) {
  const content = body === undefined ? '' : JSON.stringify(body);
  const headers = {
    accept: '*/*',
    'accept-encoding': 'gzip, deflate',
    'user-agent': 'python-httpx/0.28.1',
    authorization: `Bearer ${engine.apiKey}`,
    ...(idempotencyKey ? { 'idempotency-key': idempotencyKey } : {}),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(method === 'GET' || method === 'DELETE' ? {} : { 'content-length': Buffer.byteLength(content) }),
  };
  return new Promise((resolve, reject) => {
    const request = http.request(new URL(path, engine.url), { method, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    request.on('error', reject).end(content);
  });
}

const saved = {};
/** Puts what was saved into every string of a value. */
const filled = (value) =>
  JSON.parse(JSON.stringify(value).replace(/\{(machine|pool|snapshot)\}/g, (_, name) => saved[name] ?? `no-${name}`));

for (const recorded of exchanges) {
  test(recorded.name, async () => {
    const { has = [], is = {}, lacks = [], ...exchange } = filled(recorded);
    const answer = await send(exchange);
    assert.equal(answer.status, exchange.status, answer.text);
    assert.ok(answer.headers['x-request-id']);
    const body = answer.text === '' ? {} : JSON.parse(answer.text);
    for (const key of has) assert.notEqual(body[key] ?? undefined, undefined, `${key} in ${answer.text}`);
    for (const [key, value] of Object.entries(is)) assert.deepEqual(body[key], value, key);
    for (const key of lacks) assert.ok(!Object.hasOwn(body, key), `${key} in ${answer.text}`);
    if (exchange.exactly) assert.deepEqual(body, exchange.exactly);
    for (const key of exchange.hasInFirst ?? []) assert.ok(Object.hasOwn(body[0], key), `${key} in ${answer.text}`);
    for (const [name, key] of Object.entries(recorded.save ?? {})) saved[name] = body[key];
  });
}
