// `npx nullspace engine`: an engine of this user, and programs that find it without settings.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { cleanUpOnSignals, endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';

cleanUpOnSignals();
after(endAll);

const program = path.resolve('node_modules/.bin/nullspace');
/** A free port, since others have engines too, and without waiting for the disk. */
const START = ['--background', '--port', '0', '--durability', 'fast'];
/** No user of this computer: nothing belongs to it. */
const UID = 54_322;

/** Somebody with a home directory and nothing else; their engine ends with the test. */
const person = (t, { uid } = {}) => {
  const home = temporaryDirectory('person');
  const binary = path.join(home, 'nullspace-engine');
  copyFileSync(process.env.NULLSPACE_TEST_ENGINE, binary);
  chmodSync(binary, 0o755);
  if (uid !== undefined) {
    chownSync(home, uid, uid);
    // The package is installed where others may not look otherwise.
    chmodSync(process.cwd(), 0o755);
  }
  const as = uid === undefined ? [] : ['setpriv', '--reuid', String(uid), '--regid', String(uid), '--clear-groups'];
  const env = { PATH: process.env.PATH, HOME: home, NULLSPACE_ENGINE: binary };
  const run = (args, more = {}) =>
    new Promise((resolve) => {
      const [file, ...words] = [...as, process.execPath, ...args];
      execFile(file, words, { env: { ...env, ...more }, cwd: home, timeout: 60_000 }, (error, stdout, stderr) =>
        resolve({ code: error ? error.code : 0, stdout, stderr }),
      );
    });
  const cli = (...args) => run([program, ...args]);
  const json = async (...args) => JSON.parse((await cli(...args, '--json')).stdout);
  const state = path.join(home, '.local/state/nullspace');
  // One in the background is no child of ours: when the tests are ended, by their time limit too, nobody else would end it.
  const end = () => {
    try {
      process.kill(JSON.parse(readFileSync(path.join(state, 'engine.json'), 'utf8')).pid);
    } catch {
      // There is none.
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, end);
  t.after(async () => {
    await cli('engine', 'stop');
    removeDirectory(home);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(signal, end);
  });
  return { home, binary, env, run, cli, json, state };
};

/** Whether a process runs; one that has ended may stand in the list until somebody asks for it. */
const lives = (pid) => {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

/** A program without a word about where the engine is. */
const first = (home, code) => {
  const file = path.join(home, 'first.mjs');
  const sdk = new URL(`file://${path.resolve('node_modules/nullspace/node.mjs')}`);
  writeFileSync(file, `import { Machine, Snapshot } from '${sdk}';\n${code}`);
  return file;
};
const HELLO = `const machine = await Machine.create({ timeout: 60 });
console.log((await machine.commands.run('echo hello', { shell: true })).stdout);
console.log((await machine.createSnapshot()).id);
await machine.kill();`;

test('an engine in the background is found by programs, and stopped; its state and key stay', async (t) => {
  const { home, cli, json, run, state } = person(t);
  assert.equal((await cli('engine', 'status')).code, 1);
  const without = await run([first(home, HELLO)]);
  assert.match(without.stderr, /there is no API key: .*`npx nullspace engine`/);
  const listed = await cli('ls');
  assert.equal(listed.code, 3);
  assert.match(listed.stderr, /^error: there is no API key: set NULLSPACE_API_KEY .*`npx nullspace engine`/);

  const started = await cli('engine', ...START);
  assert.equal(started.code, 0, started.stderr);
  assert.match(started.stdout, /^The engine runs in the background\.\naddress +http:\/\/127\.0\.0\.1:\d+$/m);
  assert.ok(started.stdout.includes(path.join(state, 'engine.json')), started.stdout);
  assert.match(started.stdout, /^stop +npx nullspace engine stop$/m);
  for (const name of ['engine.json', 'api-key', 'engine.log'])
    assert.equal(statSync(path.join(state, name)).mode & 0o777, 0o600, name);
  const key = readFileSync(path.join(state, 'api-key'), 'utf8').trim();
  assert.ok(!started.stdout.includes(key), 'the key was printed');

  const told = await json('engine', 'status');
  assert.equal(told.state, state);
  const ran = await run([first(home, HELLO)]);
  assert.match(ran.stdout, /^hello\n\nsnap_\w+\n$/, ran.stderr);
  const found = await cli('doctor');
  assert.equal(found.code, 0, found.stdout);
  assert.match(
    found.stdout,
    new RegExp(`^address +${told.url}, from ${path.join(state, 'engine.json')} of the engine`, 'm'),
  );
  assert.match(
    found.stdout,
    new RegExp(`^key +from ${path.join(state, 'engine.json')} of the engine that runs here$`, 'm'),
  );
  assert.match(found.stdout, new RegExp(`^runs here +${told.url}$`, 'm'));
  const shell = `eval "$(${program} engine env)"; echo "$NULLSPACE_API_URL $NULLSPACE_API_KEY"`;
  const env = { PATH: process.env.PATH, HOME: home };
  assert.equal(execFileSync('sh', ['-c', shell], { encoding: 'utf8', env }), `${told.url} ${key}\n`);
  assert.match((await cli('engine', 'logs')).stdout, /path=\/v1\/machines/);

  const again = await cli('engine', '--background');
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /^An engine of yours runs already\.\n/);
  assert.equal((await json('engine')).pid, told.pid, 'in the foreground, too');
  const other = await cli('engine', '--port', '1');
  assert.equal(other.code, 1);
  assert.match(other.stderr, /--port has no effect on it\n`npx nullspace engine stop` first/);
  assert.equal((await json('engine', 'status')).pid, told.pid);

  const stopped = await cli('engine', 'stop');
  assert.deepEqual([stopped.code, stopped.stderr], [0, '']);
  assert.ok(!lives(told.pid), 'the process is there');
  assert.ok(!readdirSync(state).includes('engine.json'));
  assert.match((await cli('engine', 'stop')).stdout, /no engine runs/);
  assert.match((await cli('doctor')).stdout, /to do +start an engine with `nullspace engine --background`/);

  assert.equal((await cli('engine', ...START)).code, 0);
  assert.equal(readFileSync(path.join(state, 'api-key'), 'utf8').trim(), key);
  const kept = await run([first(home, 'console.log((await Snapshot.list()).length);')]);
  assert.equal(kept.stdout, '1\n', kept.stderr);
});

test('a killed engine is not taken for a running one', async (t) => {
  const { home, json, cli, run, state } = person(t);
  const { pid } = await json('engine', ...START);
  process.kill(pid, 'SIGKILL');
  while (lives(pid)) await sleep(10);
  assert.ok(readdirSync(state).includes('engine.json'), 'it had no time to remove it');
  assert.equal((await cli('engine', 'status')).code, 1);
  assert.match((await run([first(home, HELLO)])).stderr, /there is no API key/);
  const after = await json('engine', ...START);
  assert.notEqual(after.pid, pid);
  assert.match((await run([first(home, HELLO)])).stdout, /^hello/);
});

test('of two starts at once one makes the engine and both tell it', async (t) => {
  const { json } = person(t);
  const both = await Promise.all([json('engine', '--background'), json('engine', '--background')]);
  assert.equal(both[0].pid, both[1].pid);
  assert.match(both[0].url, /^http/);
});

test('in a terminal it says the same, and ends with it', async (t) => {
  const { home, env, state, cli } = person(t);
  const child = spawn(process.execPath, [program, 'engine', ...START.slice(1)], { env, cwd: home });
  child.stderr.resume();
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (said += text));
  while (!/^stop +Ctrl-C$/m.test(said)) await sleep(20);
  assert.match(said, /^The engine runs\.\naddress +http:\/\/127\.0\.0\.1:\d+$/m);
  assert.ok(!said.includes(readFileSync(path.join(state, 'api-key'), 'utf8').trim()), 'the key was printed');
  assert.match((await cli('engine', 'logs')).stderr, /an engine that runs in a terminal logs there/);
  child.kill('SIGTERM');
  assert.equal(await new Promise((resolve) => child.once('close', resolve)), 0);
  assert.equal((await cli('engine', 'status')).code, 1);
});

