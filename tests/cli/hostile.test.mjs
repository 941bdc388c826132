// A server, or a machine, that is not to be trusted: what it says is shown and copied, and does nothing else.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';

import { cleanUpOnSignals, endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { program } from './support/cli.mjs';

cleanUpOnSignals();
const local = temporaryDirectory('hostile');
const machine = (id, more) => ({
  id,
  status: 'running',
  template: 'base',
  config: { vcpus: 1, memory_mb: 64 },
  created_at: '2026-01-01T00:00:00Z',
  metadata: {},
  ...more,
});
let answers = {};
const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://x');
  const found = answers[`${pathname} ${searchParams.get('path') ?? ''}`.trim()] ?? answers[pathname];
  if (Buffer.isBuffer(found)) return response.end(found);
  response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' });
  return response.end(JSON.stringify(found ?? { error: 'no such thing', code: 'not_found' }));
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
after(async () => {
  server.closeAllConnections();
  server.close();
  removeDirectory(local);
  await endAll();
});
const env = {
  PATH: `${path.dirname(program)}:${process.env.PATH}`,
  HOME: local,
  NULLSPACE_API_URL: `http://127.0.0.1:${server.address().port}`,
  NULLSPACE_API_KEY: 'k',
};
const run = (...args) =>
  new Promise((resolve) =>
    execFile(program, args, { env, cwd: local, timeout: 30_000 }, (error, stdout, stderr) =>
      resolve({ code: error ? error.code : 0, stdout, stderr }),
    ),
  );

test('the user name of an answer is no option of ssh', async () => {
  const mark = path.join(local, 'ran');
  answers = {
    '/v1/machines/mch_1': machine('mch_1'),
    '/v1/machines/mch_1/ssh-access': {
      certificate: 'ssh-ed25519-cert-v01@openssh.com AAAA',
      host: '127.0.0.1',
      port: 9,
      user: `-oProxyCommand=touch ${mark};:`,
      expires_at: '2040-01-01T00:00:00Z',
      access_id: 'ssh_1',
      command: 'ssh',
      host_key: 'ssh-ed25519 AAAA',
    },
  };
  const { code, stderr } = await run('machine', 'ssh', 'mch_1', '--', 'uptime');
  assert.equal(code, 1);
  assert.match(stderr, /`user` that is not the name of a user/);
  assert.ok(!existsSync(mark));
});

test('names of files lead nowhere else', async () => {
  for (const name of ['../planted', '..', '/etc/planted', 'a/b', '', 'a\0b']) {
    const listed = [{ name, path: `/d/${name}`, is_dir: false, size: 1, type: 'file', mode: '0644' }];
    answers = {
      '/v1/machines/mch_1': machine('mch_1'),
      '/v1/machines/mch_1/files/info': { name: 'd', path: '/d', is_dir: true, size: 0, type: 'dir' },
      '/v1/machines/mch_1/files/stat': { name: 'd', path: '/d', is_dir: true, size: 0, type: 'dir' },
      '/v1/machines/mch_1/files/list': listed,
      '/v1/machines/mch_1/files': listed,
    };
    const { code, stderr } = await run('cp', 'mch_1:/d', 'into');
    assert.equal(code, 1, stderr);
    assert.match(stderr, /names a file/);
    assert.ok(!existsSync(path.join(local, 'planted')));
    assert.deepEqual(readdirSync(path.join(local, 'into')), []);
  }
});

test('control characters do not reach the terminal', async () => {
  answers = {
    '/v1/machines': {
      items: [machine('mch_1', { template: 'a\u001b]0;x\u0007\nb', metadata: { 'k\u009b': 'v\u202e' } })],
      has_next: false,
    },
    '/v1/machines/mch_1': machine('mch_1', { error_message: 'a\u001b[2J' }),
    '/v1/machines/mch_1/fork': machine('mch_\u001b[1m'),
  };
  for (const { stdout, stderr } of [
    await run('ls'),
    await run('machine', 'fork', 'mch_1'),
    await run('machine', 'get', 'mch_1'),
    await run('machine', 'get', 'mch_\u001b[1m'),
  ])
    assert.ok(!/[\p{Cc}\p{Cf}]/u.test((stdout + stderr).replaceAll('\n', '')), JSON.stringify(stdout + stderr));
  assert.equal((await run('ls')).stdout.trim().split('\n').length, 2);
});

test('ids are completed and never run', async () => {
  const mark = path.join(local, 'completed');
  answers = {
    '/v1/machines': {
      items: [machine('mch_1'), machine(`$(touch ${mark})`), machine(`\`touch ${mark}\``), machine('x y')],
      has_next: false,
    },
  };
  const { stdout } = await run('completion', 'bash');
  writeFileSync(path.join(local, 'script'), stdout);
  const code = `. ${path.join(local, 'script')}; COMP_WORDS=(nullspace exec ''); COMP_CWORD=2; _nullspace; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const completed = await promisify(execFile)('bash', ['-c', code], { env });
  const words = completed.stdout.trim().split('\n');
  assert.deepEqual(
    words.filter((word) => !word.startsWith('-')),
    ['mch_1'],
  );
  assert.ok(!existsSync(mark));
});
