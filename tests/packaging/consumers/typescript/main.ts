import { Machine, type MachineInfo, NetworkEgressPolicy } from 'nullspace';

// `await using` is compiled down for Node 20.
await using machine = await Machine.create({ timeout: 60, network: { egress: NetworkEgressPolicy.denyAll() } });
const { stdout } = await machine.commands.run('echo hello', { shell: true });
const rows: Pick<MachineInfo, 'id'>[] = await Machine.list({ fields: ['id'] });
const listed = rows.some(({ id }) => id === machine.id);
console.log('RESULT', JSON.stringify({ id: machine.id, stdout, listed, instance: machine instanceof Machine }));
