// The local engine through the SDK, as root: what a user waits for. Medians; `bwrap` beside it where it is installed.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { Nullspace } from 'nullspace';

import { endAll, removeDirectory, temporaryDirectory } from '../scripts/lib/cleanup.mjs';
import { startEngine } from '../scripts/lib/engine.mjs';
import { releaseEngine } from '../scripts/lib/project.mjs';

const time = async (run) => {
  const start = performance.now();
  const value = await run();
  return [performance.now() - start, value];
};

/** Runs the parts, each `count` times, and gives their medians in milliseconds. */
export async function engine({ table, verdict, median, quick }) {
  const running = await startEngine({ binary: releaseEngine, apiKey: 'bench' });
  const { Machine, Snapshot, TemplateWarmPool } = new Nullspace({ apiKey: 'bench', baseUrl: running.url });
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
    for (let i = 0; i < 7; i++) {
      const [ms, child] = await time(() => machine.fork());
      forks.push(ms);
      await child.kill();
    }
    const { id: snapshotId } = await machine.createSnapshot();
    const restores = [];
    for (let i = 0; i < count; i++) {
      const [ms, child] = await time(async () => {
        const made = await Machine.create({ snapshotId });
        await made.commands.run('true');
        return made;
      });
      restores.push(ms);
      await child.kill();
    }
    const restored = median(restores);
    await machine.kill();
    await Snapshot.delete(snapshotId);

    const [fifty, made] = await time(() =>
      Promise.all(Array.from({ length: 50 }, () => Machine.create({ memoryMb: 64 }))),
    );
    await Promise.all(made.map((one) => one.kill()));

    const runc = await runcExec(several);
    const many = await idle(Machine, quick ? 50 : 500, several);
    const grown = await growth(quick);
    const kept = await durability(count, median);

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
      [
        'the same over `runc exec`',
        '<= 0.1',
        runc && exec / runc,
        runc ? verdict(exec / runc, 0.1) : 'runc is not installed',
      ],
      ['pause', '<= 2 ms', median(pauses), verdict(median(pauses), 2)],
      ['resume', '<= 2 ms', median(resumes), verdict(median(resumes), 2)],
      ['fork with 100 MB written', '<= 120 ms', median(forks), verdict(median(forks), 120)],
      [
        'a machine of the same snapshot and first command, over cold',
        '<= 1.5',
        restored / cold,
        verdict(restored / cold, 1.5),
      ],
      ['50 creates at once', '<= 500 ms', fifty, verdict(fifty, 500)],
      [`${many.count} idle machines, MiB each`, '<= 1', many.mib, verdict(many.mib, 1)],
      [`list(limit ${many.count}) of them`, '<= 10 ms', many.list, verdict(many.list, 10)],
      ['snapshot that is on the disk, over `--durability fast`', '<= + 5 ms', kept.snapshot, verdict(kept.snapshot, 5)],
      ['keyed create that is on the disk, over `--durability fast`', '<= + 5 ms', kept.create, verdict(kept.create, 5)],
      ...grown.map(([what, ratio]) => [what, '<= 1.5', ratio, verdict(ratio, 1.5)]),
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

/** `runc exec` in a container of its own, milliseconds; `undefined` when it is not installed or cannot run here. */
async function runcExec(several) {
  const bundle = temporaryDirectory('runc');
  const name = `nullspace-bench-${process.pid}`;
  try {
    const root = path.join(bundle, 'rootfs');
    for (const name of ['usr', 'proc', 'dev', 'sys']) mkdirSync(path.join(root, name), { recursive: true });
    for (const name of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, path.join(root, name));
    execFileSync('runc', ['spec'], { cwd: bundle });
    const file = path.join(bundle, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8'));
    config.process.terminal = false;
    config.process.args = ['sleep', '600'];
    config.root = { path: 'rootfs', readonly: true };
    config.mounts.push({ destination: '/usr', type: 'bind', source: '/usr', options: ['rbind', 'ro'] });
    // Where the computer has no whole tree of them, the mount fails; what is timed needs none.
    config.mounts = config.mounts.filter(({ type }) => type !== 'cgroup');
    writeFileSync(file, JSON.stringify(config));
    execFileSync('runc', ['run', '--detach', name], { cwd: bundle, stdio: 'ignore' });
    return await several(() => {
      const start = performance.now();
      execFileSync('runc', ['exec', name, 'true'], { stdio: 'ignore' });
      return performance.now() - start;
    });
  } catch {
    return undefined;
  } finally {
    try {
      execFileSync('runc', ['delete', '--force', name], { stdio: 'ignore' });
    } catch {
      // it was never made
    }
    removeDirectory(bundle);
  }
}

/** Memory that the computer has left, MiB. */
const available = () => Number(readFileSync('/proc/meminfo', 'utf8').match(/MemAvailable:\s+(\d+)/)[1]) / 1024;

/** Many machines that do nothing: what each takes of the computer, agent and kernel together, and how long a list takes. */
async function idle(Machine, count, several) {
  const before = available();
  const made = [];
  for (let n = 0; n < count; n += 25) {
    made.push(
      ...(await Promise.all(Array.from({ length: Math.min(25, count - n) }, () => Machine.create({ memoryMb: 64 })))),
    );
  }
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const mib = (before - available()) / count;
  const list = await several(async () => (await time(() => Machine.list({ limit: count })))[0]);
  for (let n = 0; n < count; n += 25) await Promise.all(made.slice(n, n + 25).map((machine) => machine.kill()));
  return { count, mib, list };
}

/** What it costs that an answer means "on the disk": milliseconds more, of medians, taken in turn. */
async function durability(count, median) {
  const ways = await Promise.all(
    ['fast', 'full'].map(async (durability) => {
      const running = await startEngine({ binary: releaseEngine, durability });
      const { Machine, Snapshot } = new Nullspace(running.client);
      const machine = await Machine.create();
      await machine.commands.run('dd if=/dev/urandom of=/workspace/data bs=64k count=16', { shell: true });
      return { running, Machine, Snapshot, machine, snapshot: [], create: [] };
    }),
  );
  try {
    for (let round = 0; round < count; round++) {
      for (const way of ways) {
        const [snapshotMs, { id }] = await time(() => way.machine.createSnapshot());
        way.snapshot.push(snapshotMs);
        await way.Snapshot.delete(id);
        const [createMs, made] = await time(() =>
          way.Machine.create({ memoryMb: 64, idempotencyKey: `round-${round}` }),
        );
        way.create.push(createMs);
        await made.kill();
      }
    }
    const [fast, full] = ways;
    return {
      snapshot: median(full.snapshot) - median(fast.snapshot),
      create: median(full.create) - median(fast.create),
    };
  } finally {
    for (const { running } of ways) await running.stop();
  }
}

/** Time of a list and of a create with many known machines, over the time with ten. */
async function growth(quick) {
  const state = path.join(temporaryDirectory('growth'), 'state');
  const rows = [];
  const sizes = quick ? [10, 1000] : [10, 100, 1000, 10_000];
  let base;
  for (const size of sizes) {
    const running = await startEngine({ binary: releaseEngine, apiKey: 'bench', state });
    // Rows of machines that died. Written now, since a start keeps only the newest thousand of them.
    addRows(path.join(state, 'state.sqlite'), size);
    const { Machine } = new Nullspace({ apiKey: 'bench', baseUrl: running.url });
    const lists = [];
    const creates = [];
    for (let n = 0; n < 25; n++) {
      lists.push((await time(() => Machine.list({ limit: 10 })))[0]);
      const [ms, machine] = await time(() => Machine.create({ memoryMb: 64 }));
      creates.push(ms);
      await machine.kill();
    }
    const middle = (list) => list.sort((a, b) => a - b)[list.length >> 1];
    const got = { list: middle(lists.slice(3)), create: middle(creates.slice(3)) };
    await running.stop();
    base ??= got;
    if (got !== base) {
      rows.push([`list(10) with ${size} known machines, over 10`, got.list / base.list]);
      rows.push([`create with ${size} known machines, over 10`, got.create / base.create]);
    }
  }
  removeDirectory(path.dirname(state));
  return rows;
}

/** Copies of one dead machine. Python's sqlite3 is on every Debian with Python; Node 20 has none. */
function addRows(file, count) {
  const script = `
import json, sqlite3, sys
file, count = sys.argv[1], int(sys.argv[2])
db = sqlite3.connect(file)
record = {"id": "", "status": "error", "config": {"vcpus": 1, "memory_mb": 64}, "template": "base", "metadata": {},
  "created_at": "2026-01-01T00:00:00.000Z", "started_at": None, "timeout_ms": 1000, "timeout_at": None, "timeout_action": "destroy",
  "last_active_at": None, "inactivity_timeout_ms": None, "auto_delete_after_ms": None, "ephemeral": False, "auto_resume": False,
  "cwd": "/workspace", "snapshot_id": None, "warm_pool_checkout": None, "warnings": [], "error_message": "it ended", "envs": {},
  "internet_access": True, "egress": {"mode": "allow_all"}, "layers": [], "whole_root": False, "volumes": [],
  "allow_public_traffic": True, "mask_request_host": None, "traffic_access_token": None, "unanswered": False}
db.execute("DELETE FROM machines")
for n in range(count):
  record["id"] = "mch_%020d" % n
  db.execute("INSERT INTO machines (id, status, template, record) VALUES (?, 'error', 'base', ?)", (record["id"], json.dumps(record)))
db.commit()
`;
  execFileSync('python3', ['-c', script, file, String(count)]);
}
