// A cluster whose parts are on computers of their own, as far as network namespaces make them so, and which lose each other: a node
// is killed, a gateway is killed, the cable of a node is pulled for a moment and for too long.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Nullspace } from 'nullspace';

import { endAll, removeDirectory, start, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { startPostgres } from '../../scripts/lib/postgres.mjs';
import { startProcess } from '../../scripts/lib/process.mjs';
import { count } from './support/counting.mjs';

after(endAll);

const binary = process.env.NULLSPACE_TEST_ENGINE;
/** Seconds of silence after which a node is unreachable, and lost. Production has 10 and 60. */
const [UNREACHABLE, LOST] = (process.env.NULLSPACE_TEST_SILENCE ?? '4,10').split(',').map(Number);
const TOKEN = 'a-join-token-for-this-test';
const KEY = 'nsk_a-key-for-this-test-only';
const SWITCH = '10.213.0.254';
const address = (node) => `10.213.0.${node}`;
const MACHINE = { template: 'base', timeout: 600 };

const sh = async (machine, text) => (await machine.commands.run(text, { shell: true })).stdout.trim();
const ip = (...words) => execFileSync('ip', words, { stdio: 'pipe' });

const seconds = (from, to = Date.now()) => ((to - from) / 1000).toFixed(1);

/** Asks until `is` says yes. */
async function until(what, is, seconds = 60) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const found = await is();
    if (found) return found;
    if (Date.now() > deadline) assert.fail(`not so within ${seconds} s: ${what}`);
    await sleep(200);
  }
}

/** A network of its own, which lasts as long as a process in it; that ends with this one. */
async function network() {
  const child = start('unshare', ['--net', 'cat'], { stdio: ['pipe', 'ignore', 'ignore'] });
  const of = (pid) => readlinkSync(`/proc/${pid}/ns/net`);
  await until('the network is there', () => of(child.pid) !== of('self'));
  const inside = (...words) => ['nsenter', `--net=/proc/${child.pid}/ns/net`, ...words];
  return {
    pid: child.pid,
    inside,
    ip: (...words) => execFileSync('nsenter', inside('ip', ...words).slice(1), { stdio: 'pipe' }),
  };
}

/** PostgreSQL, two gateways and a switch here; three nodes, each behind a cable. */
async function lay(t) {
  const directory = temporaryDirectory('cluster');
  const database = await startPostgres(path.join(directory, 'postgres'));
  const environment = {
    NULLSPACE_JOIN_TOKEN: TOKEN,
    NULLSPACE_DATABASE_URL: database.url,
    NULLSPACE_API_KEY: KEY,
    HOME: directory,
  };
  const run = (...words) => execFileSync(binary, words, { env: { PATH: process.env.PATH, ...environment } }).toString();
  run('gateway', 'keys', 'add', '--from-env', 'tests');

  ip('link', 'add', 'nssw', 'type', 'bridge');
  t.after(async () => {
    await endAll();
    ip('link', 'del', 'nssw');
    removeDirectory(directory);
  });
  ip('addr', 'add', `${SWITCH}/24`, 'dev', 'nssw');
  ip('link', 'set', 'nssw', 'up');
  const gateway = (port) =>
    startProcess({
      what: 'a gateway',
      command: [
        ...[binary, 'gateway', '--listen', `${SWITCH}:${port}`, '--allow-remote', '--protect', SWITCH],
        ...['--unreachable-after', String(UNREACHABLE), '--lost-after', String(LOST)],
      ],
      ready: /^NULLSPACE_API_URL=(\S+)$/m,
      env: environment,
    });
  const gateways = [await gateway(4300), await gateway(4301)];
  const join = gateways.map((one) => one.said[1]).join(',');
  const node = async (number) => {
    const { pid, inside, ip: ipInside } = await network();
    ip('link', 'add', `nssw${number}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid));
    ip('link', 'set', `nssw${number}`, 'master', 'nssw', 'up');
    ipInside('addr', 'add', `${address(number)}/24`, 'dev', 'eth0');
    ipInside('link', 'set', 'eth0', 'up');
    ipInside('link', 'set', 'lo', 'up');
    const state = path.join(directory, `node-${number}`);
    mkdirSync(state, { mode: 0o700 });
    return startProcess({
      what: `node ${number}`,
      command: inside(
        ...[binary, 'serve', '--join', join, '--listen', `${address(number)}:3000`, '--allow-remote'],
        ...['--advertise', `http://${address(number)}:3000`, '--node-name', `node-${number}`, '--state', state],
      ),
      ready: /node (\S+) serves gateways/,
      env: { NULLSPACE_JOIN_TOKEN: TOKEN, HOME: directory },
    });
  };
  const nodes = await Promise.all([1, 2, 3].map(node));
  const list = () => JSON.parse(run('node', 'list', '--json'));
  await until(
    'three nodes are ready',
    () => list().filter(({ state, memory_mb }) => state === 'ready' && memory_mb > 0).length === 3,
  );
  await sleep(1500); // until each gateway has looked
  return {
    sdk: gateways.map((one) => new Nullspace({ baseUrl: one.said[1], apiKey: KEY })),
    gateways,
    nodes: nodes.map((process, index) => ({ process, number: index + 1, tag: process.said[1] })),
    list,
    cable: (number, state) => ip('link', 'set', `nssw${number}`, state),
  };
}

