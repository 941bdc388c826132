// `nullspace/testing`: an engine that ends with the process of the tests, however that ends.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Machine } from 'nullspace';
import { startEngine, useEngine } from 'nullspace/testing';

import { endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';

after(endAll);
process.env.NULLSPACE_ENGINE = process.env.NULLSPACE_TEST_ENGINE;

const SMALL = { vcpus: 1, memoryMb: 64, timeout: 120 };
/** An engine of an ordinary user cannot hold machines to that. */
const ARGS = process.getuid() === 0 ? [] : ['--best-effort'];

/** Whether a process runs; one that has ended may stand in the list until somebody asks for it. */
const lives = (pid) => {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

/** Runs a program that starts an engine and a machine with a process in it; gives its child process and what it printed. */
const program = async (t, ending) => {
  const folder = temporaryDirectory('testing');
  t.after(() => removeDirectory(folder));
  // Where this file finds the package, it does, too.
  const file = path.resolve(`testing-${process.hrtime.bigint()}.mjs`);
  writeFileSync(
    file,
    `import { Machine } from 'nullspace';
import { startEngine } from 'nullspace/testing';
const engine = await startEngine({ env: true, args: ${JSON.stringify(ARGS)} });
const machine = await Machine.create(${JSON.stringify(SMALL)});
await machine.commands.run('sleep 1000 & echo $!', { shell: true });
console.log(JSON.stringify({ pid: engine.pid }));
${ending}`,
  );
  const env = { ...process.env, TMPDIR: folder };
  const child = spawn(process.execPath, [file], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve(signal ?? code)));
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (said += text));
  while (!said.includes('\n') && child.exitCode === null) await sleep(10);
  return { folder, child, ended, pid: JSON.parse(said).pid };
};

const gone = async ({ folder, pid }) => {
  const deadline = Date.now() + 20_000;
  while (lives(pid) && Date.now() < deadline) await sleep(20);
  assert.ok(!lives(pid), 'the engine lives');
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('nullspace')),
    [],
  );
};

test('the engine ends with a process that is killed, ends, exits or fails', async (t) => {
  const killed = await program(t, 'setInterval(() => {}, 1000);');
  assert.ok(lives(killed.pid));
  assert.equal(readdirSync(killed.folder).length, 1, 'its state is there');
  killed.child.kill('SIGKILL');
  assert.equal(await killed.ended, 'SIGKILL');
  await gone(killed);
  for (const [ending, code] of [
    ['', 0],
    ['process.exit(7);', 7],
    ["throw new Error('on purpose');", 1],
    ['await engine.close(); await engine.close();', 0],
  ]) {
    const other = await program(t, ending);
    assert.equal(await other.ended, code, ending);
    await gone(other);
  }
});

test('each has machines and a key of its own, and is closed once', async () => {
  const before = process.env.NULLSPACE_API_URL;
  const [one, other] = await Promise.all([startEngine({ args: ARGS }), startEngine({ args: ['--faults', ...ARGS] })]);
  assert.equal(process.env.NULLSPACE_API_URL, before);
  const machine = await Machine.create({ ...SMALL, ...one.client });
  assert.equal((await Machine.list(one.client)).items[0].id, machine.id);
  assert.deepEqual((await Machine.list(other.client)).items, []);
  await assert.rejects(Machine.list({ baseUrl: one.url, apiKey: other.apiKey }), { name: 'AuthError' });
  assert.match(other.log(), /--faults: this engine fails when it is told to/);
  await Promise.all([one.close(), one.close(), other.close()]);
  assert.ok(!lives(one.pid) && !lives(other.pid));
});

test('what is wrong is told', async () => {
  await assert.rejects(startEngine({ binary: '/nowhere/nullspace-engine' }), /did not start: .*ENOENT/);
  await assert.rejects(
    startEngine({ args: ['--no-such-flag'] }),
    /ended with exit code 2; it said:\n.*--no-such-flag/s,
  );
  await assert.rejects(startEngine({ port: 1 }), { name: 'TypeError', message: /no option `port`; give binary, args/ });
  await assert.rejects(startEngine({ args: '--faults' }), { name: 'TypeError', message: /\['--faults'\]/ });
  await assert.rejects(startEngine({ startTimeout: 0 }), /seconds such as 60/);
  assert.throws(() => useEngine(), { name: 'TypeError', message: /before: beforeAll/ });
});
