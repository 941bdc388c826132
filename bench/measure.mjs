// Measures one client and one call in a process of its own:
//   node measure.mjs CLIENT CALL URL SEQUENTIAL CONCURRENT  ->  one line of JSON

import { clients } from './clients.mjs';

const [, , name, call, url, sequential, concurrent] = process.argv;
const run = (await clients[name]())(url)[call];

for (let i = 0; i < 200; i++) await run();

// Sequential: latency and CPU.
const times = [];
const before = process.cpuUsage();
for (let i = 0; i < Number(sequential); i++) {
  const start = performance.now();
  await run();
  times.push(performance.now() - start);
}
const used = process.cpuUsage(before);

// 50 in flight: requests per second.
const start = performance.now();
let left = Number(concurrent);
const worker = async () => {
  while (left-- > 0) await run();
};
await Promise.all(Array.from({ length: 50 }, worker));
const perSecond = Number(concurrent) / ((performance.now() - start) / 1000);

times.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    cpu: (used.user + used.system) / Number(sequential),
    p50: times[times.length >> 1] * 1000,
    perSecond,
    rss: process.resourceUsage().maxRSS / 1024,
  }),
);
process.exit(0);
