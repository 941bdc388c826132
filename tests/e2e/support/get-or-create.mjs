// One of several programs that ask for the machine of one name: NAME COUNT CLIENT ['forever'].

import { Nullspace } from 'nullspace';

const [name, count, client, forever] = process.argv.slice(2);
const { Machine } = new Nullspace(JSON.parse(client));
let created = 0;
const onCreate = async (machine) => {
  created += 1;
  if (forever) {
    process.send({ created });
    await new Promise(() => {});
  }
  await machine.commands.run('sleep 1; printf x >> /workspace/made', { shell: true });
};
const machines = await Promise.all(
  Array.from({ length: Number(count) }, () =>
    Machine.getOrCreate({ name, vcpus: 1, memoryMb: 64, timeout: 300, onCreate }),
  ),
);
process.send({ ids: machines.map(({ id }) => id), created }, () => process.disconnect());
