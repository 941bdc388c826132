// `npx nullspace` of the packed package, against an engine.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { cleanUpOnSignals, endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../scripts/lib/engine.mjs';

cleanUpOnSignals();
const binary = process.env.NULLSPACE_TEST_ENGINE;
const engine = await startEngine({ binary });
const local = temporaryDirectory('cli');
after(async () => {
  assert.deepEqual(await engine.stop(), { code: 0, signal: null });
  removeDirectory(local);
  await endAll();
});

const program = path.resolve('node_modules/.bin/nullspace');
const environment = {
  PATH: process.env.PATH,
  HOME: local,
  NULLSPACE_API_URL: engine.url,
  NULLSPACE_API_KEY: engine.apiKey,
};

/** Runs it; never throws. */
const run = (args, env = {}) =>
  new Promise((resolve) =>
    execFile(
      program,
      args,
      { env: { ...environment, ...env }, cwd: local, maxBuffer: 1 << 24, timeout: 60_000 },
      (error, stdout, stderr) => {
        assert.ok(!`${stdout}${stderr}`.includes(engine.apiKey), 'the key was printed');
        assert.ok(!`${stdout}${stderr}`.includes('\u001b'), 'colours without a terminal');
        resolve({ code: error ? error.code : 0, stdout, stderr });
      },
    ),
  );
const good = async (...args) => {
  const { code, stdout, stderr } = await run(args);
  assert.equal(code, 0, stderr);
  return stdout.trim();
};
const json = async (...args) => JSON.parse(await good(...args, '--json'));

const SMALL = ['--vcpus', '1', '--memory-mb', '64'];
const id = await good('machine', 'create', ...SMALL, '--env', 'A=b c', '--metadata', 'run=cli', '--egress', 'deny_all');

test('a machine is made, listed and described', async () => {
  assert.match(id, /^mch_\w+$/);
  const rows = await good('machine', 'list', '--metadata', 'run=cli');
  assert.ok(rows.includes(id) && rows.startsWith('ID'));
  assert.deepEqual(
    (await json('machine', 'list', '--state', 'running')).map((info) => info.id),
    [id],
  );
  const info = await json('machine', 'get', id);
  assert.deepEqual([info.id, info.config, info.metadata], [id, { vcpus: 1, memoryMb: 64 }, { run: 'cli' }]);
  assert.match(await good('machine', 'connect', id, '--timeout', '500'), /status +running/);
});

test('a command runs, and its exit code is ours', async () => {
  const ran = await run(['machine', 'exec', id, '--shell', '--', 'echo "$A"; echo err >&2; exit 3']);
  assert.deepEqual(ran, { code: 3, stdout: 'b c\n', stderr: 'err\n' });
  assert.equal(await good('machine', 'exec', id, '--', 'printf', '%s|', 'a b', '-c'), 'a b|-c|');
  const { code, stdout } = await run(['machine', 'exec', id, '--json', '--shell', '--', 'echo x; exit 4']);
  assert.equal(code, 4);
  assert.deepEqual([JSON.parse(stdout).exitCode, JSON.parse(stdout).stdout], [4, 'x\n']);
});

test('a command in the background has logs', async () => {
  const pid = await good('machine', 'exec', id, '--detach', '--shell', '--', 'echo logged; sleep 0.1');
  for (let tries = 0; tries < 50; tries++) if ((await good('machine', 'logs', id, pid)) === 'logged') return;
  assert.fail('no logs');
});

test('files and directories are copied in and out', async () => {
  mkdirSync(path.join(local, 'tree/sub'), { recursive: true });
  writeFileSync(path.join(local, 'tree/sub/a.txt'), 'copied');
  assert.match(await good('machine', 'cp', 'tree', `${id}:/workspace/tree`), /1 files, 6 bytes/);
  assert.equal(await good('machine', 'cp', `${id}:/workspace/tree/sub/a.txt`, 'back.txt'), 'back.txt');
  assert.equal(readFileSync(path.join(local, 'back.txt'), 'utf8'), 'copied');
  assert.equal((await run(['machine', 'cp', 'a', 'b'])).code, 2);
  assert.equal((await run(['machine', 'cp', `${id}:/none`, '.'])).code, 4);
});

test('a shell reads its input from a pipe', async () => {
  const child = spawn(program, ['machine', 'shell', id], { env: environment });
  let output = '';
  child.stdout.on('data', (bytes) => (output += bytes));
  child.stdin.end('echo "<$A>"; exit 6\n');
  assert.equal(await new Promise((resolve) => child.once('close', resolve)), 6);
  assert.ok(output.includes('<b c>'));
});

test('ssh runs what it is told, and ends with its code', async () => {
  const identity = path.join(local, 'key');
  const ssh = await run(['machine', 'ssh', id, '--identity-file', identity, '--', 'echo "<$A>"; exit 7']);
  assert.deepEqual([ssh.stdout, ssh.code], ['<b c>\n', 7], ssh.stderr);
  assert.match(await good('machine', 'ssh', id, '--identity-file', identity, '--print'), /^ssh .* root@127\.0\.0\.1$/);
  assert.equal((await json('machine', 'ssh', id, '--identity-file', identity)).user, 'root');
});

