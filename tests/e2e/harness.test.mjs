// Machines for AI SDK harnesses, each member against the engine. With the real HarnessAgent they are in
// tests/packaging/consumers/agent-frameworks, which needs a newer Node.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { NotFoundError, Nullspace } from 'nullspace';
import { nullspaceSandbox } from 'nullspace/ai-sdk';

import { engineForTests, SMALL } from './support/engine.mjs';

const engine = await engineForTests();
after(() => engine.stopWell());
const client = new Nullspace(engine.client);
const { Machine, Snapshot } = client;
const OPTIONS = { vcpus: SMALL.vcpus, memoryMb: 128, ports: [8080, 9090] };
const make = (more) => nullspaceSandbox(client, { ...OPTIONS, ...more });
const machines = async () => (await Machine.list({ fields: ['id'] })).map(({ id }) => id);
const statusOf = async (id) => (await Machine.getInfoById(id)).status;
const only = async () => {
  const [id, ...others] = await machines();
  assert.deepEqual(others, []);
  return id;
};

test('a session is found again by its id, from wherever it is asked for', async () => {
  const provider = make();
  assert.deepEqual([provider.specificationVersion, provider.providerId], ['harness-sandbox-v1', 'nullspace']);
  // No name can hold this id.
  const sessionId = 'thread 7: é';
  await assert.rejects(provider.resumeSession({ sessionId }), /no machine of session/);
  const [first, same] = await Promise.all([provider.createSession({ sessionId }), make().createSession({ sessionId })]);
  const id = await only();
  assert.deepEqual([first.id, same.id], [sessionId, sessionId]);
  assert.equal(first.defaultWorkingDirectory, '/workspace');
  await first.writeTextFile({ path: 'kept.txt', content: 'kept' });
  assert.equal(await same.readTextFile({ path: 'kept.txt' }), 'kept');
  assert.equal((await same.run({ command: 'pwd' })).stdout, '/workspace\n');

  await first.stop();
  await first.stop();
  assert.equal(await statusOf(id), 'paused');
  const resumed = await make().resumeSession({ sessionId });
  assert.equal(await statusOf(id), 'running');
  assert.equal(await resumed.readTextFile({ path: 'kept.txt' }), 'kept');
  assert.ok((await Machine.getInfoById(id)).remainingMs > 1_790_000, 'a resume begins the lease anew');

  const restricted = resumed.restricted();
  assert.deepEqual(
    ['stop', 'destroy', 'setNetworkPolicy', 'getPortEndpoint'].filter((key) => key in restricted),
    [],
  );
  assert.equal(await restricted.readTextFile({ path: 'kept.txt' }), 'kept');
  await resumed.stop();
  await resumed.destroy();
  await resumed.destroy();
  await resumed.stop();
  assert.deepEqual(await machines(), []);
  await assert.rejects(provider.resumeSession({ sessionId }), /no machine of session/);
});

test('what an identity needs is done once, for all who ask at once and all who come later', async () => {
  let count = 0;
  const onFirstCreate = async (session) => {
    count += 1;
    await session.writeTextFile({ path: 'tool', content: `made ${count}` });
  };
  const identity = 'tools v1';
  const sessions = await Promise.all(
    Array.from({ length: 4 }, (_, n) => make().createSession({ sessionId: `${n}`, identity, onFirstCreate })),
  );
  for (const session of sessions) assert.equal(await session.readTextFile({ path: 'tool' }), 'made 1');
  assert.equal((await machines()).length, 4, 'the one that was prepared is gone');
  assert.equal((await Snapshot.list()).length, 1);
  await Promise.all(sessions.map((session) => session.destroy()));
  // Nor does it happen again without a session id, or without the hook.
  for (const options of [{ identity, onFirstCreate }, { identity }]) {
    const session = await make().createSession(options);
    assert.equal(await session.readTextFile({ path: 'tool' }), 'made 1');
    await session.destroy();
  }
  assert.equal(count, 1);
  const other = await make().createSession({ identity: 'tools v2', onFirstCreate });
  assert.equal(await other.readTextFile({ path: 'tool' }), 'made 2');
  await other.destroy();
  for (const { id } of await Snapshot.list()) await Snapshot.delete(id);
});

test('a preparation that fails is thrown, and leaves neither machine nor snapshot', async () => {
  const onFirstCreate = () => {
    throw new Error('no registry');
  };
  for (const options of [{ identity: 'x' }, { sessionId: 's' }, {}])
    await assert.rejects(make().createSession({ ...options, onFirstCreate }), /no registry/);
  assert.deepEqual(await machines(), []);
  assert.deepEqual(await Snapshot.list(), []);
  const aborted = AbortSignal.abort(new Error('not now'));
  await assert.rejects(make().createSession({ sessionId: 's', abortSignal: aborted }), /not now/);
  assert.deepEqual(await machines(), []);
});

