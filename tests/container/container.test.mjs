// An engine in a container of this computer's docker, used from outside by the packed package: `npm run test:container`. Needs a docker
// that answers (Debian's docker.io without network does, DOCKER_HOST says where) and the image, which `npm run image` makes.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { Machine, NetworkEgressPolicy, Nullspace, Snapshot, TemplateWarmPool, Volume } from 'nullspace';
import WebSocket from 'ws';

import { CAPABILITIES, runArguments } from '../../cli/container/arguments.mjs';
import { cleanUpOnSignals, endAll, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import '../../scripts/lib/localhost-names.mjs';

cleanUpOnSignals();
const run = promisify(execFile);
const program = path.resolve('node_modules/.bin/nullspace');
const home = temporaryDirectory('container');
const docker = (...args) => run('docker', args).then(({ stdout }) => stdout.trim());
const cli = (...args) =>
  run(process.execPath, [program, ...args], {
    env: { ...process.env, HOME: home, NULLSPACE_API_KEY: '' },
    timeout: 150_000,
  });

const start = async () => {
  const begun = performance.now();
  await cli('engine', '--container');
  const { stdout } = await cli('engine', 'env', '--json');
  Object.assign(process.env, JSON.parse(stdout));
  return performance.now() - begun;
};
const ANY = { timeout: 300 };
const sh = async (machine, code, options) => machine.commands.run(code, { shell: true, ...options });

before(async () => {
  console.log(`# the engine in the container answers after ${Math.round(await start())} ms`);
});
after(async () => {
  await cli('engine', 'stop');
  await docker('volume', 'rm', '--force', 'nullspace-engine');
  await endAll();
});

test('limits of memory, processors and disk are held', async () => {
  const machine = await Machine.create({ ...ANY, memoryMb: 256, vcpus: 1, diskMb: 1024 });
  assert.deepEqual((await machine.getInfo()).warnings ?? [], []);
  const hog = await sh(machine, 'python3 -c "x = bytearray(600 << 20)"');
  assert.equal(hog.exitCode, 137);
  const full = await sh(machine, 'dd if=/dev/zero of=/workspace/big bs=1M count=1500', { timeout: 120 });
  assert.notEqual(full.exitCode, 0);
  assert.match(full.stderr, /No space left/);
  await machine.kill();
});

test('commands, files, streams, terminals and other users work', async () => {
  const machine = await Machine.create(ANY);
  assert.match((await sh(machine, 'node -p 6*7; python3 -c "print(6 * 7)"')).stdout, /^42\n42\n$/);
  await machine.files.write('/workspace/a', 'text');
  assert.equal(await machine.files.read('/workspace/a'), 'text');
  await machine.files.write('/tmp/b', 'theirs', { user: 'nobody' });
  assert.equal((await machine.files.info('/tmp/b')).owner, 'nobody');
  let streamed = '';
  await machine.commands.run('for i in 1 2 3; do echo $i; done', {
    shell: true,
    onStdout: (text) => (streamed += text),
  });
  assert.equal(streamed, '1\n2\n3\n');
  const terminal = await machine.pty.create();
  await terminal.sendInput('echo $((40 + 2))-there\n');
  let seen = '';
  for await (const bytes of terminal) {
    seen += Buffer.from(bytes);
    if (seen.includes('42-there')) break;
  }
  await machine.kill();
});

test('previews have names on the one port, and are reached by HTTP and by WebSocket', async () => {
  const machine = await Machine.create(ANY);
  const server = `
    const { createServer } = require('node:http'); const { createHash } = require('node:crypto');
    const server = createServer((request, answer) => answer.end('page ' + request.url));
    server.on('upgrade', (request, socket) => {
      const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
      socket.write('HTTP/1.1 101 x\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
      socket.write(Buffer.from([0x81, 2, 0x68, 0x69]));
    });
    server.listen(8080);`;
  await machine.files.write('/workspace/server.js', server);
  await machine.commands.run('node', { args: ['/workspace/server.js'], background: true });
  await machine.waitForPreview(8080);
  const url = await machine.getUrl(8080);
  const { host } = new URL(process.env.NULLSPACE_API_URL);
  assert.equal(url, `http://8080-${machine.id}.localhost:${host.split(':')[1]}`);
  assert.equal(await (await fetch(`${url}/x`)).text(), 'page /x');
  const socket = new WebSocket(url.replace('http', 'ws'));
  assert.equal(String(await new Promise((resolve) => socket.once('message', resolve))), 'hi');
  socket.terminate();
  await machine.kill();
});

test('machines reach neither the published ports nor the computer below, and nothing under deny_all', async () => {
  const gateway = await docker('network', 'inspect', 'bridge', '--format', '{{(index .IPAM.Config 0).Gateway}}');
  const open = await Machine.create(ANY);
  const shut = await Machine.create({ ...ANY, network: { egress: NetworkEgressPolicy.denyAll() } });
  for (const [machine, address] of [
    [open, `${gateway}:3000`],
    [open, '127.0.0.1:3000'],
    [shut, '192.0.2.1:80'],
    [shut, `${gateway}:3000`],
  ]) {
    const { exitCode, stdout } = await sh(
      machine,
      `curl -s -m 5 -o /dev/null -w %{http_code} http://${address}/healthz`,
    );
    assert.notEqual(exitCode, 0, address);
    assert.equal(stdout, '000', address);
  }
  await Promise.all([open.kill(), shut.kill()]);
});

test('pause, fork, snapshots and warm pools work', async () => {
  const machine = await Machine.create(ANY);
  await machine.files.write('/workspace/a', 'kept');
  await machine.pause();
  await Machine.connect(machine.id);
  const fork = await machine.fork();
  assert.equal(await fork.files.read('/workspace/a'), 'kept');
  const pool = await TemplateWarmPool.create('base', { name: 'ready', minReady: 1 });
  await pool.waitUntilReady();
  const ready = await Machine.create({ ...ANY, warmPool: pool, warmPoolMode: 'require' });
  await pool.delete();
  await Promise.all([machine, fork, ready].map((one) => one.kill()));
});

test('a container that is killed leaves nothing behind, and the next one has snapshots and volumes', async () => {
  const volume = await Volume.create('kept');
  await volume.files.write('/a', 'volume');
  const machine = await Machine.create({ ...ANY, volumes: [volume.mount('/data')] });
  await machine.files.write('/workspace/a', 'snapshot');
  const snapshot = await machine.createSnapshot();
  await machine.commands.run('sleep', { args: ['987654'], background: true });
  await docker('kill', '--signal', 'KILL', 'nullspace-engine');
  const left = async () => (await run('sh', ['-c', 'ps -eo args | grep -c "^sleep 98765[4]" || true'])).stdout.trim();
  for (let tries = 0; (await left()) !== '0' && tries < 100; tries++) await sleep(100);
  assert.equal(await left(), '0', 'a process of a machine lives');
  assert.equal((await cli('engine', 'status').catch((error) => error)).code, 1);
  await start();
  const again = await Machine.create({ ...ANY, snapshotId: snapshot.id });
  assert.equal(await again.files.read('/workspace/a'), 'snapshot');
  assert.equal(await (await Volume.get('kept').catch(() => volume)).files.read('/a'), 'volume');
  assert.equal((await Snapshot.list()).length, 1);
  await again.kill();
});

/** What the engine does with rights that it starts without. Each says whether it works. */
const NEEDS_RIGHTS = {
  /** Copies keep owners, also of programs that run as their owner or group. */
  async FOWNER(machine) {
    await sh(machine, 'echo > theirs && chown nobody theirs');
    const fork = await machine.fork();
    const { stdout } = await sh(fork, 'stat -c %U theirs');
    await fork.kill();
    return stdout === 'nobody\n';
  },
  async FSETID(machine) {
    await sh(machine, 'echo > group && chown :nogroup group && chmod 2755 group && rm -f theirs');
    const fork = await machine.fork();
    const { stdout } = await sh(fork, 'stat -c %a group');
    await fork.kill();
    return stdout === '2755\n';
  },
  async SETFCAP(machine) {
    const give =
      "import os, struct; os.setxattr('c', 'security.capability', struct.pack('<5I', 0x2000001, 1024, 0, 0, 0))";
    return (await sh(machine, `cp /bin/true c && python3 -c "${give}"`)).exitCode === 0;
  },
  async SYS_CHROOT(machine, client) {
    const volume = await client.Volume.create('live');
    const attachment = await machine.volumes.attach(volume.mount('/live'));
    await machine.volumes.detach(attachment.id);
    await volume.delete();
    return true;
  },
};

const RIGHTS = 'nullspace-engine-rights';
/** An engine without a right, beside the other one. Gives whether it answers. */
const startWithout = async (right, port) => {
  const keyFile = path.join(home, 'rights.env');
  writeFileSync(keyFile, `NULLSPACE_API_KEY=${process.env.NULLSPACE_API_KEY}\n`);
  const image = await docker('container', 'inspect', '--format', '{{.Config.Image}}', 'nullspace-engine');
  const seccomp = path.resolve('deploy/docker/seccomp.json');
  const args = runArguments({ image, port, keyFile, seccomp })
    .map((word) => (word === 'nullspace-engine' ? RIGHTS : word.replace(/^nullspace-engine:\//, `${RIGHTS}:/`)))
    // The port of SSH is that of the other one.
    .map((word) => word.replace(/^127\.0\.0\.1:(\d+):\1$/, '127.0.0.1::$1'));
  const given = args.indexOf(right);
  if (given > 0) args.splice(given - 1, 2);
  await docker(...args);
  // The first one unpacks the /usr of machines.
  for (let tries = 0; tries < (right ? 30 : 120); tries++) {
    const ask = fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(1000) });
    if (
      await ask.then(
        (response) => response.ok,
        () => false,
      )
    )
      return true;
    const running = await docker('container', 'inspect', '--format', '{{.State.Running}}', RIGHTS);
    if (running !== 'true') return false;
    await sleep(500);
  }
  return false;
};

test('each right of the container is needed', { timeout: 600_000 }, async (t) => {
  t.after(async () => {
    await docker('rm', '--force', RIGHTS);
    await docker('volume', 'rm', '--force', RIGHTS);
  });
  const port = Number(new URL(process.env.NULLSPACE_API_URL).port) + 1000;
  const client = new Nullspace({ baseUrl: `http://127.0.0.1:${port}`, apiKey: process.env.NULLSPACE_API_KEY });
  const broken = async () => {
    const machine = await client.Machine.create(ANY);
    const found = [];
    for (const [right, works] of Object.entries(NEEDS_RIGHTS))
      if (!(await works(machine, client).catch(() => false))) found.push(right);
    await machine.kill();
    return found;
  };
  assert.ok(await startWithout(undefined, port), await docker('logs', RIGHTS));
  assert.deepEqual(await broken(), []);
  for (const right of CAPABILITIES) {
    await docker('rm', '--force', RIGHTS);
    const starts = await startWithout(right, port);
    assert.equal(starts, Object.hasOwn(NEEDS_RIGHTS, right), `it starts without ${right}: ${starts}`);
    if (starts) assert.deepEqual(await broken(), [right]);
  }
});
