import { Machine } from 'nullspace';
import { expect, test } from 'vitest';

test('an engine of the run is found by itself', async () => {
  expect(process.env.NULLSPACE_API_KEY).toMatch(/^nsk_test_/);
  const machine = await Machine.create({ timeout: 60 });
  expect((await machine.commands.run('echo', { args: ['hi'] })).stdout).toBe('hi\n');
  await machine.kill();
});
