import { Nullspace } from 'nullspace';

export async function run() {
  const { Machine } = new Nullspace({ baseUrl: process.env.NULLSPACE_API_URL, apiKey: process.env.NULLSPACE_API_KEY });
  const machine = await Machine.create({ timeout: 60 });
  const { stdout } = await machine.commands.run('echo hello', { shell: true });
  // Loads a part of the package.
  await machine.getMetrics();
  const { items } = await Machine.list();
  const listed = items.some(({ id }) => id === machine.id);
  await machine.kill();
  return Response.json({ id: machine.id, stdout, listed, instance: machine instanceof Machine });
}
