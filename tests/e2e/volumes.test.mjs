// Volumes: directories that outlive machines, in real ones.

import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { ConflictError, InvalidRequestError, NotFoundError, NullspaceError, Nullspace } from 'nullspace';

import { engineForTests, SMALL, sh } from './support/engine.mjs';
import { mountsBelow } from './support/host.mjs';

const isRoot = process.getuid() === 0;
const skip = isRoot ? false : 'needs root: an unprivileged engine mounts volumes on create only';

let engine;
let Machine;
let Volume;
before(async () => {
  engine = await engineForTests();
  ({ Machine, Volume } = new Nullspace(engine.client));
});
after(() => engine?.stopWell());

const create = (volumes, more = {}) => Machine.create({ ...SMALL, volumes, ...more });

test('a volume is made, found by id and name, listed and deleted', async () => {
  const volume = await Volume.create('models');
  assert.match(volume.id, /^vol_/);
  assert.equal(volume.name, 'models');
  assert.deepEqual(volume.toJSON(), { id: volume.id, name: 'models' });
  assert.equal((await Volume.get(volume.id)).name, 'models');
  assert.equal((await Volume.fromName('models')).id, volume.id);
  assert.equal((await Volume.fromName('models', { createIfMissing: true })).id, volume.id);
  await assert.rejects(Volume.create('models'), ConflictError);
  await assert.rejects(Volume.fromName('none'), NotFoundError);
  await assert.rejects(Volume.get('vol_none'), NotFoundError);
  await assert.rejects(
    Volume.create('a/b'),
    (error) => error instanceof InvalidRequestError && /name/.test(error.message),
  );
  const made = await Volume.fromName('new', { createIfMissing: true });
  assert.deepEqual(
    (await Volume.list()).map(({ name }) => name),
    ['new', 'models'],
  );
  const info = await volume.getInfo();
  assert.equal(info.status, 'available');
  assert.ok(info.createdAt instanceof Date);
  assert.equal(info.maxSizeBytes, undefined);
  await Promise.all([volume.delete(), made.delete()]);
  await assert.rejects(volume.getInfo(), NotFoundError);
});

test('one machine writes, another reads, and a third outlives them', async () => {
  const volume = await Volume.create('shared');
  const [writer, reader] = await Promise.all([
    create([volume.mount('/data')]),
    create([volume.mount('/mnt/in', { readOnly: true })]),
  ]);
  await writer.files.write('/data/dir/a.txt', 'from the writer');
  assert.equal(await reader.files.read('/mnt/in/dir/a.txt'), 'from the writer');
  // Root inside the machine is refused too.
  const refused = await reader.commands.run('touch /mnt/in/b; mount -o remount,rw /mnt/in', { shell: true });
  assert.notEqual(refused.exitCode, 0);
  assert.match(refused.stderr, /Read-only file system/);
  assert.equal(await sh(writer, 'stat -c %U:%G /data/dir/a.txt'), 'root:root');
  assert.equal((await volume.getInfo()).mountCount, 2);
  assert.deepEqual(
    (await volume.attachments()).map(({ machineId }) => machineId).sort(),
    [writer.id, reader.id].sort(),
  );
  await Promise.all([writer.kill(), reader.kill()]);
  assert.deepEqual(await volume.attachments(), []);
  const later = await create([{ ref: 'shared', mountPath: '/workspace/data' }]);
  assert.equal(await later.files.read('/workspace/data/dir/a.txt'), 'from the writer');
  await later.kill();
  const info = await volume.getInfo();
  assert.deepEqual([info.usedBytes, info.inodeCount], [15, 2]);
  await volume.delete();
});

test('a subpath is one directory of the volume, and no way out of it', async () => {
  const volume = await Volume.create('parts');
  const whole = await create([volume.mount('/v')]);
  const part = await create([volume.mount('/part', { subpath: 'tenants/one' })]);
  await part.files.write('/part/mine', 'x');
  assert.equal(await sh(whole, 'find /v -type f'), '/v/tenants/one/mine');
  await sh(whole, 'ln -s / /v/root && ln -s /etc /v/tenants/etc');
  for (const subpath of ['root', 'root/etc', 'tenants/etc']) {
    await assert.rejects(create([volume.mount('/x', { subpath })]), (error) => /subpath/.test(error.message));
  }
  await assert.rejects(create([volume.mount('/x', { subpath: '../up' })]), InvalidRequestError);
  await Promise.all([whole.kill(), part.kill()]);
  await volume.delete();
});

