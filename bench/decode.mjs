// What decoding a list costs beyond JSON.parse of the same text: checked camelCase objects with Dates.
//   node decode.mjs ROWS ROUNDS  ->  one line of JSON: medians of both in milliseconds
// Both run in one process, in turn.

import { Nullspace } from 'nullspace';

const [, , rows, rounds, dates] = process.argv;
const DATE = '2026-01-02T03:04:05.678Z';
const item = (n) => ({
  id: `mch_${n}`,
  status: 'running',
  config: { vcpus: 2, memory_mb: 512 },
  template: 'base',
  metadata: { project: 'docs', user: `user-${n}` },
  created_at: DATE,
  ...(dates === 'dates' ? { started_at: DATE, timeout_at: DATE, expires_at: DATE, last_active_at: DATE } : {}),
  timeout_ms: 300000,
  remaining_ms: 299000,
  timeout_action: 'destroy',
  ephemeral: false,
  cwd: '/workspace',
});
const text = JSON.stringify({ items: Array.from({ length: Number(rows) }, (_, n) => item(n)), has_next: false });

// The package decodes inside a call: a `fetch` of our own hands it the text without a network.
const response = () => ({ status: 200, ok: true, headers: new Headers(), text: async () => text });
const { Machine } = new Nullspace({ apiKey: 'k', baseUrl: 'http://bench', fetch: async () => response() });

const time = async (run) => {
  const start = performance.now();
  await run();
  return performance.now() - start;
};
const ours = [];
const plain = [];
for (let i = 0; i < Number(rounds) + 3; i++) {
  const a = await time(() => Machine.list({ limit: 1000 }));
  const b = await time(async () => JSON.parse(await response().text()));
  if (i >= 3) {
    ours.push(a);
    plain.push(b);
  }
}
const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
console.log(JSON.stringify({ ours: median(ours), plain: median(plain) }));
