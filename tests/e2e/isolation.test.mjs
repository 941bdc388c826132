// What a machine can see and do: asked from inside, as its root.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { NullspaceError } from 'nullspace';

import { needsRoot } from '../../scripts/lib/engine.mjs';
import { engineForTests, SMALL, sh } from './support/engine.mjs';

/** @type {Awaited<ReturnType<typeof engineForTests>>} */
let engine;
let machine;
before(async () => {
  engine = await engineForTests();
  machine = await engine.Machine.create({ ...SMALL, memoryMb: 256 });
});
after(async () => {
  await machine?.kill();
  await engine?.stopWell();
});

/** Runs a shell command that must not succeed. */
async function refused(command) {
  const { exitCode, stdout, stderr } = await machine.commands.run(command, { shell: true, timeout: 20 });
  assert.notEqual(exitCode, 0, `${command} worked: ${stdout}${stderr}`);
}

test('processes are those of the machine', async () => {
  const pids = (await sh(machine, 'ls /proc | grep -E "^[0-9]+$"')).split('\n');
  assert.ok(pids.includes('1') && pids.length < 10, `pids: ${pids}`);
  const host = readFileSync('/proc/self/cmdline', 'utf8').split('\0')[0];
  assert.ok(!(await sh(machine, 'cat /proc/[0-9]*/cmdline | tr "\\0" " "')).includes(host));
  // ps is a package of its own.
  const ps = await machine.commands.run('ps -e -o pid= || true', { shell: true });
  assert.ok(ps.stdout.split('\n').length < 12, ps.stdout);
});

test('its root is root, with a uid of nobody outside', async () => {
  assert.equal(await sh(machine, 'id -u'), '0');
  const [inside, outside] = (await sh(machine, 'cat /proc/self/uid_map')).split(/\s+/).filter(Boolean);
  assert.equal(inside, '0');
  if (process.getuid() === 0) assert.notEqual(outside, '0');
});

test('files of the computer are not there', async (t) => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nullspace-secret-'));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(path.join(directory, 'secret'), 'x');
  await refused(`ls ${directory}`);
  await refused(`ls ${process.cwd()}`);
  await refused(`ls ${engine.state}`);
  assert.ok(existsSync('/etc/shadow'));
  const shadow = await machine.commands.run('cat /etc/shadow 2>/dev/null || true', { shell: true });
  assert.ok(!/:\$/.test(shadow.stdout), 'the shadow file has a password hash');
  assert.equal(await sh(machine, 'ls -A /root /home /srv /mnt 2>/dev/null | grep -v : | grep -v "^$" || true'), '');
  const environment = await sh(machine, 'env; cat /proc/1/environ 2>/dev/null || true');
  assert.ok(!environment.includes(engine.apiKey));
});

test('mounting, modules, devices and the host clock are out of reach', async () => {
  await refused('mkdir -p /tmp/m && mount -t tmpfs none /tmp/m');
  await refused('mount --bind /etc /mnt');
  await refused('umount /proc');
  await refused('mount -o remount,rw /usr');
  await refused('unshare --mount true');
  await refused('unshare --user true');
  await refused('mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk');
  await refused('modprobe loop || insmod /lib/modules/none.ko');
  await refused('date -s 2001-01-01');
  await refused('echo 1 > /proc/sys/kernel/sysrq');
  await refused('echo c > /proc/sysrq-trigger');
  await refused('nsenter --target 1 --mount true');
  await refused('ls /proc/1/root/');
  await refused('dmesg');
  await refused('ip link add dummy0 type dummy || nft list ruleset');
});

test('what it writes to its system files stays in it', async () => {
  await sh(machine, 'echo broken > /etc/hostname; echo mine > /workspace/file');
  assert.notEqual(readFileSync('/etc/hostname', 'utf8').trim(), 'broken');
  const other = await engine.Machine.create(SMALL);
  assert.notEqual(await sh(other, 'cat /etc/hostname'), 'broken');
  assert.equal(await sh(other, 'ls -A /workspace'), '');
  await other.kill();

  const marker = `/usr/bin/nullspace-test-${process.pid}`;
  await machine.commands.run(`echo x > ${marker}`, { shell: true });
  assert.ok(!existsSync(marker), `${marker} was written on the host`);
});

test('killing everything inside ends no more than the machine', async () => {
  const victim = await engine.Machine.create(SMALL);
  await victim.commands
    .run('kill -9 -1; kill -9 1', { shell: true })
    .catch((error) => assert.ok(error instanceof NullspaceError));
  assert.equal(await sh(machine, 'echo unharmed'), 'unharmed');
  await victim.kill();
});

