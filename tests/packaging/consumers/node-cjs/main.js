const { Machine } = require('nullspace');

(async () => {
  const imported = await import('nullspace');
  if (imported.Machine !== Machine) throw new Error('import and require() give two classes');
  const machine = await Machine.create({ timeout: 60 });
  const { stdout } = await machine.commands.run('echo hello', { shell: true });
  const page = await Machine.list();
  const listed = page.items.some(({ id }) => id === machine.id);
  await machine.kill();
  console.log(
    'RESULT',
    JSON.stringify({ id: machine.id, stdout, listed, instance: machine instanceof imported.Machine }),
  );
})();
