// Every policy against every kind of destination, on a machine as it is made, after its policy was replaced, after a pause,
// and in a fork and a machine of a snapshot.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { execFileSync } from 'node:child_process';

import { engineForTests, SMALL } from './support/engine.mjs';
import { missingForNames, startNames } from './support/names.mjs';
import { missingForPeer, OWN, PEER, PEER_2, startPeer } from './support/peer.mjs';

const missing = missingForPeer();
const skip = missing === undefined ? false : `needs ${missing}`;

/** Where the peer answers too: in the link-local range, where clouds keep their metadata. */
const METADATA = '169.254.169.254';

let engine;
let peer;
let host;
let names;
/** name -> `[address, port]`; `dns` is a name. */
let destinations;

before(async () => {
  if (skip) return;
  peer = await startPeer({ also: [`${METADATA}/16`] });
  execFileSync('ip', ['route', 'add', '169.254.0.0/16', 'dev', 'cable0']);
  host = http.createServer((_, response) => response.end('host\n'));
  await new Promise((resolve) => host.listen(0, '0.0.0.0', resolve));
  // No other names: an engine in a container asks for those of the computer below, which no machine reaches.
  if (!missingForNames())
    names = await startNames((name, kind) => (kind === 1 && name.endsWith('.example') ? PEER : null));
  engine = await engineForTests();
  const { port } = host.address();
  destinations = {
    peer: [PEER, 80],
    'its second address': [PEER_2, 80],
    metadata: [METADATA, 80],
    "the host's loopback": ['127.0.0.1', port],
    "the host's other loopback": ['127.8.9.10', port],
    "the host's address": [OWN, port],
    'the engine by that': [OWN, Number(new URL(engine.url).port)],
    'the engine by loopback': ['127.0.0.1', Number(new URL(engine.url).port)],
    'any address': ['0.0.0.0', port],
  };
});
after(async () => {
  await engine?.stopWell();
  names?.close();
  host?.close();
  await peer?.stop();
});

const HOST = ['metadata', "the host's loopback", "the host's other loopback", "the host's address"];
const NEVER = [...HOST, 'the engine by that', 'the engine by loopback', 'any address'];

/** Policy -> what it lets through; everything else must be refused. Written by hand, not computed. */
const TABLE = [
  { name: 'allow_all', egress: { mode: 'allow_all' }, allowed: ['peer', 'its second address'], dns: true },
  { name: 'deny_all', egress: { mode: 'deny_all' }, allowed: [], dns: false },
  {
    name: 'one address',
    egress: { mode: 'custom', allowCidrs: [`${PEER}/32`] },
    allowed: ['peer'],
    dns: true,
  },
  {
    name: 'one range denied',
    egress: { mode: 'custom', denyCidrs: ['198.18.1.0/24'] },
    allowed: ['peer'],
    dns: true,
  },
  {
    name: 'a hole in a denied range',
    egress: { mode: 'custom', allowCidrs: [`${PEER_2}/32`], denyCidrs: ['198.18.0.0/15'] },
    allowed: ['its second address'],
    dns: true,
  },
  {
    name: 'everything by range, the host by name',
    egress: { mode: 'custom', allowCidrs: ['0.0.0.0/0', `${OWN}/32`, '127.0.0.0/8', '169.254.0.0/16'] },
    allowed: ['peer', 'its second address'],
    dns: true,
  },
];

/** What a machine reaches: the names of the destinations whose server answered. */
async function reached(machine) {
  const looks = Object.entries(destinations).map(
    ([, [address, port]], index) =>
      `(exec 3<>/dev/tcp/${address}/${port} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && timeout 5 head -c 4 <&3 | grep -q HTTP && echo ${index}) 2>/dev/null &`,
  );
  const { stdout } = await machine.commands.run('bash', { args: ['-c', `${looks.join('\n')}\nwait`], timeout: 30 });
  const found = stdout.split('\n').filter(Boolean).map(Number);
  return Object.keys(destinations).filter((_, index) => found.includes(index));
}

async function resolves(machine) {
  const { stdout } = await machine.commands.run('timeout 8 getent ahostsv4 some.name.example', { shell: true });
  return stdout.includes(PEER);
}

async function holds(machine, row, when) {
  const got = await reached(machine);
  assert.deepEqual(
    got,
    Object.keys(destinations).filter((name) => row.allowed.includes(name)),
    `${row.name}, ${when}`,
  );
  if (names) assert.equal(await resolves(machine), row.dns, `names under ${row.name}, ${when}`);
}

test('the servers can be reached, only not from a machine', { skip }, async () => {
  for (const [name, [address, port]] of Object.entries(destinations)) {
    // The engine listens on loopback only.
    if (name === 'the engine by that') continue;
    const answer = await fetch(`http://${address}:${port}/`, { signal: AbortSignal.timeout(5000) });
    assert.ok(answer.status > 0, name);
  }
  assert.equal(TABLE.length * (Object.keys(destinations).length + 1), 60);
  for (const row of TABLE) for (const name of row.allowed) assert.ok(!NEVER.includes(name));
});

for (const [index, row] of TABLE.entries()) {
  test(`${row.name}: as made, after a change and back, after a pause, in a fork and from a snapshot`, {
    skip,
  }, async () => {
    const machine = await engine.Machine.create({ ...SMALL, network: { egress: row.egress } });
    await holds(machine, row, 'as made');
    const other = TABLE[(index + 1) % TABLE.length];
    await machine.updateEgress(other.egress);
    await holds(machine, other, `instead of ${row.name}`);
    const { id } = await machine.createSnapshot();
    await machine.updateEgress(row.egress);
    await machine.pause();
    const again = await engine.Machine.resume(machine.id);
    await holds(again, row, 'after a pause');
    const fork = await again.fork();
    const restored = await engine.Machine.create({ snapshotId: id, timeout: 120 });
    await holds(fork, row, 'in a fork');
    await holds(restored, other, 'from a snapshot that was taken before');
    await Promise.all([again.kill(), fork.kill(), restored.kill()]);
  });
}
