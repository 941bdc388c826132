// `nullspace exec` and `run`: a command in a machine as if it ran here.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';

import { program, SMALL, startCli } from './support/cli.mjs';

const { environment, run, good, json, start } = await startCli();
const id = await good('machine', 'create', ...SMALL, '--timeout', '600', '--env', 'A=b');

test('bytes pass unchanged, in and out', async () => {
  const bytes = Buffer.concat([randomBytes(300_000), Buffer.from('é€😀'), Buffer.from([0xf0, 0x9f])]);
  const echoed = await run(['exec', id, 'cat'], {}, { input: bytes, encoding: 'buffer' });
  assert.deepEqual([echoed.code, echoed.stderr.length], [0, 0]);
  assert.ok(echoed.stdout.equals(bytes), `${bytes.length} bytes in, ${echoed.stdout.length} out`);
  const split = await run(
    ['exec', id, '-s', `printf '\\303'; sleep 0.3; printf '\\251\\377'; printf '\\377' >&2`],
    {},
    { encoding: 'buffer' },
  );
  assert.deepEqual([[...split.stdout], [...split.stderr]], [[0xc3, 0xa9, 0xff], [0xff]]);
});

test('standard input ends where ours does, or is left alone', async () => {
  const counted = await run(['exec', id, 'wc', '-c'], {}, { input: 'x'.repeat(1_000_000) });
  assert.equal(counted.stdout.trim(), '1000000');
  // One that is not read to its end is nobody's loss.
  const head = await run(['exec', id, 'head', '-c', '1'], {}, { input: 'x'.repeat(1_000_000) });
  assert.deepEqual([head.code, head.stdout, head.stderr], [0, 'x', '']);
  const loop = spawnSync('sh', ['-c', `while read -r line; do "${program}" exec -n ${id} echo "$line"; done`], {
    env: environment,
    input: '1\n2\n',
    encoding: 'utf8',
  });
  assert.equal(loop.stdout, '1\n2\n', loop.stderr);
  // Nothing is there to be read, and nothing is waited for.
  const nothing = openSync('/dev/null', 'r');
  const none = spawnSync(program, ['exec', id, 'cat'], {
    env: environment,
    stdio: [nothing, 'pipe', 'pipe'],
    timeout: 20_000,
  });
  closeSync(nothing);
  assert.equal(none.status, 0);
});

test('a conversation goes both ways while the command runs', async () => {
  const bc = start(['exec', id, '-s', 'while read -r line; do echo "got $line"; done']);
  bc.child.stdin.write('one\n');
  await bc.heard(/got one/);
  bc.child.stdin.write('two\n');
  await bc.heard(/got two/);
  bc.child.stdin.end();
  assert.equal(await bc.ended, 0);
});

test('options before the command are ours, those behind it are its own', async () => {
  assert.equal(await good('exec', id, 'printf', '%s|', '-e', '--json', '--', '--help'), '-e|--json|--|--help|');
  assert.equal(await good('exec', id, '-e', 'B=c', '--', 'printenv', 'A', 'B'), 'b\nc');
  assert.equal(await good('exec', '-e', 'A=1', id, '-e', 'B=2', 'printenv', 'A', 'B'), '1\n2');
  assert.equal(await good('machine', 'exec', '--cwd', '/tmp', id, 'pwd'), '/tmp');
  assert.equal((await json('exec', id, '--json', '--', 'echo', 'x')).stdout === undefined, false);
  assert.equal((await run(['exec', id, '--nonsense', 'ls'])).code, 2);
  assert.equal((await run(['exec', id])).code, 2);
  assert.match(await good('exec', '--help'), /--timeout <seconds>/);
});

test('exit codes are those of shells', async () => {
  assert.equal((await run(['exec', id, 'sh', '-c', 'exit 7'])).code, 7);
  const none = await run(['exec', id, 'no-such-program']);
  assert.deepEqual([none.code, none.stdout], [127, '']);
  assert.match(none.stderr, /^error: .*no-such-program/);
  assert.equal((await run(['exec', id, '/etc/passwd'])).code, 126);
  assert.equal((await run(['exec', id, '--', 'sh', '-c', 'kill -9 $$'])).code, 137);
  const late = await run(['exec', '--timeout', '1', id, 'sleep', '30']);
  assert.equal(late.code, 124);
  assert.match(late.stderr, /longer than 1 s/);
  assert.equal((await run(['exec', 'mch_none', 'true'])).code, 4);
});

test('Ctrl-C ends the command, and us with 130', async () => {
  const running = start(['exec', id, '-s', 'echo begun; sleep 4321']);
  await running.heard(/begun/);
  running.child.kill('SIGINT');
  assert.equal(await running.ended, 130);
  const left = async () => (await run(['exec', id, '-s', 'ps | grep -c "[s]leep 4321"'])).stdout.trim();
  for (let tries = 0; (await left()) !== '0'; tries++) assert.ok(tries < 20, 'it still runs');
});

test('a reader that goes ends the command, and is no error', () => {
  const { stdout, status } = spawnSync('sh', ['-c', `"${program}" exec ${id} yes | head -n 1`], {
    env: environment,
    encoding: 'utf8',
    timeout: 30_000,
  });
  assert.deepEqual([stdout, status], ['y\n', 0]);
});

test('a terminal runs a command and shows nothing else', async () => {
  const ran = await run(['exec', '-t', id, 'sh', '-c', 'test -t 1 && echo "<$A>"; exit 5']);
  assert.deepEqual([ran.code, ran.stdout], [5, '<b>\r\n'], ran.stderr);
  assert.equal((await run(['exec', '-it', '-s', id, 'cat; exit 3'], {}, { input: 'typed\n\u0004' })).code, 3);
  assert.equal((await run(['exec', '-t', id, 'no-such-program'])).code, 127);
  assert.equal((await run(['exec', '-t', '--timeout', '1', id, 'ls'])).code, 2);
});

test('run makes a machine for one command and destroys it', async () => {
  const machines = async () => (await good('ls', '-q')).split('\n');
  const before = await machines();
  assert.equal(await good('run', ...SMALL, '-e', 'X=y', '--', 'sh', '-c', 'echo "$X$0"', '-z'), 'y-z');
  assert.equal((await run(['run', ...SMALL, 'sh', '-c', 'cat; exit 9'], {}, { input: 'in' })).code, 9);
  const line = await run(['run', ...SMALL, 'ls -la']);
  assert.equal(line.code, 127);
  assert.match(line.stderr, /or use --shell for a line of a shell/);
  assert.deepEqual(await machines(), before);
  const kept = await run(['run', ...SMALL, '--keep', 'true']);
  assert.match(kept.stderr, /^mch_\w+\n$/);
  const detached = await good('run', ...SMALL, '-d', '--lease', '60', 'sleep', '30');
  assert.match(detached, /^mch_\w+$/);
  assert.equal(await good('rm', kept.stderr.trim(), detached), `${kept.stderr.trim()}\n${detached}`);
  assert.equal((await run(['run', ...SMALL])).code, 2);
});

test('run that is interrupted leaves no machine', async () => {
  const before = await good('ls', '-q');
  const running = start(['run', ...SMALL, '-s', 'echo begun; sleep 100']);
  await running.heard(/begun/);
  running.child.kill('SIGTERM');
  assert.equal(await running.ended, 143);
  assert.equal(await good('ls', '-q'), before);
});

test('a terminal that is told to end takes its command along', async () => {
  const running = start(['exec', '-it', '-s', id, 'echo begun; sleep 4321']);
  await running.heard(/begun/);
  running.child.kill('SIGTERM');
  assert.equal(await running.ended, 143);
});
