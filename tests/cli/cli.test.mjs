// `npx nullspace` of the packed package, against an engine.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { needsRoot } from '../../scripts/lib/engine.mjs';
import { program, SMALL, startCli } from './support/cli.mjs';

const { binary, engine, local, environment, run, good, json, start } = await startCli();

const id = await good('machine', 'create', ...SMALL, '--env', 'A=b c', '--metadata', 'run=cli', '--egress', 'deny_all');

test('a machine is made, listed and described', async () => {
  assert.match(id, /^mch_\w+$/);
  const rows = await good('machine', 'list', '--metadata', 'run=cli');
  assert.match(rows, /^ID +STATUS +TEMPLATE +CREATED +LEFT +METADATA\n/);
  assert.match(rows, new RegExp(`^${id} +running +base +20\\d\\d-[-\\d]+ [:\\d]+ +(5m00s|4m\\d\\ds) +run=cli$`, 'm'));
  assert.equal(await good('ls', '--quiet', '--metadata', 'run=cli'), id);
  assert.equal(await good('machine', 'ls', '-q', '--metadata', 'run=none'), '');
  assert.deepEqual(
    (await json('machine', 'list', '--state', 'running')).map((info) => info.id),
    [id],
  );
  const info = await json('machine', 'get', id);
  assert.deepEqual([info.id, info.config, info.metadata], [id, { vcpus: 1, memoryMb: 64 }, { run: 'cli' }]);
  assert.match(await good('machine', 'connect', id, '--timeout', '500'), /status +running/);
});

test('a policy of names is given and shown', async () => {
  const flags = ['--allow-domain', '*.npmjs.org', '--allow-domain', 'db.internal:5432', '--deny-domain', 'x.npmjs.org'];
  const named = await good('machine', 'create', ...SMALL, ...flags);
  const shown = await good('machine', 'get', named);
  assert.match(shown, /egress +custom \+\*\.npmjs\.org \+db\.internal:5432 -x\.npmjs\.org/);
  await good('machine', 'kill', named);
  const { code, stderr } = await run(['machine', 'create', '--allow-domain', 'https://a.test']);
  assert.equal(code, 2);
  assert.match(stderr, /--allow-domain/);
});

