// Spans against the engine: a page of another origin may send their header. What spans hold is in tests/wasm/tracing.test.mjs.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { site } from './support/browser.mjs';
import { engineForTests } from './support/engine.mjs';

const page = await site();
const engine = await engineForTests({ args: ['--allow-origin', page.origin] });
after(async () => {
  await engine.stopWell();
  await page.close();
});

test('requests of a page carry the header of their span', async () => {
  const names = await page.run(
    engine,
    async ({ Nullspace }, client) => {
      const ended = [];
      const tracer = {
        startSpan: (name) => ({
          spanContext: () => ({ traceId: '1'.repeat(32), spanId: '2'.repeat(16), traceFlags: 1 }),
          setAttribute() {},
          setAttributes() {},
          addEvent: (_, attributes) => ended.push([name, attributes['http.response.status_code']]),
          setStatus() {},
          end() {},
        }),
      };
      // A browser asks the server whether the header may be sent, and refuses it otherwise.
      const sent = [];
      const spy = (url, init) => {
        sent.push(new Headers(init.headers).get('traceparent'));
        return fetch(url, init);
      };
      await new Nullspace({ ...client, tracer, fetch: spy }).Machine.list();
      return [...ended, ...sent];
    },
    { baseUrl: engine.url, apiKey: engine.apiKey },
  );
  assert.deepEqual(names, [['GET /v1/machines', 200], `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`]);
});
