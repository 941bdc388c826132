const { writeSync } = require('node:fs');
const { Machine } = require('nullspace');

test('a machine runs a command', async () => {
  const machine = await Machine.create({ timeout: 60 });
  expect(machine).toBeInstanceOf(Machine);
  const { stdout } = await machine.commands.run('echo hello', { shell: true });
  const { items } = await Machine.list();
  await machine.kill();
  await expect(Machine.create({ vcpus: -1 })).rejects.toThrow('vcpus');
  writeSync(
    1,
    `RESULT ${JSON.stringify({ id: machine.id, stdout, listed: items.some(({ id }) => id === machine.id), instance: machine instanceof Machine })}\n`,
  );
});
