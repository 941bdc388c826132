// Bytes of commands: what goes in comes out unchanged, in every way of running a command, in Node and in a page. The same in workerd
// is in tests/packaging/consumers/workerd.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { InvalidRequestError, NotImplementedError, Nullspace, TransportError } from 'nullspace';
import { WebSocket } from 'ws';

import { site } from './support/browser.mjs';
import { engineForTests, SMALL, sh, until } from './support/engine.mjs';

const page = await site();
const engine = await engineForTests({ args: ['--allow-origin', page.origin] });
after(async () => {
  await engine.stopWell();
  await page.close();
});
let machine;
before(async () => {
  machine = await engine.Machine.create({ ...SMALL, memoryMb: 256, timeout: 600 });
});

const MIB = 1 << 20;
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const random = randomBytes(MIB);

test('1 MiB of random bytes comes back from a command in the foreground', async () => {
  let heard = 0;
  const result = await machine.commands.run('tee /dev/stderr', {
    shell: true,
    encoding: 'bytes',
    stdin: random,
    onStdout: (bytes) => {
      assert.ok(bytes instanceof Uint8Array);
      heard += bytes.length;
    },
  });
  assert.equal(result.exitCode, 0);
  assert.ok(result.pid > 0);
  assert.equal(heard, MIB);
  assert.equal(sha256(result.stdout), sha256(random));
  assert.equal(sha256(result.stderr), sha256(random));
  assert.equal(result.truncated, undefined);
  // What it reads may be a stream, of the web or of Node.
  for (const stdin of [new Blob([random]).stream(), Readable.from([random.subarray(0, 7), random.subarray(7)])]) {
    const { stdout } = await machine.commands.run('cat', { encoding: 'bytes', stdin });
    assert.equal(sha256(stdout), sha256(random));
  }
});

test('1 MiB of random bytes comes back from a command in the background', async () => {
  const command = await machine.commands.run('cat', { background: true, encoding: 'bytes' });
  const read = buffer(command.stdout);
  const writer = command.stdin.getWriter();
  for (let at = 0; at < MIB; at += 100_000) await writer.write(random.subarray(at, at + 100_000));
  await writer.close();
  assert.equal(sha256(await read), sha256(random));
  assert.equal((await command.wait({ timeout: 20 })).exitCode, 0);
  assert.equal(command.stdout, command.stdout);
  assert.equal((await buffer(command.stderr)).length, 0);
});

test('1 MiB of random bytes comes back through a stream', async () => {
  const parts = [];
  let exitCode;
  for await (const event of machine.commands.stream('cat', { encoding: 'bytes' })) {
    if (event.kind === 'started') {
      const { pid } = event;
      machine.commands.sendStdin(pid, random).then(() => machine.commands.closeStdin(pid));
    } else if (event.kind === 'stdout') {
      assert.deepEqual(Object.keys(event), ['kind', 'data']);
      parts.push(event.data);
    } else if (event.kind === 'exit') exitCode = event.exitCode;
  }
  assert.equal(exitCode, 0);
  assert.equal(sha256(Buffer.concat(parts)), sha256(random));
});

test('1 MiB of random bytes comes back in a page, in all three ways', async () => {
  const outcome = await page.run(
    engine,
    async ({ Machine }, id) => {
      const machine = await Machine.connect(id);
      const bytes = new Uint8Array(1 << 20);
      for (let at = 0; at < bytes.length; at += 1 << 16) crypto.getRandomValues(bytes.subarray(at, at + (1 << 16)));
      const digest = async (data) =>
        Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', data)), (byte) => byte.toString(16)).join();
      const found = [await digest(bytes)];
      const { stdout } = await machine.commands.run('cat', { encoding: 'bytes', stdin: bytes });
      found.push(await digest(stdout));
      const command = await machine.commands.run('cat', { background: true, encoding: 'bytes' });
      const read = new Response(command.stdout).arrayBuffer();
      const writer = command.stdin.getWriter();
      await writer.write(bytes);
      await writer.close();
      found.push(await digest(await read));
      const parts = [];
      for await (const event of machine.commands.stream('cat', { encoding: 'bytes' })) {
        if (event.kind === 'started')
          machine.commands.sendStdin(event.pid, bytes).then(() => machine.commands.closeStdin(event.pid));
        if (event.kind === 'stdout') parts.push(event.data);
      }
      found.push(await digest(await new Blob(parts).arrayBuffer()));
      return found;
    },
    machine.id,
  );
  assert.equal(outcome.length, 4);
  assert.equal(new Set(outcome).size, 1);
});

