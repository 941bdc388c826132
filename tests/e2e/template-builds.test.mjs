// Templates that the package builds on the engine, and machines that start from them.

import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { BuildError, NotFoundError, Nullspace, waitForFile } from 'nullspace';

import { removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { engineForTests, SMALL } from './support/engine.mjs';

let engine;
let Machine;
let Template;
let TemplateBuild;
const scratch = temporaryDirectory('template-builds');
before(async () => {
  engine = await engineForTests();
  ({ Machine, Template, TemplateBuild } = new Nullspace(engine.client));
});
after(async () => {
  await engine?.stopWell();
  removeDirectory(scratch);
});

// Nothing from outside: the tests have no network.
const ALONE = { vcpus: 1, memoryMb: 256, internetAccess: false };
const inside = async (template, command) => {
  const machine = await Machine.create({ ...SMALL, template });
  try {
    const { stdout, stderr, exitCode } = await machine.commands.run(command, { shell: true });
    assert.equal(exitCode, 0, stderr);
    return stdout;
  } finally {
    await machine.kill();
  }
};

const app = path.join(scratch, 'app');
mkdirSync(path.join(app, 'src/empty'), { recursive: true });
writeFileSync(path.join(app, 'src/main.sh'), 'echo main');
chmodSync(path.join(app, 'src/main.sh'), 0o755);
writeFileSync(path.join(app, 'src/secret.log'), 'left out');
writeFileSync(path.join(app, '.dockerignore'), '**/*.log\n');
symlinkSync('main.sh', path.join(app, 'src/current'));

test('a template is built of files and steps, and machines start from it', async () => {
  const told = [];
  const sent = [];
  const builder = Template.fromTemplate('base')
    .setFileContext(app)
    .copy('src', '/srv/app')
    .setBuildEnvs({ STAGE: 'build' })
    .setWorkdir('/srv/app')
    .run('echo "$STAGE" > stage')
    .makeDir('/srv/data', { mode: 0o750 })
    .makeSymlink('/srv/app', '/srv/link')
    .setRuntimeEnvs({ MODE: 'run' });
  const info = await Template.build(builder, 'sdk-app:stable', {
    ...ALONE,
    onLog: ({ kind, message }) => told.push([kind, message]),
    onUploadProgress: ({ sentBytes }) => sent.push(sentBytes),
  });
  assert.equal(info.name, 'sdk-app');
  assert.deepEqual(info.tags, ['stable']);
  assert.ok(told.some(([kind]) => kind === 'start'));
  assert.equal(told.at(-1)[0], 'end');
  assert.equal(sent.at(-1), 'echo main'.length);
  assert.deepEqual(
    (
      await inside(
        'sdk-app:stable',
        'pwd; echo $MODE; ls; stat -c "%a %F" main.sh empty /srv/data; readlink current; cat stage; ./current; ls /srv/link/',
      )
    )
      .trim()
      .split('\n'),
    [
      '/srv/app',
      'run',
      ...['current', 'empty', 'main.sh', 'stage'],
      '755 regular file',
      '755 directory',
      '750 directory',
      'main.sh',
      'build',
      'main',
      ...['current', 'empty', 'main.sh', 'stage'],
    ],
  );
  // The same again: nothing is sent, and no step is done again.
  const again = [];
  sent.length = 0;
  await Template.build(builder, 'sdk-app:stable', {
    ...ALONE,
    onLog: ({ cacheKind, cacheStatus }) => again.push([cacheKind, cacheStatus]),
    onUploadProgress: ({ sentBytes }) => sent.push(sentBytes),
  });
  assert.deepEqual(sent, []);
  assert.ok(again.some(([kind, status]) => kind === 'layer' && status === 'hit'));
  assert.ok(!again.some(([kind, status]) => kind === 'layer' && status === 'miss'));
  await Template.delete('sdk-app');
  await assert.rejects(Template.get('sdk-app'), NotFoundError);
});

test('a step that fails is a BuildError that says where and how', async () => {
  const builder = Template.fromTemplate('base').run('true').run('echo this went wrong >&2; exit 5');
  await assert.rejects(Template.build(builder, 'sdk-bad', ALONE), (error) => {
    assert.ok(error instanceof BuildError, String(error));
    assert.deepEqual(
      [error.code, error.phase, error.stepIndex, error.step, error.exitCode],
      ['build_error', 'build_step', 1, 'run', 5],
    );
    assert.match(error.command, /this went wrong/);
    assert.ok(
      error.log.some((line) => line.includes('this went wrong')),
      error.log.join('\n'),
    );
    return true;
  });
  assert.equal(await Template.exists('sdk-bad'), false);
});

test('an aborted build is cancelled on the engine', async () => {
  const controller = new AbortController();
  const stop = new Error('stop');
  let id;
  const building = Template.build(Template.fromTemplate('base').run('sleep 300'), 'sdk-aborted', {
    ...ALONE,
    signal: controller.signal,
    onLog: ({ buildId }) => {
      id = buildId;
      controller.abort(stop);
    },
  });
  await assert.rejects(building, (error) => error === stop);
  const build = await TemplateBuild.connect(id);
  await assert.rejects(build.wait(), { code: 'build_cancelled' });
  assert.equal((await build.status()).build.status, 'cancelled');
});

test('a build in the background is heard twice, promoted and done again', async () => {
  const builder = Template.fromTemplate('base').run('echo said').run('echo once more');
  const build = await Template.buildInBackground(builder, 'sdk-background', { ...ALONE, tags: ['first'] });
  const heard = [];
  for await (const { offset, message } of build.logs()) heard.push([offset, message]);
  assert.ok(heard.some(([, message]) => message.includes('said')));
  assert.deepEqual(
    heard.map(([offset]) => offset),
    heard.map((_, index) => index),
  );
  const info = await build.wait();
  const rest = [];
  for await (const { offset, message } of build.logs({ offset: 2, follow: false })) rest.push([offset, message]);
  assert.deepEqual(rest, heard.slice(2));
  await build.promote('live');
  assert.deepEqual((await Template.getTags('sdk-background')).map(({ tag }) => tag).sort(), ['first', 'live']);
  const again = await build.retry({ tags: ['second'] });
  assert.equal((await again.wait()).id, info.id);
  const { builds } = await Template.listBuilds('sdk-background', { status: 'ready' });
  assert.deepEqual(
    builds.map(({ buildId }) => buildId),
    [again.id, build.id],
  );
  await Template.assignTags('sdk-background', ['extra']);
  await Template.removeTag('sdk-background', 'extra');
  assert.equal((await Template.rename('sdk-background', 'sdk-renamed')).name, 'sdk-renamed');
  assert.equal((await Template.listAliases('sdk-renamed')).length, 1);
  assert.equal((await Template.setVisibility('sdk-renamed', 'public')).visibility, 'public');
  assert.deepEqual((await Template.list({ fields: ['name'] })).map(({ name }) => name).includes('sdk-renamed'), true);
  await Template.delete('sdk-renamed');
});

test('what a template starts runs in its machines', async () => {
  const builder = Template.fromTemplate('base').setStartCommand(
    'touch /tmp/ready; exec sleep 1000',
    waitForFile('/tmp/ready', { startupGrace: 0, intervalMs: 100 }),
  );
  await Template.build(builder, 'sdk-started', ALONE);
  assert.match(await inside('sdk-started', 'ps -eo args; test -e /tmp/ready'), /sleep 1000/);
  await Template.delete('sdk-started');
});

test('what the engine would not take is said before a build', async () => {
  const bad = await Template.validate(Template.fromTemplate('no-such-template'), 'sdk-x', ALONE);
  assert.equal(bad.valid, false);
  const good = await Template.validate(Template.fromTemplate('base').run('true'), 'sdk-x', ALONE);
  assert.deepEqual([good.valid, good.errors], [true, []]);
  const claim = await Template.reserveName('sdk-claimed');
  await Template.releaseNameClaim(claim.claimToken);
});

// `base` has the /usr of this computer.
const hasPython = spawnSync('/usr/bin/python3', ['--version']).status === 0;
test('examples/template-build.ts builds a server and finds it serving', {
  skip: hasPython ? false : 'needs /usr/bin/python3',
}, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['examples/template-build.mjs'], {
    env: { ...process.env, NULLSPACE_API_URL: engine.url, NULLSPACE_API_KEY: engine.apiKey },
  });
  assert.match(stdout, /^built {4}example-server:stable$/m);
  assert.match(stdout, /<h1>It was built<\/h1>\nbuilt for production\nhello\n/);
  assert.match(stdout, /^served {3}<h1>It was built<\/h1>$/m);
  assert.equal(await Template.exists('example-server'), false);
});
