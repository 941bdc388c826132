import { writeSync } from 'node:fs';
import { Machine } from 'nullspace';
import { expect, test, vi } from 'vitest';

test('a machine runs a command', async () => {
  const machine = await Machine.create({ timeout: 60 });
  const { stdout } = await machine.commands.run('echo hello', { shell: true });
  const { items } = await Machine.list();
  await machine.kill();
  writeSync(
    1,
    `RESULT ${JSON.stringify({ id: machine.id, stdout, listed: items.some(({ id }) => id === machine.id), instance: machine instanceof Machine })}\n`,
  );
});

test('a stubbed fetch is used', async () => {
  vi.stubGlobal('fetch', async () => new Response('{"items":[],"has_next":false}'));
  expect((await Machine.list({ baseUrl: 'http://nowhere.invalid' })).items).toEqual([]);
  vi.unstubAllGlobals();
});
