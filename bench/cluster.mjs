// A gateway against the engine behind it, in one run, A B A B: what a call through a cluster costs. And creates per second with one and
// with three nodes, which share this computer's processors. One table, a ratio in each row.

import { availableParallelism } from 'node:os';
import path from 'node:path';

import { Nullspace } from 'nullspace';

import { removeDirectory, temporaryDirectory } from '../scripts/lib/cleanup.mjs';
import { startCluster } from '../scripts/lib/cluster.mjs';
import { startEngine } from '../scripts/lib/engine.mjs';
import { releaseEngine } from '../scripts/lib/project.mjs';

const KEY = 'nsk_bench_0123456789abcdef';
const STREAM_MIB = 64;

const startNodes = async (nodes) => {
  const directory = temporaryDirectory(`cluster-${nodes}`);
  const started = await startCluster({
    binary: releaseEngine,
    nodes,
    directory: path.join(directory, 'state'),
    key: KEY,
    args: ['--durability', 'fast'],
    env: { PATH: process.env.PATH },
  });
  const stop = async () => {
    await started.stop();
    removeDirectory(directory);
  };
  return { url: started.said[1], stop };
};

/** Calls one after the other: the median in ms, and the client's processor time of each. */
const measure = async (count, call) => {
  const times = [];
  const before = process.cpuUsage();
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await call();
    times.push(performance.now() - start);
  }
  const { user, system } = process.cpuUsage(before);
  times.sort((a, b) => a - b);
  return { p50: times[times.length >> 1], cpu: (user + system) / count };
};

/** MiB/s of what a command prints. */
const stream = async (machine) => {
  const start = performance.now();
  let bytes = 0;
  const command = `head -c ${STREAM_MIB}M /dev/zero`;
  await machine.commands.run(command, { shell: true, timeout: 300, onStdout: (text) => (bytes += text.length) });
  if (bytes !== STREAM_MIB << 20) throw new Error(`${bytes} bytes came, not ${STREAM_MIB} MiB`);
  return STREAM_MIB / ((performance.now() - start) / 1000);
};

/** Machines made per second, eight at a time. */
const creates = async ({ Machine }, count) => {
  const made = [];
  let left = count;
  const start = performance.now();
  const worker = async () => {
    while (left-- > 0) made.push(await Machine.create({ memoryMb: 64 }));
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  const perSecond = count / ((performance.now() - start) / 1000);
  await Promise.all(made.map((machine) => machine.kill()));
  return perSecond;
};

/** Adds the table; `table` prints, `verdict` compares with the goal. */
export async function cluster({ table, verdict, median, rounds, quick }) {
  const engine = await startEngine({ binary: releaseEngine, apiKey: KEY });
  const one = await startNodes(1);
  const three = await startNodes(3);
  const of = (url) => new Nullspace({ apiKey: KEY, baseUrl: url });
  const sides = { direct: of(engine.url), gateway: of(one.url) };
  const count = quick ? 100 : 500;
  try {
    const found = { get: [], exec: [], stream: [], creates: [] };
    const machines = {};
    for (const [side, { Machine }] of Object.entries(sides)) machines[side] = await Machine.create();
    for (let round = 0; round <= rounds; round++) {
      const now = { get: {}, exec: {}, stream: {}, creates: {} };
      for (const [side, machine] of Object.entries(machines)) {
        now.get[side] = await measure(count, () => machine.getInfo());
        now.exec[side] = await measure(count >> 2, () => machine.commands.run('true'));
        now.stream[side] = await stream(machine);
      }
      for (const [side, client] of Object.entries({ ...sides, three: of(three.url) })) {
        now.creates[side] = await creates(client, quick ? 24 : 80);
      }
      // The first round warms up.
      if (round > 0) for (const kind of Object.keys(found)) found[kind].push(now[kind]);
    }
    const middle = (kind, pick) => median(found[kind].map(pick));
    const row = (call, figure, [from, to], unit, ratio, goal, verdict) => [
      call,
      figure,
      `${from} ${unit}`,
      `${to} ${unit}`,
      ratio.toFixed(2),
      goal,
      verdict,
    ];
    const rows = ['get', 'exec'].flatMap((kind) => {
      const sidesOf = (pick, digits) =>
        ['direct', 'gateway'].map((side) => middle(kind, (now) => pick(now[side])).toFixed(digits));
      const more = middle(kind, ({ direct, gateway }) => gateway.p50 - direct.p50);
      const cpu = middle(kind, ({ direct, gateway }) => gateway.cpu / direct.cpu);
      const p50 = middle(kind, ({ direct, gateway }) => gateway.p50 / direct.p50);
      const p50Goal = `${more < 0 ? '' : '+'}${more.toFixed(2)} ms (<= 1 ms)`;
      return [
        row(
          kind,
          'p50',
          sidesOf(({ p50 }) => p50, 2),
          'ms',
          p50,
          p50Goal,
          verdict(more, 1),
        ),
        row(
          kind,
          'CPU of the client',
          sidesOf(({ cpu }) => cpu, 0),
          'µs',
          cpu,
          '<= 1.35',
          verdict(cpu, 1.35),
        ),
      ];
    });
    const rates = (kind, from, to, digits) => [
      [from, to].map((side) => middle(kind, (now) => now[side]).toFixed(digits)),
      middle(kind, (now) => now[to] / now[from]),
    ];
    const [bytes, streamed] = rates('stream', 'direct', 'gateway', 0);
    rows.push(row('stream', 'throughput', bytes, 'MiB/s', streamed, '>= 0.8', verdict(streamed, 0.8, true)));
    const [single, made] = rates('creates', 'direct', 'gateway', 1);
    rows.push(row('create', 'one node', single, '/s', made, '-', ''));
    const [several, scaled] = rates('creates', 'gateway', 'three', 1);
    // Three nodes are worth more than one where each has processors of its own.
    const goal = availableParallelism() >= 8 ? ['>= 2', verdict(scaled, 2, true)] : ['-', ''];
    rows.push(row('create', 'three nodes instead of one', several, '/s', scaled, ...goal));
    table('Through a gateway', ['call', 'figure', 'without', 'with', 'ratio', 'goal', ''], rows);
  } finally {
    await Promise.all([engine.stop(), one.stop(), three.stop()]);
  }
}
