// Terminals: typed into, read, resized, left and taken up again. In the Python SDK: create_session, list_sessions,
// get_session_info, kill_session, resize_session, send_input.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { ConflictError, InvalidRequestError, NotFoundError, Nullspace, TransportError } from 'nullspace';

import { site } from './support/browser.mjs';
import { cuttingProxy } from './support/cutting-proxy.mjs';
import { engineForTests, SMALL, until } from './support/engine.mjs';

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

/** Reads until the output holds a text. */
const readUntil = async (terminal, text) => {
  const decoder = new TextDecoder();
  let seen = '';
  for await (const bytes of terminal) {
    assert.ok(bytes instanceof Uint8Array);
    seen += decoder.decode(bytes, { stream: true });
    if (seen.includes(text)) return seen;
  }
  return seen;
};

test('a terminal is typed into and read, as text and as bytes', async () => {
  const terminal = await machine.pty.create({ envs: { GREETING: 'grüß' }, cwd: '/tmp' });
  assert.match(terminal.sessionId, /^pty_/);
  assert.deepEqual([terminal.isConnected, terminal.exitCode], [true, undefined]);
  await terminal.sendInput('echo "<$GREETING $(pwd)>"\n');
  await readUntil(terminal, '<grüß /tmp>');
  await terminal.sendInput(new TextEncoder().encode('exit 7\n'));
  assert.deepEqual(await terminal.wait({ timeout: 20 }), { exitCode: 7, timedOut: false });
  assert.deepEqual([terminal.isConnected, terminal.exitCode], [false, 7]);
  await assert.rejects(
    terminal.sendInput('late'),
    (error) => error instanceof ConflictError && error.code === 'pty_closed',
  );
});

test('a terminal has the size it was given, and another one later', async () => {
  await using_(await machine.pty.create({ cols: 91, rows: 17 }), async (terminal) => {
    await terminal.sendInput('stty size\n');
    await readUntil(terminal, '17 91');
    await terminal.resize({ cols: 40, rows: 10 });
    await terminal.sendInput('stty size\n');
    await readUntil(terminal, '10 40');
    await machine.pty.resize(terminal.sessionId, { cols: 44, rows: 12 });
    const { cols, rows, pid } = await machine.pty.get(terminal.sessionId);
    assert.deepEqual([cols, rows, pid], [44, 12, terminal.pid]);
  });
});

test('a terminal is left and taken up again, by its session and by its process', async () => {
  const first = await machine.pty.create();
  await first.sendInput('here=kept; echo ready\n');
  await readUntil(first, 'ready\r\n');
  await first.disconnect();
  await assert.rejects(first.wait(), { code: 'pty_disconnected' });
  assert.ok((await machine.pty.list()).some(({ sessionId }) => sessionId === first.sessionId));

  const again = await machine.pty.connect({ sessionId: first.sessionId });
  assert.equal(again.pid, first.pid);
  await again.sendInput('echo "<$here>"\n');
  await readUntil(again, '<kept>');
  const byPid = await machine.pty.connect({ pid: first.pid });
  assert.equal(byPid.sessionId, first.sessionId);
  // What was taken up is left open at the end of a block.
  await byPid[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]();
  await again.kill();
  assert.equal((await again.wait({ timeout: 20 })).timedOut, false);
  await assert.rejects(machine.pty.get(first.sessionId), NotFoundError);
});

test('waiting needs no reader, and a wait that is too short says so', async () => {
  const terminal = await machine.pty.create();
  assert.deepEqual(await terminal.wait({ timeout: 0.2 }), { exitCode: 124, timedOut: true });
  await terminal.sendInput('head -c 3000000 /dev/zero | tr "\\0" x; exit 3\n');
  assert.deepEqual(await terminal.wait({ timeout: 60 }), { exitCode: 3, timedOut: false });
});

