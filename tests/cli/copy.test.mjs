// `nullspace cp`: files and directories, both ways.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { SMALL, startCli } from './support/cli.mjs';

const { local, run, good } = await startCli();
const id = await good('machine', 'create', ...SMALL, '--timeout', '600');
const at = (...parts) => path.join(local, ...parts);
const modeOf = (file) => (statSync(file).mode & 0o777).toString(8);

test('a directory comes back as it went, with permissions and links', async () => {
  mkdirSync(at('tree/sub/empty'), { recursive: true });
  writeFileSync(at('tree/run.sh'), '#!/bin/sh\n');
  chmodSync(at('tree/run.sh'), 0o750);
  const bytes = randomBytes(200_000);
  writeFileSync(at('tree/sub/bytes'), bytes);
  symlinkSync('../run.sh', at('tree/sub/link'));
  await good('cp', 'tree', `${id}:/workspace/tree`);
  await good(
    'exec',
    id,
    '-s',
    'cd /workspace/tree && ln -s /etc/passwd out && ln -s ../../x up && ln -s .. sub/top && ln -s top/../.. sub/chain && mkfifo pipe && chmod 555 sub/empty',
  );
  const copied = await run(['cp', `${id}:/workspace/tree`, 'back']);
  assert.equal(copied.code, 0, copied.stderr);
  assert.match(copied.stdout, /^back {2}2 files, 200010 bytes\n$/);
  assert.ok(readFileSync(at('back/sub/bytes')).equals(bytes));
  assert.deepEqual([modeOf(at('back/run.sh')), modeOf(at('back/sub/empty'))], ['750', '555']);
  assert.equal(readlinkSync(at('back/sub/link')), '../run.sh');
  assert.equal(readlinkSync(at('back/sub/top')), '..');
  for (const name of ['out', 'up', 'pipe', 'sub/chain']) {
    assert.ok(copied.stderr.includes(`/workspace/tree/${name} is left out`), copied.stderr);
    assert.ok(!existsSync(at('back', name)));
  }
});

test('a directory joins what is there, and never through a link that is there', async () => {
  mkdirSync(at('joined'));
  mkdirSync(at('elsewhere'));
  writeFileSync(at('joined/mine'), 'mine');
  assert.equal((await run(['cp', '-q', `${id}:/workspace/tree`, 'joined'])).code, 0);
  assert.equal(readFileSync(at('joined/mine'), 'utf8'), 'mine');
  assert.ok(existsSync(at('joined/run.sh')));
  mkdirSync(at('trap'));
  symlinkSync(at('elsewhere'), at('trap/sub'));
  assert.notEqual((await run(['cp', `${id}:/workspace/tree`, 'trap'])).code, 0);
  assert.ok(!existsSync(at('elsewhere/bytes')));
  await run(['cp', '-q', `${id}:/workspace/tree`, 'joined/']);
  assert.ok(existsSync(at('joined/tree/run.sh')), 'a slash at the end means: into it');
});

test('a file keeps its permissions, and its name in a directory', async () => {
  writeFileSync(at('tool'), 'run me');
  chmodSync(at('tool'), 0o755);
  await good('cp', 'tool', `${id}:/workspace`);
  assert.equal(await good('exec', id, 'stat', '-c', '%a', '/workspace/tool'), '755');
  await good('cp', `${id}:/workspace/tool`, '.');
  mkdirSync(at('bin'));
  await good('cp', `${id}:/workspace/tool`, 'bin');
  assert.equal(modeOf(at('bin/tool')), '755');
  await good('exec', id, 'ln', '-sf', 'tool', '/workspace/short');
  await good('cp', `${id}:/workspace/short`, 'long');
  assert.ok(lstatSync(at('long')).isFile());
  assert.equal(readFileSync(at('long'), 'utf8'), 'run me');
});

test('- is standard input and output', async () => {
  const bytes = randomBytes(100_000);
  const sent = await run(['cp', '-', `${id}:/workspace/sent`], {}, { input: bytes });
  assert.equal(sent.code, 0, sent.stderr);
  const got = await run(['cp', `${id}:/workspace/sent`, '-'], {}, { encoding: 'buffer' });
  assert.ok(got.stdout.equals(bytes), `${got.stdout.length} bytes`);
  assert.ok(!existsSync(at('-')));
  assert.equal((await run(['cp', `${id}:/workspace/tree`, '-'])).code, 2);
  assert.equal((await run(['cp', `${id}:/none`, '-'])).code, 4);
});