const tagOf = ({ id }) => id.split('_')[1].slice(0, 4);

test('a cluster loses a node, a gateway and a cable, and each key has one machine that lives', {
  skip: process.getuid() !== 0 && 'needs root',
}, async (t) => {
  const { sdk, gateways, nodes, list, cable } = await lay(t);
  const [first, second] = sdk;
  const all = async () => {
    const found = [];
    for await (const info of await second.Machine.list()) found.push(info);
    return found;
  };
  const keys = (name, count) => Array.from({ length: count }, (_, index) => `${name}-${index}`);
  const create = (client, idempotencyKey) => client.Machine.create({ ...MACHINE, idempotencyKey });

  // A stream through the second gateway, from a node that nothing happens to.
  const watched = await second.Machine.create(MACHINE);
  const safe = nodes.find(({ tag }) => tag === tagOf(watched));
  const [dead, cut] = nodes.filter((node) => node !== safe);
  const counted = await count(watched);

  await t.test('a node is killed in the middle of fifty creates', async () => {
    const creating = Promise.all(keys('node', 50).map((key, index) => create(sdk[index % 2], key)));
    await sleep(150);
    dead.process.signal('SIGKILL');
    const made = await creating;
    await until('the node is lost', () => list().find(({ tag }) => tag === dead.tag).state === 'lost', LOST + 20);
    // Those that were made on it before it died have been told of; their keys make others now.
    const again = await Promise.all(keys('node', 50).map((key) => create(second, key)));
    assert.equal(new Set(again.map(({ id }) => id)).size, 50);
    for (const [index, machine] of again.entries()) {
      if (tagOf(made[index]) !== dead.tag) assert.equal(machine.id, made[index].id);
      assert.equal(await sh(machine, 'echo here'), 'here');
    }
    const listed = await all();
    const running = listed.filter(({ status }) => status === 'running');
    assert.equal(running.length, 51, 'machines live that no key has');
    const ended = listed.filter(({ id }) => id.startsWith(`mch_${dead.tag}`));
    assert.ok(ended.every(({ status, errorMessage }) => status === 'error' && /node was lost/.test(errorMessage)));
    await Promise.all(again.map((machine) => machine.kill()));
  });

  await t.test('the cable of a node is pulled for a moment', async () => {
    const machine = await until('a machine is on that node', async () => {
      const made = await second.Machine.create(MACHINE);
      if (tagOf(made) === cut.tag) return made;
      await made.kill();
      return undefined;
    });
    await sh(machine, 'sleep 600 > /dev/null 2>&1 & echo $! > /tmp/pid');
    const pulled = Date.now();
    cable(cut.number, 'down');
    const refused = await until('a call is refused', () =>
      machine.commands.run('true').then(
        () => undefined,
        (error) => error,
      ),
    );
    assert.equal(refused.code, 'node_unreachable');
    assert.equal(refused.retryable, true);
    // As long as it may be without being lost.
    await sleep(Math.max(0, pulled + Math.min(2 * UNREACHABLE, LOST - 4) * 1000 - Date.now()));
    cable(cut.number, 'up');
    const plugged = Date.now();
    await until('calls work again', () =>
      sh(machine, 'echo back').then(
        (said) => said === 'back',
        () => false,
      ),
    );
    t.diagnostic(`cut for ${seconds(pulled, plugged)} s; calls work ${seconds(plugged)} s after it`);
    assert.equal(await sh(machine, 'kill -0 $(cat /tmp/pid) && echo alive'), 'alive');

    // And for too long: it counts as ended, its key makes another one, and nothing of it runs when its node is back.
    let key;
    const keyed = await until('a keyed machine is on that node', async () => {
      key = `cable-${Math.random()}`;
      const made = await create(second, key);
      if (tagOf(made) === cut.tag) return made;
      await made.kill();
      return undefined;
    });
    const pulledAgain = Date.now();
    cable(cut.number, 'down');
    await until('the node is lost', () => list().find(({ tag }) => tag === cut.tag).state === 'lost', LOST + 20);
    const lost = Date.now();
    // A gateway looks every second.
    const ended = await until('the machine counts as ended', async () => {
      const info = await keyed.getInfo().catch(({ code }) => assert.equal(code, 'node_unreachable'));
      return info?.status === 'error' && info;
    });
    assert.match(ended.errorMessage, /node was lost/);
    const again = await create(second, key);
    assert.notEqual(tagOf(again), cut.tag);
    assert.equal(await sh(again, 'echo here'), 'here');
    await again.kill();
    await sleep(Math.max(0, pulledAgain + LOST * 1500 - Date.now()));
    cable(cut.number, 'up');
    const pluggedAgain = Date.now();
    const back = await until('the node is ready', () =>
      list().find(({ tag, state }) => tag === cut.tag && state === 'ready'),
    );
    t.diagnostic(
      `cut for ${seconds(pulledAgain, pluggedAgain)} s: lost after ${seconds(pulledAgain, lost)} s; ready ${seconds(pluggedAgain)} s after it`,
    );
    assert.equal(back.machines, 0, 'what was given up ran when its node was ready');
  });

  await t.test('no machine reaches a part of the cluster', async () => {
    const machine = await second.Machine.create({ ...MACHINE, network: { egress: { mode: 'allow_all' } } });
    for (const [host, port] of [
      [address(safe.number), 3000],
      [address(cut.number), 3000],
      [SWITCH, 4300],
      [SWITCH, 4301],
    ]) {
      const said = await sh(
        machine,
        `timeout 5 bash -c 'exec 3<>/dev/tcp/${host}/${port}; printf "GET /healthz HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n" >&3; head -c 12 <&3' 2>/dev/null; echo`,
      );
      assert.equal(said, '', `${host}:${port} answered a machine`);
    }
    await machine.kill();
  });

  await t.test('a gateway is killed in the middle of creates', async () => {
    const wanted = keys('gateway', 20);
    const trying = Promise.all(wanted.map((key) => create(first, key).catch(() => undefined)));
    await sleep(60);
    gateways[0].signal('SIGKILL');
    await trying;
    const made = await Promise.all(wanted.map((key) => create(second, key)));
    assert.equal(new Set(made.map(({ id }) => id)).size, wanted.length);
    const running = (await all()).filter(({ status }) => status === 'running');
    assert.equal(running.length, wanted.length + 1, 'machines live that no key has');
    await Promise.all(made.map((machine) => machine.kill()));
  });

  await counted.check(50);
});