test('what is typed while the shell ends does not hide its exit code', async () => {
  const typedInto = async () => {
    const terminal = await machine.pty.create();
    await terminal.sendInput(' exec sh -c "exit 7"\n');
    const ended = terminal.wait({ timeout: 60 }).then(
      ({ exitCode }) => exitCode,
      (error) => error.message,
    );
    let isOver = false;
    ended.then(() => {
      isOver = true;
    });
    while (!isOver) {
      terminal.sendInput('\u0004').catch(() => {});
      await new Promise((resolve) => setImmediate(resolve));
    }
    return ended;
  };
  for (let round = 0; round < 8; round += 1) {
    const codes = await Promise.all(Array.from({ length: 8 }, typedInto));
    assert.deepEqual(codes, Array(8).fill(7), `round ${round}`);
  }
});

test('reading and waiting go together', async () => {
  const terminal = await machine.pty.create();
  const reading = readUntil(terminal, 'never printed');
  await terminal.sendInput('stty -echo; echo last; exit 5\n');
  const [output, { exitCode }] = await Promise.all([reading, terminal.wait({ timeout: 20 })]);
  assert.ok(output.includes('last'));
  assert.equal(exitCode, 5);
});

test('a signal ends reading, and the terminal stays', async () => {
  const terminal = await machine.pty.create();
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error('enough')), 100);
  await assert.rejects(terminal.wait({ signal: controller.signal }), /enough/);
  await terminal.sendInput('exit 0\n');
  assert.equal((await terminal.wait({ timeout: 20 })).exitCode, 0);
});

test('a connection cut after any frame is an error that says how to go on', async () => {
  const { Machine } = new Nullspace({ ...engine.client, baseUrl: proxy.url });
  const cut = await Machine.connect(machine.id);
  plan.frames = 0;
  await assert.rejects(cut.pty.create(), (error) => error instanceof TransportError);
  for (plan.frames = 1; plan.frames < 4; plan.frames++) {
    const terminal = await cut.pty.create();
    const typed = terminal.sendInput('for i in 1 2 3 4 5 6; do echo $i; sleep 0.05; done\n');
    await assert.rejects(terminal.wait({ timeout: 30 }), (error) => {
      assert.ok(error instanceof TransportError, String(error));
      assert.match(error.message, /pty\.connect\(\{ sessionId \}\)/);
      return true;
    });
    await typed.catch(() => {});
    // The session is there: nothing of it was lost but the connection.
    const again = await machine.pty.connect({ sessionId: terminal.sessionId });
    await again.kill();
    await again.disconnect();
  }
});

test('wrong options are told before anything is sent', async () => {
  await assert.rejects(
    machine.pty.create({ cols: 0 }),
    (error) => error instanceof InvalidRequestError && /`cols`/.test(error.message),
  );
  await assert.rejects(machine.pty.connect({}), /\{ sessionId \}/);
  await assert.rejects(machine.pty.connect({ sessionId: 'pty_x', pid: 1 }), /one of them/);
  await assert.rejects(machine.pty.resize('pty_x', { cols: 3 }), /`size`/);
  const terminal = await machine.pty.create();
  await assert.rejects(terminal.sendInput(7), /`data` must be a string or bytes/);
  await terminal.kill();
});

test('in a browser a terminal works over its own WebSocket', async () => {
  const seen = await page.run(
    engine,
    async ({ Machine }, id) => {
      const machine = await Machine.connect(id);
      const terminal = await machine.pty.create({ cols: 77, rows: 20 });
      await terminal.sendInput('stty size; exit 9\n');
      const decoder = new TextDecoder();
      let output = '';
      for await (const bytes of terminal) output += decoder.decode(bytes, { stream: true });
      return { sized: output.includes('20 77'), end: await terminal.wait() };
    },
    machine.id,
  );
  assert.deepEqual(seen, { sized: true, end: { exitCode: 9, timedOut: false } });
});

test('no terminal is left', async () => {
  for (const { sessionId } of await machine.pty.list()) await machine.pty.kill(sessionId);
  await until('all are gone', async () => (await machine.pty.list()).length === 0);
  // Also those that ended by themselves: a machine has room for 128.
  const held = () => machine.commands.run('ls /dev/pts | grep -vx ptmx | wc -l', { shell: true });
  await until('their places are free', async () => (await held()).stdout.trim() === '0');
});

// `await using` needs Node 24 or a compiler; this is what it does.
async function using_(resource, use) {
  try {
    await use(resource);
  } finally {
    await resource[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]();
  }
}
