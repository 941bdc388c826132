// WebKit, Safari's engine: the MiniBrowser of WebKitGTK, over WebDriver. It wants a display, which Xvfb gives.

import { createServer } from 'node:net';

import { end, removeDirectory, start, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';

export const WEBKIT_DRIVER = process.env.WEBKIT_DRIVER ?? '/usr/bin/WebKitWebDriver';
export const XVFB = '/usr/bin/Xvfb';
const START_MS = 30_000;

const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer()
      .once('error', reject)
      .listen(0, '127.0.0.1', () => {
        const { port } = server.address();
        server.close(() => resolve(port));
      });
  });

/** A display of its own; resolves with its name. */
async function openDisplay() {
  // It writes the number that it found free to this descriptor.
  const child = start(XVFB, ['-displayfd', '1', '-screen', '0', '1600x1200x24', '-nolisten', 'tcp']);
  const name = await new Promise((resolve, reject) => {
    child.stdout.once('data', (text) => resolve(`:${String(text).trim()}`));
    child.once('close', () => reject(new Error('Xvfb ended')));
  });
  return { child, name };
}

/** Starts it and gives a page: `open(url)`, `evaluate(expression)`, `picture`, `close`. Without a window manager it keeps its size. */
export async function openWebKit() {
  const home = temporaryDirectory('webkit');
  const display = await openDisplay();
  const port = await freePort();
  const env = {
    ...process.env,
    HOME: home,
    XDG_RUNTIME_DIR: home,
    DISPLAY: display.name,
    // Tests run as root, and often where no sandbox can be made; the pages are ours.
    WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1',
    WEBKIT_DISABLE_COMPOSITING_MODE: '1',
    LIBGL_ALWAYS_SOFTWARE: '1',
    NO_AT_BRIDGE: '1',
  };
  const child = start(WEBKIT_DRIVER, [`--port=${port}`], { env });
  const ask = async (method, path, body) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${value.error}: ${value.message}`);
    return value;
  };
  const until = performance.now() + START_MS;
  for (;;) {
    const ready = await ask('GET', '/status').catch(() => undefined);
    if (ready) break;
    if (performance.now() > until) throw new Error('WebKitWebDriver did not start');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { sessionId, capabilities } = await ask('POST', '/session', { capabilities: { alwaysMatch: {} } });
  const session = `/session/${sessionId}`;
  await ask('POST', `${session}/timeouts`, { script: 60_000, pageLoad: 60_000 });
  return {
    name: `WebKit ${capabilities.browserVersion}`,
    open: (url) => ask('POST', `${session}/url`, { url }),
    async evaluate(expression) {
      const script = `const tell = arguments[0];
        Promise.resolve().then(() => (${expression}))
          .then((value) => tell({ value: JSON.stringify(value ?? null) }), (error) => tell({ error: String(error) }));`;
      const { value, error } = await ask('POST', `${session}/execute/async`, { script, args: [] });
      if (error !== undefined) throw new Error(error);
      return JSON.parse(value);
    },
    picture: async () => Buffer.from(await ask('GET', `${session}/screenshot`), 'base64'),
    async close() {
      await ask('DELETE', session).catch(() => {});
      await end(child, 'SIGKILL');
      await end(display.child, 'SIGKILL');
      removeDirectory(home);
    },
  };
}
