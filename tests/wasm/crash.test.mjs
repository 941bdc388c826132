// The module may crash: calls in flight reject, nothing hangs or is uncaught, and the next call works. This needs the
// build with traps; its entry is the one of browsers, which has one copy of the glue that the traps share.

import assert from 'node:assert/strict';
import test from 'node:test';

import { trapsPkg } from './package.mjs';
import { serve } from './server.mjs';

const { Machine, NullspaceError } = await import(new URL('index.js', trapsPkg));
const { Traps, replaceInstance } = await import(new URL('lib/glue.js', trapsPkg));
const { trapped } = await import(new URL('lib/runtime.js', trapsPkg));

for (const kind of ['panic', 'stackOverflow', 'outOfMemory']) {
  for (const later of [true, false]) {
    test(`${kind}${later ? ' in a microtask' : ' in a call'} is survived`, async () => {
      const held = [];
      const server = await serve((request) => request.path.endsWith('/exec') && held.push(request) > 0);
      const uncaught = [];
      const note = (error) => uncaught.push(error);
      process.on('uncaughtException', note);
      process.on('unhandledRejection', note);
      try {
        const machine = await Machine.create(server.options);
        // The last is one request, which JavaScript settles: another path.
        const inFlight = [
          machine.commands.run('sleep 9'),
          machine.commands.run('sleep 9'),
          machine.process.codeRun('sleep(9)'),
        ];
        while (held.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));

        try {
          Traps[kind](later);
        } catch (error) {
          // What lib.js does for every export.
          assert.ok(trapped(error));
          replaceInstance();
        }
        for (const call of inFlight) {
          await assert.rejects(call, (error) => {
            assert.ok(error instanceof NullspaceError);
            assert.equal(error.code, 'sdk_crashed');
            return true;
          });
        }
        // The handle outlives its instance: the next call on it works.
        assert.equal(machine.id, 'mch_1');
        assert.equal((await machine.getInfo()).id, 'mch_1');
        assert.equal(await machine.isRunning(), true);
        assert.throws(
          () => machine.commands.constructor.prototype.run === undefined || new machine.constructor(),
          TypeError,
        );

        const again = await Machine.connect(machine.id, server.options);
        assert.equal((await again.getInfo()).id, 'mch_1');
        await again.kill();

        // Late answers for the dead instance arrive and are dropped.
        await server.close();
        await new Promise((resolve) => setTimeout(resolve, 50));
        assert.deepEqual(uncaught, []);
      } finally {
        process.off('uncaughtException', note);
        process.off('unhandledRejection', note);
        await server.close().catch(() => {});
      }
    });
  }
}

test('what a getter throws in a later step of a call is what that call fails with, and others go on', async () => {
  const server = await serve();
  const uncaught = [];
  const note = (error) => uncaught.push(error);
  process.on('uncaughtException', note);
  try {
    const machine = await Machine.create(server.options);
    const thrown = new Error('the getter');
    for (let round = 0; round < 3; round++) {
      const others = [machine.getInfo(), machine.isRunning(), Traps.read({ value: round })];
      await assert.rejects(
        Traps.read({
          get value() {
            throw thrown;
          },
        }),
        (error) => error === thrown,
      );
      const [info, running, value] = await Promise.all(others);
      assert.deepEqual([info.id, running, value], ['mch_1', true, round]);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(uncaught, []);
  } finally {
    process.off('uncaughtException', note);
    await server.close();
  }
});

test('many crashes in a row are survived', async () => {
  const server = await serve();
  try {
    for (let round = 0; round < 20; round++) {
      const held = await Machine.create(server.options);
      Traps.panic(true);
      await new Promise((resolve) => setTimeout(resolve));
      await held.kill();
    }
    assert.equal((await Machine.list(server.options)).items.length, 2);
  } finally {
    await server.close();
  }
});

test('every kind of error that Rust knows has a class', async () => {
  const { errorKinds } = await import(new URL('lib/glue.js', trapsPkg));
  const { classes } = await import(new URL('lib/errors.js', trapsPkg));
  const fetch = async () => new Response('{"items":[],"has_next":false}');
  await Machine.list({ apiKey: 'k', fetch }); // loads the module
  const kinds = errorKinds();
  assert.ok(kinds.length > 15);
  assert.deepEqual(
    kinds.filter((kind) => classes[kind] === undefined),
    [],
  );
});
