// In Chromium: the package on a page, against plain fetch of the same page with the same headers. The page and the answers
// have one origin, so that neither side pays for CORS.

import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';

import { chromium } from 'playwright-core';

import { BROWSER_FLAGS, browserPath } from '../scripts/lib/browser.mjs';
import { removeDirectory, temporaryDirectory } from '../scripts/lib/cleanup.mjs';

const installed = path.dirname(createRequire(import.meta.url).resolve('nullspace/package.json'));
const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm' };
/** The package's files, and everything else from the canned server. */
const site = async (api) => {
  const server = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://site');
    if (pathname.startsWith('/v1/')) {
      const onward = http.request(api + request.url, { method: request.method }, (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      });
      request.pipe(onward);
      return;
    }
    try {
      const body =
        pathname === '/' ? '<!doctype html>' : await readFile(path.join(installed, path.normalize(pathname)));
      response.setHeader('content-type', TYPES[path.extname(pathname)] ?? 'text/html');
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => server.closeAllConnections() || server.close(),
  };
};

/** Runs in the page: milliseconds a call of both, in turn. */
async function inPage([count, rounds]) {
  const { Nullspace } = await import('/index.js');
  const { Machine } = new Nullspace({ apiKey: 'bench-key', baseUrl: location.origin });
  const headers = { authorization: 'Bearer bench-key', accept: 'application/json' };
  const plain = async (url) => JSON.parse(await (await fetch(url, { headers })).text());
  const calls = {
    get: [() => Machine.getInfoById('mch_1'), () => plain('/v1/machines/mch_1')],
    list: [() => Machine.list({ limit: 100 }), () => plain('/v1/machines?limit=100')],
  };
  const time = async (run) => {
    const start = performance.now();
    for (let i = 0; i < count; i++) await run();
    return (performance.now() - start) / count;
  };
  const found = {};
  for (const [name, [ours, theirs]] of Object.entries(calls)) {
    await time(ours);
    await time(theirs);
    found[name] = [];
    for (let round = 0; round < rounds; round++) found[name].push((await time(ours)) / (await time(theirs)));
  }
  return found;
}

export async function browser({ table, verdict, median, rounds, quick, startServer }) {
  const api = await startServer();
  const page = await site(api.url);
  const profile = temporaryDirectory('chromium');
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: browserPath(),
    headless: true,
    args: BROWSER_FLAGS,
  });
  try {
    const tab = await context.newPage();
    await tab.goto(page.url);
    const found = await tab.evaluate(inPage, [quick ? 50 : 300, Math.max(7, rounds)]);
    table(
      `Chromium ${context.browser()?.version() ?? ''}, time of a call, ratio to fetch with the same headers`,
      ['call', 'target', 'measured', ''],
      [
        ['get', 1.1],
        ['list', 1.2],
      ].map(([call, limit]) => {
        const ratio = median(found[call]);
        return [call, `<= ${limit}`, ratio.toFixed(2), verdict(ratio, limit)];
      }),
    );
  } finally {
    await context.close();
    removeDirectory(profile);
    page.close();
    api.stop();
  }
}

/** The same in workerd: a worker that runs both, asked for the ratios. Time stands still in a worker, so this side counts. */
export async function workerd({ table, verdict, median, rounds, quick, startServer }) {
  const { Miniflare } = await import('miniflare');
  const { build } = await import('esbuild');
  const api = await startServer();
  const folder = temporaryDirectory('workerd');
  const script = `
    import { Nullspace } from 'nullspace';
    export default {
      async fetch(request) {
        const { what, side, count, api } = await request.json();
        const { Machine } = new Nullspace({ apiKey: 'bench-key', baseUrl: api });
        const headers = { authorization: 'Bearer bench-key', accept: 'application/json' };
        const plain = async (path) => JSON.parse(await (await fetch(api + path, { headers })).text());
        const run = {
          get: { ours: () => Machine.getInfoById('mch_1'), plain: () => plain('/v1/machines/mch_1') },
          list: { ours: () => Machine.list({ limit: 100 }), plain: () => plain('/v1/machines?limit=100') },
        }[what][side];
        for (let i = 0; i < count; i++) await run();
        return new Response('done');
      },
    };`;
  const { outputFiles } = await build({
    stdin: { contents: script, resolveDir: import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname) },
    bundle: true,
    format: 'esm',
    write: false,
    conditions: ['workerd'],
    external: ['*.wasm'],
    outdir: folder,
  });
  const worker = new Miniflare({
    modules: [
      { type: 'ESModule', path: 'worker.js', contents: outputFiles[0].text },
      {
        type: 'CompiledWasm',
        path: 'nullspace.wasm',
        contents: await readFile(path.join(installed, 'nullspace.wasm')),
      },
    ],
    compatibilityDate: '2026-01-01',
  });
  try {
    const count = quick ? 20 : 45;
    const time = async (what, side) => {
      const start = performance.now();
      const body = JSON.stringify({ what, side, count, api: api.url });
      const answer = await worker.dispatchFetch('http://worker/', { method: 'POST', body });
      if ((await answer.text()) !== 'done') throw new Error('the worker failed');
      return performance.now() - start;
    };
    const rows = [];
    for (const [what, limit] of [
      ['get', 1.35],
      ['list', 1.4],
    ]) {
      await time(what, 'ours');
      await time(what, 'plain');
      const ratios = [];
      for (let round = 0; round < Math.max(15, rounds); round++)
        ratios.push((await time(what, 'ours')) / (await time(what, 'plain')));
      const ratio = median(ratios);
      rows.push([what, `<= ${limit}`, ratio.toFixed(2), verdict(ratio, limit)]);
    }
    table('workerd, time of a call, ratio to fetch with the same headers', ['call', 'target', 'measured', ''], rows);
  } finally {
    await worker.dispose();
    removeDirectory(folder);
    api.stop();
  }
}
