// A machine that takes all it can of what computers share, beside one that goes on working. In `npm run soak` each attack lasts longer,
// and the neighbour has to stay quick.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { engineForTests, SMALL, sh, until } from './support/engine.mjs';
import { machineDirectories } from './support/host.mjs';

const long = Boolean(process.env.NULLSPACE_TEST_LONG);
const ATTACK_MS = long ? 10_000 : 1500;
/** What a command of the neighbour may take, milliseconds. Beside other tests, which `npm test` runs, it only has to end. */
const PATIENCE = long ? 250 : 10_000;
/** The computer may have other things to do. */
const TRIES = long ? 3 : 1;
const DEPTH = long ? 15_000 : 3000;
const FILES = long ? 1_000_000 : 5000;

/** Each goes on until its machine ends. Python, since that is in every machine, and can ask the kernel for anything. */
const ATTACKS = {
  'directories in directories': `
for n in range(${DEPTH}):
    os.mkdir('d')
    os.chdir('d')
`,
  // On a disk without room for so many it ends there.
  'very many files of odd names': `
for n in range(${FILES}):
    if n % 1000 == 0:
        os.makedirs(b'/workspace/\\xff\\n %d' % n)
        os.chdir(b'/workspace/\\xff\\n %d' % n)
    open(b'\\xfe\\t-%d' % n, 'w').close()
`,
  'files that nobody may change': `
for n, flag in enumerate([0x10, 0x20] * 500):
    file = open('kept%d' % n, 'w')
    try: fcntl.ioctl(file, 0x40086602, struct.pack('l', flag))
    except OSError: pass
`,
  'connections and sockets that send nothing': `
kept = []
while True:
    try:
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        one.setblocking(False)
        kept.append(one)
        one.connect_ex(('10.255.255.53', 53))
    except OSError: time.sleep(0.01)
`,
  'buffers of netlink, TCP and UDP': `
kept = []
while True:
    for family, kind, number in [(16, 3, 0), (2, 1, 0), (2, 2, 0)]:
        try:
            one = socket.socket(family, kind, number)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
            kept.append(one)
        except OSError: time.sleep(0.01)
`,
  'watches, terminals and queues': `
libc = ctypes.CDLL(None)
while True:
    full = libc.inotify_init1(0) < 0
    try: os.open('/dev/ptmx', os.O_RDWR)
    except OSError: full = True
    if libc.mq_open(b'/q%d' % random.randrange(1 << 30), 0o102, 0o600, None) < 0 and full: time.sleep(0.01)
`,
  'the disk': `
while True:
    try:
        with open('full', 'ab') as file: file.write(bytes(1 << 20))
    except OSError: time.sleep(0.01)
`,
  memory: `
while True:
    if os.fork() == 0:
        kept = []
        while True: kept.append(bytearray(1 << 20))
    os.wait()
`,
  'processors and processes': `
while True:
    try:
        if os.fork() == 0: continue
    except OSError: pass
`,
};

let engine;
let neighbour;
before(async () => {
  engine = await engineForTests();
  neighbour = await engine.Machine.create(SMALL);
});
after(() => engine?.stopWell());

/** The longest command of the neighbour for so long, and while `until` that promise is settled. */
async function slowest(ms, ended = Promise.resolve()) {
  let over = false;
  const noted = ended.finally(() => {
    over = true;
  });
  const end = Date.now() + ms;
  let most = 0;
  while (!over || Date.now() < end) {
    const begun = performance.now();
    assert.equal(await sh(neighbour, 'echo works'), 'works');
    most = Math.max(most, performance.now() - begun);
    await sleep(50);
  }
  await noted;
  return most;
}

for (const [name, attack] of Object.entries(ATTACKS)) {
  test(`a machine that takes ${name} leaves its neighbour alone, and ends`, async (t) => {
    let most;
    for (let tries = 0; tries < TRIES && !(most < PATIENCE); tries++) {
      const attacker = await engine.Machine.create({ ...SMALL, memoryMb: 256 });
      // A second time where all went well.
      t.after(() => attacker.kill().catch(() => {}));
      const modules = 'import ctypes, fcntl, os, random, socket, struct, time';
      await attacker.files.write('/workspace/attack.py', `${modules}\nos.chdir('/workspace')\n${attack}`);
      const command = await attacker.commands.run('python3', { args: ['attack.py'], background: true });
      let outcome = 'goes on';
      const ended = command.wait().then(
        ({ stderr }) => {
          outcome = stderr.trim().split('\n').at(-1);
        },
        () => {},
      );
      const during = await slowest(ATTACK_MS);
      // Anything else would be no attack.
      assert.match(outcome, /^(goes on|)$|No space left|killed at the machine's memory limit/);
      // And while its files are removed.
      most = Math.max(during, await slowest(0, attacker.kill()), await slowest(ATTACK_MS / 5));
      await ended;
    }
    t.diagnostic(`the neighbour's commands took ${Math.round(most)} ms at most`);
    assert.ok(most < PATIENCE, `the neighbour waited for ${Math.round(most)} ms`);
  });
}

test('nothing is left of attackers, and others can be made', async () => {
  const last = await engine.Machine.create(SMALL);
  assert.equal(await sh(last, 'echo works'), 'works');
  await last.kill();
  const machines = path.join(engine.state, 'machines');
  await until('the files of attackers are gone', () => readdirSync(path.join(machines, 'trash')).length === 0, 120);
  await until('only the neighbour is there', () => machineDirectories(machines).length === 1);
  await neighbour.kill();
});
