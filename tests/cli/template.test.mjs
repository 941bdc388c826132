// `npx nullspace template ...` against a scripted server: what is asked, what is printed, how it ends.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, test } from 'node:test';

import { removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { program } from './support/cli.mjs';

const local = temporaryDirectory('cli-template');
const when = '2026-01-02T03:04:05Z';
const info = {
  id: 'tmpl_1',
  name: 'app',
  description: '',
  builtin: false,
  canonical_ref: 'team/app:stable',
  visibility: 'private',
  tags: ['stable'],
};
const build = (more = {}) => ({
  build_id: 'tb_1',
  template_id: 'tmpl_1',
  name: 'app',
  tags: ['stable'],
  status: 'building',
  build_backend: 'buildkit',
  source_type: 'dockerfile',
  created_at: when,
  updated_at: when,
  ...more,
});
const entry = (offset, kind, message, more = {}) => ({
  build_id: 'tb_1',
  template_id: 'tmpl_1',
  offset,
  timestamp: when,
  kind,
  level: kind === 'error' ? 'error' : 'info',
  message,
  ...more,
});

let requests = [];
/** The log of the next build. One that never ends when the last entry is none. */
let log = [];
const answers = {
  'GET /v1/templates': [info],
  'GET /v1/templates/refs/app': info,
  'GET /v1/templates/refs/none': [404, { error: 'there is no template none', code: 'template_not_found' }],
  'DELETE /v1/templates/refs/app': [204],
  'POST /v1/templates/refs/app/tags': info,
  'DELETE /v1/templates/refs/app/tags/old': [204],
  'POST /v1/templates/refs/app/rename': { ...info, name: 'new', canonical_ref: 'team/new:stable' },
  'GET /v1/templates/refs/app/builds': { builds: [build({ status: 'ready' })] },
  'GET /v1/templates/builds/tb_1': { build: build(), entries: [], next_offset: 0 },
  'POST /v1/templates/builds': [202, build({ status: 'waiting' })],
  'POST /v1/templates/builds/tb_1/cancel': { build: build({ status: 'cancelled' }), entries: [], next_offset: 0 },
};
const server = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const [at] = request.url.split('?');
  const body = request.headers['content-type'] === 'application/json' ? JSON.parse(text) : text;
  requests.push({ line: `${request.method} ${request.url}`, body });
  const reply = (status, answer) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(answer && JSON.stringify(answer));
  };
  if (at === '/v1/templates/blobs/preflight')
    reply(200, { files: body.files.map(({ sha256, ...file }) => ({ ...file, missing: true, blob_id: sha256 })) });
  else if (at.startsWith('/v1/templates/blobs/')) reply(204);
  else if (at.endsWith('/logs')) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(log.map((one) => `data: ${JSON.stringify(one)}\n\n`).join(''));
    if (['end', 'error'].includes(log.at(-1)?.kind) || request.url.includes('follow=false')) response.end();
  } else {
    const answer = answers[`${request.method} ${at}`];
    if (Array.isArray(answer) && typeof answer[0] === 'number') reply(...answer);
    else reply(answer ? 200 : 404, answer ?? { error: `nothing is asked with ${request.url}`, code: 'not_found' });
  }
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
after(() => {
  server.closeAllConnections();
  server.close();
  removeDirectory(local);
});
const environment = {
  PATH: process.env.PATH,
  HOME: local,
  NULLSPACE_API_URL: `http://127.0.0.1:${server.address().port}`,
  NULLSPACE_API_KEY: 'the-key',
};

const run = (...args) =>
  new Promise((resolve) => {
    requests = [];
    const options = { env: { ...environment, TOKEN: 'hidden' }, cwd: local, timeout: 60_000 };
    execFile(program, args, options, (error, stdout, stderr) => {
      assert.ok(
        !`${stdout}${stderr}`.includes('hidden') && !`${stdout}${stderr}`.includes('the-key'),
        'a secret was printed',
      );
      resolve({
        code: error ? error.code : 0,
        stdout: stdout.trim(),
        stderr: stderr.trim(),
        lines: requests.map(({ line }) => line),
      });
    });
  });
const good = async (...args) => {
  const { code, stdout, stderr, lines } = await run(...args);
  assert.equal(code, 0, stderr);
  return { stdout, stderr, lines };
};

