// The manifests of deploy/kubernetes, applied to a Kubernetes with three nodes as its README says, and used through the Service by the
// packed package: `npm run test:kubernetes`.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import http from 'node:http';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Nullspace } from 'nullspace';

import { cleanUpOnSignals, endAll } from '../../scripts/lib/cleanup.mjs';
import { kubernetes } from '../../scripts/lib/kubernetes.mjs';
import { startPostgres } from '../../scripts/lib/postgres.mjs';
import { count } from '../e2e/support/counting.mjs';
import { NODES, nodeName, startKubernetes, SWITCH, until } from './support/cluster.mjs';

if (process.getuid?.() !== 0 || !process.env.NULLSPACE_TEST_NETNS)
  throw new Error('this needs root and a network of its own: `npm run test:kubernetes`');
cleanUpOnSignals();

/** Of the example's overlay: what Kubernetes looks for before it asks a registry. */
const IMAGE = 'registry.example.com/nullspace-engine:1';
/** Of the Service: the overlay of the test fixes it, so that gateways can be told that it is theirs. */
const SERVICE = '10.96.0.30';
/** Seconds of the cut. Gateways call a node unreachable after 10, Kubernetes after 16, and it is lost to gateways after 60. */
const CUT = 30;
/** Each gateway reads keys and nodes once a second. */
const GATEWAYS_LOOK_MS = 3000;
const MACHINE = { template: 'base', timeout: 1200 };
const IN_NAMESPACE = '--namespace=nullspace';

let cluster;
let sdk;
let database;
const begun = performance.now();
const say = (text) => console.log(`# ${Math.round((performance.now() - begun) / 1000)} s: ${text}`);

const sh = async (machine, text) => (await machine.commands.run(text, { shell: true })).stdout.trim();
const tagOf = ({ id }) => id.split('_')[1].slice(0, 4);
const pods = async (component) =>
  (await cluster.get('pods', IN_NAMESPACE, `--selector=app.kubernetes.io/component=${component}`)).items;
const isReady = ({ status }) => status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
/** What the gateways know of the nodes. */
const list = async (gateway = 'deploy/gateway') =>
  JSON.parse(await cluster.kubectl('exec', IN_NAMESPACE, gateway, '--', 'nullspace-engine', 'node', 'list', '--json'));
const readyInCluster = async () => (await list()).filter(({ state }) => state === 'ready').length;
/** A machine on the node with this tag: placement is by chance. */
const machineOn = (tag) =>
  until(`a machine is on the node ${tag}`, async () => {
    const made = await sdk.Machine.create(MACHINE);
    if (tagOf(made) === tag) return made;
    await made.kill();
    return false;
  });

const startDatabase = () => startPostgres(path.join(cluster.directory, 'postgres'), { listen: SWITCH });

before(async () => {
  cluster = await startKubernetes();
  say('three nodes are ready');
  const engine = path.join(cluster.directory, 'nullspace-engine');
  execFileSync('strip', ['-o', engine, process.env.NULLSPACE_TEST_ENGINE]);
  await cluster.image(engine, IMAGE);
  say('each has the image');
  database = await startDatabase();
  await cluster.names({ 'gateway.nullspace.svc': SERVICE });
});
after(endAll);

/** The example as a user copies it, with what this network has in place of names, and what Kubernetes 1.20 calls otherwise. */
function manifests() {
  const directory = path.join(cluster.directory, 'overlay');
  mkdirSync(directory);
  const add = (argument) => ({ op: 'add', path: '/spec/template/spec/containers/0/args/-', value: argument });
  const overlay = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    namespace: 'nullspace',
    resources: [path.relative(directory, path.join(kubernetes.manifests, 'example'))],
    secretGenerator: [
      {
        name: 'nullspace',
        behavior: 'replace',
        literals: [`database-url=${database.url}`, 'join-token=a-join-token-for-this-test'],
      },
    ],
    patches: [
      {
        target: { kind: 'Deployment', name: 'gateway' },
        patch: JSON.stringify([add(`--allow-host=${SERVICE}`), add(`--protect=${SWITCH}`)]),
      },
      {
        target: { kind: 'Service', name: 'gateway' },
        patch: JSON.stringify([{ op: 'add', path: '/spec/clusterIP', value: SERVICE }]),
      },
      {
        target: { kind: 'PodDisruptionBudget' },
        patch: JSON.stringify([{ op: 'replace', path: '/apiVersion', value: 'policy/v1beta1' }]),
      },
    ],
  };
  writeFileSync(path.join(directory, 'kustomization.yaml'), JSON.stringify(overlay));
  const file = path.join(cluster.directory, 'manifests.yaml');
  writeFileSync(file, execFileSync(kubernetes.kustomize, ['kustomize', directory]));
  return file;
}

