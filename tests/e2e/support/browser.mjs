// The packed package on a page of its own origin, in a real Chromium, talking to an engine that admits that origin.

import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';

import { BROWSER_FLAGS, browserPath } from '../../../scripts/lib/browser.mjs';
import { removeDirectory, temporaryDirectory } from '../../../scripts/lib/cleanup.mjs';

const installed = path.dirname(createRequire(import.meta.url).resolve('nullspace/package.json'));
// It stands in the repository, not in the project that only has what users have.
const { chromium } = createRequire(path.join(process.env.NULLSPACE_TEST_ROOT, 'package.json'))('playwright-core');

const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };

/** A page's origin, known before the engine starts: pass it as `--allow-origin`. */
export async function site() {
  const server = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://site');
    try {
      const file = path.join(installed, path.normalize(pathname));
      const body = pathname === '/' ? '<!doctype html><title>test</title>' : await readFile(file);
      response.setHeader('content-type', pathname === '/' ? 'text/html' : (TYPES[path.extname(file)] ?? 'text/plain'));
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  return {
    origin,
    /**
     * Runs a function in a page; `use(sdk, ...args)` gets a configured client's classes.
     *
     * @param {{ url: string, apiKey: string }} engine
     */
    async run(engine, use, ...args) {
      const profile = temporaryDirectory('chromium');
      const browser = await chromium.launchPersistentContext(profile, {
        executablePath: browserPath(),
        headless: true,
        args: BROWSER_FLAGS,
      });
      try {
        const page = await browser.newPage();
        await page.goto(origin);
        return await page.evaluate(
          async ([source, client, rest]) => {
            const sdk = await import('/index.js');
            // The test's own function, sent to the page as text.
            const run = new Function(`return (${source})`)();
            return run({ ...sdk, ...new sdk.Nullspace(client) }, ...rest);
          },
          [use.toString(), { baseUrl: engine.url, apiKey: engine.apiKey }, args],
        );
      } finally {
        await browser.close();
        removeDirectory(profile);
      }
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
