// The builder of templates, the calls about templates that are there, and the bodies of builds, which are those that the Python SDK
// 1.0.3 sends (spec/PROTOCOL.md section 11 and the recorded exchanges).

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { inspect, promisify } from 'node:util';

import { pkg, sdk } from './package.mjs';
import { build, pool, serve, template } from './server.mjs';

const { InvalidRequestError, Nullspace, Template, TemplateWarmPool } = sdk;
const sha256 = (content) => createHash('sha256').update(content).digest('hex');

/** A directory of these files, removed with the test. A value that is an object is a directory, `->x` a link to x. */
const folder = (t, tree) => {
  const root = mkdtempSync(path.join(tmpdir(), 'nullspace-context-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const write = (at, entries) => {
    for (const [name, content] of Object.entries(entries)) {
      const full = path.join(at, name);
      if (typeof content === 'object') {
        mkdirSync(full, { mode: 0o755 });
        write(full, content);
      } else if (content.startsWith('->')) symlinkSync(content.slice(2), full);
      else writeFileSync(full, content, { mode: 0o644 });
    }
  };
  write(root, tree);
  return root;
};

/** The body that a build of it would send. */
const bodyOf = async (builder, ref, options) => {
  const inspection = await Template.inspectBuildContext(builder, ref, {
    apiKey: 'k',
    baseUrl: 'http://127.0.0.1:9',
    ...options,
  });
  return inspection.request;
};
const contextOf = async (builder) => (await Template.inspectBuildContext(builder, 'app', { apiKey: 'k' })).context;
const pathsOf = async (builder) => (await contextOf(builder)).entries.map(({ path }) => path);

/** A server that ends with the test. */
const served = async (t, answer) => {
  const server = await serve(answer);
  t.after(() => server.close());
  return server;
};

/** What a server answers about builds; the rest is `more`. */
const scripted = (t, more = () => false) =>
  served(t, (request, response, respond) => {
    if (more(request, response, respond)) return true;
    if (request.path === '/v1/templates/blobs/preflight') {
      const files = request.body.files.map(({ path, entry_type, mode, sha256 }) => ({
        path,
        entry_type,
        ...(mode ? { mode } : {}),
        missing: entry_type === 'file',
        ...(entry_type === 'file' ? { blob_id: `blob_${sha256.slice(0, 8)}` } : {}),
      }));
      respond(200, { files });
    } else if (request.path.startsWith('/v1/templates/blobs/')) respond(204);
    else if (request.path === '/v1/templates/builds') respond(202, build());
    else return false;
    return true;
  });

// ---- Builders -------------------------------------------------------------------------------------------------

test('a step gives a new builder and leaves the old one as it is', () => {
  const base = Template.fromImage('debian');
  const one = base.run('one').setRuntimeEnvs({ A: '1' });
  const two = base.run('two');
  assert.ok(one instanceof Template);
  assert.deepEqual(base.toJSON(), { base_image: 'debian' });
  assert.deepEqual(two.toJSON(), { base_image: 'debian', steps: [{ action: 'run', command: 'two' }] });
  assert.deepEqual(one.setRuntimeEnvs({ B: '2' }).toJSON().runtime_config, { default_envs: { A: '1', B: '2' } });
  assert.deepEqual(one.toJSON().runtime_config, { default_envs: { A: '1' } });
  // What a caller changes later is not in it either.
  const packages = ['curl'];
  const envs = { A: '1' };
  const installed = base.aptInstall(packages).setBuildEnvs(envs);
  packages.push('rm');
  envs.A = '2';
  assert.deepEqual(installed.toJSON(), {
    base_image: 'debian',
    steps: [{ action: 'apt_install', packages: ['curl'] }],
    build_envs: { A: '1' },
  });
});

test('images and templates that one begins with', () => {
  for (const [builder, expected] of [
    [Template.fromImage('python:3.12-slim'), 'python:3.12-slim'],
    [Template.fromBaseImage(), 'ubuntu:22.04'],
    [Template.fromBaseImage('me/base'), 'me/base'],
    [Template.fromUbuntuImage(), 'ubuntu:22.04'],
    [Template.fromUbuntuImage('24.04'), 'ubuntu:24.04'],
    [Template.fromDebianImage(), 'debian:stable-slim'],
    [Template.fromDebianImage('bookworm'), 'debian:bookworm'],
    [Template.debianSlim(), 'debian:stable-slim'],
    [Template.debianSlim({ python: '3.12' }), 'python:3.12-slim'],
    [Template.fromPythonImage('3.12'), 'python:3.12'],
    [Template.fromPythonImage('3.12', { variant: 'slim' }), 'python:3.12-slim'],
    [Template.fromNodeImage('22', { variant: 'alpine' }), 'node:22-alpine'],
    [Template.fromBunImage('1'), 'oven/bun:1'],
    [Template.fromRegistry('registry.example:5000/me/app:1'), 'registry.example:5000/me/app:1'],
    [Template.fromTemplate('base'), 'nullspace/base:latest'],
    [Template.fromTemplate('app:stable'), 'nullspace/app:stable'],
    [Template.fromTemplate('app:tb_1'), 'app:tb_1'],
    [Template.fromTemplate('nullspace/app:stable'), 'nullspace/app:stable'],
    [Template.fromTemplate('team/app'), 'team/app'],
    [Template.fromTemplate('team/app:stable'), 'team/app:stable'],
    [Template.fromTemplate('tmpl_1'), 'tmpl_1'],
  ])
    assert.equal(builder.toJSON().base_image, expected);
  assert.deepEqual(Template.fromRegistry('me/app', { addPython: '3.11' }).toJSON().steps, [
    { action: 'apt_install', packages: ['python3.11', 'python3.11-venv', 'python3-pip'] },
  ]);
});

test('every step is on the wire as the protocol has it', () => {
  const begin = Template.fromImage('debian');
  for (const [builder, ...expected] of [
    [begin.aptInstall('curl'), { action: 'apt_install', packages: ['curl'] }],
    [begin.pipInstall(['a', 'b>=2']), { action: 'pip_install', packages: ['a', 'b>=2'] }],
    [begin.pipInstall('a', { global: false }), { action: 'pip_install', packages: ['a'], g: false }],
    [begin.npmInstall('a'), { action: 'npm_install', packages: ['a'] }],
    [begin.npmInstall('a', { global: true }), { action: 'npm_install', packages: ['a'], g: true }],
    [begin.bunInstall('a', { global: true }), { action: 'bun_install', packages: ['a'], g: true }],
    [
      begin.run(['a', 'b'], { user: 'u' }),
      { action: 'run', command: 'a', user: 'u' },
      { action: 'run', command: 'b', user: 'u' },
    ],
    [
      begin.gitClone('https://example.com/x.git'),
      { action: 'git_clone', url: 'https://example.com/x.git', path: '/workspace' },
    ],
    [
      begin.gitClone('https://example.com/x.git', { path: '/x', branch: 'main', depth: 1 }),
      { action: 'git_clone', url: 'https://example.com/x.git', path: '/x', branch: 'main', depth: 1 },
    ],
    [begin.remove('/x'), { action: 'remove', path: '/x', recursive: false, force: false }],
    [
      begin.remove('/x', { recursive: true, force: true }),
      { action: 'remove', path: '/x', recursive: true, force: true },
    ],
    [begin.rename('/a', '/b'), { action: 'rename', src: '/a', dst: '/b', force: false }],
    [begin.makeDir('/x', { mode: 0o750 }), { action: 'make_dir', path: '/x', mode: '0750' }],
    [begin.makeSymlink('/a', '/b'), { action: 'make_symlink', target: '/a', path: '/b' }],
    [begin.setWorkdir('/x'), { action: 'workdir', path: '/x' }],
    [begin.setUser('u'), { action: 'user', user: 'u' }],
    [begin.skipCache(), { action: 'skip_cache' }],
    [
      begin.copy(['a', 'b'], '/x', { user: 'u', mode: '755', forceUpload: true }),
      { action: 'copy', sources: ['a', 'b'], dst: '/x', user: 'u', mode: '0755', force_upload: true },
    ],
    [
      begin.copyItems(
        [
          { source: 'a', destination: '/x' },
          { source: 'b', destination: '/y', mode: 0o600 },
        ],
        { mode: 0o644 },
      ),
      {
        action: 'copy_items',
        items: [
          { sources: ['a'], dst: '/x', mode: '0644' },
          { sources: ['b'], dst: '/y', mode: '0600' },
        ],
      },
    ],
  ])
    assert.deepEqual(builder.toJSON().steps, expected);
  assert.deepEqual(begin.setWorkdir('/x').setUser('u').toJSON().runtime_config, {
    default_user: 'u',
    default_workdir: '/x',
  });
});

test('probes are on the wire as the protocol has them', () => {
  const timing = { timeout_secs: 30, interval_ms: 500, startup_grace_secs: 2 };
  for (const [probe, expected] of [
    [sdk.waitForPort(8080), { kind: 'tcp', port: 8080, ...timing }],
    [
      sdk.waitForPort(80, { timeout: 60, intervalMs: 100, startupGrace: 0 }),
      { kind: 'tcp', port: 80, timeout_secs: 60, interval_ms: 100, startup_grace_secs: 0 },
    ],
    [sdk.waitForUrl('http://localhost:8080/health'), { kind: 'http', port: 8080, path: '/health', ...timing }],
    [sdk.waitForUrl('http://127.0.0.1:80'), { kind: 'http', port: 80, path: '/', ...timing }],
    [sdk.waitForFile('/tmp/a b'), { kind: 'command', command: "test -e '/tmp/a b'", ...timing }],
    [
      sdk.waitForProcess('nginx'),
      { kind: 'command', command: 'ps -eo comm= | grep -Fx -- nginx >/dev/null', ...timing },
    ],
    [sdk.waitForTimeout(1500), { kind: 'timeout', timeout_ms: 1500 }],
    ['curl -f localhost', { kind: 'command', command: 'curl -f localhost', ...timing }],
  ]) {
    assert.deepEqual(Template.fromImage('x').setReadyCommand(probe).toJSON().runtime_config.readiness, expected);
    assert.deepEqual(Template.fromImage('x').setStartCommand('go', probe).toJSON().runtime_config.readiness, expected);
  }
  assert.equal(Template.fromImage('x').setStartCommand('go').toJSON().start_cmd, 'go');
});

test('what is wrong is refused at once, by its name and with a good value', () => {
  const begin = Template.fromImage('debian');
  for (const [make, message] of [
    [() => Template.fromImage(''), /^option `image` must not be empty: give 'python:3.12-slim'/],
    [() => Template.fromImage(7), /^option `image` must be a string .* not a number/],
    [() => Template.fromImage('x', { user: 'me' }), /^option `user` is not known; known are username, password/],
    [() => Template.fromImage('x', { username: 'me' }), /^option `options.password` must be a text/],
    [() => Template.fromBaseImage(undefined, { username: 'a', password: 'b' }), /^option `image` must be given/],
    [
      () => Template.fromBaseImage().setBaseImageAuth({ username: 'a', password: 'b' }),
      /^option `image` must be given/,
    ],
    [() => Template.fromTemplate('a/b/c'), /^option `name` must be 'name', 'name:tag'/],
    [() => Template.fromTemplate('nullspace/base'), /must have a tag, such as 'nullspace\/base:latest'/],
    [() => Template.fromDockerfile('/no/such/file'), /^option `path` names \/no\/such\/file, which cannot be read/],
    [() => begin.aptInstall([]), /^option `packages` must be a name or names such as/],
    [() => begin.aptInstall(['a', ' b']), /^option `packages\[1\]` must be one name without spaces around it/],
    [() => begin.pipInstall('a', { global: 1 }), /^option `global` must be true or false, not a number/],
    [() => begin.pipInstall('a', { g: false }), /^option `g` is not known; known are global/],
    [() => begin.run([]), /^option `command` must be/],
    [() => begin.run(['a', '']), /^option `command\[1\]` must not be empty/],
    [() => begin.copy('', '/x'), /^option `sources` must not be empty/],
    [() => begin.copy('a'), /^option `destination` is missing, such as '\/app'/],
    [
      () => begin.copy('a', '/x', { mode: 'rwx' }),
      /^option `mode` must be permission bits such as 0o755 or '0755', not rwx/,
    ],
    [() => begin.copy({}, '/x'), /^option `sources` must be a path, a File/],
    [() => begin.copyItems([{ source: 'a' }]), /^option `items\[0\].destination`/],
    [() => begin.gitClone('x', { depth: 0 }), /^option `depth` must be a whole number from 1/],
    [() => begin.setBuildEnvs({ 'A=B': 'x' }), /^option `envs.A=B` must have a name without/],
    [() => begin.setRuntimeEnvs({ A: 1 }), /^option `envs.A` must be a string/],
    [() => begin.setFileContext(7), /^option `context` must be a path/],
    [() => begin.setFileContext('.', { ignore: 'x' }), /^option `ignore` must be an array of patterns/],
    [() => begin.setReadyCommand({ kind: 'soon' }), /^option `readiness` must be a command, or a probe/],
    [() => begin.setGcpRegistryAuth({}), /^option `auth.serviceAccountJson` must be the JSON/],
    [() => begin.setAwsRegistryAuth({ accessKeyId: 'a' }), /^option `auth.secretAccessKey` must be a text/],
    [() => begin.addBuildSecret('a b', 'x'), /^option `id` must be of letters/],
    [() => begin.addBuildSecret('a', {}), /^option `a` must be one of \{ value \}/],
    [() => begin.addBuildSecret('a', { env: 'NO_SUCH_VARIABLE' }), /^option `env` names the variable NO_SUCH_VARIABLE/],
    [() => begin.addBuildSecret('a', 'x').addBuildSecret('a', 'y'), /^option `id` 'a' stands for two build secrets/],
    [() => sdk.waitForPort(0), /^option `port` must be a whole number from 1 to 65535 such as 8080, not 0/],
    [() => sdk.waitForPort(80, { timeoutSecs: 3 }), /^option `timeoutSecs` is not known; known are timeout,/],
    [() => sdk.waitForUrl('https://localhost:1'), /^option `url` must begin with http:/],
    [() => sdk.waitForUrl('http://example.com:1'), /^option `url` must be of localhost/],
    [() => sdk.waitForUrl('http://localhost'), /^option `url` must name a port/],
    [() => sdk.waitForUrl('http://localhost:1?x'), /^option `url` must have no query/],
    [() => sdk.waitForTimeout('x'), /^option `timeoutMs` must be a whole number/],
    [() => sdk.defaultBuildLogger({ minLevel: 'loud' }), /^option `minLevel` must be one of 'debug'/],
    [() => Template.fromDockerfileContent('FROM x').run('y'), /^run\(\) adds a step, and a template of a Dockerfile/],
  ])
    assert.throws(make, (error) => {
      assert.ok(error instanceof InvalidRequestError, String(error));
      assert.match(error.message, message);
      assert.ok(!error.message.includes('undefined'), error.message);
      return true;
    });
  assert.throws(() => new Template(), { name: 'TypeError' });
});

test('what is wrong with a build is refused before anything is read or sent', async (t) => {
  const server = await scripted(t);
  const begin = Template.fromImage('debian');
  for (const [args, message] of [
    [[{}, 'app'], /^option `builder` must be a template such as/],
    [[begin], /^option `ref` is missing: a name such as 'app'/],
    [[begin, 'tmpl_1'], /^option `ref` must be a name, not an id/],
    [[begin, 'app:x', { tags: ['y'] }], /^option `tags` goes with a name without a tag/],
    [[begin, 'app', { tags: [] }], /^option `tags` must not be empty/],
    [[begin, 'app', { vcpus: 0 }], /^option `vcpus` must be/],
    [[begin, 'app', { memory: 1 }], /^option `memory` is not known; did you mean `memoryMb`/],
    [[begin, 'app', { onLog: 'x' }], /^option `onLog` must be a function/],
    [[begin, 'app', { buildTarget: 'x' }], /^option `buildTarget` is for a Dockerfile/],
    [[begin, 'app', { buildSecrets: [{ id: 'x' }] }], /must be one of \{ value \}/],
    [
      [Template.fromDockerfileContent('FROM x'), 'app', { buildBackend: 'native' }],
      /^option `buildBackend` 'native' builds no Dockerfile/,
    ],
    [[begin.copy('/no/such', '/x'), 'app'], /^the source '\/no\/such' is not there/],
  ])
    await assert.rejects(Template.build(args[0], args[1], { ...server.options, ...args[2] }), (error) => {
      assert.ok(error instanceof InvalidRequestError, String(error));
      assert.match(error.message, message);
      return true;
    });
  assert.deepEqual(server.requests, []);
});

test('secrets are in the body and nowhere else', async (t) => {
  const server = await scripted(t);
  process.env.NULLSPACE_TEST_SECRET = 'hidden-3';
  const builder = Template.fromRegistry('me/app', { username: 'me', password: 'hidden-1' })
    .addBuildSecret('a', 'hidden-2')
    .addBuildSecret('b', { env: 'NULLSPACE_TEST_SECRET' });
  delete process.env.NULLSPACE_TEST_SECRET;
  const google = Template.fromGcpRegistry('me/app', { serviceAccountJson: '{"private_key":"hidden-4"}' });
  const cloned = Template.fromImage('x').gitClone('https://me:hidden-10@example.com/x.git');
  assert.ok(!(inspect(cloned) + JSON.stringify(cloned)).includes('hidden'));
  assert.equal(cloned.toJSON().steps[0].url, 'https://[redacted]@example.com/x.git');
  const amazon = Template.fromAwsRegistry('me/app', {
    accessKeyId: 'hidden-5',
    secretAccessKey: 'hidden-6',
    region: 'eu-1',
    sessionToken: 'hidden-7',
  });
  const seen = [];
  for (const one of [builder, google, amazon]) {
    seen.push(inspect(one, { depth: 9, showHidden: true }), JSON.stringify(one), one.toDockerfile());
    seen.push(inspect(await Template.inspectBuildContext(one, 'app', server.options), { depth: 9 }));
    for (const make of [
      () => one.setBaseImageAuth({ username: 'hidden-8' }),
      () => one.addBuildSecret('a', { value: 7 }),
    ])
      assert.throws(make, (error) => seen.push(inspect(error)) > 0);
  }
  assert.ok(!seen.join('\n').includes('hidden'), seen.join('\n'));
  const bodies = [];
  for (const one of [builder, google, amazon]) {
    await Template.buildInBackground(one, 'app', { ...server.options, buildSecrets: [{ id: 'c', value: 'hidden-9' }] });
    bodies.push(server.requests.at(-1).body);
  }
  assert.deepEqual(
    bodies.map(({ base_image_auth }) => base_image_auth),
    [
      { kind: 'basic', username: 'me', password: 'hidden-1' },
      { kind: 'gcp_artifact_registry', service_account_json: { private_key: 'hidden-4' } },
      {
        kind: 'aws_ecr',
        access_key_id: 'hidden-5',
        secret_access_key: 'hidden-6',
        region: 'eu-1',
        session_token: 'hidden-7',
      },
    ],
  );
  assert.deepEqual(bodies[0].build_secrets, [
    { id: 'a', value: 'hidden-2', source: 'value' },
    { id: 'b', value: 'hidden-3', source: 'env' },
    { id: 'c', value: 'hidden-9', source: 'value' },
  ]);
});

test('a builder as a Dockerfile', () => {
  const builder = Template.fromImage('debian')
    .setBuildEnvs({ A: 'x "y"' })
    .aptInstall(['curl'])
    .pipInstall('b>=2')
    .run('make\nmake install')
    .run('whoami', { user: 'app' })
    .copy('a b', '/x', { user: 'app', mode: 0o755 })
    .copyItems([{ source: ['c', 'd'], destination: '/y/' }])
    .gitClone('https://example.com/x.git', { depth: 1 })
    .makeDir('/z', { mode: 0o700 })
    .remove('/tmp/a b', { recursive: true })
    .rename('/a', '/b', { force: true })
    .makeSymlink('/a', '/b')
    .skipCache()
    .setWorkdir('/x')
    .setUser('app')
    .setRuntimeEnvs({ PORT: '1' })
    .setStartCommand('node server.js');
  assert.equal(
    builder.toDockerfile(),
    [
      'FROM debian',
      'ENV A="x \\"y\\""',
      'RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*',
      "RUN pip install --no-cache-dir 'b>=2'",
      'RUN ["/bin/sh","-c","make\\nmake install"]',
      'RUN su -s /bin/sh -c whoami app',
      'COPY --chown=app --chmod=0755 ["a b","/x"]',
      'COPY ["c","d","/y/"]',
      'RUN git clone --depth 1 https://example.com/x.git /workspace',
      'RUN mkdir -p /z && chmod 0700 /z',
      "RUN rm -r '/tmp/a b'",
      'RUN mv -f /a /b',
      'RUN ln -s /a /b',
      'WORKDIR /x',
      'USER app',
      'ENV PORT="1"',
      'CMD ["sh","-c","node server.js"]',
    ].join('\n'),
  );
  assert.equal(Template.fromDockerfileContent('FROM x\n').toDockerfile(), 'FROM x\n');
});

// ---- Bodies and files -----------------------------------------------------------------------------------------

test('a build sends what the Python SDK sends', async (t) => {
  const server = await scripted(t);
  const root = folder(t, { 'a.txt': 'x' });
  const builder = Template.fromPythonImage('3.12')
    .pipInstall(['flask'])
    .copy(path.join(root, 'a.txt'), '/workspace/a.txt')
    .setWorkdir('/workspace')
    .setStartCommand('python app.py', sdk.waitForPort(8080));
  await Template.buildInBackground(builder, 'app:stable', { vcpus: 2, memoryMb: 1024, ...server.options });
  const blob = `blob_${sha256('x').slice(0, 8)}`;
  assert.deepEqual(
    server.requests.map(({ method, url, headers, body, text }) => [method, url, headers['content-type'], body ?? text]),
    [
      [
        'POST',
        '/v1/templates/blobs/preflight',
        'application/json',
        {
          files: [
            {
              path: 'builder-context/step-1/src-0/a.txt',
              entry_type: 'file',
              mode: '0644',
              sha256: sha256('x'),
              size_bytes: 1,
            },
          ],
        },
      ],
      ['PUT', `/v1/templates/blobs/${blob}`, 'application/octet-stream', 'x'],
      [
        'POST',
        '/v1/templates/builds',
        'application/json',
        {
          base_image: 'python:3.12',
          steps: [
            { action: 'pip_install', packages: ['flask'] },
            { action: 'copy', sources: ['builder-context/step-1/src-0/a.txt'], dst: '/workspace/a.txt' },
            { action: 'workdir', path: '/workspace' },
          ],
          start_cmd: 'python app.py',
          build_context: {
            files: [{ path: 'builder-context/step-1/src-0/a.txt', entry_type: 'file', blob_id: blob, mode: '0644' }],
          },
          runtime_config: {
            default_workdir: '/workspace',
            readiness: { kind: 'tcp', port: 8080, timeout_secs: 30, interval_ms: 500, startup_grace_secs: 2 },
          },
          name: 'app',
          tags: ['stable'],
          build_config: { vcpus: 2, memory_mib: 1024 },
        },
      ],
    ],
  );
  server.requests.length = 0;
  await Template.buildInBackground(Template.fromUbuntuImage(), 'app', server.options);
  assert.deepEqual(server.requests[0].body, {
    name: 'app',
    base_image: 'ubuntu:22.04',
    build_config: { vcpus: 2, memory_mib: 512 },
  });
});

test('modes, links and empty directories of a directory are kept', async (t) => {
  const root = folder(t, {
    src: { 'run.sh': 'echo', empty: {}, sub: { 'a.txt': 'a' }, current: '->sub/a.txt', out: '->/etc/passwd' },
  });
  chmodSync(path.join(root, 'src/run.sh'), 0o755);
  chmodSync(path.join(root, 'src/empty'), 0o700);
  const builder = Template.fromImage('x').setFileContext(root).copy('src', '/app/', { user: 'me' }).run('after');
  const { steps, build_context } = await bodyOf(builder, 'app');
  const top = 'builder-context/step-0/src-0/src';
  assert.deepEqual(build_context.files, [
    { path: top, entry_type: 'dir', mode: '0755' },
    { path: `${top}/empty`, entry_type: 'dir', mode: '0700' },
    { path: `${top}/run.sh`, entry_type: 'file', mode: '0755' },
    { path: `${top}/sub`, entry_type: 'dir', mode: '0755' },
    { path: `${top}/sub/a.txt`, entry_type: 'file', mode: '0644' },
  ]);
  assert.deepEqual(steps, [
    { action: 'copy', sources: [top], dst: '/app/', user: 'me' },
    {
      action: 'run',
      command:
        'ln -sfT -- sub/a.txt /app/current && chown -h -- me /app/current && ln -sfT -- /etc/passwd /app/out && chown -h -- me /app/out',
      user: 'root',
    },
    { action: 'run', command: 'after' },
  ]);
});

test('names of sources, of several and in copyItems, are those of the protocol', async (t) => {
  const root = folder(t, { a: '1', b: '2', 'c d': '3' });
  const builder = Template.fromImage('x')
    .setFileContext(root)
    .copy(['a', 'c d'], '/x/')
    .copyItems([
      { source: 'a', destination: '/y' },
      { source: ['a', 'b'], destination: '/z/' },
    ]);
  const { steps } = await bodyOf(builder, 'app');
  assert.deepEqual(steps, [
    { action: 'copy', sources: ['builder-context/step-0/src-0/a', 'builder-context/step-0/src-1/c_d'], dst: '/x/' },
    {
      action: 'copy_items',
      items: [
        { sources: ['builder-context/step-1/src-0/a'], dst: '/y' },
        { sources: ['builder-context/step-1/src-1-0/a', 'builder-context/step-1/src-1-1/b'], dst: '/z/' },
      ],
    },
  ]);
});

test('.dockerignore and patterns leave out what they name, and a source that they name is refused', async (t) => {
  const root = folder(t, {
    '.dockerignore': 'src/*.log\nsrc/docs\n!src/docs/keep.md\n',
    src: {
      'a.js': 'a',
      'a.log': 'l',
      'a.tmp': 't',
      docs: { 'keep.md': 'k', 'other.md': 'o' },
      node_modules: { 'x.js': 'x' },
    },
  });
  const builder = Template.fromImage('x').setFileContext(root, { ignore: ['**/node_modules', '**/*.tmp'] });
  const top = 'builder-context/step-0/src-0/src';
  assert.deepEqual(await pathsOf(builder.copy('src', '/app')), [
    top,
    `${top}/a.js`,
    `${top}/docs`,
    `${top}/docs/keep.md`,
  ]);
  const { ignored } = await contextOf(builder.copy('src', '/app'));
  assert.deepEqual(ignored.map(({ path }) => path).sort(), [
    'src/a.log',
    'src/a.tmp',
    'src/docs/other.md',
    'src/node_modules',
  ]);
  await assert.rejects(
    bodyOf(builder.copy('src/a.log', '/x'), 'app'),
    /the source 'src\/a.log' is left out by .dockerignore/,
  );
  await assert.rejects(
    bodyOf(builder.copy('src', '/x').setFileContext(root, { ignore: ['['] }), 'app'),
    /the pattern '\[' of .dockerignore is malformed/,
  );
});

test('a Dockerfile comes with all of its directory, and its own .dockerignore goes first', async (t) => {
  const root = folder(t, {
    Dockerfile: 'FROM debian\nCOPY . /app\n',
    '.dockerignore': 'b.txt\n',
    'a.txt': 'a',
    'b.txt': 'b',
    sub: { 'c.txt': 'c' },
  });
  const builder = Template.fromDockerfile(path.join(root, 'Dockerfile'));
  assert.deepEqual(await bodyOf(builder, 'app', { buildArgs: { V: '1' }, buildTarget: 'final' }), {
    dockerfile: 'FROM debian\nCOPY . /app\n',
    build_context: {
      files: [
        { path: '.dockerignore', entry_type: 'file', mode: '0644' },
        { path: 'Dockerfile', entry_type: 'file', mode: '0644' },
        { path: 'a.txt', entry_type: 'file', mode: '0644' },
        { path: 'sub', entry_type: 'dir', mode: '0755' },
        { path: 'sub/c.txt', entry_type: 'file', mode: '0644' },
      ],
    },
    name: 'app',
    build_args: { V: '1' },
    build_target: 'final',
    build_config: { vcpus: 2, memory_mib: 512 },
  });
  writeFileSync(path.join(root, 'Dockerfile.dockerignore'), '*\n!a.txt\n');
  assert.deepEqual(await pathsOf(builder), ['a.txt']);
  symlinkSync('a.txt', path.join(root, 'link'));
  writeFileSync(path.join(root, 'Dockerfile.dockerignore'), 'sub\n');
  await assert.rejects(bodyOf(builder, 'app'), /'link' is a symlink, and the context of a Dockerfile cannot hold one/);
  // Text alone has no files.
  assert.equal((await bodyOf(Template.fromDockerfileContent('FROM x'), 'app')).build_context, undefined);
});

test('files of a page are a context too', async () => {
  const file = (name, content) => {
    const made = new File([content], name.split('/').at(-1));
    Object.defineProperty(made, 'webkitRelativePath', { value: name });
    return made;
  };
  const chosen = [
    file('app/.dockerignore', '*.log\nsecret'),
    file('app/src/a.js', 'a'),
    file('app/src/deep/b.js', 'b'),
    file('app/x.log', 'l'),
    file('app/secret/k', 'k'),
    file('app/secret/m', 'm'),
  ];
  const builder = Template.fromImage('x').setFileContext(chosen);
  const top = 'builder-context/step-0/src-0';
  assert.deepEqual(await pathsOf(builder.copy('src', '/app')), [
    `${top}/src`,
    `${top}/src/a.js`,
    `${top}/src/deep`,
    `${top}/src/deep/b.js`,
  ]);
  assert.deepEqual(await pathsOf(builder.copy('./src/deep/', '/app')), [`${top}/deep`, `${top}/deep/b.js`]);
  assert.deepEqual(await pathsOf(builder.copy('.', '/app')), [
    `${top}/app`,
    `${top}/app/.dockerignore`,
    `${top}/app/src`,
    `${top}/app/src/a.js`,
    `${top}/app/src/deep`,
    `${top}/app/src/deep/b.js`,
  ]);
  const { ignored } = await contextOf(builder.copy('.', '/app'));
  assert.deepEqual(ignored, [
    { path: 'secret', entryType: 'dir' },
    { path: 'x.log', entryType: 'file' },
  ]);
  await assert.rejects(bodyOf(builder.copy('nothing', '/x'), 'app'), /the source 'nothing' is not in the file context/);
  await assert.rejects(bodyOf(builder.copy('/etc/passwd', '/x'), 'app'), /must be a path below the file context/);
  // A file by itself needs no context.
  const { entries } = await contextOf(Template.fromImage('x').copy(new File(['hello'], 'a b.txt'), '/x'));
  assert.deepEqual(entries, [{ path: `${top}/a_b.txt`, entryType: 'file', sizeBytes: 5, sha256: sha256('hello') }]);
});

test('a handle of a directory is a context too', async () => {
  const fileHandle = (content, name) => ({ kind: 'file', getFile: async () => new File([content], name) });
  const directoryHandle = (name, tree) => ({
    kind: 'directory',
    name,
    async *entries() {
      for (const [key, value] of Object.entries(tree))
        yield [key, typeof value === 'string' ? fileHandle(value, key) : directoryHandle(key, value)];
    },
    async getFileHandle(key) {
      if (typeof tree[key] !== 'string') throw new Error('no such file');
      return fileHandle(tree[key], key);
    },
  });
  const handle = directoryHandle('app', {
    '.dockerignore': 'tmp\n!tmp/keep',
    src: { 'a.js': 'a', empty: {} },
    tmp: { keep: 'k', x: 'x' },
  });
  const builder = Template.fromImage('x').setFileContext(handle);
  const top = 'builder-context/step-0/src-0';
  assert.deepEqual(await pathsOf(builder.copy('src', '/app')), [`${top}/src`, `${top}/src/a.js`, `${top}/src/empty`]);
  assert.deepEqual(await pathsOf(builder.copy('tmp/keep', '/k')), [`${top}/keep`]);
  assert.deepEqual((await pathsOf(builder.copy('.', '/app'))).slice(-2), [`${top}/app/tmp`, `${top}/app/tmp/keep`]);
  // Given by itself, it is copied whole.
  assert.deepEqual(await pathsOf(Template.fromImage('x').copy(directoryHandle('d', { a: '1' }), '/d')), [
    `${top}/d`,
    `${top}/d/a`,
  ]);
});

test('what looks like a mistake is told', async (t) => {
  const root = folder(t, {
    src: { '.env': 'KEY=1', node_modules: { a: '1' }, id_rsa: 'k', 'a.js': 'large'.repeat(10) },
  });
  const context = await contextOf(Template.fromImage('x').setFileContext(root).copy('src', '/app'));
  assert.deepEqual(
    context.warnings.map(({ path, reason }) => [path.split('/').at(-1), reason]),
    [
      ['.env', 'likely_secret_file'],
      ['id_rsa', 'likely_secret_file'],
      ['node_modules', 'likely_accidental_include'],
    ],
  );
  assert.equal(context.fileCount, 4);
  assert.equal(context.directoryCount, 2);
  assert.equal(context.totalBytes, 5 + 1 + 1 + 50);
  assert.equal(context.largestFiles[0].sizeBytes, 50);
});

for (const [name, more] of [
  ['node:http', {}],
  ['fetch', { fetch: (...args) => globalThis.fetch(...args) }],
])
  test(`${name}: only what the server lacks is sent, each content once, and told`, async (t) => {
    const large = 'z'.repeat(3 << 20);
    const root = folder(t, { a: 'same', b: 'same', c: 'known', d: large, empty: '' });
    const server = await scripted(t, (request, _response, respond) => {
      if (request.path !== '/v1/templates/blobs/preflight') return false;
      const files = request.body.files.map(({ path, entry_type, sha256: digest }) => ({
        path,
        entry_type,
        missing: digest !== sha256('known'),
        blob_id: `blob_${digest.slice(0, 8)}`,
      }));
      respond(200, { files });
      return true;
    });
    const told = [];
    const builder = Template.fromImage('x')
      .setFileContext(root)
      .copy(['a', 'b', 'c', 'd', 'empty'], '/x/', { forceUpload: true });
    await Template.buildInBackground(builder, 'app', {
      ...server.options,
      ...more,
      onUploadProgress: (one) => told.push(one),
    });
    const [preflight, ...rest] = server.requests;
    assert.ok(preflight.body.files.every(({ force_upload }) => force_upload === true));
    const sent = rest.filter(({ method }) => method === 'PUT');
    assert.deepEqual(sent.map(({ text }) => text).sort(), ['', 'same', large].sort());
    assert.deepEqual(
      sent.map(({ path }) => path).sort(),
      ['same', large, ''].map((content) => `/v1/templates/blobs/blob_${sha256(content).slice(0, 8)}`).sort(),
    );
    const { path: _, ...last } = told.at(-1);
    assert.deepEqual(last, { sentBytes: large.length + 4, totalBytes: large.length + 4, sentFiles: 3, totalFiles: 3 });
    assert.ok(told.length > 4, 'a large file tells more than once');
    for (const [index, { sentBytes }] of told.entries()) assert.ok(sentBytes >= (told[index - 1]?.sentBytes ?? 0));
  });

test('a server without blobs gets the files inside the body', async (t) => {
  const root = folder(t, { a: 'hello', sub: {} });
  const server = await scripted(t, (request, _response, respond) => {
    if (request.path !== '/v1/templates/blobs/preflight') return false;
    respond(501, { error: 'no blobs here', code: 'not_implemented' });
    return true;
  });
  await Template.buildInBackground(
    Template.fromImage('x').setFileContext(root).copy('.', '/app'),
    'app',
    server.options,
  );
  const name = `builder-context/step-0/src-0/${path.basename(root)}`;
  assert.deepEqual(
    server.requests.at(-1).body.build_context.files.map(({ mode, ...file }) => file),
    [
      { path: name, entry_type: 'dir' },
      { path: `${name}/a`, entry_type: 'file', content_base64: 'aGVsbG8=' },
      { path: `${name}/sub`, entry_type: 'dir' },
    ],
  );
});

test('a preflight that answers something else is invalid_response, and a refused blob fails the build', async (t) => {
  const root = folder(t, { a: 'hello' });
  const builder = Template.fromImage('x').setFileContext(root).copy('a', '/app');
  for (const [answer, message] of [
    [[200, { files: [] }], /1 entries were asked for, and 0 answered/],
    [
      [200, { files: [{ path: 'b', entry_type: 'file', missing: true, blob_id: 'b' }] }],
      /'builder-context\/step-0\/src-0\/a' was asked for, and 'b' answered/,
    ],
    [
      [200, { files: [{ path: 'builder-context/step-0/src-0/a', entry_type: 'file', missing: true }] }],
      /has no blob_id/,
    ],
    [[200, {}], /expected an array at files/],
  ]) {
    const server = await scripted(t, (request, _response, respond) => {
      if (!request.path.endsWith('/preflight')) return false;
      respond(...answer);
      return true;
    });
    await assert.rejects(Template.buildInBackground(builder, 'app', server.options), (error) => {
      assert.equal(error.code, 'invalid_response');
      assert.ok(error instanceof sdk.InvalidResponseError);
      assert.match(error.message, message);
      return true;
    });
    assert.equal(server.requests.length, 1);
  }
  const server = await scripted(t, (request, _response, respond) => {
    if (request.method !== 'PUT') return false;
    respond(507, {
      error: 'no room',
      code: 'file_upload_error',
      error_detail: { reason: 'insufficient_staging_space' },
    });
    return true;
  });
  await assert.rejects(Template.buildInBackground(builder, 'app', server.options), sdk.UploadLimitError);
  assert.ok(!server.requests.some(({ path }) => path === '/v1/templates/builds'));
});

// ---- Templates that are there ---------------------------------------------------------------------------------

test('calls about templates are the requests of the protocol', async (t) => {
  const when = '2026-01-02T03:04:05Z';
  const answers = {
    'GET /v1/templates': [template()],
    'GET /v1/templates?fields=id%2Ccanonical_ref': [{ id: 'tmpl_1', canonical_ref: 'team/app:stable' }],
    'GET /v1/templates/refs/team%2Fapp%3Astable': template({ tags: ['stable'] }),
    'GET /v1/templates/refs/team%2Fapp%3Astable?fields=id': { id: 'tmpl_1' },
    'DELETE /v1/templates/refs/team%2Fapp': undefined,
    'POST /v1/templates/refs/app/rename': template({ name: 'new' }),
    'POST /v1/templates/refs/app/tags': template(),
    'GET /v1/templates/refs/app/tags': [{ tag: 'x', build_id: 'tb_1', created_at: when }],
    'DELETE /v1/templates/refs/app/tags/x': undefined,
    'GET /v1/templates/refs/app/aliases': [{ alias_ref: 'team/old', created_at: when }],
    'DELETE /v1/templates/refs/app/aliases/team%2Fold': undefined,
    'PATCH /v1/templates/refs/app/visibility': template({ visibility: 'public' }),
    'POST /v1/templates/claims': { claim_token: 'clm_1', canonical_ref: 'team/app', expires_at: when },
    'DELETE /v1/templates/claims/clm_1': undefined,
    'GET /v1/templates/namespaces/team': { slug: 'team', kind: 'user', is_default: true },
    'GET /v1/templates/refs/app/builds?status=ready&backend=native&source_type=declarative&limit=2&cursor=c1': {
      builds: [build()],
      next_cursor: null,
    },
    'POST /v1/template-warm-pools': pool('twp_1', { template_ref: 'app' }),
  };
  const server = await served(t, ({ method, url }, _response, respond) => {
    const key = `${method} ${url}`;
    assert.ok(Object.hasOwn(answers, key), `nothing is asked with ${key}`);
    respond(answers[key] === undefined ? 204 : 200, answers[key]);
    return true;
  });
  const { Template: Bound } = new Nullspace(server.options);
  const info = {
    id: 'tmpl_1',
    name: 'app',
    description: '',
    builtin: false,
    canonicalRef: 'team/app:stable',
    visibility: 'private',
  };
  assert.deepEqual(await Bound.list(), [info]);
  assert.deepEqual(await Bound.list({ fields: ['id', 'canonicalRef'] }), [
    { id: 'tmpl_1', canonicalRef: 'team/app:stable' },
  ]);
  assert.deepEqual(await Bound.get('team/app:stable'), { ...info, tags: ['stable'] });
  assert.deepEqual(await Bound.get('team/app:stable', { fields: ['id'] }), { id: 'tmpl_1' });
  assert.equal(await Bound.exists('team/app:stable'), true);
  assert.equal(await Bound.delete('team/app'), undefined);
  assert.equal((await Bound.rename('app', 'new')).name, 'new');
  assert.deepEqual(await Bound.assignTags('app', ['x']), info);
  assert.deepEqual(await Bound.getTags('app'), [{ tag: 'x', buildId: 'tb_1', createdAt: new Date(when) }]);
  assert.equal(await Bound.removeTag('app', 'x'), undefined);
  assert.deepEqual(await Bound.listAliases('app'), [{ aliasRef: 'team/old', createdAt: new Date(when) }]);
  assert.equal(await Bound.removeAlias('app', 'team/old'), undefined);
  assert.equal((await Bound.setVisibility('app', 'public')).visibility, 'public');
  assert.deepEqual(await Bound.reserveName('team/app'), {
    claimToken: 'clm_1',
    canonicalRef: 'team/app',
    expiresAt: new Date(when),
  });
  assert.equal(await Bound.releaseNameClaim('clm_1'), undefined);
  assert.deepEqual(await Bound.getNamespace('team'), { slug: 'team', kind: 'user', isDefault: true });
  const { builds, ...page } = await Bound.listBuilds('app', {
    status: 'ready',
    buildBackend: 'native',
    sourceType: 'declarative',
    limit: 2,
    cursor: 'c1',
  });
  assert.equal(builds[0].buildId, 'tb_1');
  assert.deepEqual(page, {});
  assert.ok((await Bound.createWarmPool('app', { minReady: 1 })) instanceof TemplateWarmPool);
  assert.deepEqual(
    server.requests.filter(({ body }) => body).map(({ body }) => body),
    [
      { new_name: 'new' },
      { tags: ['x'] },
      { visibility: 'public' },
      { template_ref: 'team/app' },
      { name: 'app', template_ref: 'app', min_ready: 1, max_ready: 1, resources: { vcpus: 2, memory_mb: 512 } },
    ],
  );
});

test('a template that is not there does not exist; every other error is one', async (t) => {
  for (const [status, code, expected] of [
    [404, 'template_not_found', false],
    [404, 'machine_not_found', false],
    [403, 'forbidden', sdk.PermissionDeniedError],
  ]) {
    const server = await served(t, (_request, _response, respond) => {
      respond(status, { error: 'no', code });
      return true;
    });
    const asked = Template.exists('app', server.options);
    if (expected === false) assert.equal(await asked, false);
    else await assert.rejects(asked, expected);
  }
});

test('validate and plan send what a build would send', async (t) => {
  const root = folder(t, { a: 'x' });
  const server = await scripted(t, (request, _response, respond) => {
    if (request.path === '/v1/templates/validate')
      respond(200, { valid: false, errors: [{ code: 'x', message: 'no' }], warnings: [] });
    else if (request.path === '/v1/templates/plan')
      respond(200, {
        build_backend: 'native',
        source_type: 'declarative',
        build_plan: { base_template: 'x' },
        warnings: ['w'],
        requires_base_image_auth: false,
      });
    else return false;
    return true;
  });
  const builder = Template.fromImage('x').setFileContext(root).copy('a', '/a');
  assert.deepEqual(await Template.validate(builder, undefined, server.options), {
    valid: false,
    errors: [{ code: 'x', message: 'no' }],
    warnings: [],
  });
  assert.deepEqual((await Template.plan(builder, 'app', server.options)).buildPlan, { base_template: 'x' });
  const [first, second] = server.requests.filter(({ path }) => /validate|plan/.test(path)).map(({ body }) => body);
  assert.equal(first.name, undefined);
  assert.equal(second.name, 'app');
  assert.ok(second.build_context.files[0].blob_id);
});

test('the text of a Dockerfile with a name and no files sends no files', async () => {
  const builder = Template.fromDockerfileContent('FROM x', { path: 'Dockerfile' });
  assert.deepEqual((await contextOf(builder)).entries, []);
});

test('a context of any size costs no memory', async (t) => {
  const root = folder(t, { 'small.txt': 'x' });
  // Sparse: it takes no room on the disk.
  truncateSync(path.join(root, 'small.txt'), 400 << 20);
  const server = http.createServer(async (request, response) => {
    let size = 0;
    const head = [];
    for await (const chunk of request) {
      size += chunk.length;
      if (size < 1 << 16) head.push(chunk);
    }
    const reply = (status, body) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(body && JSON.stringify(body));
    if (request.url.endsWith('/preflight')) {
      const { files } = JSON.parse(Buffer.concat(head));
      reply(200, {
        files: files.map(({ path: name, entry_type, sha256: digest }) => ({
          path: name,
          entry_type,
          missing: true,
          blob_id: digest,
        })),
      });
    } else if (request.method === 'PUT') reply(size === 400 << 20 ? 204 : 400);
    else reply(202, build());
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const code = `import { Template } from ${JSON.stringify(new URL('node.mjs', pkg).href)};
    const builder = Template.fromImage('x').setFileContext(${JSON.stringify(root)}).copy('small.txt', '/x');
    const options = { apiKey: 'k', baseUrl: 'http://127.0.0.1:${server.address().port}' };
    console.log((await Template.buildInBackground(builder, 'app', options)).id, process.resourceUsage().maxRSS);`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
    timeout: 120_000,
  });
  const [id, kib] = stdout.trim().split(' ');
  assert.equal(id, 'tb_1');
  assert.ok(Number(kib) < 300 << 10, `${kib} KiB for a file of 400 MiB`);
});
