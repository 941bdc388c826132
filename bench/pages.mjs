// First paint, largest paint, shifts and bytes of the playground and of the docs site, beside the pages that Vite's and VitePress'
// starters make, in one run. `npm run bench:pages` builds what it needs; `--write` puts the table into docs/playground.md.
//
//   node bench/pages.mjs [--rounds 9] [--write]

import { createServer } from 'node:http';
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';

import { chromium } from 'playwright-core';

import { BROWSER_FLAGS, browserPath, browserVersion } from '../scripts/lib/browser.mjs';
import { cleanUpOnSignals, endAll, temporaryDirectory } from '../scripts/lib/cleanup.mjs';
import { startPlayground } from '../scripts/lib/playground.mjs';
import { inRoot } from '../scripts/lib/project.mjs';
import { site, TYPES } from '../scripts/lib/site.mjs';
import { step } from '../scripts/lib/steps.mjs';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '9' }, write: { type: 'boolean', default: false } },
});
const rounds = Number(options.rounds);
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const CREATE_VITE = '9.3.0';
const PAGE = inRoot('docs', 'playground.md');
const PLACE = /(<!-- pages: .* -->\n)[\s\S]*(<!-- \/pages -->)/;

/** A laptop on a fast line; and what Lighthouse takes for a phone: 150 ms, 1.6 Mbit/s, a processor four times as slow. */
const DEVICES = {
  laptop: { viewport: { width: 1440, height: 900 } },
  phone: { viewport: { width: 360, height: 740 }, latency: 150, bytesPerSecond: (1.6 * 1024 * 1024) / 8, slower: 4 },
};

/** A page counts as drawn when nothing was fetched and nothing larger painted for this time. Milliseconds. */
const QUIET_MS = 500;

/** As a host of static files does it: compressed where that helps. */
async function serve(directory) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://page');
    const name = decodeURIComponent(pathname.endsWith('/') ? `${pathname}index.html` : pathname);
    const file = path.join(directory, path.posix.normalize(name));
    if (!existsSync(file)) return response.writeHead(404).end();
    const type = TYPES[path.extname(file)] ?? 'application/octet-stream';
    const compressed = /^text|json|svg|wasm/.test(type);
    const content = readFileSync(file);
    response.writeHead(200, { 'content-type': type, ...(compressed ? { 'content-encoding': 'gzip' } : {}) });
    response.end(compressed ? gzipSync(content) : content);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** The page that `npm create vite` gives, built. */
const viteStarter = () =>
  step('Make the starter of Vite', async (current) => {
    const folder = temporaryDirectory('vite-starter');
    const quiet = ['--no-audit', '--no-fund', '--prefer-offline'];
    const own = { cwd: folder };
    await current.run('npm', ['install', ...quiet, `create-vite@${CREATE_VITE}`], own);
    await current.run('npx', ['--no-install', 'create-vite', 'app', '--template', 'react-ts', '--no-interactive'], own);
    const app = { cwd: path.join(folder, 'app') };
    await current.run('npm', ['install', ...quiet], app);
    await current.run('npm', ['run', 'build'], app);
    return path.join(app.cwd, 'dist');
  });

/** The site that `vitepress init` gives, built by the VitePress of our own. */
const vitepressStarter = () =>
  step('Make the starter of VitePress', async (current) => {
    const folder = temporaryDirectory('vitepress-starter');
    symlinkSync(inRoot('reference', 'node_modules'), path.join(folder, 'node_modules'));
    const init = "import('vitepress').then(({ scaffold }) => scaffold({ theme: 'default theme' }))";
    await current.run('node', ['--eval', init], { cwd: folder });
    await current.run(inRoot('reference', 'node_modules', '.bin', 'vitepress'), ['build'], { cwd: folder });
    return path.join(folder, '.vitepress', 'dist');
  });