test('the manifests are accepted, and all their pods get ready', async () => {
  await cluster.kubectl('label', 'node', '--all', 'nullspace/node=true');
  await cluster.kubectl('apply', '--filename', manifests());
  await until('three pods of nodes are ready', async () => (await pods('node')).filter(isReady).length === 3, 180);
  await until('two gateways are ready', async () => (await pods('gateway')).filter(isReady).length === 2, 180);
  await until('the gateways have three nodes', async () => (await readyInCluster()) === 3, 120);
  say('the pods are ready');
  for (const pod of [...(await pods('node')), ...(await pods('gateway'))])
    assert.equal(pod.status.containerStatuses[0].restartCount, 0, `${pod.metadata.name} was started more than once`);
  const names = (await list()).map(({ name }) => name).sort();
  assert.deepEqual(names, NODES.map(nodeName));
});

test('a key of the first gateway creates machines on every node, with commands, files and streams', async () => {
  const keys = ['nullspace-engine', 'gateway', 'keys', 'add', 'first'];
  const said = await cluster.kubectl('exec', IN_NAMESPACE, 'deploy/gateway', '--', ...keys);
  sdk = new Nullspace({ baseUrl: `http://${SERVICE}:3000`, apiKey: said.match(/nsk_\S+/)[0] });
  await sleep(GATEWAYS_LOOK_MS);
  for (const { tag } of await list()) {
    const machine = await machineOn(tag);
    assert.equal(await sh(machine, 'node -p 6*7; python3 -c "print(6 * 7)"'), '42\n42');
    await machine.files.write('/workspace/a', 'text');
    assert.equal(await machine.files.read('/workspace/a'), 'text');
    let streamed = '';
    await machine.commands.run('for i in 1 2 3; do echo $i; done', {
      shell: true,
      onStdout: (text) => (streamed += text),
    });
    assert.equal(streamed, '1\n2\n3\n');
    await machine.kill();
  }
  say('machines work on every node');
});

test('limits of memory and processors are held in a pod, and a disk of its own is refused', async () => {
  const machine = await sdk.Machine.create({ ...MACHINE, memoryMb: 256, vcpus: 1 });
  assert.match(
    (await machine.getInfo()).warnings.join(),
    /^this machine has no disk limit of its own[^,]*, and can fill[^,]*$/,
  );
  const hog = await machine.commands.run('python3 -c "x = bytearray(600 << 20)"', { shell: true });
  assert.equal(hog.exitCode, 137);
  await machine.kill();
  await assert.rejects(sdk.Machine.create({ ...MACHINE, diskMb: 1024 }), ({ message }) => /disk/i.test(message));
});

test('no machine reaches the API server, a kubelet, a pod, the Service or the database', async () => {
  const machine = await sdk.Machine.create({ ...MACHINE, network: { egress: { mode: 'allow_all' } } });
  const parts = [
    [SWITCH, 6443],
    ['10.213.0.1', 10250],
    ['10.96.0.1', 443],
    [SERVICE, 3000],
    ...[...(await pods('node')), ...(await pods('gateway'))].map(({ status }) => [status.podIP, 3000]),
  ];
  const asked = parts.map(([host, port]) => {
    const url = `${port === 3000 ? 'http' : 'https'}://${host}:${port}/healthz`;
    return `curl -sk -m 5 -o /dev/null -w '%{http_code}' ${url}`;
  });
  // PostgreSQL says in one letter whether it speaks TLS.
  const question = String.raw`printf "\0\0\0\010\004\322\026\057" >&3; head -c 1 <&3`;
  asked.push(`timeout 5 bash -c 'exec 3<>/dev/tcp/${SWITCH}/5432; ${question}' 2> /dev/null || true`);
  for (const ask of asked) {
    const inPod = await cluster.kubectl('exec', IN_NAMESPACE, 'deploy/gateway', '--', 'sh', '-c', ask);
    assert.match(inPod, /^([1-5]\d\d|N)$/, `a pod has no answer to: ${ask}`);
    assert.match(await sh(machine, ask), /^(000)?$/, `a machine has an answer to: ${ask}`);
  }
  await machine.kill();
});

