import { Nullspace } from 'nullspace';

// No top-level await: esbuild's default output for browsers is a plain script.
const run = async () => {
  const { Machine } = new Nullspace({
    baseUrl: location.origin,
    apiKey: new URLSearchParams(location.search).get('key'),
  });
  const machine = await Machine.create({ timeout: 60 });
  const { stdout } = await machine.commands.run('echo hello', { shell: true });
  // Loads a part of the package.
  await machine.getMetrics();
  const page = await Machine.list();
  const listed = page.items.some(({ id }) => id === machine.id);
  await machine.kill();
  return { id: machine.id, stdout, listed, instance: machine instanceof Machine };
};

run().then(
  (result) => console.log('RESULT', JSON.stringify(result)),
  (error) => console.log('FAILED', String(error)),
);