/** Opens a page once, with nothing in the cache. */
async function open(browser, url, { viewport, latency, bytesPerSecond, slower }) {
  const context = await browser.newContext({ viewport });
  try {
    const page = await context.newPage();
    const session = await context.newCDPSession(page);
    await session.send('Network.enable');
    const bodies = new Map();
    let sent = 0;
    session.on('Network.responseReceived', ({ requestId }) => bodies.set(requestId, 0));
    session.on('Network.dataReceived', ({ requestId, dataLength }) =>
      bodies.set(requestId, (bodies.get(requestId) ?? 0) + dataLength),
    );
    session.on('Network.loadingFinished', ({ encodedDataLength }) => (sent += encodedDataLength));
    if (latency !== undefined) {
      const speed = { downloadThroughput: bytesPerSecond, uploadThroughput: bytesPerSecond };
      await session.send('Network.emulateNetworkConditions', { offline: false, latency, ...speed });
      await session.send('Emulation.setCPUThrottlingRate', { rate: slower });
    }
    await page.addInitScript(() => {
      window.seen = { largest: 0, shift: 0, blocked: 0, last: 0 };
      const watch = (type, heard) =>
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) heard(entry);
        }).observe({ type, buffered: true });
      watch('largest-contentful-paint', ({ startTime }) => {
        window.seen.largest = startTime;
        window.seen.last = performance.now();
      });
      watch('layout-shift', ({ value, hadRecentInput }) => (window.seen.shift += hadRecentInput ? 0 : value));
      watch('longtask', ({ duration }) => (window.seen.blocked += Math.max(0, duration - 50)));
      watch('resource', () => (window.seen.last = performance.now()));
    });
    await page.goto(url, { waitUntil: 'load', timeout: 60_000 });
    await page.waitForFunction((quiet) => performance.now() - window.seen.last > quiet, QUIET_MS, { timeout: 60_000 });
    const painted = await page.evaluate(() => ({
      ...window.seen,
      first: performance.getEntriesByName('first-contentful-paint')[0].startTime,
    }));
    const files = [...bodies.values()].reduce((sum, bytes) => sum + bytes, 0);
    return { ...painted, requests: bodies.size, sent, files };
  } finally {
    await context.close();
  }
}

const kb = (bytes) => `${(bytes / 1000).toFixed(0)} KB`;
const ms = (value) => `${value.toFixed(0)} ms`;

/** Everything that was seen of each page, on each device. */
async function measure() {
  // The starters first: building the playground makes this process one of production, where npm installs no tools.
  const starters = { vite: await serve(await viteStarter()), vitepress: await serve(await vitepressStarter()) };
  const docs = await serve(site);
  const playground = await step('Build and serve the playground', () => startPlayground({ port: 0 }));
  const pages = {
    'playground, first screen': `${playground.origin}/`,
    "Vite's starter (React)": `${starters.vite.origin}/`,
    'docs site, first page': `${docs.origin}/`,
    'docs site, a guide': `${docs.origin}/commands.html`,
    "VitePress' starter, first page": `${starters.vitepress.origin}/`,
    "VitePress' starter, a page": `${starters.vitepress.origin}/markdown-examples.html`,
  };
  const found = Object.fromEntries(Object.keys(pages).map((name) => [name, { laptop: [], phone: [] }]));
  const browser = await chromium.launch({ executablePath: browserPath(), args: BROWSER_FLAGS });
  await step('Open the pages', async () => {
    // In turn, so that whatever else the computer does meets all of them.
    for (let round = 0; round < rounds; round++)
      for (const [device, conditions] of Object.entries(DEVICES))
        for (const [name, url] of Object.entries(pages)) found[name][device].push(await open(browser, url, conditions));
  });
  await browser.close();
  for (const server of [docs, starters.vite, starters.vitepress, playground]) await server.close();
  await playground.engine.stop();
  return found;
}

cleanUpOnSignals();
let found;
try {
  found = await measure();
} finally {
  await endAll();
}

const rows = Object.entries(found).map(([name, { laptop, phone }]) => {
  const of = (list, key) => median(list.map((one) => one[key]));
  return [
    name,
    of(laptop, 'requests'),
    `${kb(of(laptop, 'files'))}, ${kb(of(laptop, 'sent'))} sent`,
    ms(of(laptop, 'first')),
    ms(of(laptop, 'largest')),
    ms(of(phone, 'first')),
    ms(of(phone, 'largest')),
    ms(of(phone, 'blocked')),
    of(phone, 'shift').toFixed(3),
  ];
});
const head = [
  'page',
  'requests',
  'files',
  'first paint',
  'largest paint',
  'phone: first paint',
  'phone: largest paint',
  'phone: blocked',
  'shifts',
];
const table = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
const text = `${browserVersion()}, ${os.availableParallelism()} processors (${os.cpus()[0].model.trim()}), medians of ${rounds}, nothing cached.
The phone is what Lighthouse takes for one: 1.6 Mbit/s, 150 ms, a processor four times as slow.

${table}`;
console.log(`\n${text}`);
if (options.write) {
  const page = readFileSync(PAGE, 'utf8');
  if (!PLACE.test(page)) throw new Error(`${PAGE} has no place for the table`);
  writeFileSync(
    PAGE,
    page.replace(PLACE, (_, begin, end) => `${begin}\n${text}\n\n${end}`),
  );
}
