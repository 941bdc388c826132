import { Nullspace } from 'nullspace';

const digest = async (data) => new Uint8Array(await crypto.subtle.digest('SHA-256', data)).join();

/** Random bytes come back from a command in the foreground, in the background and through a stream. */
const sameBytes = async ({ commands }, bytes) => {
  const foreground = await commands.run('cat', { encoding: 'bytes', stdin: bytes });
  const command = await commands.run('cat', { background: true, encoding: 'bytes' });
  const read = new Response(command.stdout).arrayBuffer();
  const writer = command.stdin.getWriter();
  await writer.write(bytes);
  await writer.close();
  const parts = [];
  for await (const { kind, pid, data } of commands.stream('cat', { encoding: 'bytes' })) {
    if (kind === 'started') commands.sendStdin(pid, bytes).then(() => commands.closeStdin(pid));
    if (kind === 'stdout') parts.push(data);
  }
  const wanted = await digest(bytes);
  for (const [way, found] of Object.entries({
    foreground: foreground.stdout,
    background: await read,
    stream: await new Blob(parts).arrayBuffer(),
  }))
    if ((await digest(found)) !== wanted) throw new Error(`${way}: other bytes came back`);
};

export default {
  async fetch(_request, env) {
    const { Machine } = new Nullspace({ baseUrl: env.NULLSPACE_API_URL, apiKey: env.NULLSPACE_API_KEY });
    const machine = await Machine.create({ timeout: 60 });
    const { stdout } = await machine.commands.run('echo hello', { shell: true });
    // Loads a part of the package.
    await machine.getMetrics();
    const bytes = new Uint8Array(1 << 20);
    for (let at = 0; at < bytes.length; at += 1 << 16) crypto.getRandomValues(bytes.subarray(at, at + (1 << 16)));
    await sameBytes(machine, bytes);
    const page = await Machine.list();
    const listed = page.items.some(({ id }) => id === machine.id);
    await machine.kill();
    return Response.json({ id: machine.id, stdout, listed, instance: machine instanceof Machine });
  },
};
