// `npx nullspace template ...` against an engine: what is built is what machines start from.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { SMALL, startCli } from './support/cli.mjs';

const { local, run, good, json } = await startCli();
const ALONE = ['--vcpus', '1', '--memory-mb', '256', '--no-internet'];

mkdirSync(path.join(local, 'app/src'), { recursive: true });
writeFileSync(path.join(local, 'app/src/hello.sh'), 'echo "$GREETING from $(pwd)"');

test('a template is built, used, tagged and deleted', async () => {
  const steps = ['--from', 'base', '--copy', 'src:/srv/app', '--workdir', '/srv/app', '--run', 'chmod 755 hello.sh'];
  const built = await run(['template', 'build', 'cli-app:stable', 'app', ...steps, '--env', 'GREETING=hi', ...ALONE]);
  assert.equal(built.code, 0, built.stderr);
  assert.match(built.stdout, /^\w+\/cli-app:stable\n$/);
  assert.match(built.stderr, /chmod 755 hello\.sh/);
  assert.equal(
    await good('run', '--template', 'cli-app:stable', ...SMALL, '--shell', '--', './hello.sh'),
    'hi from /srv/app',
  );

  assert.match(await good('template', 'list'), /cli-app/);
  assert.equal((await json('template', 'get', 'cli-app')).runtimeDefaults.defaultWorkdir, '/srv/app');
  assert.ok((await json('template', 'tag', 'cli-app:stable', 'live')).tags.includes('live'));
  await good('template', 'tag', 'cli-app', 'live', '--remove');
  const [build] = await json('template', 'builds', 'cli-app');
  assert.equal(build.status, 'ready');
  assert.match(await good('template', 'logs', build.buildId), /chmod 755 hello\.sh/);
  assert.match(await good('template', 'rename', 'cli-app', 'cli-renamed'), /cli-renamed/);
  await good('template', 'delete', 'cli-renamed');
  assert.equal((await run(['template', 'get', 'cli-renamed'])).code, 4);
});

test('a build that fails says its command, and leaves no template', async () => {
  const { code, stdout, stderr } = await run([
    'template',
    'build',
    'cli-bad',
    'app',
    '--from',
    'base',
    '--run',
    'exit 7',
    ...ALONE,
  ]);
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /error: the build of cli-bad failed: .*exit 7/);
  assert.equal((await run(['template', 'get', 'cli-bad'])).code, 4);
});

test('a build that is not waited for is heard and cancelled', async () => {
  const id = await good(
    'template',
    'build',
    'cli-slow',
    'app',
    '--from',
    'base',
    '--run',
    'sleep 300',
    '--detach',
    ...ALONE,
  );
  assert.match(id, /^tb_\w+$/);
  await good('template', 'cancel', id, '--reason', 'enough');
  assert.match(await good('template', 'logs', '--follow', id), /cancel/);
});
