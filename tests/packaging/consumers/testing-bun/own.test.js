import { afterAll, beforeAll, expect, test } from 'bun:test';
import { writeSync } from 'node:fs';
import { Machine } from 'nullspace';
import { useEngine } from 'nullspace/testing';

const ofRun = process.env.NULLSPACE_API_URL;
const engine = useEngine({ before: beforeAll, after: afterAll });

test('an engine of the file has machines of its own', async () => {
  expect(engine.url).not.toBe(ofRun);
  expect(process.env.NULLSPACE_API_URL).toBe(engine.url);
  const machine = await Machine.create({ timeout: 60 });
  const { stdout } = await machine.commands.run('echo hello', { shell: true });
  const { items } = await Machine.list();
  expect(items.map(({ id }) => id)).toEqual([machine.id]);
  await machine.kill();
  writeSync(
    1,
    `RESULT ${JSON.stringify({ id: machine.id, stdout, listed: true, instance: machine instanceof Machine })}\n`,
  );
});
