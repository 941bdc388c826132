// Options that can be known to be wrong reject before a request is sent, and the error names the option.

import assert from 'node:assert/strict';
import test from 'node:test';

import { sdk } from './package.mjs';
import { serve } from './server.mjs';

const { Machine, TemplateWarmPool, Nullspace } = sdk;

class Settings {
  vcpus = 2;
}
const cyclic = {};
cyclic.self = cyclic;

/** What the message must name, and the options of a create. */
const creates = [
  ['memoryMb', { memoryMB: 512 }],
  ['template', { templte: 'base' }],
  ['vcpus', { vcpus: '2' }],
  ['vcpus', { vcpus: 0 }],
  ['vcpus', { vcpus: -1 }],
  ['vcpus', { vcpus: 1.5 }],
  ['vcpus', { vcpus: NaN }],
  ['vcpus', { vcpus: null }],
  ['vcpus', { vcpus: 2n }],
  ['memoryMb', { memoryMb: Infinity }],
  ['diskMb', { diskMb: 100 }],
  ['timeout', { timeout: -5 }],
  ['timeout', { timeout: '300' }],
  ['timeoutAction', { timeoutAction: 'explode' }],
  ['onTimeout', { onTimeout: 'hibernate' }],
  ['inactivityTimeoutMs', { inactivityTimeoutMs: 0 }],
  ['envs.A', { envs: { A: 1 } }],
  ['envs', { envs: ['A=1'] }],
  ['metadata', { metadata: 'project' }],
  ['metadata', { metadata: new Map([['a', 1]]) }],
  ['metadata.when', { metadata: { when: new Date() } }],
  ['metadata.deep.f', { metadata: { deep: { f() {} } } }],
  ['metadata', { metadata: cyclic }],
  ['network.egress.mode', { network: { egress: { mode: 'open' } } }],
  ['network.egress.allowCidrs[1]', { network: { egress: { mode: 'custom', allowCidrs: ['10.0.0.0/8', '10.0.0/8'] } } }],
  ['network.egress.denyCidrs[0]', { network: { egress: { mode: 'custom', denyCidrs: ['10.0.0.0/33'] } } }],
  ['network.egress', { network: { egress: { mode: 'custom', allowCidr: [] } } }],
  ['network.egress.rateLimit', { network: { egress: { mode: 'custom', rateLimit: { kbitPerSec: 1, pps: 1 } } } }],
  ['network.maskRequestHost', { network: { maskRequestHost: 7 } }],
  ['network', { network: 'deny_all' }],
  ['warmPool', { warmPoolMode: 'require' }],
  ['warmPoolMode', { warmPool: 'twp_1', warmPoolMode: 'maybe' }],
  ['warmPoolWaitMs', { warmPool: 'twp_1', warmPoolWaitMs: -1 }],
  ['warmPool', { warmPool: '  ' }],
  ['volumes', { volumes: [] }],
  ['volumes[0].mountPath', { volumes: [{ ref: 'vol_1', mountPath: '' }] }],
  ['internetAccess', { snapshotId: 'snap_1', internetAccess: false }],
  ['desktop', { desktop: { dpi: 96 } }],
  ['apiKey', { apiKey: 7 }],
  ['baseUrl', { baseUrl: 'not a url' }],
  ['baseUrl', { baseUrl: 'ftp://example.com' }],
  ['requestTimeout', { requestTimeout: 0 }],
  ['requestTimeout', { requestTimeout: 'soon' }],
  ['signal', { signal: 'stop' }],
  ['fetch', { fetch: {} }],
  ['headers', { headers: { 'x-a': 'line\nbreak' } }],
  ['headers', { headers: { 'bad name': 'x' } }],
  ['onRequest', { onRequest: true }],
];

const refused = async (named, call) => {
  const server = await serve();
  try {
    await assert.rejects(call(server.options), (error) => {
      assert.ok(error instanceof sdk.InvalidRequestError, `${error?.name}: ${error?.message}`);
      assert.equal(error.code, 'invalid_request');
      assert.ok(error.message.includes(named), `"${error.message}" does not name ${named}`);
      return true;
    });
    assert.equal(server.requests.length, 0, 'a request was sent');
  } finally {
    await server.close();
  }
};

const show = (value) => {
  try {
    return JSON.stringify(value, (_, inner) =>
      typeof inner === 'bigint'
        ? `${inner}n`
        : typeof inner === 'number' && !Number.isFinite(inner)
          ? String(inner)
          : inner,
    );
  } catch {
    return 'cyclic';
  }
};
for (const [index, [named, given]] of creates.entries()) {
  test(`create refuses ${show(given)} (${index})`, () =>
    refused(named, (options) => Machine.create({ ...options, ...given })));
}

for (const given of [null, 'base', 7, [], new Settings(), () => {}]) {
  test(`create refuses ${typeof given === 'object' ? JSON.stringify(given) : String(given)} in place of options`, () =>
    refused('options', () => Machine.create(given)));
}

