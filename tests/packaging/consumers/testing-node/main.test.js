import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Machine } from 'nullspace';
import { useEngine } from 'nullspace/testing';

const { NULLSPACE_API_URL: outer } = process.env;
const engine = useEngine({ before, after });
assert.throws(() => engine.url, /once the tests run/);

test('a machine runs a command', async () => {
  assert.notEqual(engine.url, outer);
  assert.equal(process.env.NULLSPACE_API_URL, engine.url);
  const machine = await Machine.create({ timeout: 60 });
  const { stdout } = await machine.commands.run('echo hello', { shell: true });
  const { items } = await Machine.list();
  assert.deepEqual(
    items.map(({ id }) => id),
    [machine.id],
  );
  await machine.kill();
  writeSync(
    1,
    `RESULT ${JSON.stringify({ id: machine.id, stdout, listed: true, instance: machine instanceof Machine })}\n`,
  );
});
