// A module worker and a module service worker alike: there is no import map in workers, so the file is named.
import { Nullspace } from '/node_modules/nullspace/index.js';

const run = async (key) => {
  const { Machine } = new Nullspace({ baseUrl: location.origin, apiKey: key });
  try {
    const machine = await Machine.create({ timeout: 60 });
    const { stdout } = await machine.commands.run('echo hello', { shell: true });
    const page = await Machine.list();
    const listed = page.items.some(({ id }) => id === machine.id);
    await machine.kill();
    return `RESULT ${JSON.stringify({ id: machine.id, stdout, listed, instance: machine instanceof Machine })}`;
  } catch (error) {
    return `FAILED ${error}`;
  }
};

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('message', async (event) => {
  const answer = await run(event.data);
  (event.source ?? self).postMessage(answer);
});
