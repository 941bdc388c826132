// What handles look like: in logs, JSON, `instanceof`, disposal; and what they keep to themselves.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { inspect, promisify } from 'node:util';

import { pkg, sdk } from './package.mjs';
import { machine, serve } from './server.mjs';

const { Machine, MachinePage, Nullspace, TemplateWarmPool } = sdk;
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');

const using = async (server, use) => {
  try {
    return await use(server);
  } finally {
    await server.close();
  }
};

test('require and import give the same classes', () => {
  const required = createRequire(import.meta.url)(fileURLToPath(new URL('node.cjs', pkg)));
  assert.deepEqual(Object.keys(required).sort(), Object.keys(sdk).sort());
  for (const name of Object.keys(sdk)) assert.equal(required[name], sdk[name], name);
});

test('every class has its name, whatever bundlers do', () => {
  for (const name of Object.keys(sdk)) if (typeof sdk[name] === 'function') assert.equal(sdk[name].name, name);
});

test('every class of handles is exported', async () => {
  const { classes } = await import(new URL('lib/handle.js', pkg));
  assert.deepEqual(
    Object.keys(classes).filter((name) => sdk[name] === undefined),
    [],
  );
});

test('handles show what they are in logs and in JSON', async () =>
  using(await serve(), async ({ options }) => {
    const held = await Machine.create(options);
    assert.match(inspect(held), /^Machine \{ id: 'mch_1', cwd: '\/workspace'/);
    assert.deepEqual(JSON.parse(JSON.stringify(held)), { id: 'mch_1', cwd: '/workspace' });
    assert.equal(Object.prototype.toString.call(held), '[object Machine]');
    const page = await Machine.list(options);
    assert.match(inspect(page), /^MachinePage \{/);
    assert.equal(JSON.parse(JSON.stringify(page)).items.length, 2);
    assert.match(inspect(await TemplateWarmPool.get('twp_1', options)), /^TemplateWarmPool \{ id: 'twp_1' \}/);
  }));

test('a token and a key appear in no log', async () =>
  using(
    await serve((_request, _response, respond) => {
      respond(201, machine('mch_1', { traffic_access_token: 'tat_secret' }));
      return true;
    }),
    async ({ options, url }) => {
      const held = await Machine.create(options);
      assert.equal(held.trafficAccessToken, 'tat_secret');
      assert.ok(!inspect(held).includes('tat_secret'));
      assert.ok(
        !inspect(new Nullspace({ apiKey: 'my-key', baseUrl: url }), { depth: 9, showHidden: true }).includes('my-key'),
      );
    },
  ));

test('handles come from calls only, and cannot be freed by hand', async () =>
  using(await serve(), async ({ options }) => {
    for (const type of [Machine, MachinePage, TemplateWarmPool])
      assert.throws(() => new type(), { name: 'TypeError', message: /no public constructor/ });
    const held = await Machine.create(options);
    assert.equal(held.free, undefined);
    if (Symbol.dispose) assert.equal(held[Symbol.dispose], undefined);
  }));

test('disposing kills, and swallows errors', async () =>
  using(
    await serve(({ method }, _response, respond) => {
      if (method !== 'DELETE') return false;
      respond(404, { error: 'gone', code: 'machine_not_found' });
      return true;
    }),
    async ({ options, requests }) => {
      const held = await Machine.create(options);
      assert.equal(await held[asyncDispose](), undefined);
      assert.equal(requests[1].method, 'DELETE');
      await assert.rejects(held.kill(), { code: 'machine_not_found' });
    },
  ));

test('errors keep what they know in JSON', async () => {
  const error = new sdk.NotFoundError({ message: 'gone', code: 'machine_not_found', status: 404, requestId: 'req_1' });
  assert.deepEqual(JSON.parse(JSON.stringify(error)), {
    name: 'NotFoundError',
    message: 'gone',
    code: 'machine_not_found',
    status: 404,
    requestId: 'req_1',
  });
  assert.ok(error.stack.includes('NotFoundError: gone'));
  assert.equal(new sdk.RateLimitError('slow').code, 'unknown');
});

test('the stack of an error leads to the caller', async () =>
  using(await serve(), async ({ options }) => {
    const held = await Machine.create(options);
    const findMe = async () => {
      await held.commands.run('ls', { timeout: -1 });
    };
    const findMeToo = async () => {
      await Machine.connect('', options);
    };
    for (const [name, call] of Object.entries({ findMe, findMeToo })) {
      await assert.rejects(call(), ({ stack }) => {
        assert.match(stack, /^InvalidRequestError: option/);
        assert.match(stack, new RegExp(`at async ${name} `));
        assert.ok(!stack.includes('wasm-function'), stack);
        return true;
      });
    }
  }));

test('a process ends after its last call, kept connections or not', async () =>
  using(await serve(), async ({ url }) => {
    const code = `import { Machine } from ${JSON.stringify(new URL('node.mjs', pkg).href)};
      const held = await Machine.create({ baseUrl: ${JSON.stringify(url)}, apiKey: 'k', signal: new AbortController().signal });
      await held.commands.run('echo hello');
      console.log(held.id);`;
    const started = Date.now();
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
      timeout: 10_000,
    });
    assert.equal(stdout, 'mch_1\n');
    assert.ok(Date.now() - started < 20_000, 'something kept the process alive');
  }));

test('importing loads nothing: no wasm, no http', async () => {
  const code = `import ${JSON.stringify(new URL('node.mjs', pkg).href)};
    console.log(process.moduleLoadList.includes('NativeModule https'), process.moduleLoadList.includes('NativeModule _http_client'));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code]);
  assert.equal(stdout, 'false false\n');
});
