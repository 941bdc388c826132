// A gateway against the engine behind it, in one run, A B A B: what a call through a cluster costs. And creates per second with one and
// with three nodes, which share this computer's processors.

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

/** Adds the tables; `table` prints, `verdict` compares with the goal. */
export async function cluster({ table, verdict, median, rounds, quick }) {
  const engine = await startEngine({ binary: releaseEngine, apiKey: KEY });
  const one = await startNodes(1);
  const three = await startNodes(3);
  const of = (url) => new Nullspace({ apiKey: KEY, baseUrl: url });
  const sides = { direct: of(engine.url), gateway: of(one.url) };
  const count = quick ? 100 : 500;
  try {
    const found = { get: [], exec: [], stream: [] };
    const machines = {};
    for (const [side, { Machine }] of Object.entries(sides)) machines[side] = await Machine.create();
    for (let round = 0; round <= rounds; round++) {
      const now = { get: {}, exec: {}, stream: {} };
      for (const [side, machine] of Object.entries(machines)) {
        now.get[side] = await measure(count, () => machine.getInfo());
        now.exec[side] = await measure(count >> 2, () => machine.commands.run('true'));
        now.stream[side] = await stream(machine);
      }
      // The first round warms up.
      if (round > 0) for (const kind of Object.keys(found)) found[kind].push(now[kind]);
    }
    const middle = (kind, pick) => median(found[kind].map(pick));
    const rows = ['get', 'exec'].map((kind) => {
      const more = middle(kind, ({ direct, gateway }) => gateway.p50 - direct.p50);
      const cpu = middle(kind, ({ direct, gateway }) => gateway.cpu / direct.cpu);
      const p50 = (side) => `${middle(kind, (now) => now[side].p50).toFixed(2)} ms`;
      const met = more <= 1 ? verdict(cpu, 1.35) : '**not met**';
      return [
        kind,
        p50('direct'),
        p50('gateway'),
        `+${more.toFixed(2)} ms (goal 1)`,
        `${cpu.toFixed(2)} (goal 1.35)`,
        met,
      ];
    });
    const ratio = middle('stream', ({ direct, gateway }) => gateway / direct);
    const rate = (side) => `${middle('stream', (now) => now[side]).toFixed(0)} MiB/s`;
    rows.push([
      'stream',
      rate('direct'),
      rate('gateway'),
      `${ratio.toFixed(2)} (goal 0.8)`,
      '',
      verdict(ratio, 0.8, true),
    ]);
    table('Through a gateway', ['call', 'engine', 'gateway', 'more', 'CPU of the client', ''], rows);

    const perSecond = { engine: [], 'one node': [], 'three nodes': [] };
    for (let round = 0; round < rounds; round++) {
      perSecond.engine.push(await creates(sides.direct, quick ? 24 : 80));
      perSecond['one node'].push(await creates(sides.gateway, quick ? 24 : 80));
      perSecond['three nodes'].push(await creates(of(three.url), quick ? 24 : 80));
    }
    table(
      'Creates per second, all on this computer',
      ['of', 'per second'],
      Object.entries(perSecond).map(([name, list]) => [name, median(list).toFixed(1)]),
    );
  } finally {
    await Promise.all([engine.stop(), one.stop(), three.stop()]);
  }
}
