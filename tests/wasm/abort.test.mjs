// A signal ends a call at every stage, with its own reason; what callbacks throw comes through unchanged.

import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import test from 'node:test';

import { sdk } from './package.mjs';
import { serve } from './server.mjs';

const { Machine, TemplateWarmPool } = sdk;

const reasons = [
  ['an Error', new Error('stop')],
  ['text', 'why'],
  ['an object', { code: 7 }],
  ['zero', 0],
  ['null', null],
];

for (const transport of ['node:http', 'fetch']) {
  const more = transport === 'fetch' ? { fetch: globalThis.fetch } : {};
  const call = (server, signal, rest = {}) => Machine.create({ ...server.options, ...more, signal, ...rest });

  for (const [name, reason] of reasons) {
    test(`${transport}: a signal that was already aborted with ${name} rejects with it, and nothing is sent`, async () => {
      const server = await serve();
      try {
        await assert.rejects(
          call(server, AbortSignal.abort(reason)),
          (error) => error === reason || (reason === undefined && error.name === 'AbortError'),
        );
        assert.equal(server.requests.length, 0);
      } finally {
        await server.close();
      }
    });

    test(`${transport}: an abort with ${name} while the server thinks rejects with it, and closes the connection`, async () => {
      let closed;
      const gone = new Promise((resolve) => (closed = resolve));
      const server = await serve((_request, response) => {
        response.on('close', closed);
        setTimeout(() => controller.abort(reason), 20);
        return true;
      });
      const controller = new AbortController();
      try {
        await assert.rejects(call(server, controller.signal), (error) => error === reason);
        await gone;
        assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
      } finally {
        await server.close();
      }
    });
  }

  test(`${transport}: an abort in the middle of the answer's body`, async () => {
    const controller = new AbortController();
    const server = await serve((_request, response) => {
      response.writeHead(201, { 'content-type': 'application/json' });
      response.write('{"id":');
      setTimeout(() => controller.abort('body'), 20);
      return true;
    });
    try {
      await assert.rejects(call(server, controller.signal), (error) => error === 'body');
    } finally {
      await server.close();
    }
  });

  test(`${transport}: an abort while waiting for the next try`, async () => {
    const controller = new AbortController();
    const server = await serve((_request, _response, respond) => {
      respond(429, { error: 'slow', code: 'rate_limit_exceeded' }, { 'retry-after': '60' });
      setTimeout(() => controller.abort('waiting'), 20);
      return true;
    });
    try {
      await assert.rejects(call(server, controller.signal), (error) => error === 'waiting');
      assert.equal(server.requests.length, 1);
    } finally {
      await server.close();
    }
  });

  test(`${transport}: an abort while the key function thinks`, async () => {
    const controller = new AbortController();
    const server = await serve();
    setTimeout(() => controller.abort('key'), 20);
    try {
      await assert.rejects(
        call(server, controller.signal, { apiKey: () => new Promise(() => {}) }),
        (error) => error === 'key',
      );
      assert.equal(server.requests.length, 0);
    } finally {
      await server.close();
    }
  });

  test(`${transport}: AbortSignal.timeout rejects with its TimeoutError`, async () => {
    const server = await serve(() => true);
    try {
      await assert.rejects(
        call(server, AbortSignal.timeout(30)),
        (error) => error instanceof DOMException && error.name === 'TimeoutError',
      );
    } finally {
      await server.close();
    }
  });
}

test('a signal ends calls on handles, pages and waits', async () => {
  const server = await serve();
  try {
    const held = await Machine.create(server.options);
    const page = await Machine.list(server.options);
    const pool = await TemplateWarmPool.get('twp_1', server.options);
    const { signal } = Object.assign(new AbortController(), {});
    const aborted = AbortSignal.abort('now');
    const before = server.requests.length;
    for (const call of [
      () => held.commands.run('ls', { signal: aborted }),
      () => held.getInfo({ signal: aborted }),
      () => held.kill({ signal: aborted }),
      () => page.nextItems({ signal: aborted }),
      () => pool.getInfo({ signal: aborted }),
      () => pool.waitUntilReady({ signal: aborted }),
    ]) {
      await assert.rejects(call(), (error) => error === 'now');
    }
    assert.equal(server.requests.length, before);
    // A signal that never aborts changes nothing.
    assert.equal((await held.getInfo({ signal })).id, 'mch_1');
  } finally {
    await server.close();
  }
});

test('one signal may serve many calls, also at once: no warning of a leak, and no listener stays', async () => {
  const server = await serve();
  const controller = new AbortController();
  const warnings = [];
  const hear = (warning) => warnings.push(warning.name);
  process.on('warning', hear);
  try {
    const list = () => Machine.list({ ...server.options, signal: controller.signal });
    for (let index = 0; index < 20; index++) await list();
    await Promise.all(Array.from({ length: 20 }, list));
    const aborted = Array.from({ length: 20 }, list);
    controller.abort('enough');
    for (const one of await Promise.allSettled(aborted)) assert.equal(one.reason, 'enough');
    await new Promise(setImmediate);
    assert.deepEqual(warnings, []);
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  } finally {
    process.off('warning', hear);
    await server.close();
  }
});

test('what callbacks throw comes through unchanged', async () => {
  const server = await serve();
  const mine = { mine: true };
  const fail = () => {
    throw mine;
  };
  try {
    for (const given of [{ apiKey: fail }, { apiKey: async () => fail() }, { onRequest: fail }, { onResponse: fail }]) {
      await assert.rejects(
        Machine.list({ ...server.options, ...given }),
        (error) => error === mine,
        Object.keys(given)[0],
      );
    }
    const pool = await TemplateWarmPool.get('twp_1', server.options);
    await assert.rejects(pool.waitUntilReady({ onProgress: fail }), (error) => error === mine);
  } finally {
    await server.close();
  }
});