test('where snapshots can have no name, each machine is prepared by itself', async () => {
  const deaf = new Nullspace({
    ...engine.client,
    fetch: (url, init) => fetch(url, { ...init, body: `${url}`.endsWith('/snapshots') ? undefined : init.body }),
  });
  const provider = nullspaceSandbox(deaf, OPTIONS);
  const onFirstCreate = (session) => session.writeTextFile({ path: 'tool', content: 'here' });
  const session = await provider.createSession({ sessionId: 'deaf', identity: 'i', onFirstCreate });
  assert.equal(await session.readTextFile({ path: 'tool' }), 'here');
  await session.destroy();
  assert.deepEqual([await machines(), await Snapshot.list()], [[], []]);
});

test('ports have endpoints, those that are exposed alone', async () => {
  const session = await make({ network: { allowPublicTraffic: false } }).createSession();
  assert.deepEqual(session.ports, [8080, 9090]);
  const { url, headers } = await session.getPortEndpoint({ port: 8080 });
  assert.match(url, /^http:\/\/(127\.0\.0\.1|8080-mch_\w+\.localhost):\d+$/);
  assert.match(headers['x-nullspace-traffic-access-token'], /^tat_/);
  assert.match(await session.getPortUrl({ port: 9090, protocol: 'ws' }), /^ws:\/\//);
  // Nothing listens there; the headers open the way to it.
  assert.deepEqual([(await fetch(url)).status, (await fetch(url, { headers })).status], [401, 502]);
  await assert.rejects(session.getPortEndpoint({ port: 22 }), /port 22 is not exposed/);
  await session.setPorts([3000]);
  assert.deepEqual(session.ports, [3000]);
  await assert.rejects(session.getPortUrl({ port: 8080 }), /setPorts/);
  assert.match(await session.getPortUrl({ port: 3000 }), /^http/);
  await session.stop();
  assert.deepEqual(await machines(), [], 'nobody could find it again');
});

test('a network policy replaces the one before, and is never weaker than what was asked for', async () => {
  const session = await make().createSession({ sessionId: 'net' });
  const egress = async () => (await Machine.getInfoById(await only())).network.egress;
  await session.setNetworkPolicy({ mode: 'deny-all' });
  assert.equal((await egress()).mode, 'deny_all');
  await session.setNetworkPolicy({ mode: 'allow-all' });
  assert.equal((await egress()).mode, 'allow_all');
  await session.setNetworkPolicy({ mode: 'custom', allowedCIDRs: ['203.0.113.0/24'], deniedCIDRs: ['203.0.113.9/32'] });
  const { mode, allowCidrs, denyCidrs } = await egress();
  assert.deepEqual([mode, allowCidrs, denyCidrs], ['custom', ['203.0.113.0/24'], ['203.0.113.9/32']]);
  await assert.rejects(session.setNetworkPolicy({ mode: 'open' }), /not known/);
  // Here the longest range would decide: a denied one wins in a harness, and what allows nothing is shut.
  const denies = async (allowedCIDRs, deniedCIDRs) => {
    await session.setNetworkPolicy({ mode: 'custom', allowedCIDRs, deniedCIDRs });
    const { mode: now, allowCidrs: allowed } = await egress();
    return now === 'deny_all' ? [] : allowed;
  };
  for (const [allowed, denied, left] of [
    [['10.1.2.3/32', '203.0.113.0/24'], ['10.0.0.0/8'], ['203.0.113.0/24']],
    [['10.1.2.3'], ['10.1.2.3/32'], []],
    [['10.1.2.0/24'], ['10.1.2.0/25'], ['10.1.2.0/24']],
    [['10.1.2.3/32', '10.2.0.0/16'], ['10.1.0.0/16', '10.2.1.0/24'], ['10.2.0.0/16']],
    [[], ['10.0.0.0/8'], []],
    [['0.0.0.0/0'], ['0.0.0.0/0'], []],
  ])
    assert.deepEqual(await denies(allowed, denied), left, `${allowed} but ${denied}`);
  await assert.rejects(session.setNetworkPolicy({ mode: 'custom', allowedCIDRs: ['nonsense'] }));
  const hosts = ['api.example.com', '*.npmjs.org'];
  await session.setNetworkPolicy({ mode: 'custom', allowedHosts: hosts, deniedCIDRs: ['203.0.113.9/32'] });
  const named = await egress();
  assert.deepEqual([named.mode, named.allowDomains, named.denyCidrs], ['custom', hosts, ['203.0.113.9/32']]);
  // A host that no machine can be held to changes nothing.
  await assert.rejects(session.setNetworkPolicy({ mode: 'custom', allowedHosts: ['http://x'] }));
  assert.deepEqual(await egress(), named);
  await session.destroy();
  await assert.rejects(session.setNetworkPolicy({ mode: 'deny-all' }), NotFoundError);
});
