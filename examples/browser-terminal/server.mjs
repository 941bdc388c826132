// @ts-check
// A page with a terminal in a machine. The page speaks to the engine itself; this server gives it the files, and a machine.
//
//   npm install path/to/nullspace-0.1.0.tgz @xterm/xterm @xterm/addon-fit
//   npx nullspace engine --background --allow-origin http://127.0.0.1:8090
//   eval "$(npx nullspace engine env)"      address and key, which the page is given
//   node server.mjs                         and open http://127.0.0.1:8090

import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Machine } from 'nullspace';

const { NULLSPACE_API_URL = 'http://localhost:3000', NULLSPACE_API_KEY = '', PORT = '8090' } = process.env;
const here = path.dirname(fileURLToPath(import.meta.url));
const packages = path.dirname(path.dirname(createRequire(import.meta.url).resolve('nullspace/package.json')));
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
};

/** Files of the page, and of the three packages that it imports. */
function fileOf(pathname = '/') {
  if (pathname === '/') return path.join(here, 'index.html');
  const found = path.join(packages, path.posix.normalize(pathname));
  return /^\/(nullspace|@xterm)\//.test(pathname) && found.startsWith(packages) && existsSync(found)
    ? found
    : undefined;
}

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost');
  const address = `127.0.0.1:${PORT}`;
  try {
    if (pathname === '/machine') {
      // Neither header can be forged by a script: no other page gets a machine or the key. Whoever may open this page has the key,
      // so it is for your own computer; elsewhere give out short-lived tokens, or keep the terminal's socket on a server.
      if (request.headers['sec-fetch-site'] !== 'same-origin' || request.headers.host !== address) {
        return response.writeHead(403).end();
      }
      const machine = await Machine.create({ timeout: 600, metadata: { example: 'browser-terminal' } });
      response.setHeader('content-type', 'application/json').setHeader('cache-control', 'no-store');
      return response.end(JSON.stringify({ id: machine.id, baseUrl: NULLSPACE_API_URL, apiKey: NULLSPACE_API_KEY }));
    }
    const file = fileOf(pathname);
    if (!file) return response.writeHead(404).end();
    const type = TYPES[/** @type {keyof typeof TYPES} */ (path.extname(file))] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': type });
    createReadStream(file).pipe(response);
  } catch (error) {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  }
});
server.listen(Number(PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${PORT}`));
