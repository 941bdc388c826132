// Installs the packed package into small projects, one per runtime and bundler, and runs each against an API.
//
//   node tests/packaging/run.mjs [--tarball] dist/nullspace-0.1.0.tgz [--only node-esm,vite] [--all] [--write docs/runtimes.md]
//
// The API is that of NULLSPACE_API_URL and NULLSPACE_API_KEY, else of an engine started from NULLSPACE_TEST_ENGINE; without
// either, a tiny server with canned answers. Without --all or --only: the projects that `npm test` runs (those without
// "extra" in their package.json). --write puts the table of what ran into a file.

import { cp, readdir, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import {
  cleanUpOnSignals,
  end,
  endAll,
  removeDirectory,
  start,
  temporaryDirectory,
} from '../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../scripts/lib/engine.mjs';
import { serve } from '../wasm/server.mjs';
import { openPage, siteServer } from './browser.mjs';
import { describe, write } from './table.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tarball: { type: 'string' },
    only: { type: 'string' },
    all: { type: 'boolean' },
    write: { type: 'string' },
    keep: { type: 'boolean' },
  },
});
options.tarball ??= positionals[0];
if (!options.tarball) {
  console.error('usage: node tests/packaging/run.mjs --tarball dist/nullspace-<version>.tgz');
  process.exit(2);
}
const tarball = path.resolve(options.tarball);
const LIMIT_MS = 240_000;

const { NULLSPACE_API_URL, NULLSPACE_API_KEY, NULLSPACE_TEST_ENGINE } = process.env;
let served;
if (!NULLSPACE_API_URL && NULLSPACE_TEST_ENGINE) served = await startEngine({ binary: NULLSPACE_TEST_ENGINE });
else if (!NULLSPACE_API_URL) served = { ...(await serve()), apiKey: 'test-key' };
const api = served ? { url: served.url, key: served.apiKey } : { url: NULLSPACE_API_URL, key: NULLSPACE_API_KEY };
const env = {
  ...process.env,
  NULLSPACE_API_URL: api.url,
  NULLSPACE_API_KEY: api.key,
  // For projects that start one of their own.
  ...(NULLSPACE_TEST_ENGINE ? { NULLSPACE_ENGINE: path.resolve(NULLSPACE_TEST_ENGINE) } : {}),
  // For projects whose own server serves the page.
  NULLSPACE_TEST_BROWSER: new URL('./browser.mjs', import.meta.url).href,
  CI: '1',
  NO_COLOR: '1',
  NEXT_TELEMETRY_DISABLED: '1',
  WRANGLER_SEND_METRICS: 'false',
};
delete env.NODE_TEST_CONTEXT;

/** Runs a program in a folder; its output, whatever its end. */
const run = (folder, program, args) =>
  new Promise((resolve) => {
    // A group of its own, so that a time-out also ends what it started.
    const child = start(program, args, { cwd: folder, env });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    const timer = setTimeout(() => {
      output += `\n(ended after ${LIMIT_MS / 1000} s)`;
      end(child, 'SIGKILL');
    }, LIMIT_MS);
    child.on('error', (error) => (output += error.message));
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });

const must = async (folder, script) => {
  const { code, output } = await run(folder, 'npm', ['run', '--silent', script]);
  if (code !== 0) throw new Error(`npm run ${script} failed\n${output.slice(-3000)}`);
  return output;
};

/** The line that a project prints: RESULT and JSON. */
const verify = (output) => {
  const line = output.split('\n').find((text) => text.startsWith('RESULT '));
  if (!line) throw new Error(`no result\n${output.slice(-3000)}`);
  const result = JSON.parse(line.slice('RESULT '.length));
  for (const [key, good] of [
    ['id', /^mch_/],
    ['stdout', /^hello\n$/],
    ['listed', /^true$/],
    ['instance', /^true$/],
  ]) {
    if (!good.test(String(result[key]))) throw new Error(`${key} is ${JSON.stringify(result[key])}`);
  }
};

const check = async (name) => {
  const folder = temporaryDirectory(name);
  try {
    await cp(path.join(here, 'consumers', name), folder, { recursive: true });
    const manifest = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'));
    if (manifest.examples) await cp(path.join(here, '../../examples', manifest.examples), folder, { recursive: true });
    const install = await run(folder, 'npm', [
      'install',
      '--no-audit',
      '--no-fund',
      '--prefer-offline',
      '--loglevel=error',
      tarball,
    ]);
    if (install.code !== 0) throw new Error(`npm install failed\n${install.output.slice(-3000)}`);
    if (manifest.scripts?.build) await must(folder, 'build');
    if (manifest.scripts?.check) verify(await must(folder, 'check'));
    for (const page of [manifest.browser ?? []].flat()) {
      const site = await siteServer(path.join(folder, page.serve), api, page);
      try {
        verify(await openPage(`${site.url}${page.path ?? '/'}?key=${encodeURIComponent(api.key)}`));
      } finally {
        await site.close();
      }
    }
    const shipped = manifest.ships ? await sizes(path.join(folder, manifest.ships)) : '';
    return { ...(await describe(name, folder)), shipped };
  } finally {
    if (options.keep) console.error(folder);
    else removeDirectory(folder);
  }
};

/** What a bundler made: KB raw and gzip. */
const sizes = async (folder) => {
  const { gzipSync } = await import('node:zlib');
  let raw = 0;
  let gzip = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.(js|mjs|wasm)$/.test(entry.name)) continue;
    const bytes = await readFile(path.join(entry.parentPath, entry.name));
    raw += bytes.length;
    gzip += gzipSync(bytes, { level: 9 }).length;
  }
  return `${(raw / 1000).toFixed(0)} KB, ${(gzip / 1000).toFixed(0)} KB gzip`;
};

const wanted = async () => {
  const all = (await readdir(path.join(here, 'consumers'))).sort();
  if (options.only) return options.only.split(',');
  if (options.all) return all;
  const chosen = [];
  for (const name of all) {
    const manifest = JSON.parse(await readFile(path.join(here, 'consumers', name, 'package.json'), 'utf8'));
    if (!manifest.extra) chosen.push(name);
  }
  return chosen;
};

let passed = 0;
let failed = 0;
cleanUpOnSignals();
const names = await wanted();
const rows = new Map();
/** Projects wait for the registry and for their servers much of the time: one a processor runs at once. */
const worker = async (waiting) => {
  for (const name of waiting) {
    const started = Date.now();
    let row = { title: name, version: '', ran: '', shipped: '', result: 'ok' };
    try {
      row = { ...row, ...(await check(name)) };
    } catch (error) {
      row.result = 'FAILED';
      console.error(`\n${name}: ${error.message}\n`);
    }
    rows.set(name, row);
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    console.log(
      `${row.result === 'ok' ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)${row.shipped ? `, ships ${row.shipped}` : ''}`,
    );
  }
};
const waiting = names.values();
await Promise.all(Array.from({ length: availableParallelism() }, () => worker(waiting)));
await (served?.stop ?? served?.close)?.();

const inOrder = names.map((name) => rows.get(name));
if (options.write) await write(path.resolve(options.write), inOrder);
for (const { result } of inOrder) {
  if (result === 'ok') passed += 1;
  else failed += 1;
}
console.log(`${passed} passed, ${failed} failed`);
// With --keep, whoever looks at the folders removes them.
if (!options.keep) await endAll();
process.exit(failed === 0 ? 0 : 1);
