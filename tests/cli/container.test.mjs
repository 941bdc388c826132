// `npx nullspace engine --container`, with a docker that only notes what it is told and serves `/healthz`.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, test } from 'node:test';

import { cleanUpOnSignals, endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';

cleanUpOnSignals();
after(endAll);

const program = path.resolve('node_modules/.bin/nullspace');

/** Its state is files of a folder: `calls`, `image` (there is one), `running` (the process of the server), `broken` (what `run` says). */
const DOCKER = `#!${process.execPath}
const fs = require('node:fs');
const { spawn } = require('node:child_process');
const folder = process.env.FAKE_DOCKER;
const at = (name) => folder + '/' + name;
const read = (name) => { try { return fs.readFileSync(at(name), 'utf8'); } catch { return undefined; } };
const args = process.argv.slice(2);
fs.appendFileSync(at('calls'), JSON.stringify(args) + '\\n');
const end = (code, out = '', err = '') => { process.stdout.write(out); process.stderr.write(err); process.exitCode = code; };
const stop = () => { const pid = read('running'); if (pid) { process.kill(Number(pid)); fs.rmSync(at('running')); } };
switch (args[0]) {
  case 'info':
    end(0, read('info') ?? '');
    break;
  case 'image':
    end(read('image') ? 0 : 1);
    break;
  case 'build':
    fs.writeFileSync(at('image'), 'built');
    end(0, 'building\\n');
    break;
  case 'container':
    end(read('running') ? 0 : 1, 'running\\n');
    break;
  case 'run': {
    const broken = read('broken');
    if (broken && (!/loop/.test(broken) || args.includes('--device'))) { end(125, '', broken); break; }
    const key = fs.readFileSync(args[args.indexOf('--env-file') + 1], 'utf8');
    fs.writeFileSync(at('key'), key);
    const port = args[args.indexOf('--publish') + 1].split(':')[1];
    const code = "require('node:http').createServer((_, answer) => answer.end('{}')).listen(" + port + ", '127.0.0.1')";
    const child = spawn(process.execPath, ['-e', code], { detached: true, stdio: 'ignore' });
    child.unref();
    fs.writeFileSync(at('running'), String(child.pid));
    break;
  }
  case 'stop':
  case 'rm':
    stop();
    break;
  case 'logs':
    end(0, 'said by the engine\\n');
    break;
}
`;

const INFO = {
  ServerVersion: '27.0.0',
  OSType: 'linux',
  Architecture: process.arch === 'x64' ? 'x86_64' : 'aarch64',
  SecurityOptions: ['name=seccomp,profile=builtin'],
};

/** A port that nobody has. */
const freePort = () =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** Somebody with that docker and no engine. */
const person = (t, { info = INFO, image = 'there' } = {}) => {
  const home = temporaryDirectory('container');
  const [bin, fake] = ['bin', 'fake'].map((name) => path.join(home, name));
  for (const folder of [bin, fake]) mkdirSync(folder);
  writeFileSync(path.join(bin, 'docker'), DOCKER, { mode: 0o755 });
  symlinkSync(process.execPath, path.join(bin, 'node'));
  if (info) writeFileSync(path.join(fake, 'info'), JSON.stringify(info));
  if (image) writeFileSync(path.join(fake, 'image'), image);
  const env = { PATH: bin, HOME: home, FAKE_DOCKER: fake };
  const cli = (...args) =>
    new Promise((resolve) => {
      const options = { env, cwd: home, timeout: 60_000 };
      execFile(process.execPath, [program, ...args], options, (error, stdout, stderr) =>
        resolve({ code: error ? error.code : 0, stdout, stderr }),
      );
    });
  t.after(async () => {
    await cli('engine', 'stop');
    removeDirectory(home);
  });
  const calls = () =>
    readFileSync(path.join(fake, 'calls'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  const state = path.join(home, '.local/state/nullspace');
  return { home, fake, cli, calls, state };
};

test('a container is started with few rights, found by programs, and stopped', async (t) => {
  const { fake, cli, calls, state } = person(t);
  const port = await freePort();
  const started = await cli('engine', '--port', String(port), '--log-level', 'debug');
  assert.equal(started.code, 0, started.stderr);
  assert.match(
    started.stdout,
    new RegExp(`^The engine runs in a container\\.\\naddress +http://127\\.0\\.0\\.1:${port}$`, 'm'),
  );
  assert.match(started.stdout, /^container +nullspace-engine of docker, made of nullspace-engine:\d/m);
  const key = readFileSync(path.join(state, 'api-key'), 'utf8').trim();
  assert.equal(readFileSync(path.join(fake, 'key'), 'utf8'), `NULLSPACE_API_KEY=${key}\n`);
  assert.ok(!existsSync(path.join(state, 'container.env')), 'the file with the key is left');
  assert.equal(statSync(path.join(state, 'engine.json')).mode & 0o777, 0o600);
  const run = calls().find(([verb]) => verb === 'run');
  assert.ok(!JSON.stringify(calls()).includes(key), 'the key stood on a command line');
  assert.deepEqual(run.slice(-2), ['--log-level', 'debug']);
  assert.ok(!run.includes('--port'));
  const seccomp = run.find((word) => word.startsWith('seccomp='));
  const profile = JSON.parse(readFileSync(seccomp.slice('seccomp='.length), 'utf8'));
  assert.ok(profile.syscalls[0].names.includes('pivot_root'));

  const told = JSON.parse((await cli('engine', 'status', '--json')).stdout);
  assert.deepEqual([told.url, told.container.cli], [`http://127.0.0.1:${port}`, 'docker']);
  assert.match((await cli('engine')).stdout, /^An engine of yours runs already/);
  assert.match((await cli('engine', 'env')).stdout, new RegExp(`NULLSPACE_API_KEY=${key}$`, 'm'));
  assert.equal((await cli('engine', 'logs')).stdout, 'said by the engine\n');
  assert.match((await cli('engine', 'stop')).stdout, /is stopped\. Its state stays on the volume/);
  assert.ok(calls().some(([verb]) => verb === 'stop'));
  assert.ok(!calls().some((call) => call[0] === 'volume'));
  assert.equal((await cli('engine', 'status')).code, 1);
});

test('a container that somebody else removed is no running engine', async (t) => {
  const { cli, fake, state } = person(t);
  const port = await freePort();
  assert.equal((await cli('engine', '--container', '--port', String(port))).code, 0);
  process.kill(Number(readFileSync(path.join(fake, 'running'), 'utf8')));
  writeFileSync(path.join(fake, 'running'), '');
  assert.equal((await cli('engine', 'status')).code, 1);
  assert.ok(!existsSync(path.join(state, 'engine.json')));
});

test('without loop devices it is started once more without them', async (t) => {
  const { cli, fake, calls } = person(t);
  writeFileSync(path.join(fake, 'broken'), 'error gathering device information: "/dev/loop-control": no such file');
  const started = await cli('engine', '--port', String(await freePort()));
  assert.equal(started.code, 0, started.stderr);
  const runs = calls().filter(([verb]) => verb === 'run');
  assert.deepEqual(
    runs.map((run) => run.includes('--device')),
    [true, false],
  );
});

test('what goes wrong is told, and nothing is left', async (t) => {
  const { cli, fake, calls, state } = person(t);
  writeFileSync(path.join(fake, 'broken'), 'no space left on device');
  const { code, stderr } = await cli('engine', '--port', String(await freePort()));
  assert.equal(code, 1);
  assert.match(stderr, /docker could not start nullspace-engine:.*:\nno space left on device/);
  assert.deepEqual(calls().at(-1).slice(0, 2), ['rm', '--force']);
  assert.ok(!existsSync(path.join(state, 'engine.json')) && !existsSync(path.join(state, 'container.env')));
  assert.match((await cli('engine', '--port', '0')).stderr, /--port: give a port from 1 to 65535/);
});

test('an image is built in a checkout, and asked for elsewhere', async (t) => {
  const { home, cli, calls } = person(t, { image: '' });
  const without = await cli('engine', '--port', String(await freePort()));
  assert.match(without.stderr, /docker has no image nullspace-engine:\S+\nmake it with `npm run image`/);
  mkdirSync(path.join(home, 'deploy/docker'), { recursive: true });
  writeFileSync(path.join(home, 'deploy/docker/Dockerfile'), '');
  const built = await cli('engine', '--port', String(await freePort()));
  assert.equal(built.code, 0, built.stderr);
  assert.match(built.stderr, /is built once/);
  assert.ok(calls().some(([verb, flag]) => verb === 'build' && flag === '--file'));
});

test('a docker that does not answer is said to be asleep', async (t) => {
  const { cli } = person(t, { info: { ServerErrors: ['Cannot connect to the Docker daemon'] } });
  const { code, stderr } = await cli('engine');
  assert.equal(code, 1);
  assert.equal(stderr.trim().split('\n').length, 4, stderr);
  assert.match(stderr, /docker is installed but does not answer \(Cannot connect to the Docker daemon\)/);
});
