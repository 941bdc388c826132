// What is held while much output passes through: in processes of their own, whose heap is no larger than it has to be.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { WebSocketServer } from 'ws';

import { sdk } from './package.mjs';
import { serve } from './server.mjs';

const MIB = 1 << 20;
const OUTPUT_MIB = 256;

/** A server whose commands print so many MiB as their name says, as fast as they are read. `sent` counts frames. */
const printing = async (chunk) => {
  const server = await serve();
  const sockets = new WebSocketServer({ server: server.http, perMessageDeflate: false });
  const printer = { ...server, sent: 0 };
  sockets.on('connection', (socket) =>
    socket.once('message', async (text) => {
      const { id, command } = JSON.parse(text);
      const say = (frame) =>
        new Promise((resolve) => socket.send(JSON.stringify({ id, pid: 7, ...frame }), (error) => resolve(!error)));
      await say({ type: 'exec_started' });
      const data = `${'x'.repeat(chunk - 1)}\n`;
      for (let left = (Number(command) * MIB) / chunk; left > 0; left--) {
        if (!(await say({ type: 'exec_stdout', data }))) return;
        printer.sent += 1;
      }
      await say({ type: 'exec_exit', exit_code: 0 });
    }),
  );
  return printer;
};

for (const [way, chunk] of [
  ['callbacks', 64 << 10],
  ['callbacks', 4 << 10],
  ['a stream', 64 << 10],
]) {
  test(`${OUTPUT_MIB} MiB of output in pieces of ${chunk >> 10} KiB through ${way} twice: a heap of 48 MiB holds it`, async () => {
    const server = await printing(chunk);
    try {
      const child = fileURLToPath(new URL('reads-output.mjs', import.meta.url));
      const args = ['--max-old-space-size=48', child, server.url, way, String(OUTPUT_MIB)];
      const { stdout } = await promisify(execFile)(process.execPath, args);
      const { characters, before, peak } = JSON.parse(stdout);
      assert.equal(characters, 2 * OUTPUT_MIB * MIB);
      // It would be more than 256 MiB if frames, their texts or the module's memory were held.
      const grown = (peak - before) / MIB;
      assert.ok(grown < 112, `the process grew by ${grown} MiB`);
    } finally {
      await server.close();
    }
  });
}

test('output that nobody reads stays with the server', async () => {
  const server = await printing(64 << 10);
  let release;
  const waits = new Promise((resolve) => (release = resolve));
  try {
    const machine = await sdk.Machine.connect('mch_1', server.options);
    let read = 0;
    const running = machine.commands.run('128', {
      shell: true,
      onStdout: (text) => {
        read += text.length;
        return waits;
      },
    });
    // Until it stands still: what the SDK and the system's buffers take is a small part.
    for (let before = -1; before !== server.sent || before === 0; await sleep(300)) before = server.sent;
    const taken = (server.sent * (64 << 10)) / MIB;
    assert.ok(taken < 48, `${taken} of 128 MiB were taken`);
    assert.equal(read, 64 << 10);
    release();
    const { exitCode, truncated } = await running;
    assert.deepEqual([exitCode, truncated, read], [0, true, 128 * MIB]);
  } finally {
    release();
    await server.close();
  }
});