test('one with a directory of its own is asked for by that', async (t) => {
  const { home, cli, json } = person(t);
  const state = path.join(home, "it's here");
  const made = await json('engine', ...START, '--state', state);
  assert.equal(made.state, state);
  assert.equal((await cli('engine', 'status')).code, 1);
  const { stdout } = await cli('engine', 'status', '--state', state);
  assert.ok(stdout.includes(`npx nullspace engine stop --state '${home}/it'\\''s here'`), stdout);
  assert.equal((await json('engine', 'stop', '--state', state)).stopped, true);
});

test('what stops the start is told', async (t) => {
  const { cli } = person(t);
  for (const args of [['--background'], []]) {
    const { code, stderr } = await cli('engine', ...args, '--listen', 'nowhere');
    assert.equal(code, 1);
    assert.match(stderr, /--listen nowhere: .*give an address and a port/);
  }
  assert.match(
    (await cli('engine', '--help')).stdout,
    /Usage: nullspace engine[\s\S]*--background[\s\S]*--allow-origin/,
  );
});

test('a user without rights has an engine of the same kind', {
  skip: process.getuid() !== 0 && 'needs root, to be another user',
}, async (t) => {
  const { home, cli, json, run } = person(t, { uid: UID });
  const started = await json('engine', ...START);
  assert.ok(started.pid > 0);
  // What it cannot do here is for people to read: a line each.
  const { stdout } = await cli('engine', 'status');
  const [, lines] = stdout.match(/^not here {2}((?:.*\n {10})*.*)$/m) ?? [];
  assert.ok(started.notes.length > 1, stdout);
  assert.deepEqual(
    lines?.split('\n').map((line) => line.trim()),
    started.notes,
  );
  assert.match((await run([first(home, HELLO)])).stdout, /^hello/);
  assert.match((await cli('doctor')).stdout, /API +answers/);
  assert.equal((await json('engine', 'stop')).stopped, true);
});
