import { Nullspace } from 'nullspace';

const run = async () => {
  const { Machine } = new Nullspace({ baseUrl: globalThis.NULLSPACE_API_URL, apiKey: globalThis.NULLSPACE_API_KEY });
  const machine = await Machine.create({ timeout: 60 });
  const { stdout } = await machine.commands.run('echo hello', { shell: true });
  // Loads a part of the package.
  await machine.getMetrics();
  const page = await Machine.list();
  const listed = page.items.some(({ id }) => id === machine.id);
  await machine.kill();
  return Response.json({ id: machine.id, stdout, listed, instance: machine instanceof Machine });
};

addEventListener('fetch', (event) => event.respondWith(run()));
