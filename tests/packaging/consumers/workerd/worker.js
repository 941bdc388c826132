import { Nullspace } from 'nullspace';

export default {
  async fetch(_request, env) {
    const { Machine } = new Nullspace({ baseUrl: env.NULLSPACE_API_URL, apiKey: env.NULLSPACE_API_KEY });
    const machine = await Machine.create({ timeout: 60 });
    const { stdout } = await machine.commands.run('echo hello', { shell: true });
    const page = await Machine.list();
    const listed = page.items.some(({ id }) => id === machine.id);
    await machine.kill();
    return Response.json({ id: machine.id, stdout, listed, instance: machine instanceof Machine });
  },
};
