// `npm run bench`: the tables of RESULTS.md. Everything is measured in turn, A B A B, in one run; what is printed are
// medians of the ratios. Options: --rounds N (5), --quick (fewer calls), --only calls|decode|cold|streams|browser|workerd|engine|builds|cluster, --write.

import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = path.dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const wants = (part) => options.only === undefined || options.only === part;

/** Runs a script of this folder to its end; its last line is JSON. */
const child = (script, ...args) => {
  const out = execFileSync(process.execPath, [path.join(here, script), ...args.map(String)], {
    cwd: here,
    encoding: 'utf8',
    // Proxies of the person's environment have no place in a loopback measurement.
    env: { ...process.env, NO_PROXY: '127.0.0.1', no_proxy: '127.0.0.1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(out.trim().split('\n').at(-1));
};

const startServer = () =>
  new Promise((resolve, reject) => {
    const server = spawn(process.execPath, [path.join(here, 'server.mjs')], { stdio: ['pipe', 'pipe', 'inherit'] });
    server.once('error', reject);
    server.stdout.once('data', (line) => resolve({ url: String(line).trim(), stop: () => server.kill() }));
  });

const tables = [];
const table = (title, head, rows) => {
  tables.push({ title, head, rows });
  console.log(`\n## ${title}\n`);
  console.log(`| ${head.join(' | ')} |\n|${head.map(() => '---').join('|')}|`);
  for (const row of rows) console.log(`| ${row.join(' | ')} |`);
};

const verdict = (ratio, limit, atLeast = false) =>
  (atLeast ? ratio >= limit : ratio <= limit) ? 'met' : '**not met**';

// ---- Calls ---------------------------------------------------------------------------------------------------

/** CPU and memory. How soon and how many a second stand beside them. */
const TARGETS = {
  get: { cpu: 0.55, rss: 0.6 },
  create: { cpu: 0.55, rss: 0.6 },
  kill: { cpu: 0.55, rss: 0.6 },
  list: { cpu: 0.85, rss: 0.8 },
};
const PEERS = [
  ['undici', 'get', 'get'],
  ['undici', 'list', 'list'],
  ['e2b', 'e2b:get', 'e2b:get'],
  ['e2b', 'e2b:list', 'e2b:list'],
  ['openai', 'openai:get', 'openai:get'],
  ['openai', 'openai:list', 'openai:list'],
  ['runloop', 'runloop:get', 'runloop:get'],
  ['runloop', 'runloop:list', 'runloop:list'],
];
const FIGURES = ['cpu', 'p50', 'perSecond', 'rss'];

const calls = async () => {
  const server = await startServer();
  try {
    const count = options.quick ? [300, 1000] : [2000, 6000];
    const compare = (clients, call, base) => {
      const ratios = clients.map(() => Object.fromEntries(FIGURES.map((figure) => [figure, []])));
      for (let round = 0; round < rounds; round++) {
        const got = clients.map((client) => child('measure.mjs', client, call, server.url, ...count));
        const plain = child('measure.mjs', 'fetch', base, server.url, ...count);
        got.forEach((one, at) => {
          for (const figure of FIGURES) ratios[at][figure].push(one[figure] / plain[figure]);
        });
      }
      return ratios.map((all) => Object.fromEntries(FIGURES.map((figure) => [figure, median(all[figure])])));
    };
    const rows = [];
    for (const call of Object.keys(TARGETS)) {
      const [got, floor] = compare(['nullspace', 'node:http'], call, call);
      for (const figure of FIGURES) {
        const most = TARGETS[call][figure];
        rows.push([
          call,
          figure,
          most ? `<= ${most}` : '-',
          got[figure].toFixed(2),
          floor[figure].toFixed(2),
          most ? verdict(got[figure], most) : '',
        ]);
      }
    }
    table(
      'Calls, Node, ratio to plain fetch + JSON.parse',
      ['call', 'figure', 'target', 'measured', 'floor: node:http by hand', ''],
      rows,
    );
    table(
      'Peers, ratio to plain fetch + JSON.parse of the same bytes',
      ['client', 'call', 'CPU', 'p50', 'requests/s', 'RSS'],
      PEERS.map(([client, call, base]) => {
        const [got] = compare([client], call, base);
        return [client, call, ...FIGURES.map((figure) => got[figure].toFixed(2))];
      }),
    );
  } finally {
    server.stop();
  }
};

const decode = () => {
  const rows = [];
  for (const [count, dates, limit] of [
    [100, 'dates', undefined],
    [10_000, 'dates', 2.3],
    [10_000, 'plain', 1.4],
  ]) {
    const ratios = [];
    for (let round = 0; round < rounds; round++) {
      const got = child('decode.mjs', count, count > 1000 ? 15 : 300, dates);
      ratios.push(got.ours / got.plain);
    }
    const got = median(ratios);
    rows.push([
      count,
      dates === 'dates' ? 'five a row' : 'one a row',
      limit ? `<= ${limit}` : '-',
      got.toFixed(2),
      limit ? verdict(got, limit) : '',
    ]);
  }
  table('Decoding a list, ratio to JSON.parse of the same text', ['rows', 'dates', 'target', 'measured', ''], rows);
};

/** Whole processes: import and first answer, over one that does nothing. */
const cold = async () => {
  const server = await startServer();
  try {
    const scripts = {
      empty: '',
      'nullspace (import)': `const { Machine } = await import('nullspace'); await Machine.getInfoById('mch_1', { apiKey: 'k', baseUrl: process.argv[1] });`,
      'node:http by hand, one file imported': `const { clients } = await import('./clients.mjs'); await (await clients['node:http']())(process.argv[1]).get();`,
      fetch: `await (await fetch(process.argv[1] + '/v1/machines/mch_1')).json();`,
      'openai (import alone)': `await import('openai');`,
      'e2b (import alone)': `await import('e2b');`,
    };
    const times = Object.fromEntries(Object.keys(scripts).map((name) => [name, []]));
    for (let round = 0; round < Math.max(9, rounds); round++) {
      for (const [name, script] of Object.entries(scripts)) {
        const start = performance.now();
        execFileSync(process.execPath, ['--input-type=module', '-e', script, server.url], {
          cwd: here,
          env: { ...process.env, NO_PROXY: '127.0.0.1', no_proxy: '127.0.0.1' },
        });
        times[name].push(performance.now() - start);
      }
    }
    // The best of many: what disturbs only lengthens.
    const base = Math.min(...times.empty);
    const over = (name) => Math.min(...times[name]) - base;
    table(
      'Import and first answer, milliseconds over an empty process (best run)',
      ['what', 'target', 'measured', ''],
      Object.keys(scripts)
        .slice(1)
        .map((name) => [
          name,
          name.startsWith('nullspace') ? '<= 22' : '-',
          over(name).toFixed(1),
          name.startsWith('nullspace') ? verdict(over(name), 22) : '',
        ]),
    );
  } finally {
    server.stop();
  }
};

console.log(
  `Node ${process.version}, ${os.cpus().length} x ${os.cpus()[0].model}, load ${os.loadavg()[0].toFixed(1)}, ${rounds} rounds`,
);
if (wants('calls')) await calls();
if (wants('decode')) decode();
if (wants('cold')) await cold();
const given = { child, table, verdict, median, rounds, quick: options.quick, startServer };
for (const [part, file] of [
  ['streams', './streams.mjs'],
  ['browser', './browser.mjs'],
  ['workerd', './browser.mjs'],
  ['engine', './engine.mjs'],
  ['builds', './builds.mjs'],
  ['cluster', './cluster.mjs'],
]) {
  if (!wants(part)) continue;
  try {
    await (await import(file))[part](given);
  } catch (error) {
    // One part that cannot run here (no root, no browser) must not cost the others.
    console.log(`\n${part} was not measured: ${error.stack ?? error}`);
    process.exitCode = 1;
  }
}

if (options.write) {
  const notes = readFileSync(path.join(here, 'RESULTS.head.md'), 'utf8');
  const body = tables
    .map(
      ({ title, head, rows }) =>
        `## ${title}\n\n| ${head.join(' | ')} |\n|${head.map(() => '---').join('|')}|\n${rows.map((row) => `| ${row.join(' | ')} |`).join('\n')}\n`,
    )
    .join('\n');
  const machine = `Node ${process.version}, ${os.type()} ${os.release()}, ${os.cpus().length} x ${os.cpus()[0].model}, ${(os.totalmem() / 2 ** 30).toFixed(0)} GiB, ${rounds} rounds.`;
  writeFileSync(path.join(here, 'RESULTS.md'), `${notes}\n${machine}\n\n${body}`);
}