test('text and its standard input', async () => {
  const { stdout, stderr, exitCode } = await machine.commands.run('sort; echo é >&2; exit 3', {
    shell: true,
    stdin: 'b\nä\na\n',
  });
  assert.deepEqual([stdout, stderr, exitCode], ['a\nb\nä\n', 'é\n', 3]);
  // Without it a command reads an end of file, whatever its encoding.
  assert.equal((await machine.commands.run('cat', { encoding: 'bytes' })).stdout.length, 0);
  // One that reads nothing has ended well.
  const { exitCode: early } = await machine.commands.run('true', { stdin: new Uint8Array(4 * MIB) });
  assert.equal(early, 0);
  // A character whose bytes come one by one is heard whole.
  const heard = [];
  await machine.commands.run("printf '\\342'; sleep 0.1; printf '\\202\\254!'", {
    shell: true,
    stdin: '',
    onStdout: (text) => heard.push(text),
  });
  assert.equal(heard.join(''), '€!');
});

test('a standard input that fails or never ends leaves no command', async () => {
  const failing = async function* () {
    yield 'a';
    throw new Error('mine');
  };
  await assert.rejects(machine.commands.run('cat; sleep 81', { shell: true, stdin: failing() }), /mine/);
  let cancelled = false;
  const endless = new ReadableStream({
    pull: () => new Promise(() => {}),
    cancel: () => {
      cancelled = true;
    },
  });
  assert.equal((await machine.commands.run('exit 7', { shell: true, stdin: endless })).exitCode, 7);
  assert.ok(cancelled);
  const stop = new AbortController();
  const pending = machine.commands.run('sleep 81', { shell: true, encoding: 'bytes', signal: stop.signal });
  setTimeout(() => stop.abort(new Error('enough')), 300);
  await assert.rejects(pending, /enough/);
  const thrown = new RangeError('from the callback');
  const heard = machine.commands.run('echo; sleep 81', {
    shell: true,
    encoding: 'bytes',
    onStdout: () => {
      throw thrown;
    },
  });
  await assert.rejects(heard, (error) => error === thrown);
  await until('no command is left', async () => (await sh(machine, 'pgrep -fc "sleep 8[1]" || :')) === '0');
});

test('a command whose output is not read waits, and goes on when it is', async () => {
  // More than the kernel holds on the way, which may lead through a gateway.
  const command = await machine.commands.run('head -c 32000000 /dev/zero; echo over >&2', {
    shell: true,
    background: true,
    encoding: 'bytes',
  });
  await sleep(1500);
  const { running } = (await machine.commands.list()).find(({ pid }) => pid === command.pid);
  assert.equal(running, true);
  const [stdout, stderr] = await Promise.all([buffer(command.stdout), buffer(command.stderr)]);
  assert.deepEqual([stdout.length, stderr.toString()], [32_000_000, 'over\n']);

  // Somebody who waits is not kept waiting by what nobody reads, and what somebody took is not lost.
  const second = await machine.commands.run('head -c 8000000 /dev/zero; head -c 8000000 /dev/zero >&2', {
    shell: true,
    background: true,
    encoding: 'bytes',
  });
  const taken = second.stdout;
  assert.equal((await second.wait({ timeout: 30 })).exitCode, 0);
  assert.equal((await buffer(taken)).length, 8_000_000);
  assert.equal((await buffer(second.stderr)).length, 0);
});

test('a process that does not read for long gets all the same what was written', { timeout: 60_000 }, async () => {
  const command = await machine.commands.run('sleep 24; cat', { shell: true, background: true, encoding: 'bytes' });
  const read = buffer(command.stdout);
  const writer = command.stdin.getWriter();
  await writer.write(random);
  await writer.close();
  assert.equal(sha256(await read), sha256(random));
});

