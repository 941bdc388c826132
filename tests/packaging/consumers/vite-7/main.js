import { Nullspace } from 'nullspace';

const { Machine } = new Nullspace({
  baseUrl: location.origin,
  apiKey: new URLSearchParams(location.search).get('key'),
});
try {
  const machine = await Machine.create({ timeout: 60 });
  const { stdout } = await machine.commands.run('echo hello', { shell: true });
  // Loads a part of the package.
  await machine.getMetrics();
  const page = await Machine.list();
  const listed = page.items.some(({ id }) => id === machine.id);
  await machine.kill();
  console.log('RESULT', JSON.stringify({ id: machine.id, stdout, listed, instance: machine instanceof Machine }));
} catch (error) {
  console.log('FAILED', String(error));
}
