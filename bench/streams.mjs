// Output of a command and whole files, against what somebody would write by hand over the same engine: the package `ws` with
// JSON.parse of the same frames, and `fetch` with streams. Both sides count bytes and keep none.

import { Nullspace } from 'nullspace';
import WebSocket from 'ws';

import { endAll } from '../scripts/lib/cleanup.mjs';
import { startEngine } from '../scripts/lib/engine.mjs';
import { engineBinary } from '../scripts/lib/project.mjs';

const MIB = 1 << 20;

const time = async (run) => {
  const start = performance.now();
  const bytes = await run();
  return { ms: performance.now() - start, bytes };
};

/** So many bytes, made as they are read. */
const content = (bytes) => {
  const piece = new Uint8Array(MIB).fill(120);
  let left = bytes;
  return new ReadableStream({
    type: 'bytes',
    pull(controller) {
      if (left === 0) return controller.close();
      const next = left < MIB ? piece.slice(0, left) : piece.slice();
      left -= next.length;
      controller.enqueue(next);
    },
  });
};

export async function streams({ table, verdict, median, rounds, quick }) {
  const engine = await startEngine({ binary: engineBinary, apiKey: 'bench' });
  const { Machine } = new Nullspace(engine.client);
  const headers = { authorization: 'Bearer bench' };
  try {
    const machine = await Machine.create({ memoryMb: 512, timeout: 3600 });
    const output = (quick ? 32 : 256) * MIB;
    const command = `head -c ${output} /dev/zero | tr '\\0' x`;

    const ours = async () => {
      let bytes = 0;
      for await (const event of machine.commands.stream(command, { shell: true, timeout: 600 })) {
        if (event.kind === 'stdout') bytes += event.data.length;
      }
      return bytes;
    };
    const byHand = () =>
      new Promise((resolve, reject) => {
        const url = `${engine.url.replace('http', 'ws')}/v1/machines/${machine.id}/ws?channel=exec`;
        const socket = new WebSocket(url, { headers, perMessageDeflate: false });
        let bytes = 0;
        socket.on('open', () =>
          socket.send(
            JSON.stringify({ type: 'exec_start', id: '1', command, args: [], shell: true, timeout_secs: 600 }),
          ),
        );
        socket.on('message', (data) => {
          const frame = JSON.parse(data.toString());
          if (frame.type === 'exec_stdout') bytes += frame.data.length;
          if (frame.type !== 'exec_exit') return;
          socket.close();
          resolve(bytes);
        });
        socket.on('error', reject);
      });

    const file = `${engine.url}/v1/machines/${machine.id}/file?path=/workspace/big`;
    const size = (quick ? 64 : 1024) * MIB;
    const upOurs = async () => (await machine.files.write('/workspace/big', content(size))).size;
    const upFetch = async () => {
      const answer = await fetch(file, { method: 'PUT', headers, body: content(size), duplex: 'half' });
      if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
      return size;
    };
    const count = async (stream) => {
      let bytes = 0;
      for await (const piece of stream) bytes += piece.length;
      return bytes;
    };
    const downOurs = async () => count(await machine.files.read('/workspace/big', { format: 'stream' }));
    const downFetch = async () => count((await fetch(file, { headers })).body);

    const rows = [];
    for (const [what, target, a, b, expected, limit] of [
      [`exec stream, ${output / MIB} MiB, over bare ws + JSON.parse`, '>= 0.9', ours, byHand, output, 0.9],
      [`file up, ${size / MIB} MiB, over fetch with a ReadableStream`, '>= 1.3', upOurs, upFetch, size, 1.3],
      [`file down, ${size / MIB} MiB, over fetch with a ReadableStream`, '>= 1.3', downOurs, downFetch, size, 1.3],
    ]) {
      const ratios = [];
      const speeds = [];
      for (let round = 0; round < rounds; round++) {
        const one = await time(a);
        const other = await time(b);
        if (one.bytes !== expected || other.bytes !== expected)
          throw new Error(`${what}: ${one.bytes}, ${other.bytes}`);
        ratios.push(other.ms / one.ms);
        speeds.push(expected / MIB / (one.ms / 1000));
      }
      const ratio = median(ratios);
      rows.push([what, target, ratio.toFixed(2), `${median(speeds).toFixed(0)} MiB/s`, verdict(ratio, limit, true)]);
    }
    await machine.kill();
    table('Streams and files, Node, throughput as a ratio', ['what', 'target', 'measured', 'ours', ''], rows);
  } finally {
    await engine.stop();
    await endAll();
  }
}
