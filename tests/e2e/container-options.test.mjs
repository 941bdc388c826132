// What an engine in a container is told: fixed ports, and ranges that no machine reaches.

import assert from 'node:assert/strict';
import net from 'node:net';
import { after, test } from 'node:test';

import { endAll, removeDirectory, start, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { engineForTests, SMALL, sh } from './support/engine.mjs';

after(endAll);

const freePort = () =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, '0.0.0.0', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

test('previews and SSH have the ports that were given, and no other', async (t) => {
  const [from, ssh] = [await freePort(), await freePort()];
  const ports = ['--preview-ports', `${from}-${from}`, '--ssh-port', String(ssh)];
  const engine = await engineForTests({ args: ['--allow-remote', ...ports] });
  t.after(() => engine.stop());
  const machine = await engine.Machine.create(SMALL);
  assert.equal((await machine.getHost(8080)).host, `127.0.0.1:${from}`);
  assert.equal((await machine.getHost(8080)).host, `127.0.0.1:${from}`, 'the same port has the same address');
  await assert.rejects(machine.getHost(8081), {
    code: 'capacity_exceeded',
    message: new RegExp(`ports for previews are in use, ${from} to ${from}`),
  });
  const keyDir = temporaryDirectory('keys');
  t.after(() => removeDirectory(keyDir));
  const access = await machine.createSshAccess({ keyDir });
  assert.equal(access.port, ssh);
  await machine.kill();
  // What a machine had is free again.
  const next = await engine.Machine.create(SMALL);
  let host;
  for (let tries = 0; host === undefined && tries < 50; tries++)
    host = (await next.getHost(8081).catch(() => undefined))?.host;
  assert.equal(host, `127.0.0.1:${from}`);
  await next.kill();
});

test('wrong ranges and ports are refused before the engine starts', async () => {
  for (const [args, said] of [
    [['--preview-ports', '5'], /give two ports such as 42000-42063/],
    [['--preview-ports', '9-8'], /give two ports/],
    [['--deny-egress', '10.0.0.0/40', '--port', '0'], /--deny-egress/],
  ])
    await assert.rejects(engineForTests({ args: ['--allow-remote', ...args] }), said);
});

test('no machine reaches a range that is denied, whatever its policy', async (t) => {
  if (!process.env.NULLSPACE_TEST_NETNS) return t.skip('needs a network namespace of its own: run as root');
  const ip = async (...args) => {
    const child = start('ip', args);
    await new Promise((resolve) => child.once('close', resolve));
  };
  // A computer beyond this one: a namespace at the other end of a cable.
  await ip('link', 'add', 'here', 'type', 'veth', 'peer', 'name', 'there');
  const there = start('unshare', ['--net', 'sleep', '1000']);
  t.after(() => there.kill());
  await new Promise((resolve) => setTimeout(resolve, 300));
  await ip('link', 'set', 'there', 'netns', String(there.pid));
  await ip('address', 'add', '10.9.0.1/24', 'dev', 'here');
  await ip('link', 'set', 'here', 'up');
  const inside = (...command) => start('nsenter', ['--target', String(there.pid), '--net', ...command]);
  for (const args of [
    ['address', 'add', '10.9.0.2/24', 'dev', 'there'],
    ['address', 'add', '10.9.0.3/24', 'dev', 'there'],
    ['link', 'set', 'there', 'up'],
  ])
    await new Promise((resolve) => inside('ip', ...args).once('close', resolve));
  const server = inside(process.execPath, '-e', "require('node:http').createServer((_, a) => a.end('hi')).listen(80)");
  t.after(() => server.kill());
  const engine = await engineForTests({ args: ['--deny-egress', '10.9.0.3/32'] });
  t.after(() => engine.stop());
  const machine = await engine.Machine.create(SMALL);
  const get = (address) => sh(machine, `curl -s -m 5 --retry 5 --retry-connrefused http://${address} || echo refused`);
  assert.equal(await get('10.9.0.2'), 'hi');
  assert.equal(await get('10.9.0.3'), 'refused');
  await machine.kill();
});