test('volumes come and go while a machine runs', { skip }, async () => {
  const volume = await Volume.create('live');
  const machine = await Machine.create(SMALL);
  const attached = await machine.volumes.attach(volume, { mountPath: '/live/here' });
  assert.deepEqual([attached.state, attached.volumeId, attached.readOnly], ['mounted', volume.id, false]);
  await machine.files.write('/live/here/a', '1');
  // The directory that was made for it belongs to the machine.
  assert.equal(await sh(machine, 'stat -c %U /live && stat -c %U /live/here/a'), 'root\nroot');
  const part = await machine.volumes.attach(volume.mount('/ro', { readOnly: true, subpath: 'sub' }));
  assert.notEqual((await machine.commands.run('touch', { args: ['/ro/x'] })).exitCode, 0);
  assert.deepEqual(
    (await machine.volumes.list()).map(({ mountPath, subpath }) => [mountPath, subpath]),
    [
      ['/live/here', undefined],
      ['/ro', 'sub'],
    ],
  );
  assert.equal((await machine.volumes.health(part.id)).state, 'mounted');

  const user = await machine.commands.run('cd /live/here && exec sleep 100', {
    shell: true,
    background: true,
    timeout: 100,
  });
  await sh(machine, 'until [ "$(readlink /proc/[0-9]*/cwd | grep -c here)" -gt 0 ]; do sleep 0.05; done');
  await assert.rejects(machine.volumes.detach(attached.id), (error) => {
    assert.equal(error.code, 'volume_busy');
    return error instanceof ConflictError && /process/.test(error.message);
  });
  await user.kill();
  await user.wait();
  assert.equal((await machine.volumes.detach(attached.id)).state, 'released');
  assert.equal(await sh(machine, 'ls -A /live/here'), '');
  // Where the machine hid it does not matter.
  await sh(machine, 'mkdir /elsewhere');
  const moved = await machine.volumes.attach(volume, { mountPath: '/deep/down' });
  await sh(machine, 'mv /deep /elsewhere/');
  assert.deepEqual(
    [(await machine.volumes.health(moved.id)).state, (await machine.volumes.health(moved.id)).lastErrorCode],
    ['failed', 'volume_not_mounted'],
  );
  assert.equal((await machine.volumes.remount(moved.id)).state, 'mounted');
  assert.equal(await machine.files.read('/deep/down/a'), '1');
  assert.equal((await machine.volumes.health(moved.id)).state, 'mounted');
  await assert.rejects(machine.volumes.attach(volume, { mountPath: '/proc' }), InvalidRequestError);
  await assert.rejects(machine.volumes.attach(volume), (error) => /mountPath/.test(error.message));
  await assert.rejects(machine.volumes.detach('vat_none'), NotFoundError);
  await assert.rejects(volume.delete(), (error) => error.code === 'volume_busy');
  await machine.pause();
  await assert.rejects(machine.volumes.detach(moved.id), ConflictError);
  await Machine.resume(machine.id);
  await machine.volumes.detach(moved.id);
  await machine.kill();
  await volume.delete();
});

test('links that a machine plants lead a mount nowhere else', { skip }, async () => {
  const volume = await Volume.create('links');
  const machine = await Machine.create(SMALL);
  await sh(machine, 'ln -s /proc/1/root /trap && ln -s /nowhere /loop && ln -s /etc /inner');
  for (const mountPath of ['/trap/tmp/x', '/loop/x']) {
    await assert.rejects(machine.volumes.attach(volume, { mountPath }), NullspaceError);
  }
  // A link within the machine is the machine's own affair.
  await machine.volumes.attach(volume, { mountPath: '/inner/mounted' });
  await machine.files.write('/etc/mounted/a', '1');
  assert.ok(!existsSync('/etc/mounted') && !existsSync('/nowhere'));
  await machine.kill();
  assert.equal((await volume.getInfo()).inodeCount, 1);
  await volume.delete();
});

test('pause, snapshot and fork keep mounts', async () => {
  const volume = await Volume.create('kept');
  const machine = await create([volume.mount('/data')]);
  await machine.files.write('/data/a', 'first');
  await machine.pause();
  await Machine.resume(machine.id);
  assert.equal(await machine.files.read('/data/a'), 'first');
  const fork = await machine.fork();
  await fork.files.write('/data/b', 'from the fork');
  assert.equal(await machine.files.read('/data/b'), 'from the fork');
  const { id } = await machine.createSnapshot();
  await machine.files.write('/data/a', 'second');
  const restored = await Machine.create({ snapshotId: id, timeout: 120 });
  // The volume is no part of the snapshot: it is as it is now.
  assert.equal(await restored.files.read('/data/a'), 'second');
  const other = await Volume.create('other');
  const elsewhere = await Machine.create({ snapshotId: id, timeout: 120, volumes: [other.mount('/data')] });
  assert.equal(await elsewhere.files.exists('/data/a'), false);
  await Promise.all([machine, fork, restored, elsewhere].map((each) => each.kill()));
  await Promise.all([volume.delete(), other.delete()]);
});

test('nothing of a volume stays mounted, whatever ends its machine', async () => {
  const state = path.join(engine.state, 'volumes');
  assert.deepEqual(readdirSync(state), []);
  assert.deepEqual(mountsBelow(state), []);
});

test('volumes outlive a kill -9 of the engine', async (t) => {
  const { startEngine } = await import('../../scripts/lib/engine.mjs');
  const { temporaryDirectory } = await import('../../scripts/lib/cleanup.mjs');
  const options = {
    binary: process.env.NULLSPACE_TEST_ENGINE,
    state: path.join(temporaryDirectory('volumes'), 'state'),
  };
  const first = await startEngine(options);
  const before = new Nullspace(first.client);
  const volume = await before.Volume.create('data');
  const machine = await before.Machine.create({ ...SMALL, volumes: [volume.mount('/data')] });
  await machine.files.write('/data/a', 'kept');
  first.signal('SIGKILL');
  await first.ended;
  const second = await startEngine(options);
  t.after(() => second.stop());
  const again = new Nullspace(second.client);
  const found = await again.Volume.fromName('data');
  assert.equal(found.id, volume.id);
  assert.deepEqual(await found.attachments(), []);
  const reader = await again.Machine.create({ ...SMALL, volumes: [found.mount('/data')] });
  assert.equal(await reader.files.read('/data/a'), 'kept');
  await reader.kill();
  await found.delete();
  assert.deepEqual(readdirSync(path.join(options.state, 'volumes')), []);
});
