// The engine of a user without rights.

import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { Nullspace, NullspaceError } from 'nullspace';

import { endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { STRANGER, withoutRights } from '../../scripts/lib/engine.mjs';
import { isExecutable } from '../../scripts/lib/project.mjs';
import { engineForTests, sh } from './support/engine.mjs';

after(endAll);

const ANY = { timeout: 120 };

async function unprivilegedEngine(t, args, { env = {}, wrapper = [] } = {}) {
  const directory = temporaryDirectory('unprivileged');
  t.after(() => removeDirectory(directory));
  const start = withoutRights(process.env.NULLSPACE_TEST_ENGINE, directory);
  return engineForTests({
    ...start,
    args,
    env: { HOME: process.env.HOME, ...start.env, ...env },
    wrapper: [...wrapper, ...(start.wrapper ?? [])],
  });
}

test('files of a volume are worked on without root', async (t) => {
  const engine = await unprivilegedEngine(t, ['--best-effort']);
  t.after(() => engine.stop());
  const { Machine, Volume } = new Nullspace(engine.client);
  const volume = await Volume.create('files');
  await volume.files.write('/d/a', 'from outside', { mode: '0640' });
  const machine = await Machine.create({ ...ANY, volumes: [volume.mount('/data')] });
  assert.equal(await sh(machine, 'cat /data/d/a; stat -c %a:%u /data/d/a'), 'from outside640:0');
  await sh(machine, 'echo inside > /data/b; ln -s /etc/passwd /data/out; ln -s ../../../../etc/passwd /data/up');
  assert.equal(await volume.files.read('/b'), 'inside\n');
  assert.equal((await volume.files.info('/b')).owner, 'root');
  for (const name of ['/out', '/up']) await assert.rejects(volume.files.read(name), { code: 'not_found' });
  await machine.kill();
  await volume.delete();
});

test('volumes work without root on create, and not while a machine runs', async (t) => {
  const engine = await unprivilegedEngine(t, ['--best-effort']);
  t.after(() => engine.stop());
  const { Machine, Volume } = new Nullspace(engine.client);
  const volume = await Volume.create('data');
  const writer = await Machine.create({ ...ANY, volumes: [volume.mount('/data', { subpath: 'a' })] });
  const reader = await Machine.create({ ...ANY, volumes: [volume.mount('/in', { readOnly: true })] });
  await writer.files.write('/data/x', 'from the writer');
  assert.equal(await reader.files.read('/in/a/x'), 'from the writer');
  assert.match((await reader.commands.run('touch', { args: ['/in/y'] })).stderr, /Read-only file system/);
  const [attachment] = await writer.volumes.list();
  assert.equal((await writer.volumes.health(attachment.id)).state, 'mounted');
  const refused = { code: 'feature_unavailable' };
  await assert.rejects(writer.volumes.attach(volume, { mountPath: '/more' }), refused);
  await assert.rejects(writer.volumes.detach(attachment.id), refused);
  await Promise.all([writer.kill(), reader.kill()]);
  await volume.delete();
});

test('machines work without root: create, run, policy, kill', async (t) => {
  const engine = await unprivilegedEngine(t, ['--best-effort']);
  t.after(() => engine.stop());
  const machine = await engine.Machine.create({ ...ANY, network: { egress: { mode: 'deny_all' } } });
  assert.equal(await sh(machine, 'id -u'), '0');
  assert.equal(await sh(machine, 'echo hello > /workspace/x && cat /workspace/x'), 'hello');
  assert.ok((await sh(machine, 'ls /proc | grep -cE "^[0-9]+$"')) < 10);
  const mount = await machine.commands.run('mkdir -p /tmp/m && mount -t tmpfs none /tmp/m', { shell: true });
  assert.notEqual(mount.exitCode, 0);
  const write = await machine.commands.run('echo x > /usr/bin/nullspace-test', { shell: true });
  assert.notEqual(write.exitCode, 0);
  const probe = 'exec 3<>/dev/tcp/192.0.2.1/80 && echo hi >&3 && timeout 15 head -c 1 <&3 | grep -q .';
  const begun = Date.now();
  assert.notEqual((await machine.commands.run('bash', { args: ['-c', probe], timeout: 20 })).exitCode, 0);
  assert.ok(Date.now() - begun < 5000, 'a refusal is told at once');
  await machine.kill();

  const [first, second] = await Promise.all([engine.Machine.create(ANY), engine.Machine.create(ANY)]);
  assert.notEqual(first.id, second.id);
  await Promise.all([first.kill(), second.kill()]);
  assert.equal((await engine.Machine.list({ fields: ['id'] })).length, 0);
  await engine.stopWell();
});

test('a size that cannot be held is refused, unless the engine may do its best; then and for defaults it is told', async (t) => {
  const strict = await unprivilegedEngine(t, []);
  t.after(() => strict.stop());
  const { warnings = [] } = await (await strict.Machine.create(ANY)).getInfo();
  const isHeld = (name) => !warnings.some((text) => /not enforced/.test(text.split(':')[0]) && text.includes(name));
  const refused = (name, option) => (error) => {
    assert.ok(error instanceof NullspaceError);
    assert.equal(error.code, 'feature_unavailable');
    assert.match(error.message, new RegExp(`^${name} \\d+ cannot be enforced on this computer: `));
    assert.match(error.suggestedAction, new RegExp(`^leave out \`${option}\`; or start the engine .*--best-effort`));
    return true;
  };
  await assert.rejects(strict.Machine.create({ ...ANY, diskMb: 1024 }), refused('disk_mb', 'diskMb'));
  // Held where a control group was delegated to the user.
  const small = { ...ANY, memoryMb: 64 };
  if (!isHeld('memory_mb')) await assert.rejects(strict.Machine.create(small), refused('memory_mb', 'memoryMb'));
  if (!isHeld('vcpus')) await assert.rejects(strict.Machine.create({ ...ANY, vcpus: 1 }), refused('vcpus', 'vcpus'));

  const engine = await unprivilegedEngine(t, ['--best-effort']);
  t.after(() => engine.stop());
  const machine = await engine.Machine.create({ ...small, diskMb: 1024 });
  const told = (await machine.getInfo()).warnings.join('\n');
  assert.match(told, /disk_mb .*not enforced: only root may attach disk images/);
  const script = 'head -c 200000000 /dev/zero | tail > /dev/null; exit ${PIPESTATUS[1]}';
  const { exitCode } = await machine.commands.run('bash', { args: ['-c', script] });
  assert.equal(exitCode, isHeld('memory_mb') ? 137 : 0);
});

test('an engine starts itself again in a scope of the systemd of its user, and without one it starts all the same', async (t) => {
  const directory = temporaryDirectory('scope');
  t.after(() => removeDirectory(directory));
  const seen = path.join(directory, 'seen');
  mkdirSync(path.join(directory, 'systemd'));
  for (const name of ['systemd/private', 'seen']) writeFileSync(path.join(directory, name), '');
  // As the real one: it does what it is told about the scope and becomes the program.
  const runner = path.join(directory, 'systemd-run');
  const script = (last) => `#!/bin/sh\necho "$$ $*" >> ${seen}\nwhile [ "$1" != -- ]; do shift; done\nshift\n${last}\n`;
  chmodSync(directory, 0o755);
  chmodSync(seen, 0o666);
  const env = { XDG_RUNTIME_DIR: directory, PATH: `${directory}:${process.env.PATH}` };
  const options = '--user --scope --quiet --collect --property=Delegate=yes --';
  for (const [last, calls] of [
    ['exec "$@"', 2],
    ['exit 1', 1],
  ]) {
    writeFileSync(seen, '');
    writeFileSync(runner, script(last), { mode: 0o755 });
    const engine = await unprivilegedEngine(t, [], { env });
    t.after(() => engine.stop());
    const lines = readFileSync(seen, 'utf8').trim().split('\n');
    assert.equal(lines.length, calls, lines.join('\n'));
    assert.ok(lines[0].endsWith(` ${options} true`), lines[0]);
    if (calls === 2) {
      // The process that was started is the engine: who ends it needs no other number.
      assert.ok(lines[1].startsWith(`${engine.pid} ${options} /`), lines[1]);
      assert.match(lines[1], /nullspace-engine serve --listen 127\.0\.0\.1:0 .* --end-with-stdin/);
    }
    const machine = await engine.Machine.create(ANY);
    assert.equal(await sh(machine, 'id -u'), '0');
    await engine.stop();
  }
});

test('a machine has 1024 processes and its neighbours have theirs, without a control group', async (t) => {
  const engine = await unprivilegedEngine(t, []);
  t.after(() => engine.stop());
  const [full, neighbour] = await Promise.all([engine.Machine.create(ANY), engine.Machine.create(ANY)]);
  // The shell ends at a fork that fails.
  const storm = 'i=0; while [ $i -lt 1500 ]; do sleep 60 > /dev/null 2>&1 & i=$((i+1)); echo $i; done | tail -n 1';
  const started = Number((await full.commands.run(storm, { shell: true, timeout: 60 })).stdout);
  assert.ok(started > 500 && started <= 1024, `${started} processes`);
  assert.equal(await sh(neighbour, 'sh -c "echo fine"'), 'fine');
  await Promise.all([full.kill(), neighbour.kill()]);
});

test('a user with subordinate ids has machines with other users, whose files are copied and removed', async (t) => {
  const has = (tool) => process.env.PATH.split(':').some((folder) => isExecutable(path.join(folder, tool)));
  if (process.getuid() !== 0 || !has('newuidmap')) return t.skip('needs root, and newuidmap (Debian: uidmap)');
  const directory = temporaryDirectory('subordinate');
  t.after(() => removeDirectory(directory));
  // Seen by the engine alone: no user of this computer gets ids.
  const passwd = `${readFileSync('/etc/passwd', 'utf8')}tester:x:${STRANGER}:${STRANGER}::/nowhere:/bin/sh\n`;
  writeFileSync(path.join(directory, 'passwd'), passwd);
  for (const name of ['subuid', 'subgid']) writeFileSync(path.join(directory, name), 'tester:1879048192:65536\n');
  const mounts = ['passwd', 'subuid', 'subgid'].map((name) => `mount --bind ${directory}/${name} /etc/${name}`);

  const wrapper = ['unshare', '--mount', 'sh', '-c', `${mounts.join(' && ')} && exec "$@"`, 'sh'];
  const engine = await unprivilegedEngine(t, [], { wrapper });
  t.after(() => engine.stop());
  const machine = await engine.Machine.create(ANY);
  await machine.files.write('/tmp/theirs', 'of nobody', { user: 'nobody', mode: '0600' });
  assert.equal(await sh(machine, 'stat -c %U /tmp/theirs /etc/passwd /workspace'), 'nobody\nroot\nroot');
  const other = 'setpriv --reuid 12345 --regid 12345 --clear-groups';
  const seen = `useradd --create-home ann && su ann -c "id -un; touch ~/x"; ${other} cat /tmp/theirs || echo shut`;
  assert.equal(await sh(machine, seen), 'ann\nshut');
  const child = await machine.fork();
  assert.equal(await sh(child, 'stat -c %U:%a /tmp/theirs /home/ann/x'), 'nobody:600\nann:644');
  await child.kill();

  // The limit is that of all ids together.
  const storm = 'i=0; while [ $i -lt 700 ]; do sleep 60 > /dev/null 2>&1 & i=$((i+1)); echo $i; done | tail -n 1';
  const first = Number(await sh(machine, storm, { timeout: 60 }));
  const second = Number(await sh(machine, `${other} sh -c '${storm}'`, { timeout: 60 }));
  assert.ok(first === 700 && second > 100 && first + second <= 1024, `${first} and ${second} processes`);
  await machine.kill();
  const left = () => readdirSync(path.join(engine.state, 'machines', 'trash')).length;
  for (let tries = 0; left() > 0 && tries < 100; tries++) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(left(), 0, 'files of other users are removed');
});

test('who cannot be another user says so', async (t) => {
  if (process.getuid() !== 0) return t.skip('needs root: another user may have subordinate ids');
  const engine = await unprivilegedEngine(t, ['--best-effort']);
  t.after(() => engine.stop());
  const machine = await engine.Machine.create(ANY);
  const refused = (error) =>
    error instanceof NullspaceError &&
    error.code === 'permission_denied' &&
    /`nobody`.*when the engine runs as root/.test(error.message);
  await assert.rejects(machine.files.list('/', { user: 'nobody' }), refused);
  const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f';
  await assert.rejects(machine.createSshAccess({ publicKey: key, user: 'nobody' }), refused);
  await machine.kill();
  const folder = temporaryDirectory('given');
  t.after(() => removeDirectory(folder));
  writeFileSync(path.join(folder, 'a'), 'a');
  const { Template } = new Nullspace(engine.client);
  const given = Template.fromTemplate('base').setFileContext(folder).copy('a', '/srv/a', { user: 'nobody' });
  await assert.rejects(Template.build(given, 'given', { vcpus: 1, memoryMb: 256 }), (error) => {
    assert.match(error.message, /\/srv\/a cannot be given to \d+:\d+ here.*when the engine runs as root/);
    return true;
  });
});
