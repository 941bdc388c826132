// Names and secrets of network policies: what is sent, and what becomes of a server that does not know them.

import assert from 'node:assert/strict';
import test from 'node:test';

import { sdk } from './package.mjs';
import { machine, serve } from './server.mjs';

const { Machine, NullspaceError, NetworkEgressPolicy } = sdk;
const POLICY = NetworkEgressPolicy.custom({
  allowDomains: ['*.npmjs.org', 'db.internal:5432'],
  denyDomains: ['x.npmjs.org'],
});
const ON_THE_WIRE = {
  mode: 'domains',
  allow_domains: ['*.npmjs.org', 'db.internal:5432'],
  deny_domains: ['x.npmjs.org'],
};
const WEAKER = { mode: 'custom' };

/** A server that answers creates and changes of a policy with `told` of it. */
const server = (told) =>
  serve(({ method, path, body }, _response, respond) => {
    if (method === 'POST' && path === '/v1/machines') respond(201, machine('mch_1', told(body.network.egress)));
    else if (path.endsWith('/egress')) respond(200, { machine_id: 'mch_1', ...told(body.egress).network });
    else return false;
    return true;
  });
const knows = (egress) => ({ network: { egress } });

const using = async (started, use) => {
  const running = await started;
  try {
    return await use(running);
  } finally {
    await running.close();
  }
};
const said = ({ requests }) =>
  requests.map(({ method, path, body }) => [method, path, body?.egress ?? body?.network?.egress]);

test('names travel under a mode of their own, and come back as they were given', async () =>
  using(server(knows), async (running) => {
    const made = await Machine.create({ ...running.options, network: { egress: POLICY } });
    assert.deepEqual(await made.updateEgress(POLICY), POLICY);
    assert.deepEqual(await made.updateEgress({ mode: 'custom', allowDomains: [] }), { mode: 'custom' });
    assert.deepEqual(said(running), [
      ['POST', '/v1/machines', ON_THE_WIRE],
      ['PATCH', '/v1/machines/mch_1/egress', ON_THE_WIRE],
      ['PATCH', '/v1/machines/mch_1/egress', WEAKER],
    ]);
  }));

test('getInfo tells them', async () =>
  using(
    serve(({ method }, _response, respond) => {
      if (method === 'GET') respond(200, machine('mch_1', knows(ON_THE_WIRE)));
      return method === 'GET';
    }),
    async ({ options }) => assert.deepEqual((await Machine.getInfoById('mch_1', options)).network, { egress: POLICY }),
  ));

const closed = (what) => (error) => {
  assert.ok(error instanceof NullspaceError);
  assert.equal(error.code, 'feature_unavailable');
  assert.match(error.message, /allowDomains/);
  assert.ok(error.message.includes(what), error.message);
  return true;
};

for (const [name, told] of [
  ['tells another policy', () => knows(WEAKER)],
  ['tells none', () => ({})],
]) {
  test(`a machine of a server that takes the policy and ${name} is destroyed`, async () =>
    using(server(told), async (running) => {
      const { options } = running;
      const create = (more) => Machine.create({ ...options, network: { egress: POLICY }, ...more });
      await assert.rejects(create(), closed('destroyed'));
      await assert.rejects(create({ idempotencyKey: 'mine' }), closed('destroyed'));
      await assert.rejects(Machine.runOnce('true', { ...options, network: { egress: POLICY } }), closed('destroyed'));
      assert.deepEqual(
        said(running).map(([method]) => method),
        ['POST', 'DELETE', 'POST', 'DELETE', 'POST', 'DELETE'],
      );
    }));
}

test('one whose policy such a server replaced is closed', async () =>
  using(
    server(() => knows(WEAKER)),
    async (running) => {
      const made = await Machine.create({ ...running.options, network: { egress: { mode: 'deny_all' } } });
      await assert.rejects(made.updateEgress(POLICY), closed("'deny_all' now"));
      assert.deepEqual(said(running).at(-1), ['PATCH', '/v1/machines/mch_1/egress', { mode: 'deny_all' }]);
    },
  ));

test('a server that refuses the mode is left as it is', async () =>
  using(
    serve(({ path }, _response, respond) => {
      if (!path.endsWith('/egress')) return false;
      respond(400, { error: { code: 'invalid_request', message: 'unknown mode domains' } });
      return true;
    }),
    async (running) => {
      const made = await Machine.create(running.options);
      await assert.rejects(made.updateEgress(POLICY), /unknown mode domains/);
      assert.equal(running.requests.length, 2);
    },
  ));

const SECRETS = {
  API_KEY: {
    value: 'sk-distinct',
    hosts: ['api.example'],
    header: 'x-api-key',
    format: 'k {}',
    path: '/v1',
    baseUrlEnv: 'API',
  },
};
const TOLD = {
  name: 'API_KEY',
  hosts: ['api.example'],
  header: 'x-api-key',
  base_url: 'http://127.0.0.1:15001/API_KEY/api.example/v1',
  base_url_env: 'API',
};

test('secrets are sent under their wire names, from an option or the environment', async (t) => {
  process.env.NULLSPACE_TEST_SECRET = 'from outside';
  t.after(() => delete process.env.NULLSPACE_TEST_SECRET);
  const takes = () => ({ network: { egress: { mode: 'allow_all' }, secrets: [TOLD] } });
  await using(server(takes), async ({ requests, options }) => {
    await Machine.create({ ...options, network: { secrets: SECRETS } });
    const { baseUrlEnv, ...rest } = SECRETS.API_KEY;
    assert.deepEqual(requests[0].body.network.secrets, { API_KEY: { ...rest, base_url_env: baseUrlEnv } });
    const ofEnvironment = { A: { env: 'NULLSPACE_TEST_SECRET', hosts: ['a.example'] } };
    await Machine.create({ ...options, network: { secrets: ofEnvironment } });
    assert.deepEqual(requests[1].body.network.secrets, { A: { value: 'from outside', hosts: ['a.example'] } });
  });
});

test('a machine without the secrets that it was made with is destroyed', async () =>
  using(
    server(() => ({})),
    async (running) => {
      await assert.rejects(Machine.create({ ...running.options, network: { secrets: SECRETS } }), (error) => {
        assert.equal(error.code, 'feature_unavailable');
        assert.match(error.message, /network\.secrets.*destroyed/);
        return !error.message.includes('sk-distinct');
      });
      assert.deepEqual(
        running.requests.map(({ method }) => method),
        ['POST', 'DELETE'],
      );
    },
  ));
