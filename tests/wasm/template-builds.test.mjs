// Builds of templates against a scripted server: their logs over lost connections, their ends, what ends them.

import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';

import { sdk } from './package.mjs';
import { build, serve, template } from './server.mjs';

const { BuildError, Nullspace, Template, TemplateBuild } = sdk;
const LIMIT_MS = 30_000;

const within = (promise) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(reject, LIMIT_MS, new Error('the call hangs'));
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

const entry = (offset, kind = 'message', more = {}) => ({
  build_id: 'tb_1',
  template_id: 'tmpl_1',
  offset,
  timestamp: '2026-01-02T03:04:05Z',
  kind,
  level: kind === 'error' ? 'error' : 'info',
  message: `line ${offset}`,
  ...more,
});
const end = (offset) => entry(offset, 'end', { result: template({ tags: ['stable'] }) });
const lines = (entries) => entries.map((one) => `data: ${JSON.stringify(one)}\n\n`).join('');

/**
 * A server with one build. `streams` are what its log answers, one after the other: entries, and then what becomes of the
 * connection. `status` answers a question of its state.
 */
const scripted = async (
  t,
  { streams = [], status = () => [200, { build: build(), entries: [], next_offset: 0 }], more = () => false } = {},
) => {
  let asked = 0;
  const server = await serve((request, response, respond) => {
    if (more(request, response, respond)) return true;
    const { method, path: at } = request;
    if (at === '/v1/templates/builds') respond(202, build({ status: 'waiting' }));
    else if (at === '/v1/templates/builds/tb_1/logs') {
      const stream = streams[asked++] ?? { after: 'wait' };
      if (stream.refuse) {
        respond(...stream.refuse);
        return true;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(lines(stream.entries ?? []));
      if (stream.after === 'cut') setTimeout(() => response.destroy(), 20);
      else if (stream.after !== 'wait') response.end();
    } else if (at === '/v1/templates/builds/tb_1/cancel') {
      respond(200, { build: build({ status: 'cancelled' }), entries: [], next_offset: 0 });
    } else if (at === '/v1/templates/builds/tb_1' && method === 'GET') respond(...status(request));
    else return false;
    return true;
  });
  t.after(() => server.close());
  const paths = () => server.requests.map(({ method, url }) => `${method} ${url}`);
  return Object.assign(server, { paths });
};

const builder = Template.fromImage('debian').run('make').run('make install');

test('a build gives the template, and each line of its log once', async (t) => {
  const server = await scripted(t, { streams: [{ entries: [entry(0, 'start'), entry(1), end(2)] }] });
  const told = [];
  const info = await within(
    Template.build(builder, 'team/app:stable', { ...server.options, onLog: (one) => told.push(one) }),
  );
  assert.deepEqual(info, {
    id: 'tmpl_1',
    name: 'app',
    description: '',
    builtin: false,
    canonicalRef: 'team/app:stable',
    visibility: 'private',
    tags: ['stable'],
  });
  assert.deepEqual(
    told.map(({ offset, kind }) => [offset, kind]),
    [
      [0, 'start'],
      [1, 'message'],
      [2, 'end'],
    ],
  );
  assert.ok(told[0].timestamp instanceof Date);
  assert.deepEqual(server.paths(), [
    'POST /v1/templates/builds',
    'GET /v1/templates/builds/tb_1/logs?follow=true&offset=0',
  ]);
});

test('a log that is cut goes on at its offset, and what comes twice is told once', async (t) => {
  const server = await scripted(t, {
    streams: [
      { entries: [entry(0, 'start'), entry(1)], after: 'cut' },
      { refuse: [503, { error: 'starting', code: 'capacity' }] },
      { entries: [entry(1), entry(2)] },
      { entries: [entry(3), end(4)] },
    ],
  });
  const build = await TemplateBuild.connect('tb_1', server.options);
  assert.deepEqual([build.toJSON().id, build.toJSON().templateId], ['tb_1', 'tmpl_1']);
  const told = [];
  for await (const { offset } of build.logs()) told.push(offset);
  assert.deepEqual(told, [0, 1, 2, 3, 4]);
  assert.deepEqual(
    server.paths().filter((line) => line.includes('/logs')),
    [0, 2, 2, 3].map((offset) => `GET /v1/templates/builds/tb_1/logs?follow=true&offset=${offset}`),
  );
});

test('entries that only the state has are told too, and a build that is over ends the log', async (t) => {
  let looks = 0;
  const server = await scripted(t, {
    streams: [{ refuse: [501, { error: 'no streams', code: 'not_implemented' }] }],
    status: ({ query }) => {
      const offset = Number(query.get('offset'));
      looks += 1;
      const all = [entry(0, 'start'), entry(1), entry(2)].slice(0, looks + 1);
      return [
        200,
        {
          build: build({ status: looks > 3 ? 'ready' : 'building', canonical_ref: 'team/app:stable' }),
          entries: all.slice(offset),
          next_offset: all.length,
        },
      ];
    },
    more: ({ path: at }, _response, respond) => {
      if (at !== '/v1/templates/refs/team%2Fapp%3Astable') return false;
      respond(200, template());
      return true;
    },
  });
  const told = [];
  const info = await within(
    Template.build(builder, 'app', { ...server.options, onLog: ({ offset }) => told.push(offset) }),
  );
  assert.deepEqual(told, [0, 1, 2]);
  assert.equal(info.canonicalRef, 'team/app:stable');
  // A server without streams is asked for one once.
  assert.equal(server.paths().filter((line) => line.includes('/logs')).length, 1);
});

test('a log that is not followed ends with what is there', async (t) => {
  const server = await scripted(t, { streams: [{ entries: [entry(5), entry(6)] }] });
  const build = await TemplateBuild.connect('tb_1', server.options);
  const told = [];
  for await (const { offset } of build.logs({ offset: 5, follow: false })) told.push(offset);
  assert.deepEqual(told, [5, 6]);
  assert.equal(server.paths().at(-1), 'GET /v1/templates/builds/tb_1/logs?follow=false&offset=5');
});

test('leaving the loop closes the connection and ends nothing else', async (t) => {
  let closed;
  const gone = new Promise((resolve) => {
    closed = resolve;
  });
  const server = await scripted(t, {
    streams: [{ entries: [entry(0), entry(1)], after: 'wait' }],
    more: ({ path: at }, response) => {
      if (at.endsWith('/logs')) response.on('close', closed);
      return false;
    },
  });
  const build = await TemplateBuild.connect('tb_1', server.options);
  for await (const { offset } of build.logs()) if (offset === 1) break;
  await within(gone);
  assert.ok(!server.paths().some((line) => line.includes('cancel')));
});

const detail = {
  code: 'build_error',
  message: 'the command ended with 2.',
  phase: 'build_step',
  retryable: false,
  suggested_action: 'look at the log',
  step_index: 1,
  request_id: 'req_9',
  details: { reason: 'command_failed', exit_code: 2 },
};

test('a build that fails is a BuildError with its step, command, exit code and the end of the log', async (t) => {
  const before = Array.from({ length: 30 }, (_, offset) => entry(offset));
  const server = await scripted(t, {
    streams: [{ entries: [...before, entry(30, 'error', { error_detail: detail })] }],
    status: () => [
      200,
      { build: build({ status: 'error', error: 'failed', error_detail: detail }), entries: [], next_offset: 31 },
    ],
  });
  await assert.rejects(within(Template.build(builder, 'app', server.options)), (error) => {
    assert.ok(error instanceof BuildError);
    assert.equal(error.message, 'the build of app failed in step 2 (run): the command ended with 2');
    const { log, stack, ...rest } = { ...error };
    assert.deepEqual(rest, {
      code: 'build_error',
      buildId: 'tb_1',
      templateId: 'tmpl_1',
      phase: 'build_step',
      stepIndex: 1,
      step: 'run',
      command: 'make install',
      exitCode: 2,
      retryable: false,
      suggestedAction: 'look at the log',
      requestId: 'req_9',
      details: { reason: 'command_failed', exit_code: 2 },
    });
    assert.equal(log.length, 20);
    assert.equal(log.at(-1), 'line 30');
    return true;
  });
  assert.ok(!server.paths().some((line) => line.includes('cancel')));
});

test('a failure that only the state tells, and one that tells little', async (t) => {
  for (const [state, expected] of [
    [
      { status: 'error', error: 'no such image' },
      { message: 'the build of app failed: no such image', code: 'build_error' },
    ],
    [
      { status: 'error', error_detail: { ...detail, code: 'internal_error', details: { command: 'apt-get update' } } },
      { command: 'apt-get update', code: 'internal_error', exitCode: undefined },
    ],
    [
      {
        status: 'error',
        error_detail: { ...detail, message: 'step 2 of 3 failed', details: { command: 'make', exit_code: 7 } },
      },
      { message: 'the build of app failed: `make` ended with 7: step 2 of 3 failed', command: 'make', exitCode: 7 },
    ],
    [
      { status: 'cancelled', cancellation_reason: 'enough' },
      { message: 'the build of app was cancelled: enough', code: 'build_cancelled', buildId: 'tb_1' },
    ],
  ]) {
    const server = await scripted(t, {
      streams: [{ entries: [] }],
      status: () => [200, { build: build(state), entries: [], next_offset: 0 }],
    });
    const held = await TemplateBuild.connect('tb_1', server.options);
    await assert.rejects(within(held.wait()), (error) => {
      assert.ok(error instanceof BuildError);
      for (const [name, value] of Object.entries(expected)) assert.equal(error[name], value, name);
      return true;
    });
  }
});

for (const [name, reason] of [
  ['an Error', new Error('stop')],
  ['text', 'why'],
])
  test(`an abort with ${name} cancels the build on the server and rejects with it`, async (t) => {
    const controller = new AbortController();
    const server = await scripted(t, { streams: [{ entries: [entry(0, 'start')], after: 'wait' }] });
    const building = Template.build(builder, 'app', {
      ...server.options,
      signal: controller.signal,
      onLog: () => setTimeout(() => controller.abort(reason), 10),
    });
    await assert.rejects(within(building), (error) => error === reason);
    assert.equal(server.paths().at(-1), 'POST /v1/templates/builds/tb_1/cancel');
    assert.deepEqual(server.requests.at(-1).body, { reason: 'the caller has gone' });
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  });

for (const call of ['build', 'buildInBackground'])
  test(`${call}: an abort while the server begins the build cancels it as soon as it is known`, async (t) => {
    const controller = new AbortController();
    let cancelled;
    const ended = new Promise((resolve) => {
      cancelled = resolve;
    });
    const server = await scripted(t, {
      more: ({ path: at }, _response, respond) => {
        if (at.endsWith('/cancel')) cancelled();
        if (at !== '/v1/templates/builds') return false;
        controller.abort('gone');
        setTimeout(respond, 50, 202, build());
        return true;
      },
    });
    await assert.rejects(
      within(Template[call](builder, 'app', { ...server.options, signal: controller.signal })),
      (error) => error === 'gone',
    );
    await within(ended);
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  });

test('an abort before anything was sent sends nothing', async (t) => {
  const server = await scripted(t);
  const signal = AbortSignal.abort('early');
  for (const call of ['build', 'buildInBackground', 'plan'])
    await assert.rejects(Template[call](builder, 'app', { ...server.options, signal }), (error) => error === 'early');
  assert.deepEqual(server.requests, []);
});

test('an abort while files are sent ends there: no build is begun', async (t) => {
  const root = mkdtempSync(path.join(tmpdir(), 'nullspace-context-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const name of ['a', 'b']) writeFileSync(path.join(root, name), name);
  const controller = new AbortController();
  const server = await scripted(t, {
    more: ({ path: at, body }, _response, respond) => {
      if (at.endsWith('/preflight'))
        respond(200, {
          files: body.files.map(({ path: name, entry_type, sha256 }) => ({
            path: name,
            entry_type,
            missing: true,
            blob_id: sha256,
          })),
        });
      else if (at.includes('/blobs/')) controller.abort('gone');
      else return false;
      return true;
    },
  });
  const taking = Template.fromImage('x').setFileContext(root).copy(['a', 'b'], '/x/');
  await assert.rejects(
    within(Template.build(taking, 'app', { ...server.options, signal: controller.signal })),
    (error) => error === 'gone',
  );
  assert.ok(!server.paths().includes('POST /v1/templates/builds'));
});

test('what a hook throws comes through unchanged and cancels the build', async (t) => {
  const mine = new Error('mine');
  for (const onLog of [
    () => {
      throw mine;
    },
    async () => {
      throw mine;
    },
  ]) {
    const server = await scripted(t, { streams: [{ entries: [entry(0)], after: 'wait' }] });
    await assert.rejects(
      within(Template.build(builder, 'app', { ...server.options, onLog })),
      (error) => error === mine,
    );
    assert.equal(server.paths().at(-1), 'POST /v1/templates/builds/tb_1/cancel');
  }
});

test('a build in the background is taken up, waited for, cancelled, done again and promoted', async (t) => {
  const server = await scripted(t, {
    streams: [{ entries: [end(0)] }],
    more: ({ path: at }, _response, respond) => {
      if (at.endsWith('/retry')) respond(202, build({ build_id: 'tb_2', retry_of_build_id: 'tb_1' }));
      else if (at.endsWith('/promote')) respond(200, template({ tags: ['stable', 'live'] }));
      else return false;
      return true;
    },
  });
  const { Template: Bound, TemplateBuild: BoundBuild } = new Nullspace(server.options);
  const begun = await Bound.buildInBackground(builder, 'app', { tags: ['next'] });
  assert.ok(begun instanceof TemplateBuild);
  assert.deepEqual(JSON.parse(JSON.stringify(begun)), {
    id: 'tb_1',
    templateId: 'tmpl_1',
    name: 'app',
    tags: ['stable'],
  });
  const held = await BoundBuild.connect('tb_1');
  assert.equal(held.id, 'tb_1');
  const told = [];
  assert.equal((await held.wait({ onLog: ({ kind }) => told.push(kind) })).id, 'tmpl_1');
  assert.deepEqual(told, ['end']);
  const { build: now, nextOffset } = await held.status({ offset: 3 });
  assert.deepEqual([now.status, nextOffset], ['building', 0]);
  assert.equal((await held.cancel({ reason: 'enough' })).status, 'cancelled');
  const again = await held.retry({
    tags: ['x'],
    baseImageAuth: { username: 'me', password: 'p' },
    registryAuth: [{ registry: 'registry.example', accessKeyId: 'a', secretAccessKey: 'b', region: 'eu-1' }],
    buildSecrets: [{ id: 's', value: 'v' }],
  });
  assert.ok(again instanceof TemplateBuild);
  assert.equal(again.id, 'tb_2');
  assert.deepEqual((await held.promote('live')).tags, ['stable', 'live']);
  assert.deepEqual(
    server.requests.map(({ method, url, body }) => [`${method} ${url}`, body]),
    [
      ['POST /v1/templates/builds', { ...server.requests[0].body, tags: ['next'] }],
      ['GET /v1/templates/builds/tb_1?offset=0', undefined],
      ['GET /v1/templates/builds/tb_1/logs?follow=true&offset=0', undefined],
      ['GET /v1/templates/builds/tb_1?offset=3', undefined],
      ['POST /v1/templates/builds/tb_1/cancel', { reason: 'enough' }],
      [
        'POST /v1/templates/builds/tb_1/retry',
        {
          tags: ['x'],
          base_image_auth: { kind: 'basic', username: 'me', password: 'p' },
          registry_auth: [
            {
              registry: 'registry.example',
              auth: { kind: 'aws_ecr', access_key_id: 'a', secret_access_key: 'b', region: 'eu-1' },
            },
          ],
          build_secrets: [{ id: 's', value: 'v', source: 'value' }],
        },
      ],
      ['POST /v1/templates/builds/tb_1/promote', { tag: 'live' }],
    ],
  );
  await assert.rejects(held.wait({ onLog: 7 }), /^InvalidRequestError: option `onLog` must be a function/);
  await assert.rejects(held.retry({ registryAuth: {} }), /option `registryAuth` must be an array/);
  await assert.rejects(held.retry({ tag: 'x' }), /option `tag` is not known; did you mean `tags`/);
  await assert.rejects(
    Bound.buildInBackground(builder, 'app', { onLog() {} }),
    /option `onLog` is of `Template.build`/,
  );
});

test('a log that is no log is invalid_response, and a build that is not there is not found', async (t) => {
  for (const text of ['data: nonsense\n\n', 'data: {"offset": 0}\n\n', 'data: 7\n\n']) {
    const server = await scripted(t, {
      more: ({ path: at }, response) => {
        if (!at.endsWith('/logs')) return false;
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(text);
        return true;
      },
    });
    const held = await TemplateBuild.connect('tb_1', server.options);
    await assert.rejects(within(held.wait()), { code: 'invalid_response' });
  }
  const server = await scripted(t, { status: () => [404, { error: 'no such build', code: 'not_found' }] });
  await assert.rejects(TemplateBuild.connect('tb_9', server.options), sdk.NotFoundError);
});

test('the default logger prints a line an entry, from a level on', () => {
  const printed = [];
  const log = sdk.defaultBuildLogger({ minLevel: 'warn', print: (line) => printed.push(line) });
  const at = new Date('2026-01-02T03:04:05Z');
  log({ timestamp: at, kind: 'start', level: 'info', message: 'begin' });
  log({ timestamp: at, kind: 'message', level: 'info', message: 'quiet' });
  log({ timestamp: at, kind: 'warning', level: 'warn', message: 'loud\n' });
  log({ timestamp: at, kind: 'end', level: 'info', message: 'done' });
  assert.deepEqual(printed, ['03:04:05 info  begin', '03:04:05 warn  loud', '03:04:05 info  done']);
});
