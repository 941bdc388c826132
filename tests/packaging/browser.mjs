// A page in a real Chromium, and a server for it that also passes API calls on: the page and the API then have one
// origin, whatever origins the API admits.

import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';

import { chromium } from 'playwright-core';

import { BROWSER_FLAGS, browserPath } from '../../scripts/lib/browser.mjs';

const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.wasm': 'application/wasm',
  '.map': 'application/json',
  '.json': 'application/json',
};
const LIMIT_MS = 30_000;

/** Serves a folder; /v1/ goes to the API. `csp`: a Content-Security-Policy for the pages. */
export const siteServer = async (folder, api, { csp } = {}) => {
  const server = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://site');
    if (pathname.startsWith('/v1/')) {
      const { host, origin, referer, ...headers } = request.headers;
      const onward = http.request(api.url + request.url, { method: request.method, headers }, (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      });
      onward.on('error', (error) => response.destroy(error));
      request.pipe(onward);
      return;
    }
    const file = path.join(folder, pathname.endsWith('/') ? `${pathname}index.html` : pathname);
    try {
      if (!file.startsWith(folder)) throw new Error('outside');
      const body = await readFile(file);
      response.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream');
      if (csp) response.setHeader('content-security-policy', csp);
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};

/** Opens a page and gives what it logged, as soon as that has a line RESULT or FAILED. */
export const openPage = async (url) => {
  const browser = await chromium.launch({
    executablePath: browserPath(),
    args: BROWSER_FLAGS,
  });
  try {
    const page = await browser.newPage();
    let output = '';
    const ended = new Promise((resolve) => {
      const add = (text) => {
        output += `${text}\n`;
        if (/^(RESULT|FAILED) /m.test(output)) resolve();
      };
      page.on('console', (message) => add(message.text()));
      page.on('pageerror', (error) => add(`FAILED ${error.message}`));
      setTimeout(resolve, LIMIT_MS).unref();
    });
    await page.goto(url);
    await ended;
    return output;
  } finally {
    await browser.close();
  }
};
