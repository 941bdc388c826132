// The package and the playground in Firefox and in WebKit, for those who have them: `npm run test:browsers`.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { cleanUpOnSignals, endAll } from '../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../scripts/lib/engine.mjs';
import { startPlayground } from '../../scripts/lib/playground.mjs';
import { inRoot } from '../../scripts/lib/project.mjs';
import { FIREFOX, openFirefox } from './firefox.mjs';
import { openWebKit, WEBKIT_DRIVER, XVFB } from './webkit.mjs';

const BROWSERS = [
  { name: 'Firefox', needs: [FIREFOX], packages: 'firefox-esr', open: openFirefox },
  { name: 'WebKit', needs: [WEBKIT_DRIVER, XVFB], packages: 'webkit2gtk-driver xvfb', open: openWebKit },
];

/** Installed with what the playground is built with. */
const packaged = inRoot('examples', 'playground', 'node_modules', 'nullspace');
const PAGE = `<!doctype html><title>nullspace</title><link rel="icon" href="data:,">
<script type="importmap">{ "imports": { "nullspace": "/nullspace/index.js" } }</script>
<script type="module">import * as nullspace from 'nullspace'; globalThis.nullspace = nullspace;</script>`;
const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm' };

/** What a page does with a machine: requests, a stream of output, a stream of bytes, a terminal, an error, an abort. */
const program = async ({ baseUrl, apiKey }) => {
  const { Nullspace, NotFoundError } = globalThis.nullspace;
  const { Machine } = new Nullspace({ baseUrl, apiKey });
  const machine = await Machine.create({ vcpus: 1, memoryMb: 128, timeout: 120 });
  try {
    const heard = [];
    const { exitCode } = await machine.commands.run('echo one; echo two; exit 3', {
      shell: true,
      onStdout: (text) => heard.push(text),
    });
    const content = new Uint8Array(3_000_000).map((_, index) => index % 251);
    await machine.files.write('bytes', new Blob([content]));
    let read = 0;
    // WebKit has no iteration of streams yet.
    const reader = (await machine.files.read('bytes', { format: 'stream' })).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) read += part.value.length;
    const terminal = await machine.pty.create({ cols: 80, rows: 24 });
    await terminal.sendInput('exit 5\n');
    const ended = await terminal.wait();
    const missing = await Machine.connect('mch_missing').catch((error) => error);
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error('enough')), 100);
    const aborted = await machine.commands
      .run('sleep 60', { shell: true, timeout: 90, signal: stop.signal })
      .catch((error) => error.message);
    return {
      exitCode,
      heard: heard.join(''),
      read,
      terminal: ended.exitCode,
      missing: missing instanceof NotFoundError,
      aborted,
    };
  } finally {
    await machine.kill();
  }
};

cleanUpOnSignals();
let site;
let engine;
before(async () => {
  site = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://site');
    if (pathname === '/') return response.setHeader('content-type', 'text/html').end(PAGE);
    const file = path.join(packaged, path.posix.normalize(pathname).replace(/^\/nullspace/, ''));
    if (!existsSync(file)) return response.writeHead(404).end();
    response.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream').end(readFileSync(file));
  });
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  site.origin = `http://127.0.0.1:${site.address().port}`;
  engine = await startEngine({ binary: process.env.NULLSPACE_TEST_ENGINE, args: ['--allow-origin', site.origin] });
});
after(async () => {
  site.closeAllConnections();
  site.close();
  const how = await engine?.stop();
  await endAll();
  assert.equal(how?.code, 0);
});

/** Asks the page until an expression is true. */
async function until(page, expression, what) {
  for (let tries = 0; tries < 300; tries++) {
    if (await page.evaluate(`Boolean(${expression})`)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${what}: not within 30 s; the page says: ${await page.evaluate('document.body.innerText')}`);
}

for (const { name, needs, packages, open } of BROWSERS) {
  const missing = needs.filter((file) => !existsSync(file));
  const skip = missing.length > 0 ? `${missing.join(', ')}: apt-get install ${packages}` : false;
  const withPage = (run) => async (context) => {
    const page = await open();
    try {
      context.diagnostic(page.name);
      await run(page);
    } finally {
      await page.close();
    }
  };

  test(
    `${name} runs the package`,
    { skip },
    withPage(async (page) => {
      await page.open(site.origin);
      await until(page, 'globalThis.nullspace', 'the package is loaded');
      const result = await page.evaluate(`(${program})(${JSON.stringify(engine.client)})`);
      assert.deepEqual(result, {
        exitCode: 3,
        heard: 'one\ntwo\n',
        read: 3_000_000,
        terminal: 5,
        missing: true,
        aborted: 'enough',
      });
    }),
  );

  test(
    `${name} shows the playground`,
    { skip },
    withPage(async (page) => {
      const play = await startPlayground({ binary: process.env.NULLSPACE_TEST_ENGINE, port: 0 });
      try {
        await page.open(play.origin);
        const picture = async (what) => {
          const folder = process.env.NULLSPACE_TEST_PICTURES;
          if (!folder) return;
          mkdirSync(folder, { recursive: true });
          writeFileSync(path.join(folder, `${name}-${what}.png`), await page.picture());
        };
        const named = (text) =>
          `[...document.querySelectorAll('main button, main a')].find((one) => one.textContent === '${text}')`;
        await until(page, "document.querySelector('.connection[data-state=live]')", 'the engine is connected');
        await picture('home');
        await page.evaluate(`(${named('Run Python')}.click(), true)`);
        await until(page, "document.querySelector('img.picture')?.naturalWidth", 'the plot is shown');
        await picture('code');
        // Buttons where there is room for them, and else a menu.
        const shown =
          "[...document.querySelectorAll('.actions summary, .actions button')].some((one) => one.checkVisibility())";
        assert.ok(await page.evaluate(shown), 'the actions of a machine can be reached');
        await page.evaluate("(location.hash = location.hash.replace('code', 'terminal'), true)");
        await until(page, "document.querySelector('.xterm-rows')?.textContent.includes('#')", 'the shell has a prompt');
        await picture('terminal');
        await until(page, "document.querySelector('.machines a')", 'the list has the machine');
        const wide = await page.evaluate(
          "[document.documentElement, document.querySelector('main')].map((one) => one.scrollWidth - one.clientWidth)",
        );
        assert.deepEqual(wide, [0, 0], 'it is wider than its place');
      } finally {
        await play.close();
        assert.equal((await play.engine.stop()).code, 0);
      }
    }),
  );
}