test('a command in the background lives on when nobody hears it, and is killed as others are', async () => {
  const command = await machine.commands.run('echo begun; sleep 82', {
    shell: true,
    background: true,
    encoding: 'bytes',
  });
  await command.disconnect();
  assert.equal((await buffer(command.stdout)).length, 0);
  await sleep(300);
  assert.equal(await sh(machine, 'pgrep -fc "^sleep 8[2]"'), '1');
  await command.kill();
  await until('it is gone', async () => (await sh(machine, 'pgrep -fc "^sleep 8[2]" || :')) === '0');
  const plain = await machine.commands.run('cat', { background: true });
  assert.throws(() => plain.stdout, InvalidRequestError);
  const writer = plain.stdin.getWriter();
  await writer.write('text');
  await writer.close();
  assert.equal((await plain.wait({ timeout: 10 })).stdout, 'text');
  const ended = plain.stdin.getWriter;
  assert.equal(typeof ended, 'function');
});

test('a connection that is lost fails the streams, and neither the command nor who waits for it', async () => {
  const sockets = [];
  class Kept extends WebSocket {
    constructor(...given) {
      super(...given);
      sockets.push(this);
    }
  }
  const { Machine } = new Nullspace({ ...engine.client, WebSocket: Kept });
  const same = await Machine.connect(machine.id);
  const options = { shell: true, background: true, encoding: 'bytes' };
  const [read, unread] = await Promise.all(
    [1, 2].map(() => same.commands.run('echo begun; sleep 3; echo over; exit 6', options)),
  );
  const reader = read.stdout.getReader();
  assert.equal(Buffer.from((await reader.read()).value).toString(), 'begun\n');
  for (const socket of sockets) socket.terminate();
  await assert.rejects(reader.read(), TransportError);
  await sleep(100);
  for (const command of [read, unread]) {
    const { exitCode, stdout } = await command.wait({ timeout: 20 });
    assert.deepEqual([exitCode, stdout], [6, 'begun\nover\n']);
  }
});

test('no limit is asked for in words', async () => {
  const foreground = await machine.commands.run('echo', { timeout: 'none' });
  assert.equal(foreground.exitCode, 0);
  for await (const event of machine.commands.stream('true', { timeout: 'none' }))
    if (event.kind === 'exit') assert.equal(event.exitCode, 0);
  for (const timeout of [0, 'never', 86_401])
    await assert.rejects(machine.commands.run('true', { timeout }), /'none' sets no limit|must be a number/);
  // A limit holds for bytes, too.
  const late = machine.commands.run('sleep 83', { shell: true, timeout: 1, encoding: 'bytes' });
  await assert.rejects(late, { code: 'exec_timeout' });
});

test('where a server sends text alone, bytes that are lost are an error', async () => {
  /** A socket of a server that knows no bytes. */
  class Deaf extends WebSocket {
    send(data, ...rest) {
      super.send(String(data).replace('"encoding":"base64",', '').replace(',"encoding":"base64"', ''), ...rest);
    }
    emit(name, ...args) {
      if (name === 'message') {
        const { data_base64, ...frame } = JSON.parse(args[0].toString());
        args = [JSON.stringify(frame), false];
      }
      return super.emit(name, ...args);
    }
  }
  const { Machine } = new Nullspace({ ...engine.client, WebSocket: Deaf });
  const same = await Machine.connect(machine.id);
  const { stdout } = await same.commands.run('echo é', { shell: true, encoding: 'bytes' });
  assert.equal(Buffer.from(stdout).toString(), 'é\n');
  await assert.rejects(
    same.commands.run("printf '\\377'", { shell: true, encoding: 'bytes' }),
    (error) => error instanceof NotImplementedError && /sends output as text/.test(error.message),
  );
});

test('what is wrong with the options is said', async () => {
  const wrong = (options, message) => assert.rejects(machine.commands.run('true', options), message);
  await wrong({ encoding: 'utf8' }, /`encoding`/);
  await wrong({ encoding: 'bytes', onStdout: 1 }, /`onStdout`/);
  await wrong({ encoding: 'bytes', shel: true }, /did you mean `shell`/);
  await wrong({ background: true, stdin: 'x' }, /`stdin`/);
  await wrong({ background: 'yes', encoding: 'bytes' }, /`background`/);
  await wrong({ stdin: 5 }, /stdin takes text and bytes/);
});
