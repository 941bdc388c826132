// Output of commands as it comes (run_streaming of the Python SDK): callbacks, streams, and what happens when a
// connection or a reader fails.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { NotFoundError, Nullspace, TransportError } from 'nullspace';
import { WebSocket } from 'ws';

import { site } from './support/browser.mjs';
import { cuttingProxy } from './support/cutting-proxy.mjs';
import { engineForTests, SMALL, sh, until } from './support/engine.mjs';

const page = await site();
const plan = { frames: 0 };
const proxy = await cuttingProxy(plan);
const engine = await engineForTests({ args: ['--allow-origin', page.origin, '--allow-host', proxy.host] });
plan.target = engine.url;
after(async () => {
  await engine.stopWell();
  await page.close();
  await proxy.close();
});

let machine;
before(async () => {
  machine = await engine.Machine.create({ ...SMALL, timeout: 600 });
});

const runs = async (text) =>
  (await machine.commands.list()).some(({ command, running }) => running && command.includes(text));

test('callbacks get both streams as they come, and the result has them whole', async () => {
  const heard = [];
  const result = await machine.commands.run('echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three; exit 3', {
    shell: true,
    onStdout: (text) => heard.push(['stdout', text]),
    onStderr: (text) => heard.push(['stderr', text]),
  });
  assert.deepEqual(heard, [
    ['stdout', 'one\n'],
    ['stderr', 'two\n'],
    ['stdout', 'three\n'],
  ]);
  const { pid, ...rest } = result;
  assert.ok(pid > 0);
  assert.deepEqual(rest, { exitCode: 3, stdout: 'one\nthree\n', stderr: 'two\n' });
});

test('a character whose bytes come one by one arrives whole', async () => {
  const heard = [];
  await machine.commands.run("printf '\\342'; sleep 0.1; printf '\\202'; sleep 0.1; printf '\\254!'", {
    shell: true,
    onStdout: (text) => heard.push(text),
  });
  assert.equal(heard.join(''), '€!');
  assert.ok(!heard.join('').includes('\uFFFD'));
});

test('a stream gives the start, the output and the exit', async () => {
  const events = [];
  for await (const event of machine.commands.stream('echo', { args: ['a b'] })) events.push(event);
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ['started', 'stdout', 'exit'],
  );
  assert.deepEqual(events.slice(1), [
    { kind: 'stdout', data: 'a b\n' },
    { kind: 'exit', exitCode: 0 },
  ]);
});

test('leaving a stream kills its command', async () => {
  for await (const { kind } of machine.commands.stream('echo go; sleep 71', { shell: true }))
    if (kind === 'stdout') break;
  await until('the command has ended', async () => !(await runs('sleep 71')));
});

test('what a callback throws rejects the call and kills the command', async () => {
  const thrown = new RangeError('mine');
  const call = machine.commands.run('echo go; sleep 72', {
    shell: true,
    onStdout() {
      throw thrown;
    },
  });
  await assert.rejects(call, (error) => error === thrown);
  await until('the command has ended', async () => !(await runs('sleep 72')));
});

test('an async callback slows the command down and is waited for', async () => {
  let ended = 0;
  await machine.commands.run('echo a; sleep 0.05; echo b', {
    shell: true,
    onStdout: async () => {
      await sleep(20);
      ended += 1;
    },
  });
  assert.equal(ended, 2);
});

test('a signal ends a stream at any time and kills the command', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const walking = (async () => {
    for await (const { kind } of machine.commands.stream('echo go; sleep 73', {
      shell: true,
      signal: controller.signal,
    }))
      if (kind === 'stdout') controller.abort(reason);
  })();
  await assert.rejects(walking, (error) => error === reason);
  await until('the command has ended', async () => !(await runs('sleep 73')));
});

test('a command that takes too long is an error with its code', async () => {
  const call = machine.commands.run('sleep 30', { shell: true, timeout: 1, onStdout: () => {} });
  await assert.rejects(call, { code: 'exec_timeout' });
});

test('a background command is heard, fed, and waited for', async () => {
  let heard = '';
  const command = await machine.commands.run('cat', { background: true, onStdout: (text) => (heard += text) });
  await command.sendStdin('hello\n');
  await command.closeStdin();
  const { exitCode, stdout } = await command.wait({ timeout: 20 });
  assert.deepEqual([exitCode, stdout, heard], [0, 'hello\n', 'hello\n']);
});

test('a running command is taken up by its process id, and goes on when it is left', async () => {
  const started = await machine.commands.run('while sleep 0.05; do echo tick; done', { shell: true, background: true });
  let heard = '';
  const command = await machine.commands.connect(started.pid, { onStdout: (text) => (heard += text) });
  await until('something is heard', () => heard.includes('tick'));
  await command.disconnect();
  assert.ok(await runs('tick'));
  await command.kill();
  await until('the command has ended', async () => !(await runs('tick')));
  await assert.rejects(machine.commands.connect(99_999), NotFoundError);
});

test('a command in the background can be walked along, from its beginning', async () => {
  const command = await machine.commands.run('echo one; sleep 0.4; echo two; exit 4', {
    shell: true,
    background: true,
  });
  const events = [];
  for await (const event of command) events.push(event);
  assert.equal(events.map(({ data = '' }) => data).join(''), 'one\ntwo\n');
  assert.deepEqual(events.at(-1), { kind: 'exit', exitCode: 4 });
});