mkdirSync(path.join(local, 'app/node_modules'), { recursive: true });
writeFileSync(path.join(local, 'app/Dockerfile'), 'FROM debian\nCOPY . /app\n');
writeFileSync(path.join(local, 'app/main.js'), 'main');
writeFileSync(path.join(local, 'app/node_modules/x.js'), 'x');

test('a template is built: the log goes to people, the name to programs', async () => {
  log = [
    entry(0, 'start', 'begin'),
    entry(1, 'message', 'step \u001b[31m1'),
    entry(2, 'end', 'done', { result: info }),
  ];
  const flags = [
    '--ignore',
    'node_modules',
    '--secret',
    'id=npm,env=TOKEN',
    '--build-arg',
    'V=1',
    '--memory-mb',
    '1024',
    '--no-cache',
  ];
  const { stdout, stderr } = await good('template', 'build', 'team/app:stable', 'app', ...flags);
  assert.equal(stdout, 'team/app:stable');
  assert.match(stderr, /^03:04:05 info {2}begin\n03:04:05 info {2}step \\u001b\[31m1\n03:04:05 info {2}done$/);
  const { body } = requests.find(({ line }) => line === 'POST /v1/templates/builds');
  assert.deepEqual(
    { ...body, build_context: body.build_context.files.map(({ path: name }) => name) },
    {
      dockerfile: 'FROM debian\nCOPY . /app\n',
      build_context: ['Dockerfile', 'main.js'],
      build_secrets: [{ id: 'npm', value: 'hidden', source: 'env' }],
      name: 'team/app',
      tags: ['stable'],
      build_args: { V: '1' },
      build_config: { vcpus: 2, memory_mib: 1024 },
      skip_cache: true,
    },
  );
  assert.deepEqual(
    await good('template', 'build', 'app', 'app', '--quiet').then(({ stdout: out, stderr: err }) => [out, err]),
    ['team/app:stable', ''],
  );
  assert.equal(
    JSON.parse((await good('template', 'build', 'app', 'app', '--json')).stdout).canonicalRef,
    'team/app:stable',
  );
});

test('steps among the flags are done in their order', async () => {
  log = [entry(0, 'end', 'done', { result: info })];
  const flags = [
    '--from',
    'base',
    '--run',
    'one',
    '--apt',
    'curl',
    '--copy',
    'main.js:/srv/',
    '--run',
    'two',
    '--workdir',
    '/srv',
  ];
  await good('template', 'build', 'app', 'app', '-q', ...flags, '--env', 'A=1', '--start', 'serve', '--ready', '8080');
  const { body } = requests.find(({ line }) => line === 'POST /v1/templates/builds');
  assert.equal(body.base_image, 'nullspace/base:latest');
  assert.deepEqual(body.steps, [
    { action: 'run', command: 'one' },
    { action: 'apt_install', packages: ['curl'] },
    { action: 'copy', sources: ['builder-context/step-2/src-0/main.js'], dst: '/srv/' },
    { action: 'run', command: 'two' },
    { action: 'workdir', path: '/srv' },
  ]);
  assert.equal(body.start_cmd, 'serve');
  assert.deepEqual([body.runtime_config.default_envs, body.runtime_config.readiness.port], [{ A: '1' }, 8080]);
});

test('a build that fails says where, and ends with 1', async () => {
  const detail = {
    code: 'build_error',
    message: 'no such package',
    phase: 'build_step',
    retryable: false,
    suggested_action: 'look at the log',
    details: { reason: 'command_failed', command: 'apt-get install x', exit_code: 100 },
  };
  log = [entry(0, 'start', 'begin'), entry(1, 'error', 'failed', { error_detail: detail })];
  answers['GET /v1/templates/builds/tb_1'] = {
    build: build({ status: 'error', error_detail: detail }),
    entries: [],
    next_offset: 2,
  };
  const { code, stdout, stderr } = await run('template', 'build', 'app', 'app', '--quiet');
  answers['GET /v1/templates/builds/tb_1'] = { build: build(), entries: [], next_offset: 0 };
  assert.deepEqual([code, stdout], [1, '']);
  assert.equal(
    stderr,
    'error: the build of app failed: `apt-get install x` ended with 100: no such package\nlook at the log',
  );
});

test('what is wrong is said in flags, and ends with 2', async () => {
  for (const [args, said] of [
    [['app', 'nowhere'], /there is no nowhere\/Dockerfile: name the Dockerfile with --file/],
    [['app', 'app', '--run', 'x'], /--run goes with --from or --image/],
    [['app', 'app', '--from', 'base', '--image', 'debian'], /--from and --image exclude each other/],
    [['app', 'app', '--from', 'base', '--copy', 'x'], /--copy takes FROM:TO/],
    [['app', 'app', '--from', 'base', '--ready', '80'], /give both/],
    [['tmpl_1', 'app'], /must be a name, not an id/],
    [['app:x', 'app', '--tag', 'y'], /--tag goes with a name without a tag/],
    [['app', 'app', '--memory-mb', '0'], /--memory-mb must be/],
    [['app', 'app', '--secret', 'npm'], /Give id=NAME,env=VARIABLE/],
    [['app', 'app', '--build-arg', 'x'], /Give NAME=VALUE/],
  ]) {
    const { code, stderr, lines } = await run('template', 'build', ...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, said);
    assert.deepEqual(lines, []);
  }
});

test('Ctrl-C cancels the build', async () => {
  log = [entry(0, 'start', 'begin')];
  requests = [];
  const child = spawn(program, ['template', 'build', 'app', 'app'], { env: environment, cwd: local });
  let said = '';
  await new Promise((resolve) => {
    child.stderr.on('data', (bytes) => {
      said += bytes;
      if (said.includes('begin')) resolve();
    });
    child.once('close', resolve);
  });
  child.kill('SIGINT');
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.equal(code, 130, said);
  assert.ok(
    requests.some(({ line }) => line === 'POST /v1/templates/builds/tb_1/cancel'),
    'the build was not cancelled',
  );
});

test('a build that is not waited for is heard and ended by its id', async () => {
  assert.equal((await good('template', 'build', 'app', 'app', '--detach')).stdout, 'tb_1');
  log = [entry(0, 'start', 'begin'), entry(1, 'message', 'more')];
  assert.equal((await good('template', 'logs', 'tb_1')).stdout, '03:04:05 info  begin\n03:04:05 info  more');
  log.push(entry(2, 'end', 'done', { result: info }));
  const { stdout } = await good('template', 'logs', 'tb_1', '--follow', '--json', '--offset', '0');
  assert.deepEqual(
    stdout.split('\n').map((line) => JSON.parse(line).kind),
    ['start', 'message', 'end'],
  );
  const cancelled = await good('template', 'cancel', 'tb_1', '--reason', 'enough');
  assert.match(cancelled.stdout, /status +cancelled/);
  assert.deepEqual(requests.at(-1).body, { reason: 'enough' });
});

test('templates are listed, described, tagged, renamed and deleted', async () => {
  const { stdout } = await good('template', 'list');
  assert.match(stdout, /^ID +NAME +TAGS +VISIBILITY +BUILTIN\ntmpl_1 +team\/app:stable +stable +private$/);
  assert.equal((await good('template', 'ls', '--quiet')).stdout, 'tmpl_1');
  assert.match((await good('template', 'get', 'app')).stdout, /name +team\/app:stable/);
  assert.deepEqual(JSON.parse((await good('template', 'get', 'app', '--json')).stdout).tags, ['stable']);
  await good('template', 'tag', 'app', 'v2', 'live');
  assert.deepEqual(requests[0].body, { tags: ['v2', 'live'] });
  assert.deepEqual((await good('template', 'tag', 'app', 'old', '--remove')).lines, [
    'DELETE /v1/templates/refs/app/tags/old',
  ]);
  assert.match((await good('template', 'rename', 'app', 'new')).stdout, /name +team\/new:stable/);
  assert.match((await good('template', 'builds', 'app')).stdout, /tb_1 +ready +stable +2026-/);
  assert.equal((await good('template', 'rm', 'app')).stdout, 'app');
  const missing = await run('template', 'get', 'none');
  assert.equal(missing.code, 4);
  assert.equal(missing.stderr, 'error: there is no template none');
});