test(`machines outlive a cut of ${CUT} s between their node and the cluster`, async () => {
  const withGateway = (await pods('gateway')).map(({ spec }) => spec.nodeName);
  const nodes = await list();
  const cut = nodes.find(({ name }) => !withGateway.includes(name));
  assert.ok(cut, 'the gateways are on different nodes');
  const safe = nodes.find(({ name }) => name !== cut.name);
  const number = NODES.find((one) => nodeName(one) === cut.name);
  const containers = async () =>
    (await pods('node')).map(({ metadata, status }) => [metadata.name, status.containerStatuses[0].containerID]).sort();
  const before = await containers();

  const machine = await machineOn(cut.tag);
  await sh(machine, 'sleep 1000 > /dev/null 2>&1 & echo $! > /tmp/pid');
  const watched = await machineOn(safe.tag);
  const counted = await count(watched, 0.05);

  cluster.cable(number, 'down');
  const pulled = performance.now();
  const refused = await until('a call is refused', () =>
    machine.commands.run('true').then(
      () => false,
      (error) => error,
    ),
  );
  assert.equal(refused.code, 'node_unreachable');
  await until('Kubernetes calls the node not ready', async () => (await cluster.readyNodes()) === NODES.length - 1);
  assert.equal(await sh(await sdk.Machine.create(MACHINE), 'echo elsewhere'), 'elsewhere');
  await sleep(CUT * 1000 - (performance.now() - pulled));
  cluster.cable(number, 'up');
  say(`the cable was out for ${Math.round((performance.now() - pulled) / 1000)} s`);

  const works = () => sh(machine, 'kill -0 $(cat /tmp/pid) && echo alive').catch(() => '');
  await until('the machine answers again', async () => (await works()) === 'alive');
  await until('Kubernetes has three nodes', async () => (await cluster.readyNodes()) === NODES.length);
  await until('three pods of nodes are ready', async () => (await pods('node')).filter(isReady).length === 3);
  assert.deepEqual(await containers(), before, 'a pod was replaced or started again');

  await counted.check(CUT * 5);
  await machine.kill();
});

test('clients and nodes get around a gateway whose computer is cut off, once Kubernetes knows', async () => {
  const [gone] = await pods('gateway');
  const number = NODES.find((one) => nodeName(one) === gone.spec.nodeName);
  const others = (await list()).filter(({ name }) => name !== gone.spec.nodeName).map(({ tag }) => tag);
  cluster.cable(number, 'down');
  try {
    await until('Kubernetes calls the node not ready', async () => (await cluster.readyNodes()) === NODES.length - 1);
    await sleep(GATEWAYS_LOOK_MS);
    for (let count = 0; count < 20; count++) {
      // A connection of its own, as each new client has it.
      const answer = await askFreshly();
      assert.equal(answer, 200, `connection ${count}`);
    }
    await until('the other nodes are ready', async () => {
      const answering = (await pods('gateway')).find((pod) => isReady(pod));
      const known = await list(`pod/${answering.metadata.name}`);
      return known.filter(({ tag, state }) => others.includes(tag) && state === 'ready').length === others.length;
    });
  } finally {
    cluster.cable(number, 'up');
  }
  await until('three nodes are ready', async () => (await readyInCluster().catch(() => 0)) === NODES.length, 90);
  await until('two gateways are ready', async () => (await pods('gateway')).filter(isReady).length === 2);
});

