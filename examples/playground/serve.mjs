// Builds the playground and serves it on loopback, beside an engine that admits this origin and no other.

import { fileURLToPath } from 'node:url';

import { build, preview } from 'vite';

const root = fileURLToPath(new URL('.', import.meta.url));

/** Tried first; the next free one is taken when something has it. */
const PORT = 5174;

/** A terminal and an editor come along: Vite need not warn below this. */
const LARGE_KB = 2048;

/** The first with `light-dark()`: what it is compiled to for older ones follows the system, not the page. */
const CSS_TARGET = ['chrome123', 'firefox120', 'safari17.5'];

/** The engine and the preview ports of machines are on loopback, on ports nobody knows before. xterm and CodeMirror add styles. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:*",
  'frame-src http://127.0.0.1:*',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/**
 * Serves the playground.
 *
 * @param {object} options
 * @param {(origin: string) => Promise<{ url: string, apiKey: string }>} options.startEngine starts an engine that admits
 *   an origin
 * @param {number} [options.port] 0 for any
 */
export async function servePlayground({ startEngine, port = PORT }) {
  await build({
    root,
    configFile: false,
    logLevel: 'warn',
    build: { chunkSizeWarningLimit: LARGE_KB, cssTarget: CSS_TARGET },
  });
  let origin;
  let engine;
  const credentials = {
    name: 'engine-credentials',
    configurePreviewServer(server) {
      server.middlewares.use('/engine.json', async (request, response) => {
        // Scripts can forge neither header: only this page gets the key, no other site and no name that was rebound.
        const own =
          request.headers['sec-fetch-site'] === 'same-origin' && request.headers.host === new URL(origin).host;
        if (!own) return response.writeHead(403).end('only for the page itself\n');
        const { url, apiKey } = await engine;
        response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' });
        response.end(JSON.stringify({ baseUrl: url, apiKey }));
      });
    },
  };
  const server = await preview({
    root,
    configFile: false,
    logLevel: 'warn',
    plugins: [credentials],
    preview: {
      host: '127.0.0.1',
      port,
      cors: false,
      headers: {
        'content-security-policy': CONTENT_SECURITY_POLICY,
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
      },
    },
  });
  origin = `http://127.0.0.1:${server.httpServer.address().port}`;
  try {
    engine = startEngine(origin);
    return { origin, engine: await engine, close: () => server.close() };
  } catch (error) {
    await server.close();
    throw error;
  }
}