test('closing the input of a process lets it end', async () => {
  const command = await machine.commands.run('cat', { background: true });
  await machine.commands.sendStdin(command.pid, 'x');
  await machine.commands.closeStdin(command.pid);
  assert.equal((await command.wait({ timeout: 20 })).stdout, 'x');
});

test('a connection cut after any frame is an error, and never an exit code', async () => {
  const { Machine } = new Nullspace({ ...engine.client, baseUrl: proxy.url });
  const cut = await Machine.connect(machine.id);
  const command = 'echo one; sleep 0.05; echo two >&2; sleep 0.05; exit 0';
  // started, stdout, stderr, exit: after the fourth frame nothing is missing.
  for (plan.frames = 0; plan.frames < 4; plan.frames++) {
    const call = cut.commands.run(command, { shell: true, onStdout: () => {} });
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof TransportError, `${plan.frames}: ${error}`);
      assert.match(error.message, /how the command ended is not known/);
      return true;
    });
  }
  plan.frames = 4;
  assert.equal((await cut.commands.run(command, { shell: true, onStdout: () => {} })).exitCode, 0);
  // A background command falls back to asking.
  plan.frames = 1;
  const background = await cut.commands.run(command, { shell: true, background: true, onStdout: () => {} });
  assert.deepEqual((await background.wait({ timeout: 20 })).exitCode, 0);
});

test('a machine that is destroyed meanwhile ends the stream with an error', async () => {
  const other = await engine.Machine.create(SMALL);
  const call = other.commands.run('echo go; sleep 74', {
    shell: true,
    onStdout: () => {
      other.kill();
    },
  });
  await assert.rejects(call, (error) => error.code !== undefined);
});

/** Resident memory of a process, MiB. Linux, proc(5). */
const resident = (pid) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m)[1]) / 1024;

test('much output passes without staying in memory, here or in the engine', async () => {
  const megabytes = process.env.NULLSPACE_TEST_LONG ? 256 : 48;
  const command = `head -c ${megabytes << 20} /dev/zero | tr '\\0' x | fold -w 63`;
  const drain = (bytes) =>
    machine.commands.run(`${command} | head -c ${bytes}`, {
      shell: true,
      timeout: 300,
      onStdout: (text) => (total += text.length),
    });
  let total = 0;
  await drain(8 << 20); // what is made once: buffers, compiled code
  globalThis.gc?.();
  total = 0;
  const before = { here: resident(process.pid), engine: resident(engine.pid) };
  let most = 0;
  const look = setInterval(() => (most = Math.max(most, resident(process.pid))), 50);
  const result = await drain(megabytes << 20);
  clearInterval(look);
  assert.equal(total, megabytes << 20);
  assert.equal(result.truncated, true);
  assert.ok(most - before.here < 64, `Node grew by ${(most - before.here).toFixed(1)} MiB`);
  const grown = resident(engine.pid) - before.engine;
  assert.ok(grown < 32, `the engine grew by ${grown.toFixed(1)} MiB`);
});

test('a slow reader slows the command down instead of filling memory', async () => {
  const before = resident(process.pid);
  let seen = 0;
  for await (const event of machine.commands.stream("yes 'a line of some length that is repeated for ever'", {
    shell: true,
  })) {
    if (event.kind !== 'stdout') continue;
    seen += event.data.length;
    await sleep(5);
    if (seen > 3 << 20) break;
  }
  assert.ok(resident(process.pid) - before < 64);
});

test('in a browser: callbacks, streams and errors over its own WebSocket', async () => {
  const seen = await page.run(
    engine,
    async ({ Machine }, id) => {
      const machine = await Machine.connect(id);
      let heard = '';
      const { exitCode } = await machine.commands.run('echo "€"; exit 5', {
        shell: true,
        onStdout: (text) => (heard += text),
      });
      const kinds = [];
      for await (const { kind } of machine.commands.stream('echo', { args: ['x'] })) kinds.push(kind);
      const controller = new AbortController();
      setTimeout(() => controller.abort('enough'), 300);
      const aborted = await machine.commands
        .run('sleep 75', { shell: true, onStdout() {}, signal: controller.signal })
        .catch((error) => error);
      return { heard, exitCode, kinds, aborted };
    },
    machine.id,
  );
  assert.deepEqual(seen, { heard: '€\n', exitCode: 5, kinds: ['started', 'stdout', 'exit'], aborted: 'enough' });
  await until('the command has ended', async () => !(await runs('sleep 75')));
});

test('a WebSocket of the caller is used', async () => {
  let opened = 0;
  class Own extends WebSocket {
    constructor(...args) {
      super(...args);
      opened += 1;
    }
  }
  const { Machine } = new Nullspace({ ...engine.client, WebSocket: Own });
  const same = await Machine.connect(machine.id);
  assert.equal((await same.commands.run('echo own', { shell: true, onStdout() {} })).stdout, 'own\n');
  assert.equal(opened, 1);
});

test('a wrong key is refused as such', async () => {
  const { Machine } = new Nullspace(engine.client);
  let key = engine.apiKey;
  const other = await new Nullspace({ baseUrl: engine.url, apiKey: () => key }).Machine.connect(machine.id);
  key = 'wrong';
  // The key that was asked for first still holds.
  assert.equal((await other.commands.run('true', { onStdout: () => {} })).exitCode, 0);
  assert.equal(await sh(await Machine.connect(machine.id), 'echo still'), 'still');
});
