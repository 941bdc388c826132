// Output of a command and whole files, against what somebody would write by hand over the same engine. See transfer.mjs.

import { Nullspace } from 'nullspace';

import { endAll } from '../scripts/lib/cleanup.mjs';
import { startEngine } from '../scripts/lib/engine.mjs';
import { releaseEngine } from '../scripts/lib/project.mjs';

const MIB = 1 << 20;

export async function streams({ child, table, verdict, median, rounds, quick }) {
  const engine = await startEngine({ binary: releaseEngine, apiKey: 'bench' });
  const { Machine } = new Nullspace(engine.client);
  try {
    const machine = await Machine.create({ memoryMb: 512, timeout: 3600 });
    const output = quick ? 32 : 256;
    const size = quick ? 64 : 1024;
    const rows = [];
    for (const [what, operation, mib, limit] of [
      [`exec stream, ${output} MiB, over bare ws + JSON.parse`, 'exec', output, 0.9],
      [`file up, ${size} MiB, over fetch with a ReadableStream`, 'up', size, 1.3],
      [`file down, ${size} MiB, over fetch with a ReadableStream`, 'down', size, 1.3],
    ]) {
      const ratios = [];
      const speeds = [];
      for (let round = 0; round < rounds; round++) {
        const [ours, byHand] = [operation, `${operation} by hand`].map((one) => {
          const got = child('transfer.mjs', one, engine.url, machine.id, mib * MIB);
          if (got.bytes !== mib * MIB) throw new Error(`${one}: ${got.bytes} bytes`);
          return got;
        });
        ratios.push(byHand.ms / ours.ms);
        speeds.push(mib / (ours.ms / 1000));
      }
      const ratio = median(ratios);
      rows.push([
        what,
        `>= ${limit}`,
        ratio.toFixed(2),
        `${median(speeds).toFixed(0)} MiB/s`,
        verdict(ratio, limit, true),
      ]);
    }
    await machine.kill();
    table('Streams and files, Node, throughput as a ratio', ['what', 'target', 'measured', 'ours', ''], rows);
  } finally {
    await engine.stop();
    await endAll();
  }
}
