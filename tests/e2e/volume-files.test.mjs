// Files of volumes, without a machine and beside one; and downloads, of volumes and of machines.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import {
  BatchWriteError,
  InvalidRequestError,
  InvalidResponseError,
  NotFoundError,
  Nullspace,
  UploadConflictError,
} from 'nullspace';

import { temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { engineForTests, SMALL, sh, until } from './support/engine.mjs';
import { descendants } from './support/host.mjs';

let engine;
let Machine;
let Volume;
const local = temporaryDirectory('volume-files');
const at = (...parts) => path.join(local, ...parts);
const modeOf = (file) => (statSync(file).mode & 0o777).toString(8);
before(async () => {
  engine = await engineForTests();
  ({ Machine, Volume } = new Nullspace(engine.client));
});
after(() => engine?.stopWell());

const withVolume = async (name, use) => {
  const volume = await Volume.create(name);
  try {
    await use(volume, volume.files);
  } finally {
    await volume.delete();
  }
};

test('texts and bytes are written, read, described, moved and removed', async () =>
  withVolume('calls', async (_, files) => {
    const info = await files.write('/a/b.txt', 'hällo', { mode: 0o600 });
    assert.deepEqual([info.path, info.size, info.type, info.mode], ['/a/b.txt', 6, 'file', '0600']);
    assert.equal(await files.read('/a/b.txt'), 'hällo');
    const bytes = new Uint8Array(randomBytes(300_000));
    await files.write('/big.bin', bytes, { mode: '0640' });
    assert.deepEqual(await files.read('/big.bin', { format: 'bytes' }), bytes);
    assert.equal((await files.info('/big.bin')).mode, '0640');
    await files.write('/streamed.bin', new Blob([bytes]).stream());
    let size = 0;
    for await (const piece of await files.read('/streamed.bin', { format: 'stream' })) size += piece.length;
    assert.equal(size, bytes.length);
    await files.mkdir('/c/d');
    assert.equal(await files.exists('/c/d'), true);
    assert.equal(await files.exists('/none'), false);
    assert.equal((await files.rename('/a/b.txt', '/c/b.txt')).path, '/c/b.txt');
    await files.setPermissions('/c/b.txt', '0444');
    assert.deepEqual(
      (await files.list('/', { depth: 1 })).map((entry) => entry.path),
      ['/a', '/big.bin', '/c', '/c/b.txt', '/c/d', '/streamed.bin'],
    );
    assert.deepEqual(await files.findFiles('/c', 'llo'), [{ file: '/c/b.txt', line: 1, content: 'hällo' }]);
    assert.deepEqual(await files.searchFiles('/', '*.txt'), ['/c/b.txt']);
    const counted = await files.replaceInFiles(['/c/b.txt'], 'hä', 'ha', { dryRun: true });
    assert.deepEqual([counted.dryRun, counted.replacements], [true, 1]);
    assert.equal(await files.read('/c/b.txt'), 'hällo');
    await files.replaceInFiles(['/c/b.txt'], 'hä', 'ha');
    assert.equal(await files.read('/c/b.txt'), 'hallo');
    await files.remove('/c');
    await assert.rejects(files.info('/c/b.txt'), NotFoundError);
  }));

test('several files are written, and what was not is told', async () =>
  withVolume('batch', async (_, files) => {
    const infos = await files.writeFiles([
      { path: '/x', content: 'x', mode: '0755' },
      { path: '/y', content: new Uint8Array([1, 2]) },
    ]);
    assert.deepEqual(
      infos.map((info) => [info.path, info.mode]),
      [
        ['/x', '0755'],
        ['/y', '0644'],
      ],
    );
    await files.mkdir('/z');
    const partly = files.writeFiles([
      { path: '/z', content: 'no file can be here' },
      { path: '/w', content: 'w' },
    ]);
    await assert.rejects(partly, (error) => {
      assert.ok(error instanceof BatchWriteError);
      assert.deepEqual(error.details.successes, ['/w']);
      assert.equal(error.details.failures[0].path, '/z');
      return true;
    });
  }));

test('a machine and the volume see the same files, and links of the machine lead nowhere else', async () =>
  withVolume('hostile', async (volume, files) => {
    const machine = await Machine.create({ ...SMALL, volumes: [volume.mount('/data')] });
    try {
      await files.write('/from-outside', 'outside');
      assert.equal(await sh(machine, 'cat /data/from-outside; stat -c %u /data/from-outside'), 'outside0');
      await sh(
        machine,
        'cd /data && echo inside > mine && ln -s /etc/passwd absolute && ln -s ../../../../../../etc/passwd up && ln -s / root && mkfifo pipe',
      );
      assert.equal(await files.read('/mine'), 'inside\n');
      for (const name of ['/absolute', '/up', '/root/etc/passwd'])
        await assert.rejects(files.read(name), NotFoundError);
      await files.write('/root/etc/passwd', 'mine');
      assert.equal(await files.read('/etc/passwd'), 'mine');
      assert.ok(readFileSync('/etc/passwd', 'utf8').includes('root:'));
      await assert.rejects(files.read('/pipe'), InvalidRequestError);
      await assert.rejects(files.write('/pipe', 'x'), InvalidRequestError);
      await assert.rejects(files.read('/../etc/passwd'), InvalidRequestError);
    } finally {
      await machine.kill();
    }
  }));

test('uploads come whole, in parts, as directories and again', async () =>
  withVolume('uploads', async (volume, files) => {
    const bytes = randomBytes(9_000_000);
    writeFileSync(at('large.bin'), bytes);
    const seen = [];
    const result = await files.upload(at('large.bin'), '/in/', { onProgress: ({ sentBytes }) => seen.push(sentBytes) });
    assert.deepEqual([result.path, result.bytes, result.files], ['/in/large.bin', bytes.length, 1]);
    assert.match(result.uploadId, /^upl_/);
    assert.equal(seen.at(-1), bytes.length);
    assert.ok(Buffer.from(await files.read('/in/large.bin', { format: 'bytes' })).equals(bytes));
    await assert.rejects(files.upload(at('large.bin'), '/in/large.bin', { conflict: 'error' }), UploadConflictError);
    await files.upload(new Blob(['small']), '/in/small');
    assert.equal(await files.read('/in/small'), 'small');
    const created = await engine.request('POST', `/v1/volumes/${volume.id}/uploads`, {
      body: {
        kind: 'file',
        source_kind: 'restartable_file',
        target_path: '/in/resumed',
        content_length: bytes.length,
        conflict: 'replace',
        checksum_algorithm: 'sha256',
      },
    });
    const { session } = await created.json();
    const uploads = `${engine.url}/v1/volumes/${volume.id}/uploads/${session.upload_id}`;
    await fetch(`${uploads}/parts/0`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${engine.apiKey}` },
      body: bytes.subarray(0, session.part_size),
    });
    const resumed = [];
    const onProgress = ({ sentBytes }) => resumed.push(sentBytes);
    await files.resumeUpload(session.upload_id, at('large.bin'), { onProgress });
    assert.equal(resumed[0], session.part_size, 'what had come is not sent again');
    assert.ok(Buffer.from(await files.read('/in/resumed', { format: 'bytes' })).equals(bytes));
    mkdirSync(at('tree/sub'), { recursive: true });
    writeFileSync(at('tree/sub/a'), 'a');
    symlinkSync('sub/a', at('tree/link'));
    assert.equal((await files.upload(at('tree'), '/')).files, 1);
    assert.equal(await files.read('/link'), 'a');
    assert.deepEqual(
      (await files.list('/')).map((entry) => entry.name),
      ['in', 'link', 'sub'],
    );
  }));

test('a watch of a volume tells what a machine changes, and ends with the volume', async () => {
  const volume = await Volume.create('watched');
  const watch = volume.files.watch('/', { recursive: true });
  await watch.started;
  const machine = await Machine.create({ ...SMALL, volumes: [volume.mount('/data')] });
  await sh(machine, 'echo x > /data/new');
  const first = await watch.next();
  assert.deepEqual([first.value.event, first.value.path], ['create', '/new']);
  await machine.kill();
  await volume.delete();
  for await (const _ of watch);
});

test('what is wrong is said before anything is sent', async () =>
  withVolume('wrong', async (_, files) => {
    for (const call of [
      () => files.read('a.txt'),
      () => files.write('a.txt', 'x'),
      () => files.write('a.txt', new Uint8Array(70_000)),
      () => files.rename('/a', 'b'),
      () => files.upload(new Blob(['x']), 'b'),
      () => files.writeFiles([{ path: 'a', content: 'x' }]),
    ])
      await assert.rejects(call(), (error) => error.code === 'invalid_request' && /slash/.test(error.message));
    await assert.rejects(files.list('/', { user: 'root' }), /`user` is for files of machines/);
    await assert.rejects(files.write('/a', 'x', { user: 'root' }), /`user` is for files of machines/);
  }));

for (const what of ['machine', 'volume'])
  test(`a directory of a ${what} is downloaded whole, or not at all`, async () => {
    const owner = what === 'machine' ? await Machine.create(SMALL) : await Volume.create('download');
    const { files } = owner;
    const top = what === 'machine' ? '/workspace/tree' : '/tree';
    const long = `${'d'.repeat(80)}/${'n'.repeat(200)}`;
    const bytes = randomBytes(700_001);
    try {
      await files.write(`${top}/run.sh`, '#!/bin/sh\n', { mode: '0750' });
      await files.write(`${top}/${long}`, bytes);
      await files.write(`${top}/ä/empty`, '');
      await files.mkdir(`${top}/none`);
      const into = at(`back-${what}`);
      const done = await files.download(top, into);
      assert.deepEqual(done, { path: into, files: 3, bytes: bytes.length + 10, leftOut: [] });
      assert.ok(readFileSync(path.join(into, long)).equals(bytes));
      assert.equal(modeOf(path.join(into, 'run.sh')), '750');
      assert.deepEqual(readdirSync(into).sort(), ['d'.repeat(80), 'none', 'run.sh', 'ä'].sort());
      await assert.rejects(files.downloadDir(top, into), { code: 'target_exists' });
      writeFileSync(path.join(into, 'old'), '');
      await files.downloadDir(top, into, { overwrite: true });
      assert.ok(!existsSync(path.join(into, 'old')));
      const tar = await files.downloadDir(top, at(`${what}.tar`), { archive: true });
      assert.equal(statSync(tar.path).size % 512, 0);
      const file = await files.download(`${top}/run.sh`, `${into}/copies/`);
      assert.deepEqual([file.path, file.bytes, modeOf(file.path)], [path.join(into, 'copies/run.sh'), 10, '750']);
      await assert.rejects(files.downloadDir(`${top}/run.sh`, at('x')), InvalidRequestError);
      await assert.rejects(files.downloadFile(top, at('x')), InvalidRequestError);
      await assert.rejects(files.download(`${top}/nothing`, at('x')), NotFoundError);
      const aborted = new AbortController();
      aborted.abort(new Error('enough'));
      await assert.rejects(files.downloadDir(top, at('x'), { signal: aborted.signal }), /enough/);
      assert.ok(!existsSync(at('x')));
      assert.deepEqual(
        readdirSync(local).filter((name) => name.startsWith('.')),
        [],
        'no draft is left',
      );
      let size = 0;
      for await (const piece of await files.archive(top)) size += piece.length;
      assert.equal(size, statSync(tar.path).size);
    } finally {
      await (what === 'machine' ? owner.kill() : owner.delete());
    }
  });

test('links are downloaded unless they lead out', async () =>
  withVolume('links', async (volume, files) => {
    const machine = await Machine.create({ ...SMALL, volumes: [volume.mount('/data')] });
    await sh(
      machine,
      'cd /data && mkdir -p t/sub && echo x > t/x && cd t && ln -s ../x sub/in && ln -s /etc/passwd out && ln -s ../../y up && ln -s sub/../../z through && mkfifo pipe',
    );
    await machine.kill();
    const done = await files.download('/t', at('linked'));
    assert.equal(readlinkSync(at('linked/sub/in')), '../x');
    assert.deepEqual(done.leftOut.toSorted(), ['out', 'through', 'up']);
    assert.ok(!lstatSync(at('linked/x')).isSymbolicLink());
  }));

/** A header of an archive, and its content. */
const entry = (name, { type = '0', content = '', link = '', mode = 0o644 } = {}) => {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write(`${mode.toString(8).padStart(7, '0')}\0`, 100);
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(link, 157);
  header.write('ustar\u000000', 257);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
  body.write(content);
  return Buffer.concat([header, body]);
};
const END = Buffer.alloc(1024);

test('an archive of a hostile server writes nothing outside of its place, and leaves nothing', async (t) => {
  const archives = {
    '/up': [entry('../escaped', { content: 'x' }), END],
    '/absolute': [entry('/escaped', { content: 'x' }), END],
    '/through': [entry('d', { type: '2', link: at('elsewhere') }), entry('d/escaped', { content: 'x' }), END],
    '/twice': [entry('f', { content: 'a' }), entry('f', { content: 'b' }), END],
    '/cut': [entry('f', { content: 'x'.repeat(600) }).subarray(0, 700)],
    '/damaged': [Buffer.concat([Buffer.from('y'), entry('f').subarray(1)]), END],
    '/number': [entry('f').fill('z', 124, 136), END],
  };
  mkdirSync(at('elsewhere'));
  const server = http.createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://stub');
    if (pathname.endsWith('/download-url')) {
      let text = '';
      request.on('data', (bytes) => {
        text += bytes;
      });
      request.on('end', () => {
        const url = `http://${request.headers.host}/v1/volumes/vol_1/file?grant=${JSON.parse(text).path}`;
        response.end(JSON.stringify({ url }));
      });
    } else if (pathname.endsWith('/file')) {
      assert.equal(request.headers.authorization, undefined, 'the key stays here');
      response.end(Buffer.concat(archives[searchParams.get('grant')]));
    } else
      response.end(
        JSON.stringify({
          id: 'vol_1',
          name: 'v',
          created_at: '2026-01-02T03:04:05Z',
          used_bytes: 0,
          inode_count: 0,
          mount_count: 0,
          status: 'available',
        }),
      );
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const hostile = new Nullspace({ apiKey: 'key', baseUrl: `http://127.0.0.1:${server.address().port}` });
  const { files } = await hostile.Volume.get('vol_1');
  for (const name of Object.keys(archives)) {
    const target = at('hostile', name.slice(1));
    if (name === '/through') {
      // The directory of the file is a directory: the link was not made before it.
      const { leftOut } = await files.downloadDir(name, target);
      assert.deepEqual(leftOut, ['d']);
      rmSync(target, { recursive: true });
    } else if (name === '/twice') await assert.rejects(files.downloadDir(name, target), { code: 'EEXIST' });
    else await assert.rejects(files.downloadDir(name, target), InvalidResponseError, name);
  }
  assert.deepEqual(readdirSync(at('hostile')), []);
  assert.deepEqual(readdirSync(at('elsewhere')), []);
  assert.ok(!existsSync(at('escaped')) && !existsSync('/escaped'));
});

