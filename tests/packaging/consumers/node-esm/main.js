import { Machine } from 'nullspace';

await using_(await Machine.create({ timeout: 60 }));

// `await using machine = ...` needs Node 24 or a compiler; this is what it does.
async function using_(machine) {
  try {
    const { stdout } = await machine.commands.run('echo hello', { shell: true });
    let listed = false;
    for await (const { id } of await Machine.list()) listed ||= id === machine.id;
    console.log('RESULT', JSON.stringify({ id: machine.id, stdout, listed, instance: machine instanceof Machine }));
  } finally {
    await machine.kill();
  }
}
