// The local engine through the SDK, as root: what a user waits for. Medians; `bwrap` beside it where it is installed.

import { execFileSync } from 'node:child_process';

import { Nullspace } from 'nullspace';

import { endAll } from '../scripts/lib/cleanup.mjs';
import { startEngine } from '../scripts/lib/engine.mjs';
import { engineBinary } from '../scripts/lib/project.mjs';

const time = async (run) => {
  const start = performance.now();
  const value = await run();
  return [performance.now() - start, value];
};

/** Runs the parts, each `count` times, and gives their medians in milliseconds. */
export async function engine({ table, verdict, median, quick }) {
  const running = await startEngine({ binary: engineBinary, apiKey: 'bench' });
  const { Machine, TemplateWarmPool } = new Nullspace({ apiKey: 'bench', baseUrl: running.url });
  const count = quick ? 10 : 40;
  const several = async (run) => {
    const times = [];
    for (let i = 0; i < count; i++) times.push(await run());
    return median(times);
  };
  try {
    const bwrap = () => {
      const start = performance.now();
      execFileSync('bwrap', ['--ro-bind', '/', '/', '--unshare-all', 'true'], { stdio: 'ignore' });
      return performance.now() - start;
    };
    let beside;
    try {
      beside = await several(bwrap);
    } catch {
      beside = undefined; // not installed
    }

    const first = async (options) => {
      const [ms, machine] = await time(async () => {
        const made = await Machine.create(options);
        await made.commands.run('true');
        return made;
      });
      await machine.kill();
      return ms;
    };
    await first({});
    const cold = await several(() => first({}));

    const pool = await TemplateWarmPool.create('base', { name: 'bench', minReady: 2, maxReady: 4 });
    const warm = await several(async () => {
      await pool.waitUntilReady({ minReady: 1, intervalMs: 50 });
      return first({ warmPool: pool, warmPoolMode: 'require', warmPoolWaitMs: 5000 });
    });
    await pool.delete();

    const machine = await Machine.create();
    const exec = await several(async () => (await time(() => machine.commands.run('true')))[0]);
    const pauses = [];
    const resumes = [];
    for (let i = 0; i < count; i++) {
      pauses.push((await time(() => machine.pause()))[0]);
      resumes.push((await time(() => Machine.resume(machine.id)))[0]);
    }
    await machine.commands.run('dd if=/dev/urandom of=/workspace/data bs=1M count=100', { shell: true });
    const forks = [];
    for (let i = 0; i < 5; i++) {
      const [ms, child] = await time(() => machine.fork());
      forks.push(ms);
      await child.kill();
    }
    await machine.kill();

    const [fifty, made] = await time(() =>
      Promise.all(Array.from({ length: 50 }, () => Machine.create({ memoryMb: 64 }))),
    );
    await Promise.all(made.map((one) => one.kill()));

    const rows = [
      ['cold create and first command', '<= 15 ms', cold, verdict(cold, 15)],
      [
        'the same over `bwrap ... true`',
        '<= 2.5',
        beside && cold / beside,
        beside ? verdict(cold / beside, 2.5) : 'bwrap is not installed',
      ],
      ['warm checkout and first command, over cold', '<= 0.3', warm / cold, verdict(warm / cold, 0.3)],
      ['command in a running machine', '<= 2 ms', exec, verdict(exec, 2)],
      ['pause', '<= 2 ms', median(pauses), verdict(median(pauses), 2)],
      ['resume', '<= 2 ms', median(resumes), verdict(median(resumes), 2)],
      ['fork with 100 MB written', '<= 120 ms', median(forks), verdict(median(forks), 120)],
      ['50 creates at once', '<= 500 ms', fifty, verdict(fifty, 500)],
    ];
    table(
      'Engine through the SDK, root',
      ['what', 'target', 'measured', ''],
      rows.map(([what, target, value, met]) => [what, target, value === undefined ? '-' : value.toFixed(2), met]),
    );
  } finally {
    await running.stop();
    await endAll();
  }
}
