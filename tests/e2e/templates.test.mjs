// Templates that are made on this computer, and files that are many snapshots deep.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { NotFoundError, Nullspace } from 'nullspace';

import { removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { needsRoot, startEngine } from '../../scripts/lib/engine.mjs';
import { engineForTests, SMALL, sh, until } from './support/engine.mjs';

const binary = process.env.NULLSPACE_TEST_ENGINE;
let engine;
let client;
let Machine;
let hasPython;
const scratch = temporaryDirectory('templates');
before(async () => {
  engine = await engineForTests();
  client = new Nullspace(engine.client);
  Machine = client.Machine;
  const machine = await Machine.create(SMALL);
  hasPython = (await machine.commands.run('command -v python3', { shell: true })).exitCode === 0;
  await machine.kill();
});
after(async () => {
  await engine?.stopWell();
  removeDirectory(scratch);
});

/** `nullspace-engine template ...` on the state of the running engine, or another one. */
function template(args, state = engine.state) {
  const done = spawnSync(binary, ['template', '--state', state, ...args], { encoding: 'utf8', timeout: 60_000 });
  return { code: done.status, out: done.stdout.trim(), said: done.stderr.trim() };
}
function succeed(...args) {
  const { code, out, said } = template(args);
  assert.equal(code, 0, said);
  return out;
}
const layers = () => readdirSync(path.join(engine.state, 'machines', 'layers'));

/** A root file system with a shell and a few programs of this computer. */
function rootFileSystem() {
  const root = path.join(scratch, `root-${Math.random().toString(36).slice(2)}`);
  const put = (file, from = realpathSync(file)) => {
    const target = path.join(root, file);
    mkdirSync(path.dirname(target), { recursive: true });
    if (!existsSync(target)) copyFileSync(from, target);
  };
  for (const name of ['sh', 'cat', 'ls', 'mkdir', 'touch', 'sleep', 'tail', 'stat']) {
    const program = execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
    put(path.join('/bin', name), realpathSync(program));
    const linked = execFileSync('ldd', [realpathSync(program)], { encoding: 'utf8' });
    for (const [, library] of linked.matchAll(/(?:=> )?(\/\S+) \(0x/g)) put(library);
  }
  mkdirSync(path.join(root, 'etc'));
  writeFileSync(path.join(root, 'etc/made-by'), 'hand\n');
  return root;
}

const SERVER = `python3 -c '
import http.server, os
print("starting on", os.environ["SHELF"], flush=True)
http.server.test(http.server.SimpleHTTPRequestHandler, port=8000)
'`;

test('a snapshot becomes a template whose command runs in every machine, warm or cold', async (t) => {
  if (!hasPython) return t.skip('the machine has no python3');
  const made = await Machine.create({ ...SMALL, envs: { SHELF: 'top' }, cwd: '/tmp' });
  await sh(made, 'mkdir -p /srv/www && echo "from the template" > /srv/www/index.html');
  const { id } = await made.createSnapshot();
  await made.kill();
  const said = succeed(
    ...['import', 'web', '--snapshot', id, '--start-command', SERVER, '--ready-port', '8000', '--ready-path', '/'],
    ...['--workdir', '/srv/www', '--env', 'PAGE=index.html'],
  );
  assert.match(said, /^web \(tmpl_\w+\): use it with Machine\.create/);
  await client.Snapshot.delete(id);

  const size = { vcpus: 1, memoryMb: 128 };
  const get = `exec 3<>/dev/tcp/127.0.0.1/8000 && printf 'GET /%s HTTP/1.0\\r\\n\\r\\n' "$PAGE" >&3 && tail -n 1 <&3`;
  const ask = async (machine) => (await machine.commands.run('bash', { args: ['-c', get] })).stdout.trim();
  const cold = await Machine.create({ ...size, template: 'web', timeout: 120 });
  assert.equal(await ask(cold), 'from the template');
  assert.equal(await sh(cold, 'pwd'), '/srv/www');
  assert.match(await cold.files.read('/run/start-command.log'), /^starting on top/);
  assert.deepEqual(await cold.commands.list(), []);

  const pool = await client.TemplateWarmPool.create('web', { ...size, minReady: 1 });
  await pool.waitUntilReady({ timeout: 60, intervalMs: 50 });
  const warm = await Machine.create({
    ...size,
    template: 'web',
    warmPool: pool,
    warmPoolMode: 'require',
    timeout: 120,
  });
  assert.equal(await ask(warm), 'from the template');

  const refused = template(['delete', 'web']);
  assert.equal(refused.code, 1);
  assert.match(refused.said, /warm pool "web" \(twp_\w+\) holds machines .* delete the pool first/s);
  await pool.delete();
  await until('the pool is gone', () => template(['delete', 'web']).code === 0);
  // Those that come from it go on.
  assert.equal(await ask(warm), 'from the template');
  await assert.rejects(Machine.create({ template: 'web' }), NotFoundError);
  await Promise.all([cold.kill(), warm.kill()]);
  assert.deepEqual(layers(), []);
});

test('a command that fails, or is never ready, makes no machine and says what it printed', async () => {
  const machine = await Machine.create(SMALL);
  const { id } = await machine.createSnapshot();
  await machine.kill();
  succeed('import', 'fails', '--snapshot', id, '--start-command', 'echo no such luck >&2; exit 7', '--ready-port', '1');
  succeed(
    'import',
    'never',
    '--snapshot',
    id,
    '--start-command',
    'echo on my way; sleep 100',
    '--ready-command',
    'false',
    '--ready-timeout',
    '1',
  );
  const count = async () => (await Machine.list()).items.length;
  await assert.rejects(Machine.create({ ...SMALL, template: 'fails' }), (error) => {
    assert.deepEqual([error.code, error.status], ['exec_failed', 502]);
    return /ended with exit code 7; it printed last: no such luck/.test(error.message);
  });
  await assert.rejects(
    Machine.create({ ...SMALL, template: 'never' }),
    /was not ready within 1 s; it printed last: on my way/,
  );
  assert.equal(await count(), 0);
  const pool = await client.TemplateWarmPool.create('fails', { minReady: 1, vcpus: 1, memoryMb: 64 });
  await until(
    'it says that it is degraded',
    async () => (await pool.getInfo()).degradedReason === 'artifact_prewarm_failed',
  );
  await pool.delete();
  await client.Snapshot.delete(id);
  await until(
    'they are deleted',
    () => template(['delete', 'fails']).code === 0 && template(['delete', 'never']).code === 0,
  );
  assert.deepEqual(layers(), []);
});

test('a directory and a tarball become templates', async () => {
  const root = rootFileSystem();
  // Links of a root file system lead nowhere outside it.
  symlinkSync('/etc/nullspace-test-escape', path.join(root, 'etc/resolv.conf'));
  symlinkSync('/', path.join(root, 'workspace'));
  const tarball = path.join(scratch, 'root.tar.gz');
  execFileSync('tar', ['-czf', tarball, '-C', root, '.']);
  succeed('import', 'from-directory', '--directory', root);
  succeed(
    'import',
    'from-tarball',
    '--tarball',
    tarball,
    '--start-command',
    'touch /run/up; sleep 1000',
    '--ready-command',
    'stat /run/up',
  );
  for (const name of ['from-directory', 'from-tarball']) {
    const machine = await Machine.create({ ...SMALL, template: name });
    assert.equal(await sh(machine, 'cat /etc/made-by'), 'hand');
    assert.match(await sh(machine, 'cat /etc/resolv.conf'), /^nameserver /);
    assert.equal((await machine.commands.run('perl', { args: ['-v'] }).catch((error) => error)).code, 'exec_failed');
    await machine.files.write('/tmp/x', 'y');
    assert.equal(await sh(machine, 'cat /tmp/x'), 'y');
    const fork = await machine.fork();
    assert.equal(await sh(fork, 'cat /etc/made-by /tmp/x'), 'hand\ny');
    await Promise.all([machine.kill(), fork.kill()]);
  }
  assert.ok(!existsSync('/etc/nullspace-test-escape'));
  const list = succeed('list');
  assert.match(list, /^NAME/);
  assert.match(list, /^from-tarball +tmpl_\w+ +\d+\.\d {2}touch/m);
  assert.deepEqual(
    JSON.parse(succeed('list', '--json')).map(({ name }) => name),
    ['base', 'code-interpreter', 'from-tarball', 'from-directory'],
  );
  const shown = JSON.parse(succeed('inspect', 'from-tarball'));
  assert.deepEqual(shown.start.readiness, { kind: 'command', command: 'stat /run/up' });
  for (const name of ['from-directory', 'from-tarball']) succeed('delete', name);
  assert.deepEqual(layers(), []);
});

test('what is wrong is told, and leaves nothing', () => {
  const empty = path.join(scratch, 'empty');
  mkdirSync(empty);
  const broken = path.join(scratch, 'broken.tar');
  writeFileSync(broken, 'no archive'.repeat(100));
  for (const [args, why] of [
    [['import', 'a/b', '--directory', empty], /`name` is "a\/b": give 1 to 64 letters/],
    [['import', 'base', '--directory', empty], /there is a template "base" already/],
    [['import', 'x', '--directory', empty], /holds no root file system: there is no \/bin/],
    [['import', 'x', '--directory', path.join(scratch, 'none')], /cannot read .*none/],
    [['import', 'x', '--tarball', broken], /broken\.tar: the archive cannot be read/],
    [['import', 'x', '--snapshot', 'snap_none'], /there is no snapshot snap_none/],
    [['import', 'x'], /--snapshot.*--directory.*--tarball/s],
    [['import', 'x', '--directory', empty, '--ready-port', '80'], /--start-command/],
    [['import', 'x', '--directory', empty, '--env', 'NAME'], /--env NAME: give NAME=VALUE/],
    [['import', 'x', '--directory', empty, '--start-command', 'a', '--ready-timeout', '0'], /`ready_timeout` is 0/],
    [['inspect', 'nope'], /this engine has no template "nope"; it has: base/],
    [['delete', 'base'], /cannot be deleted/],
    [['delete', 'code-interpreter'], /cannot be deleted/],
  ]) {
    const { code, said } = template(args);
    assert.notEqual(code, 0, args.join(' '));
    assert.match(said, why, args.join(' '));
  }
  assert.deepEqual(layers(), []);
});

test('an engine that does not run has its templates too', async () => {
  const state = path.join(temporaryDirectory('offline'), 'state');
  const root = rootFileSystem();
  const done = template(['import', 'own', '--directory', root], state);
  assert.equal(done.code, 0, done.said);
  assert.match(template(['list'], state).out, /^own /m);
  const started = await startEngine({ binary, state });
  try {
    const machine = await new Nullspace(started.client).Machine.create({ ...SMALL, template: 'own' });
    assert.equal(await sh(machine, 'cat /etc/made-by'), 'hand');
    await machine.kill();
  } finally {
    await started.stop();
  }
  assert.equal(template(['delete', 'own'], state).code, 0);
  assert.ok(!existsSync(path.join(state, 'control.sock')));
});

test('forks of forks stay fast and right, however deep', { skip: needsRoot }, async () => {
  let machine = await Machine.create(SMALL);
  await sh(
    machine,
    'mkdir -p /data/kept /data/gone && echo 0 > /data/n && touch /data/gone/x /usr/local/marker && rm /etc/fstab',
  );
  for (let depth = 1; depth <= 45; depth++) {
    await sh(
      machine,
      depth === 10
        ? 'rm -r /data/gone && mkdir /data/gone && touch /data/gone/new && rm /usr/local/marker'
        : `echo ${depth} > /data/n && touch /data/kept/${depth} && rm -f /data/kept/${depth - 3}`,
    );
    const child = await machine.fork();
    await machine.kill();
    machine = child;
    // Twenty layers are merged into one.
    assert.ok(layers().length <= 22, `${layers().length} layers`);
  }
  assert.equal(await sh(machine, 'cat /data/n; ls /data/kept | sort -n | tr "\\n" " "'), '45\n7 43 44 45');
  assert.equal(
    await sh(machine, 'ls /data/gone; ls /usr/local/marker /etc/fstab 2>&1 | grep -c "No such file"'),
    'new\n2',
  );
  // A directory that was renamed is kept by not merging.
  await sh(machine, 'mv /data/kept /data/renamed');
  for (let depth = 0; depth < 23; depth++) {
    const child = await machine.fork();
    await machine.kill();
    machine = child;
  }
  assert.equal(await sh(machine, 'ls /data/renamed | wc -l; ls -d /data/kept 2>&1 | grep -c "No such file"'), '4\n1');
  await machine.kill();
  await until('no file is left', () => layers().length === 0);
});