test('a fork bomb ends with an error of its machine only', async () => {
  const bomb = await engine.Machine.create({ ...SMALL, timeout: 60 });
  const started = Date.now();
  const outcome = await bomb.commands
    .run('bash', { args: ['-c', 'bomb() { bomb | bomb & }; bomb; sleep 3; exit 3'], timeout: 10 })
    .then(
      ({ exitCode }) => `exit code ${exitCode}`,
      (error) => error.code,
    );
  assert.ok(outcome !== 'exit code 0', outcome);
  assert.ok(Date.now() - started < 30_000, 'the time limit of the command did not hold');
  const begun = Date.now();
  assert.equal(await sh(machine, 'echo unharmed'), 'unharmed');
  assert.ok(Date.now() - begun < 10_000, 'a neighbour became slow');
  await bomb.kill();
  await assert.rejects(bomb.getInfo(), /not found|no such|destroyed/i);
});

test('a memory hog is ended, and only it', { skip: needsRoot }, async () => {
  const hog = await engine.Machine.create({ ...SMALL, memoryMb: 64 });
  const { warnings } = await hog.getInfo();
  assert.ok(!warnings?.some((text) => /memory/i.test(text)), `memory is not limited here: ${warnings}`);
  // tail keeps all of what has no line end.
  const command = 'head -c 400000000 /dev/zero | tail > /dev/null; exit ${PIPESTATUS[1]}';
  const outcome = await hog.commands.run('bash', { args: ['-c', command] }).then(
    ({ exitCode }) => exitCode,
    (error) => error.code,
  );
  assert.ok(outcome === 137 || typeof outcome === 'string', `400 MB in 64 MB ended with ${outcome}`);
  assert.equal(await sh(machine, 'echo unharmed'), 'unharmed');
  await hog.kill();
});

test('programs read the sizes of their machine, and not those of the computer', { skip: needsRoot }, async () => {
  const small = await engine.Machine.create({ ...SMALL, vcpus: 1, memoryMb: 300 });
  const seen = await sh(
    small,
    `grep MemTotal /proc/meminfo; grep -c ^processor /proc/cpuinfo; getconf _NPROCESSORS_ONLN
     cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu.max`,
  );
  const bytes = String(300 << 20);
  assert.deepEqual(seen.split('\n'), ['MemTotal:         307200 kB', '1', '1', bytes, bytes, '100000 100000']);
  const node = await sh(small, `node -p 'os.totalmem() / 2 ** 20 + " " + process.constrainedMemory() / 2 ** 20'`);
  assert.equal(node, '300 300');
  // The JVM, Go and others look for groups in `/proc` first: of which version they are, where they are mounted, and which
  // of them is that of the process.
  const groups = await sh(
    small,
    `awk '$1 ~ /^(cpu|cpuset|cpuacct|memory|pids)$/ { print $2, $4 }' /proc/cgroups | sort -u
     awk '$9 == "cgroup2" || $10 == "cgroup2" { print $4, $5 }' /proc/self/mountinfo; grep ^0: /proc/self/cgroup
     cat /sys/fs/cgroup/cgroup.controllers`,
  );
  assert.deepEqual(groups.split('\n'), ['0 1', '/ /sys/fs/cgroup', '0::/', 'cpu memory']);
  for (const path of ['/sys/fs/cgroup/memory.max', '/proc/meminfo', '/proc/cpuinfo', '/proc/cgroups'])
    assert.equal((await small.commands.run(`echo 1 > ${path}`, { shell: true })).exitCode, 2, path);
  // The same after a fork, which may only have the size that it had.
  const fork = await small.fork();
  assert.match(await sh(fork, 'grep MemTotal /proc/meminfo'), / 307200 kB/);
  await Promise.all([small.kill(), fork.kill()]);
});

test('each Java of the computer finds its configuration', async () => {
  const links =
    'for link in /usr/lib/jvm/*/conf/security/java.security; do [ -L "$link" ] && ls -L "$link"; done; true';
  const { stderr } = await machine.commands.run(links, { shell: true });
  assert.equal(stderr, '');
});

test('the disk limit holds, and fills only its machine', { skip: needsRoot }, async () => {
  const full = await engine.Machine.create({ ...SMALL, diskMb: 512 });
  const { warnings } = await full.getInfo();
  assert.ok(!warnings?.some((text) => /disk/i.test(text)), `disk is not limited here: ${warnings}`);
  const { exitCode, stderr } = await full.commands.run('head -c 700000000 /dev/zero > /workspace/big', { shell: true });
  assert.notEqual(exitCode, 0);
  assert.match(stderr, /No space left/);
  assert.equal(await sh(machine, 'echo unharmed > /workspace/u && cat /workspace/u'), 'unharmed');
  await full.kill();
});