test('a secret is that of a variable, and the machine does not have it', async () => {
  const flags = ['--secret', 'API_KEY@api.example,b.example:8443/v1', '--secret-header', 'API_KEY=x-api-key'];
  const made = await run(['machine', 'create', ...SMALL, ...flags], { API_KEY: 'sk-distinct' });
  assert.equal(made.code, 0, made.stderr);
  const machine = made.stdout.trim();
  const [{ name, hosts, header, baseUrl }] = (await json('machine', 'get', machine)).network.secrets;
  assert.deepEqual([name, hosts, header], ['API_KEY', ['api.example', 'b.example:8443'], 'x-api-key']);
  assert.equal(await good('exec', machine, '--', 'printenv', 'API_BASE_URL'), baseUrl);
  assert.ok(!(await good('exec', machine, 'env')).includes('sk-distinct'));
  await good('machine', 'kill', machine);
  for (const wrong of [
    ['--secret', 'API_KEY=sk-distinct'],
    ['--secret', 'NOT_SET@api.example'],
    ['--secret-header', 'API_KEY=x-api-key'],
  ])
    assert.equal((await run(['machine', 'create', ...wrong])).code, 2, wrong.join(' '));
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
  let seen = '';
  for (let tries = 0; seen !== 'logged' && tries < 50; tries++) seen = await good('machine', 'logs', id, pid);
  assert.equal(seen, 'logged');
  const slow = await good('exec', '--detach', '--shell', id, 'for n in 1 2 3; do echo $n; sleep 0.2; done');
  assert.equal(await good('logs', '--follow', id, slow), '1\n2\n3');
  const silent = await good('exec', '--detach', id, 'sleep', '60');
  const following = start(['logs', '-f', id, silent]);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  following.child.kill('SIGINT');
  assert.equal(await following.ended, 130);
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

test('a machine with a name is made once', async () => {
  const named = await good('machine', 'create', '--name', 'cli-name', '--memory-mb', '64');
  assert.equal(await good('machine', 'create', '--name', 'cli-name', '--memory-mb', '64'), named);
  await good('machine', 'kill', named);
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

test('snapshots are kept, listed and deleted', async () => {
  const snapshot = await good('snapshot', 'create', id);
  assert.match(snapshot, /^snap_\w+$/);
  const named = await good('snapshot', 'create', id, '--name', 'cli', '-m', 'a=b');
  assert.equal(await good('snapshot', 'list', '-q', '--name', 'cli', '-m', 'a=b'), named);
  await good('snapshot', 'delete', named);
  assert.ok((await good('snapshot', 'list', '-q', '--machine', id)).split('\n').includes(snapshot));
  assert.match(await good('snapshot', 'get', snapshot), new RegExp(`machine +${id}`));
  assert.equal(await good('snapshot', 'delete', snapshot), snapshot);
  assert.equal((await run(['snapshot', 'get', snapshot])).code, 4);
});

test('volumes are made, mounted and deleted', async () => {
  const volume = await good('volume', 'create', 'cli-data');
  assert.match(await good('volume', 'ls'), new RegExp(`^${volume} +cli-data +`, 'm'));
  const mounted = await good('run', ...SMALL, '-v', 'cli-data:/in', '-s', 'echo kept > /in/file; cat /in/file');
  assert.equal(mounted, 'kept');
  assert.match(await good('volume', 'get', volume), /files +[1-9]/);
  assert.equal(await good('volume', 'rm', volume), volume);
  assert.equal((await run(['volume', 'get', volume])).code, 4);
});

test('a volume is mounted in a machine that runs, and taken out', {
  skip: needsRoot,
}, async () => {
  const volume = await good('volume', 'create', 'cli-attached');
  assert.match(await good('volume', 'attach', volume, id, '/data', '--read-only'), /mode +read only/);
  assert.equal((await run(['exec', id, 'touch', '/data/x'])).code, 1);
  assert.match(await good('volume', 'detach', id, '/data'), /state +\w+/);
  assert.equal(await good('volume', 'rm', volume), volume);
});

test('a port has an address, and a machine says what it uses', async () => {
  assert.match(await good('url', id, '8080'), /^http:\/\//);
  assert.match((await json('url', id, '8080')).url, /^http:\/\//);
  const silent = await run(['url', id, '8080', '--wait', '--timeout', '1']);
  assert.equal(silent.code, 1);
  assert.match(silent.stderr, /port 8080 does not answer/);
  assert.match(await good('metrics', id), /memory +[\d.]+ \w+ of 64\.0 MiB/);
});

test('changes of files are told as they happen', async () => {
  const watching = start(['watch', id, '/workspace']);
  // The watch may begin between the creation of one file and the change of its times, so any first event will not do.
  const created = /^20\d\d-.* {2}create {2}\/workspace\/seen-\d+$/m;
  for (let tries = 0; !created.test(watching.output()) && tries < 50; tries++)
    await good('exec', id, '--', 'touch', `/workspace/seen-${tries}`);
  assert.match(watching.output(), created);
  watching.child.kill('SIGINT');
  assert.equal(await watching.ended, 130);
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
    '--label',
    'team=a=b',
    ...SMALL,
  );
  assert.deepEqual((await json('warm-pool', 'get', pool)).labels, { team: 'a=b' });
  assert.equal((await run(['warm-pool', 'update', pool, '--label', 'team'])).code, 2);
  assert.equal((await json('warm-pool', 'wait', pool, '--timeout', '60')).status.ready, 1);
  const made = await good('machine', 'create', '--warm-pool', pool, '--warm-pool-mode', 'require', ...SMALL);
  await good('machine', 'kill', made);
  assert.ok((await good('warm-pool', 'list')).includes(pool));
  assert.match(await good('warm-pool', 'disable', pool), /state +disabled/);
  assert.equal((await json('warm-pool', 'update', pool, '--max-ready', '2')).maxReady, 2);
  assert.equal(await good('warm-pool', 'delete', pool), pool);
});

test('events are listed with their times', async () => {
  const events = await json('events', '--machine', id, '--operation', 'create');
  assert.deepEqual(events.map(({ operation }) => operation)[0], 'create');
  const [head, ...rows] = (await good('events', '--machine', id)).split('\n');
  assert.match(head, /^TIME +OPERATION +STATUS +MACHINE/);
  for (const row of rows) assert.match(row, /^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d {2}\w+/);
});

test('events that are followed begin now', async () => {
  const following = start(['events', '--follow']);
  // Nothing tells when it is connected: machines are made until one is heard of.
  const seen = following.heard(/create +succeeded/);
  const made = [];
  for (let heard = false; !heard; ) {
    made.push(await good('machine', 'create', ...SMALL));
    heard = await Promise.race([seen.then(() => true), new Promise((r) => setTimeout(r, 300, false))]);
  }
  following.child.kill('SIGINT');
  assert.equal(await following.ended, 130);
  for (const line of following.output().trim().split('\n'))
    assert.ok(
      made.some((one) => line.includes(one)),
      line,
    );
  await good('rm', ...made);
});

test('the doctor says what works, and where the address and the key came from', async () => {
  const healthy = await good('doctor');
  assert.match(healthy, /API +answers/);
  assert.match(healthy, /address +http:\/\/127\.0\.0\.1:\d+, from NULLSPACE_API_URL of the environment/);
  assert.match(healthy, /key +from NULLSPACE_API_KEY of the environment/);
  const found = await run(['doctor'], { NULLSPACE_ENGINE: binary });
  assert.match(found.stdout, /engine +.*nullspace-engine \d+\.\d+\.\d+, from NULLSPACE_ENGINE/);
  const down = await run(['doctor'], { NULLSPACE_API_URL: '', NULLSPACE_ENGINE: binary });
  if (down.code !== 0) {
    assert.match(down.stdout, /address +http:\/\/localhost:3000, from the default/);
    assert.match(down.stdout, /to do +(start an engine|the key of|an engine of yours)/);
  }
  mkdirSync(path.join(local, '.nullspace'), { recursive: true });
  const config = path.join(local, '.nullspace/config.json');
  writeFileSync(config, JSON.stringify({ api_key: engine.apiKey, base_url: engine.url }));
  const configured = await run(['doctor'], { NULLSPACE_API_URL: '', NULLSPACE_API_KEY: '' });
  rmSync(config);
  assert.equal(configured.code, 0, configured.stdout);
  assert.ok(configured.stdout.includes(`key      from ${config}`), configured.stdout);
  const { code, stdout } = await run(['doctor', '--json'], { NULLSPACE_API_KEY: 'wrong' });
  assert.equal(code, 3);
  assert.match(JSON.parse(stdout).problem, /key/i);
});

test('help says of a flag what its option is, with its range and default', async () => {
  const help = (await good('machine', 'create', '--help')).replaceAll(/\s+/g, ' ');
  for (const line of [
    '--vcpus <n> processors, 1 to 256 (default: 2)',
    '--warm-pool-wait-ms <ms> milliseconds to wait for a ready machine, 0 to 600000 (default: 0)',
    '-e, --env <name=value> environment of every command; repeatable',
  ])
    assert.ok(help.includes(line), line);
  const change = (await good('warm-pool', 'update', '--help')).replaceAll(/\s+/g, ' ');
  assert.ok(change.includes('--min-ready <n> machines to hold ready, 0 to 100 --max-ready'), change);
});

test('errors say what is wrong, with an exit code of their kind', async () => {
  assert.equal((await run(['machine', 'get', 'mch_none'])).code, 4);
  assert.equal((await run(['machine', 'list'], { NULLSPACE_API_KEY: 'wrong' })).code, 3);
  const usage = await run(['machine', 'create', '--vcpus', 'many']);
  assert.equal(usage.code, 2);
  assert.match(usage.stderr, /Give a number/);
  assert.equal((await run(['machine', 'destroy'])).code, 2);
  const refused = await run(['machine', 'create', '--memory-mb', '0', '--json']);
  assert.equal(refused.code, 2);
  assert.match(JSON.parse(refused.stderr).error.message, /^--memory-mb /);
  assert.match((await run(['machine', 'create', '--warm-pool-wait-ms', '-1'])).stderr, /error: --warm-pool-wait-ms /);
  assert.match((await run(['exec', '--timeout', '0', id, 'ls'])).stderr, /error: --timeout /);
  const unreachable = await run(['ls'], { NULLSPACE_API_URL: 'http://127.0.0.1:9' });
  assert.match(unreachable.stderr, /`npx nullspace engine`/);
  assert.equal((await run(['machine', 'list'], { NULLSPACE_API_URL: 'http://127.0.0.1:9' })).code, 1);
});

test('without the program of an engine it is said how to get one', async () => {
  // Of this computer's programs only the one that runs it: no container command line either.
  const bin = path.join(local, 'bin');
  mkdirSync(bin);
  symlinkSync(process.execPath, path.join(bin, 'node'));
  const none = await run(['engine', '--port', '0'], { PATH: bin });
  assert.equal(none.code, 1);
  assert.match(none.stderr, /no nullspace-engine was found/);
});

test('completions are what a shell can read, and offer ids', async () => {
  const script = await good('completion', 'bash');
  execFileSync('bash', ['-n'], { input: script });
  const complete = (...words) => {
    const typed = words.map((word) => `'${word}'`).join(' ');
    const code = `${script}\nCOMP_WORDS=(nullspace ${typed}); COMP_CWORD=${words.length}; _nullspace; echo "\${COMPREPLY[*]}"`;
    const env = { ...environment, PATH: `${path.dirname(program)}:${environment.PATH}` };
    return execFileSync('bash', ['-c', code], { encoding: 'utf8', env }).trim().split(/\s+/);
  };
  const verbs = complete('machine', '');
  for (const verb of ['create', 'exec', 'shell', 'cp', 'fork']) assert.ok(verbs.includes(verb), String(verbs));
  assert.ok(complete('exec', '').includes(id));
  assert.deepEqual(complete('machine', 'get', id.slice(0, 6)), [id]);
  assert.deepEqual(complete('machine', 'get', 'mch_none'), ['']);
  assert.ok(!complete('exec', id, '').includes(id));
  assert.match(await good('completion', 'fish'), /complete -c nullspace/);
  assert.equal((await run(['completion', 'tcsh'])).code, 2);
});

test('the last machine is killed', async () => {
  assert.equal(await good('machine', 'kill', id), id);
});