/** The status of a gateway, over a connection that nothing used before. */
const askFreshly = () =>
  new Promise((resolve, reject) => {
    const request = http.get({ host: SERVICE, port: 3000, path: '/healthz', agent: false, timeout: 3000 }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    request.once('timeout', () => request.destroy(new Error('no answer within 3 s'))).once('error', reject);
  });

test('calls to machines pass through the Service while the database is away', async () => {
  const machine = await sdk.Machine.create(MACHINE);
  await database.stop();
  // Longer than it takes Kubernetes to give up a gateway that fails its probes.
  await sleep(25_000);
  for (let count = 0; count < 10; count++) assert.equal(await askFreshly(), 200);
  assert.equal(await sh(machine, 'echo here'), 'here');
  database = await startDatabase();
  await until('creates work again', () =>
    sdk.Machine.create(MACHINE).then(
      (other) => other.kill().then(() => true),
      () => false,
    ),
  );
  await machine.kill();
});

test('a pod of a node that is deleted waits for its machines, and the next one is the same node', async () => {
  const [node] = await list();
  const podOf = async () => (await pods('node')).find(({ spec }) => spec.nodeName === node.name);
  const pod = await podOf();
  const machine = await machineOn(node.tag);
  await machine.files.write('/workspace/a', 'kept');
  await sh(machine, 'sleep 1000 > /dev/null 2>&1 & echo $! > /tmp/pid');
  const snapshot = await machine.createSnapshot();

  await cluster.kubectl('delete', 'pod', IN_NAMESPACE, '--wait=false', pod.metadata.name);
  await until('the node drains', async () => (await list()).find(({ tag }) => tag === node.tag).state === 'draining');
  await sleep(GATEWAYS_LOOK_MS);
  for (let count = 0; count < 6; count++) {
    const other = await sdk.Machine.create(MACHINE);
    assert.notEqual(tagOf(other), node.tag, 'a machine was placed on a node that drains');
    await other.kill();
  }
  // Longer than the 30 s that Kubernetes gives a pod without a word.
  await sleep(40_000);
  assert.equal(await sh(machine, 'kill -0 $(cat /tmp/pid) && cat /workspace/a'), 'kept');
  assert.equal((await podOf()).metadata.uid, pod.metadata.uid);

  const ended = performance.now();
  await machine.kill();
  await until(
    'another pod is ready there',
    async () => {
      const found = await podOf();
      return found && found.metadata.uid !== pod.metadata.uid && isReady(found);
    },
    120,
  );
  await until('the node is ready', async () => (await list()).find(({ tag }) => tag === node.tag).state === 'ready');
  say(`the next pod serves ${((performance.now() - ended) / 1000).toFixed(1)} s after the last machine`);
  assert.equal((await list()).length, NODES.length);
  const again = await sdk.Machine.create({ snapshotId: snapshot.id, timeout: MACHINE.timeout });
  assert.equal(await again.files.read('/workspace/a'), 'kept');
  await again.kill();
});

/** What is left of a cluster with this directory. */
function leftovers(directory) {
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return line.includes(directory) ? [`process ${pid} ${line}`] : [];
      } catch {
        return []; // it has ended meanwhile
      }
    });
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(directory))
    .map((line) => `mount ${line}`);
  const groups = execFileSync('find', ['/sys/fs/cgroup', '-type', 'd', '-name', `${path.basename(directory)}*`])
    .toString()
    .trim();
  return [...processes, ...mounts, groups, existsSync(directory) ? directory : ''].filter(Boolean);
}

test('nothing is left when the cluster has ended', async () => {
  const { directory } = cluster;
  await endAll();
  assert.deepEqual(leftovers(directory), []);
});

test('nothing is left of a cluster after Ctrl-C', async () => {
  execFileSync('ip', ['link', 'del', 'nskube']);
  const program = path.join(import.meta.dirname, 'support', 'cluster.mjs');
  const child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] });
  const directory = await new Promise((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text) => resolve(text.match(/^ready (\S+)$/m)?.[1]));
    child.once('exit', (code) => reject(new Error(`it ended with exit code ${code}`)));
  });
  assert.ok(leftovers(directory).length > 5);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGINT');
  assert.equal(await ended, 130);
  assert.deepEqual(leftovers(directory), []);
});