test('code runs in a context that remembers', async () => {
  const machine = await good('machine', 'create', '--template', 'code-interpreter', ...SMALL);
  const hasPython = (await run(['machine', 'exec', machine, '--', 'python3', '-c', '1'])).code === 0;
  const language = hasPython ? 'python' : 'bash';
  if (hasPython) {
    assert.equal(await good('machine', 'code', machine, 'x = 20; print("out"); x + 1'), 'out\n21');
    const failed = await run(['machine', 'code', machine, 'x / 0']);
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /ZeroDivisionError/);
    assert.equal((await json('machine', 'code', machine, 'x')).results[0].text, '20');
  } else {
    assert.equal((await run(['machine', 'code', machine, '-l', language, 'echo'])).code, 1, 'bash needs python3 too');
  }
  await good('machine', 'kill', machine);
});

test('a machine is paused, resumed, forked and killed', async () => {
  assert.match(await good('machine', 'pause', id), /^snap_/);
  assert.equal((await json('machine', 'get', id)).status, 'paused');
  assert.equal(await good('machine', 'resume', id), id);
  const fork = await good('machine', 'fork', id);
  assert.notEqual(fork, id);
  assert.deepEqual(await json('machine', 'kill', fork), { killed: [fork] });
  assert.equal((await run(['machine', 'get', fork])).code, 4);
});

test('a warm pool is made, waited for, used, changed and deleted', async () => {
  const pool = await good(
    'warm-pool',
    'create',
    'base',
    '--name',
    'cli',
    '--min-ready',
    '1',
    '--max-ready',
    '1',
    ...SMALL,
  );
  assert.equal((await json('warm-pool', 'wait', pool, '--timeout', '60')).status.ready, 1);
  const made = await good('machine', 'create', '--warm-pool', pool, '--warm-pool-mode', 'require', ...SMALL);
  await good('machine', 'kill', made);
  assert.ok((await good('warm-pool', 'list')).includes(pool));
  assert.match(await good('warm-pool', 'disable', pool), /state +disabled/);
  assert.equal((await json('warm-pool', 'update', pool, '--max-ready', '2')).maxReady, 2);
  assert.equal(await good('warm-pool', 'delete', pool), pool);
});

test('events are listed', async () => {
  const events = await json('events', '--machine', id, '--operation', 'create');
  assert.deepEqual(events.map(({ operation }) => operation)[0], 'create');
});

test('the doctor says what works', async () => {
  assert.match(await good('doctor'), /API +answers/);
  const { code, stdout } = await run(['doctor', '--json'], { NULLSPACE_API_KEY: 'wrong' });
  assert.equal(code, 3);
  assert.match(JSON.parse(stdout).problem, /key/i);
});

test('errors say what is wrong, with an exit code of their kind', async () => {
  assert.equal((await run(['machine', 'get', 'mch_none'])).code, 4);
  assert.equal((await run(['machine', 'list'], { NULLSPACE_API_KEY: 'wrong' })).code, 3);
  const usage = await run(['machine', 'create', '--vcpus', 'many']);
  assert.equal(usage.code, 2);
  assert.match(usage.stderr, /Give a number/);
  assert.equal((await run(['machine', 'destroy'])).code, 2);
  const refused = await run(['machine', 'create', '--vcpus', '0', '--json']);
  assert.equal(refused.code, 2);
  assert.match(JSON.parse(refused.stderr).error.message, /vcpus/);
  assert.equal((await run(['machine', 'list'], { NULLSPACE_API_URL: 'http://127.0.0.1:9' })).code, 1);
});

test('the engine is started when there is one, else it says how to get one', async () => {
  const none = await run(['engine', '--listen', '127.0.0.1:0']);
  assert.equal(none.code, 1);
  assert.match(none.stderr, /no nullspace-engine was found/);
  const child = spawn(program, ['engine', '--listen', '127.0.0.1:0', '--state', path.join(local, 'state')], {
    env: { ...environment, NULLSPACE_ENGINE: binary },
  });
  child.stderr.resume();
  const address = await new Promise((resolve) =>
    child.stdout.on('data', (bytes) => /NULLSPACE_API_URL=/.test(bytes) && resolve(String(bytes))),
  );
  assert.match(address, /http:\/\/127\.0\.0\.1:\d+/);
  child.kill('SIGTERM');
  assert.equal(await new Promise((resolve) => child.once('close', resolve)), 0);
});

test('completions are what a shell can read', async () => {
  const script = await good('completion', 'bash');
  execFileSync('bash', ['-n'], { input: script });
  const words = execFileSync(
    'bash',
    ['-c', `${script}\nCOMP_WORDS=(nullspace machine ""); COMP_CWORD=2; _nullspace; echo "\${COMPREPLY[*]}"`],
    { encoding: 'utf8' },
  );
  for (const verb of ['create', 'exec', 'shell', 'cp', 'fork']) assert.ok(words.split(/\s+/).includes(verb), words);
  assert.match(await good('completion', 'fish'), /complete -c nullspace/);
  assert.equal((await run(['completion', 'tcsh'])).code, 2);
});

test('the last machine is killed', async () => {
  assert.equal(await good('machine', 'kill', id), id);
});