test('an id that is none is refused', async () => {
  for (const id of [undefined, null, '', 7, {}]) await refused('id', (options) => Machine.connect(id, options));
});
test('an id cannot lead to another path', async () => {
  const server = await serve();
  try {
    await Machine.getInfoById('../a/b?c#d', server.options).catch(() => {});
    assert.deepEqual(
      server.requests.map(({ path }) => path),
      ['/v1/machines/..%2Fa%2Fb%3Fc%23d'],
    );
  } finally {
    await server.close();
  }
});
test('fields must not be empty', () => refused('fields', (options) => Machine.list({ ...options, fields: [] })));
test('a limit of 0 is refused', () => refused('limit', (options) => Machine.list({ ...options, limit: 0 })));
test('an unknown filter is refused', () =>
  refused('query', (options) => Machine.list({ ...options, query: { templates: 'base' } })));
test('a pool without a template is refused', () =>
  refused('template', (options) => TemplateWarmPool.create('', options)));
test('maxReady below minReady is refused', () =>
  refused('maxReady', (options) => TemplateWarmPool.create('base', { ...options, minReady: 3, maxReady: 1 })));
test('an option of a call is no option of a client', () =>
  refused('vcpus', (options) => new Nullspace({ ...options, vcpus: 2 }).Machine.create()));

test('run refuses what it can know to be wrong', async () => {
  const server = await serve();
  try {
    const { commands } = await Machine.create(server.options);
    for (const [named, command, given] of [
      ['args', 'ls', { shell: true, args: ['-l'] }],
      ['command', '', {}],
      ['command', undefined, {}],
      ['args[1]', 'ls', { args: ['-l', 1] }],
      ['timeout', 'ls', { timeout: 0 }],
      ['cwd', 'ls', { cwd: 1 }],
      ['envs.A', 'ls', { envs: { A: null } }],
      ['shell', 'ls', { shell: 'yes' }],
      ['timeout', 'ls', { timeOut: 3 }],
    ]) {
      await assert.rejects(commands.run(command, given), (error) => {
        assert.ok(error instanceof sdk.InvalidRequestError, `${error?.name}: ${error?.message}`);
        assert.ok(error.message.includes(named), `"${error.message}" does not name ${named}`);
        return true;
      });
    }
    assert.equal(server.requests.length, 1);
  } finally {
    await server.close();
  }
});

test('undefined is absent, inherited properties are not options, and a null prototype is plain', async () => {
  const server = await serve();
  try {
    await Machine.create({ ...server.options, vcpus: undefined, templte: undefined });
    assert.equal(server.requests[0].body.vcpus, 2);
    await Machine.create(Object.assign(Object.create(null), server.options, { vcpus: 3 }));
    assert.equal(server.requests[1].body.vcpus, 3);
  } finally {
    await server.close();
  }
});

test('what is passed on verbatim arrives as JSON would have it', async () => {
  const metadata = {
    'ключ 😀 }{;:3': 'a:1;😀"\\\n\0[2;',
    '': '',
    numbers: [0, -0, -7, 1.5, 1e21, 5e-324, 2 ** 53, Number.MAX_SAFE_INTEGER, -1e-7],
    others: [true, false, null, [], {}, [[[]]], { a: { b: ['c'] } }],
  };
  const server = await serve();
  try {
    await Machine.create({ ...server.options, metadata: { ...metadata, half: 'a\ud83d', 'b\udc00': 'c' } });
    const { half, 'b\ufffd': name, ...sent } = server.requests[0].body.metadata;
    assert.deepEqual(sent, JSON.parse(JSON.stringify(metadata)));
    // Half a character is none in UTF-8.
    assert.deepEqual([half, name], ['a\ufffd', 'c']);
    let deep = 'end';
    for (let depth = 0; depth < 60; depth++) deep = { deep };
    await Machine.create({ ...server.options, metadata: deep });
    assert.deepEqual(server.requests[1].body.metadata, deep);
  } finally {
    await server.close();
  }
});

test('a getter that throws, throws through', async () => {
  const mine = new Error('mine');
  const given = {
    get vcpus() {
      throw mine;
    },
  };
  await assert.rejects(Machine.create(given), (error) => error === mine);
});

test('without a key there is an AuthError that says where to put it', async () => {
  const server = await serve();
  const home = process.env.HOME;
  process.env.HOME = '/nonexistent';
  process.env.XDG_CONFIG_HOME = '/nonexistent';
  try {
    await assert.rejects(Machine.list({ baseUrl: server.url }), (error) => {
      assert.ok(error instanceof sdk.AuthError, String(error));
      assert.match(error.message, /NULLSPACE_API_KEY/);
      return true;
    });
    assert.equal(server.requests.length, 0);
  } finally {
    process.env.HOME = home;
    delete process.env.XDG_CONFIG_HOME;
    await server.close();
  }
});
