// `nullspace volume ls|cp|cat|rm` on files of volumes.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { startCli } from './support/cli.mjs';

const { local, run, good } = await startCli();
const id = await good('volume', 'create', 'cli-files');
const at = (...parts) => path.join(local, ...parts);

test('files go into a volume and come back, without a machine', async () => {
  mkdirSync(at('tree/sub'), { recursive: true });
  const bytes = randomBytes(200_000);
  writeFileSync(at('tree/sub/bytes'), bytes);
  writeFileSync(at('tool'), 'run me');
  chmodSync(at('tool'), 0o755);
  await good('volume', 'cp', 'tree', `${id}:/tree`);
  await good('volume', 'cp', 'tool', `${id}:/`);
  await good('cp', `${id}:/tree`, 'back');
  assert.ok(readFileSync(at('back/sub/bytes')).equals(bytes));
  await good('volume', 'cp', `${id}:/tool`, 'copy');
  assert.equal(statSync(at('copy')).mode & 0o777, 0o755);
  const sent = await run(['volume', 'cp', '-', `${id}:/sent`], {}, { input: 'typed' });
  assert.equal(sent.code, 0, sent.stderr);
  assert.equal(await good('volume', 'cat', `${id}:/sent`, `${id}:/tool`), 'typedrun me');
});

test('files are listed for people and for programs', async () => {
  assert.match(await good('volume', 'ls', id), /^-rwxr-xr-x +root +6 .* \/tool$/m);
  assert.equal(await good('volume', 'ls', `${id}:/tree`, '--depth', '1', '-q'), '/tree/sub\n/tree/sub/bytes');
  const listed = JSON.parse(await good('volume', 'ls', `${id}:/tree`, '--json'));
  assert.deepEqual([listed.length, listed[0].path, listed[0].isDir], [1, '/tree/sub', true]);
  assert.match(await good('volume', 'ls'), /cli-files/);
});

test('files are removed by their paths, and the volume by its id alone', async () => {
  assert.equal(await good('volume', 'rm', `${id}:/tree`, `${id}:/tool`), `${id}:/tree\n${id}:/tool`);
  assert.equal(await good('volume', 'ls', id, '-q'), '/sent');
  for (const place of [`${id}:`, 'mch_1:/a', 'x:/a']) {
    const refused = await run(['volume', 'rm', place]);
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, /ID:PATH/);
  }
  assert.equal((await run(['volume', 'cat', `${id}:/none`])).code, 4);
  assert.equal((await run(['volume', 'cp', 'a', 'b'])).code, 2);
  await good('volume', 'rm', id);
});
