// Starts the built application, asks both routes, and opens the page in a browser.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';

const port = await new Promise((resolve) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});
const server = spawn(
  process.execPath,
  ['node_modules/next/dist/bin/next', 'start', '-H', '127.0.0.1', '-p', String(port)],
  { stdio: 'pipe' },
);
let log = '';
server.stdout.on('data', (chunk) => (log += chunk));
server.stderr.on('data', (chunk) => (log += chunk));
try {
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 100; tries++) {
    if (
      await fetch(url).then(
        () => true,
        () => false,
      )
    )
      break;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const answers = [];
  for (const kind of ['node', 'edge']) {
    const response = await fetch(`${url}/api/${kind}`);
    answers.push(await response.text());
    if (!response.ok) throw new Error(`${kind}: ${answers.at(-1).slice(0, 500)}\n${log.slice(-2000)}`);
  }
  const { openPage } = await import(process.env.NULLSPACE_TEST_BROWSER);
  const page = await openPage(`${url}/?key=${encodeURIComponent(process.env.NULLSPACE_API_KEY)}`);
  if (page.includes('FAILED')) throw new Error(`the page: ${page}`);
  console.log(page);
} finally {
  server.kill();
}
