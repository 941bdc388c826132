// Webhooks from the package: made, changed, delivered to a receiver that checks signatures, over a killed engine.

import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { after, test } from 'node:test';

import { AuthError, InvalidRequestError, NotFoundError, Nullspace, verifyWebhookSignature } from 'nullspace';

import { endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { engineForTests, SMALL, until } from './support/engine.mjs';

const SECRET = 'whsec-of-the-test';
const directory = temporaryDirectory('webhooks');
const state = path.join(directory, 'state');
let engine = await engineForTests({ state });

/** Requests as they came; `answers` are taken in turn, then 200. `null` never answers. */
const inbox = [];
const answers = [];
const receiver = http.createServer(async (request, response) => {
  let payload = '';
  for await (const chunk of request.setEncoding('utf8')) payload += chunk;
  inbox.push({ headers: request.headers, payload });
  const status = answers.length > 0 ? answers.shift() : 200;
  if (status !== null) response.writeHead(status).end('taken');
});
await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${receiver.address().port}/hook`;

after(async () => {
  assert.ok(!engine.log().includes(SECRET), 'the log holds a signing secret');
  await engine.stopWell();
  receiver.closeAllConnections();
  receiver.close();
  removeDirectory(directory);
  await endAll();
});

const sdk = () => new Nullspace(engine.client);

test('webhooks are made, listed, changed and deleted; the secret is never answered', async () => {
  const { Lifecycle } = sdk();
  const made = await Lifecycle.createWebhook({ url, operations: ['create', 'destroy'], signingSecret: SECRET });
  assert.deepEqual(
    [made.url, made.operations, made.enabled, made.hasSigningSecret],
    [url, ['create', 'destroy'], true, true],
  );
  assert.ok(made.createdAt instanceof Date);
  assert.deepEqual(await Lifecycle.getWebhook(made.id), made);
  assert.ok(!JSON.stringify(await Lifecycle.listWebhooks()).includes(SECRET));
  const changed = await Lifecycle.updateWebhook(made.id, { enabled: false, operations: ['fork'] });
  assert.deepEqual([changed.enabled, changed.operations, changed.url], [false, ['fork'], url]);
  assert.equal(await Lifecycle.deleteWebhook(made.id), undefined);
  await assert.rejects(Lifecycle.getWebhook(made.id), NotFoundError);
  await assert.rejects(Lifecycle.listWebhookDeliveries(made.id), NotFoundError);
  await assert.rejects(Lifecycle.createWebhook({ url, operations: [], signingSecret: SECRET }), InvalidRequestError);
  await assert.rejects(Lifecycle.createWebhook({ url, operations: ['create'] }), /signingSecret/);
  await assert.rejects(Lifecycle.updateWebhook(made.id, {}), /must change something/);
});

test('deliveries are signed, retried, and shown with their attempts', async () => {
  const { Lifecycle, Machine } = sdk();
  const webhook = await Lifecycle.createWebhook({ url, operations: ['create'], signingSecret: SECRET });
  inbox.length = 0;
  answers.push(503);
  const machine = await Machine.create(SMALL);
  const [delivery] = await until('the delivery is made', async () => {
    const all = await Lifecycle.listWebhookDeliveries(webhook.id);
    return all[0]?.deliveryStatus === 'succeeded' && all;
  });
  assert.equal(delivery.attemptCount, 2);
  const detail = await Lifecycle.getWebhookDelivery(webhook.id, delivery.id);
  assert.deepEqual(
    detail.attempts.map(({ attemptNumber, responseStatus, errorCode }) => [attemptNumber, responseStatus, errorCode]),
    [
      [1, 503, 'http_status'],
      [2, 200, undefined],
    ],
  );
  assert.equal(inbox.length, 2);

  const { headers, payload } = inbox[1];
  const event = await verifyWebhookSignature({ payload, headers, secret: SECRET });
  assert.deepEqual(event, detail.event);
  assert.equal(event.machineId, machine.id);
  assert.ok(event.occurredAt instanceof Date);
  // Bytes, and headers as fetch handlers have them.
  const bytes = new TextEncoder().encode(payload);
  const asFetch = new Headers(Object.entries(headers));
  assert.deepEqual(await verifyWebhookSignature({ payload: bytes, headers: asFetch, secret: SECRET }), event);
  const refused = (options) =>
    assert.rejects(verifyWebhookSignature({ payload, headers, secret: SECRET, ...options }), (error) => {
      assert.ok(error instanceof AuthError);
      assert.equal(error.code, 'invalid_signature');
      return true;
    });
  await refused({ payload: payload.replace('create', 'delete') });
  await refused({ secret: 'another' });
  await refused({ headers: {} });
  const signature = headers['x-nullspace-signature'];
  const changed = signature.replace(/v1=(.)/, (_, digit) => (digit === '0' ? 'v1=1' : 'v1=0'));
  await refused({ headers: { ...headers, 'x-nullspace-signature': changed } });
  await refused({ headers: { ...headers, 'x-nullspace-signature': 'v1=, t=1' } });
  await refused({ headers: { ...headers, 'x-nullspace-signature-version': 'v2' } });
  // The right signature of another moment.
  const { now } = Date;
  Date.now = () => now() + 301_000;
  try {
    await refused({});
    await verifyWebhookSignature({ payload, headers, secret: SECRET, toleranceSecs: 600 });
  } finally {
    Date.now = now;
  }
  await assert.rejects(verifyWebhookSignature({ payload: JSON.parse(payload), headers, secret: SECRET }), /as it came/);
  await assert.rejects(verifyWebhookSignature({ payload, headers, secret: '' }), InvalidRequestError);
  await assert.rejects(verifyWebhookSignature({ payload, headers, secret: SECRET, tolerance: 1 }), /toleranceSecs/);
  await Lifecycle.deleteWebhook(webhook.id);
  await machine.kill();
});

test('a delivery that is under way when the engine is killed is made by the next one', async () => {
  const { Lifecycle, Machine } = sdk();
  const webhook = await Lifecycle.createWebhook({ url, operations: ['create'], signingSecret: SECRET });
  inbox.length = 0;
  answers.push(null);
  const machines = [await Machine.create(SMALL), await Machine.create(SMALL)].map(({ id }) => id);
  await until('the first is under way', () => inbox.length === 1);
  engine.signal('SIGKILL');
  await engine.ended;
  engine = await engineForTests({ state, apiKey: engine.apiKey });
  const again = sdk().Lifecycle;
  const all = await until('both are delivered', async () => {
    const deliveries = await again.listWebhookDeliveries(webhook.id);
    return deliveries.every(({ deliveryStatus }) => deliveryStatus === 'succeeded') && deliveries;
  });
  assert.equal(all.length, 2);
  const events = await Promise.all(
    inbox.map(({ headers, payload }) => verifyWebhookSignature({ headers, payload, secret: SECRET })),
  );
  assert.deepEqual(
    events.map(({ machineId }) => machineId),
    [machines[0], machines[0], machines[1]],
  );
  const { attempts } = await again.getWebhookDelivery(webhook.id, all[1].id);
  assert.deepEqual(
    attempts.map(({ errorCode }) => errorCode),
    ['interrupted', undefined],
  );
  await again.updateWebhook(webhook.id, { enabled: false });
});
