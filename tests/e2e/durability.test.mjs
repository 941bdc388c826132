// What was answered is on the disk: a copy of the disk that is taken while the engine runs, which is what a power cut leaves,
// holds all of it.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { Nullspace } from 'nullspace';

import { endAll, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../scripts/lib/engine.mjs';
import { SMALL } from './support/engine.mjs';

after(() => endAll());

const directory = temporaryDirectory('power');

/** An engine whose state lies on a disk of its own, in a mount namespace that goes with it. Nothing but a call for it writes to the disk within minutes. */
const engineOn = async (image, name) => {
  const place = path.join(directory, name);
  mkdirSync(place);
  const mount = `mount -o loop,commit=300 '${image}' '${place}' && exec "$@"`;
  const engine = await startEngine({
    binary: process.env.NULLSPACE_TEST_ENGINE,
    state: path.join(place, 'state'),
    apiKey: 'key-of-both',
    durability: 'full',
    wrapper: ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', mount, 'sh'],
  });
  return { engine, sdk: new Nullspace(engine.client) };
};

test('snapshots, volumes and keys survive a power cut', { skip: process.getuid() !== 0 && 'needs root' }, async () => {
  const image = path.join(directory, 'disk.img');
  writeFileSync(image, '');
  truncateSync(image, 512 << 20);
  execFileSync('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image]);
  const before = await engineOn(image, 'before');
  const bytes = randomBytes(2 << 20);
  const machine = await before.sdk.Machine.create(SMALL);
  await machine.files.write('/workspace/bytes', bytes);
  const snapshot = await machine.createSnapshot();
  const volume = await before.sdk.Volume.create('kept');
  const keyed = await before.sdk.Machine.create({ ...SMALL, idempotencyKey: 'power-cut' });

  const cut = path.join(directory, 'cut.img');
  execFileSync('cp', ['--sparse=always', image, cut]);
  const { status, stdout } = spawnSync('fsck.ext4', ['-p', cut], { encoding: 'utf8' });
  assert.ok(status <= 1, stdout);

  const again = await engineOn(cut, 'again');
  assert.deepEqual(
    (await again.sdk.Snapshot.list()).map(({ id }) => id),
    [snapshot.id],
  );
  const copy = await again.sdk.Machine.create({ snapshotId: snapshot.id });
  assert.ok(bytes.equals(await copy.files.read('/workspace/bytes', { format: 'bytes' })), 'the file is not whole');
  assert.equal((await again.sdk.Volume.fromName('kept')).id, volume.id);
  assert.equal((await again.sdk.Machine.create({ ...SMALL, idempotencyKey: 'power-cut' })).id, keyed.id);
  await again.engine.stop();
  await before.engine.stop();
});