test('a kill -9 of the engine leaves no process, and no half of a file after the next start', async (t) => {
  const { startEngine } = await import('../../scripts/lib/engine.mjs');
  const options = {
    binary: process.env.NULLSPACE_TEST_ENGINE,
    state: path.join(temporaryDirectory('volume-files-state'), 'state'),
  };
  const first = await startEngine(options);
  const volume = await new Nullspace(first.client).Volume.create('data');
  await volume.files.write('/kept', 'kept');
  const directory = path.join(options.state, 'volumes', volume.id);
  const endless = new ReadableStream({
    pull: (controller) =>
      new Promise((resolve) => setTimeout(resolve, 20)).then(() => controller.enqueue(new Uint8Array(10))),
  });
  const writing = volume.files.write('/half', endless).catch(() => {});
  await until('it is being written', () => readdirSync(directory).some((name) => name.endsWith('.tmp')));
  const processes = descendants(first.pid);
  assert.ok(processes.length > 0, 'a process works on the volume');
  // The next engine starts in another second than that of the last change.
  first.signal('SIGKILL');
  await first.ended;
  await writing;
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const second = await startEngine(options);
  t.after(() => second.stop());
  const { stillAlive } = await import('./support/host.mjs');
  await until('no process is left', () => stillAlive(processes).length === 0);
  await until('nothing half-written is left', () => readdirSync(directory).join() === 'kept');
  const { files } = await new Nullspace(second.client).Volume.fromName('data');
  assert.equal(await files.read('/kept'), 'kept');
});

test('no process stays behind when nobody works on files', async () => {
  await until('no process is left', () => descendants(engine.pid).length === 0);
});
