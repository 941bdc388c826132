// Uploads: files, bytes and directories, in parts that can be taken up again. In the Python SDK: upload_file, upload_dir.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import {
  InvalidRequestError,
  NotFoundError,
  Nullspace,
  TransportError,
  UploadConflictError,
  UploadPathError,
  UploadStateError,
} from 'nullspace';

import { removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { site } from './support/browser.mjs';
import { engineForTests, SMALL, sh } from './support/engine.mjs';

const page = await site();
const engine = await engineForTests({ args: ['--allow-origin', page.origin] });
const local = temporaryDirectory('uploads');
after(async () => {
  await engine.stopWell();
  await page.close();
  removeDirectory(local);
});

let machine;
before(async () => {
  machine = await engine.Machine.create({ ...SMALL, memoryMb: 256, timeout: 900 });
});

const MIB = 1 << 20;
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
const remote = async (file) => (await sh(machine, `sha256sum '${file}'`)).split(' ')[0];
const make = (name, bytes) => {
  const file = path.join(local, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, bytes);
  return file;
};

test('a file of the computer goes directly when it is small, and in parts when it is large', async () => {
  const small = randomBytes(1000);
  const direct = await machine.files.upload(make('small.bin', small), '/workspace/in/');
  assert.deepEqual(direct, { path: '/workspace/in/small.bin', bytes: 1000, files: 1 });
  assert.equal(await remote('/workspace/in/small.bin'), digest(small));

  const large = randomBytes(9 * MIB + 17);
  const progress = [];
  const parts = await machine.files.upload(make('large.bin', large), '/workspace/large.bin', {
    checksum: 'sha256',
    onProgress: (step) => progress.push(step),
  });
  assert.match(parts.uploadId, /^upl_/);
  assert.deepEqual([parts.path, parts.bytes, parts.files], ['/workspace/large.bin', large.length, 1]);
  assert.equal(await remote('/workspace/large.bin'), digest(large));
  const [created, ...steps] = progress;
  const totals = { totalBytes: large.length, totalParts: 3, attempt: 1 };
  assert.deepEqual(created, { phase: 'created', sentBytes: 0, sentParts: 0, ...totals });
  const whole = { sentBytes: large.length, sentParts: 3, ...totals };
  assert.deepEqual(
    steps.slice(-3),
    ['uploading', 'completing', 'completed'].map((phase) => ({ phase, ...whole })),
  );
  assert.deepEqual(
    steps.slice(0, 3).map(({ phase, sentParts }) => [phase, sentParts]),
    [1, 2, 3].map((parts) => ['uploading', parts]),
  );
  assert.ok(steps.slice(0, 3).every(({ sentBytes }, index) => sentBytes > progress[index].sentBytes));

  const told = [];
  const onProgress = (step) => told.push(step);
  await machine.files.upload(small, '/workspace/told.bin', { onProgress });
  await machine.files.upload(new Blob([small]).stream(), '/workspace/told.bin', { onProgress });
  const one = { totalBytes: 1000, totalParts: 1, attempt: 1 };
  const done = { phase: 'completed', sentBytes: 1000, sentParts: 1, ...one };
  // How much a stream holds is known at its end.
  assert.deepEqual(told, [{ phase: 'created', sentBytes: 0, sentParts: 0, ...one }, done, done]);
});

test('bytes, blobs, streams and empty files are sources too', async () => {
  const bytes = randomBytes(3000);
  const sources = { bytes, blob: new Blob([bytes]), stream: new Blob([bytes]).stream() };
  for (const [name, source] of Object.entries(sources)) {
    await machine.files.upload(source, `/workspace/${name}`);
    assert.equal(await remote(`/workspace/${name}`), digest(bytes), name);
  }
  await machine.files.upload(new Uint8Array(0), '/workspace/empty', { resumable: true });
  assert.equal((await machine.files.info('/workspace/empty')).size, 0);
  await machine.files
    .upload(new Blob([bytes]), '/workspace/forced', { resumable: true, user: 'nobody' })
    .catch((error) => {
      // /workspace is root's.
      assert.match(`${error.code} ${error.message}`, /denied|permission/i);
    });
});

const tree = () => {
  make('tree/a.txt', 'a');
  make('tree/sub/deep/b.bin', randomBytes(5 * MIB));
  make('tree/sub/skip.log', 'no');
  make('tree/node_modules/x/index.js', 'no');
  make(`tree/${'long-'.repeat(30)}name.txt`, 'long');
  make('tree/grüße.txt', 'ü');
  make('tree/.nullspaceignore', 'node_modules/\n');
  chmodSync(make('tree/run.sh', '#!/bin/sh\necho ran\n'), 0o755);
  symlinkSync('a.txt', path.join(local, 'tree/link'));
  symlinkSync('../../outside', path.join(local, 'tree/out'));
  mkdirSync(path.join(local, 'tree/nothing'));
  return path.join(local, 'tree');
};

test('a file keeps its permissions, or gets others', async () => {
  for (const [name, bytes] of [
    ['small.sh', 10],
    ['large.sh', 9 * MIB],
  ]) {
    const script = make(name, `#!/bin/sh\necho ran\nexit 0\n${'#'.repeat(bytes)}`);
    chmodSync(script, 0o755);
    await machine.files.upload(script, `/workspace/${name}`);
    await machine.files.upload(script, `/workspace/only-${name}`, { mode: 0o400 });
    const found = await sh(machine, `cd /workspace && ./${name} && stat -c %a ${name} only-${name}`);
    assert.equal(found, 'ran\n755\n400');
  }
  await assert.rejects(machine.files.upload(local, '/workspace/all', { mode: 0o755 }), /`mode` is for a single file/);
});

test('a directory arrives as it is, without what is ignored', async () => {
  const result = await machine.files.upload(tree(), '/workspace/tree', { ignore: ['*.log'] });
  assert.equal(result.path, '/workspace/tree');
  const found = await sh(machine, 'cd /workspace/tree && find . | sort');
  assert.deepEqual(
    found.split('\n'),
    [
      '.',
      './a.txt',
      './grüße.txt',
      './link',
      `./${'long-'.repeat(30)}name.txt`,
      './nothing',
      './run.sh',
      './sub',
      './sub/deep',
      './sub/deep/b.bin',
    ].sort(),
  );
  assert.equal(result.files, 5);
  assert.equal(await sh(machine, '/workspace/tree/run.sh; readlink /workspace/tree/link'), 'ran\na.txt');
});

test('what is there is joined, replaced, or in the way', async () => {
  await sh(
    machine,
    'mkdir -p /workspace/there && echo old > /workspace/there/a.txt && echo own > /workspace/there/own.txt',
  );
  const source = path.join(local, 'tree');
  await assert.rejects(machine.files.upload(source, '/workspace/there', { conflict: 'error' }), UploadConflictError);
  assert.equal(await sh(machine, 'cat /workspace/there/a.txt'), 'old');
  await machine.files.upload(source, '/workspace/there');
  assert.equal(await sh(machine, 'cat /workspace/there/a.txt /workspace/there/own.txt'), 'aown');
  await machine.files.upload(source, '/workspace/there', { conflict: 'replace' });
  assert.equal(await machine.files.exists('/workspace/there/own.txt'), false);
  await machine.files.upload(new Blob(['x']), '/workspace/one');
  await assert.rejects(
    machine.files.upload(new Blob(['y']), '/workspace/one', { conflict: 'error' }),
    UploadConflictError,
  );
  assert.equal(await machine.files.read('/workspace/one'), 'x');
});

test("an aborted upload leaves nothing, neither there nor on the engine's disk", async () => {
  const controller = new AbortController();
  const call = machine.files.upload(randomBytes(40 * MIB), '/workspace/never', {
    signal: controller.signal,
    maxConcurrency: 1,
    onProgress: ({ sentBytes }) => sentBytes > 8 * MIB && controller.abort(new Error('enough')),
  });
  await assert.rejects(call, /enough/);
  assert.equal(await machine.files.exists('/workspace/never'), false);
  assert.deepEqual(
    readdirSync(engine.state).filter((name) => name.startsWith('upload-')),
    [],
  );
});

test("what onProgress and a source throw is the caller's own error", async () => {
  const mine = new RangeError('mine');
  await assert.rejects(
    machine.files.upload(new Uint8Array(10), '/workspace/never', {
      resumable: true,
      onProgress: () => {
        throw mine;
      },
    }),
    (error) => error === mine,
  );
  await assert.rejects(machine.files.upload('/no/such/file', '/workspace/never'), { code: 'ENOENT' });
});

/** A `fetch` that loses some answers and fails some requests, of parts only. */
const lossy = (plan) => async (url, init) => {
  const part = /\/parts\/(\d+)$/.exec(String(url))?.[1];
  if (part !== undefined && plan.fail(Number(part))) throw new TypeError('fetch failed');
  const answer = await fetch(url, init);
  if (part !== undefined && plan.lose?.(Number(part))) throw new TypeError('the answer was lost');
  return answer;
};

test('parts that fail or whose answers are lost are sent again', async () => {
  const failed = new Set();
  const lost = new Set();
  const once = (set) => (part) => !set.has(part) && set.add(part) !== undefined;
  const { Machine } = new Nullspace({ ...engine.client, fetch: lossy({ fail: once(failed), lose: once(lost) }) });
  const bytes = randomBytes(13 * MIB);
  const progress = [];
  await (await Machine.connect(machine.id)).files.upload(bytes, '/workspace/lossy', {
    onProgress: ({ phase, attempt }) => progress.push([phase, attempt]),
  });
  assert.equal(await remote('/workspace/lossy'), digest(bytes));
  assert.equal(failed.size, 4);
  // Each part failed once, and then its answer was lost once.
  const told = (phase, attempt) => progress.filter((step) => step[0] === phase && step[1] === attempt).length;
  assert.deepEqual([told('retrying', 2), told('retrying', 3), told('uploading', 3)], [4, 4, 4]);
  assert.equal(progress.length, 1 + 4 + 4 + 4 + 2);
});

test('an upload that the network broke off is taken up where it stood', { timeout: 120_000 }, async () => {
  const bytes = randomBytes(17 * MIB);
  const { Machine } = new Nullspace({ ...engine.client, fetch: lossy({ fail: (part) => part >= 2 }) });
  const broken = (await Machine.connect(machine.id)).files.upload(bytes, '/workspace/resumed', { maxConcurrency: 1 });
  const error = await broken.catch((thrown) => thrown);
  assert.ok(error instanceof TransportError, String(error));
  const { uploadId } = error.details;
  assert.equal(await machine.files.exists('/workspace/resumed'), false);
  await assert.rejects(machine.files.resumeUpload(uploadId, bytes.subarray(1)), /its size differs/);
  const progress = [];
  const result = await machine.files.resumeUpload(uploadId, bytes, { onProgress: (step) => progress.push(step) });
  const { phase, sentBytes, sentParts, totalParts } = progress[0];
  assert.deepEqual([phase, sentBytes, sentParts, totalParts], ['created', 8 * MIB, 2, 5]);
  assert.deepEqual(
    progress.map((step) => step.sentParts),
    [2, 3, 4, 5, 5, 5],
  );
  assert.equal(result.path, '/workspace/resumed');
  assert.equal(await remote('/workspace/resumed'), digest(bytes));
  await assert.rejects(machine.files.resumeUpload('upl_none', bytes), NotFoundError);
});

test('the server refuses wrong parts, paths that lead out, and a second use', async () => {
  const begin = async (more) => {
    const answer = await engine.request('POST', `/v1/machines/${machine.id}/uploads`, {
      body: {
        kind: 'file',
        source_kind: 'restartable_file',
        target_path: '/workspace/raw',
        content_length: 3,
        conflict: 'replace',
        checksum_algorithm: 'sha256',
        ...more,
      },
    });
    return (await answer.json()).session;
  };
  const put = (id, part, body, sum) =>
    fetch(`${engine.url}/v1/machines/${machine.id}/uploads/${id}/parts/${part}`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${engine.apiKey}`, ...(sum ? { 'x-nullspace-part-sha256': sum } : {}) },
      body,
    });
  const reason = async (answer) => (await answer.json()).error_detail.reason;
  const session = await begin();
  assert.equal(await reason(await put(session.upload_id, 0, 'abcd')), 'part_size_mismatch');
  assert.equal(await reason(await put(session.upload_id, 1, 'abc')), 'part_out_of_range');
  assert.equal(await reason(await put(session.upload_id, 0, 'abc', digest('other'))), 'invalid_part_checksum');
  const complete = (id) => engine.request('POST', `/v1/machines/${machine.id}/uploads/${id}/complete`, { body: {} });
  assert.equal(await reason(await complete(session.upload_id)), 'missing_parts');
  assert.equal((await put(session.upload_id, 0, 'abc', digest('abc'))).status, 200);
  const [first, second] = [await complete(session.upload_id), await complete(session.upload_id)];
  assert.deepEqual(await second.json(), await first.json());
  assert.equal(await reason(await put(session.upload_id, 0, 'abc')), 'upload_already_completed');

  // A hand-made archive: `../out` would lie beside the directory.
  const block = Buffer.alloc(512);
  block.write('../out');
  block.write('0000644\0', 100);
  block.write('00000000000\0', 124);
  block.write('        ', 148);
  block.write('0', 156);
  block.write('ustar\u000000', 257);
  block.write(
    `${block
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  const archive = Buffer.concat([block, Buffer.alloc(1024)]);
  const bad = await begin({
    kind: 'directory_tar',
    archive_format: 'tar',
    content_length: archive.length,
    target_path: '/workspace/bad',
  });
  await put(bad.upload_id, 0, archive);
  assert.equal(await reason(await complete(bad.upload_id)), 'directory_extract_invalid_path');
  assert.equal(await machine.files.exists('/workspace/bad'), false);
  assert.equal(await machine.files.exists('/workspace/out'), false);
  assert.ok(UploadPathError.prototype instanceof Error && UploadStateError.prototype instanceof Error);
});

test('wrong options are told before anything is sent', async () => {
  const wrong = (call, text) =>
    assert.rejects(call, (error) => error instanceof InvalidRequestError && text.test(error.message));
  await wrong(machine.files.upload(7, '/workspace/x'), /`source` must be/);
  await wrong(machine.files.upload(new Uint8Array(1), '/workspace/'), /has no name/);
  await wrong(machine.files.upload(new Uint8Array(1), '/x', { conflict: 'overwrite' }), /`conflict`/);
  await wrong(machine.files.upload(new Blob([]).stream(), '/x', { resumable: true }), /whose size is known/);
  await wrong(machine.files.upload(new Uint8Array(1), '/x', { onprogress() {} }), /did you mean `onProgress`/i);
});

test('a killed engine leaves no half upload', async () => {
  const count = process.env.NULLSPACE_TEST_LONG ? 100 : 8;
  const other = await engineForTests();
  const doomed = await other.Machine.create({ ...SMALL, memoryMb: 128 });
  const bytes = randomBytes(9 * MIB);
  const uploads = Array.from({ length: count }, (_, index) =>
    doomed.files.upload(bytes, `/workspace/${index}`).then(
      () => 'done',
      () => 'failed',
    ),
  );
  await new Promise((resolve) => setTimeout(resolve, 150));
  other.signal('SIGKILL');
  const ends = await Promise.all(uploads);
  assert.ok(ends.includes('failed'));
  const again = await engineForTests({ state: other.state });
  assert.deepEqual(
    readdirSync(other.state).filter((name) => name.startsWith('upload-')),
    [],
  );
  assert.equal((await again.Machine.getInfoById(doomed.id)).status, 'error');
  // Not `stopWell`, which ends the other engine too.
  assert.deepEqual(await again.stop(), { code: 0, signal: null });
  removeDirectory(path.dirname(other.state));
});

test('in a browser: a File in parts, a list of files, bytes', async () => {
  const seen = await page.run(
    engine,
    async ({ Machine }, id) => {
      const { files } = await Machine.connect(id);
      const large = new File([new Uint8Array(9 << 20).fill(7)], 'large.bin');
      const parts = await files.upload(large, '/workspace/page/');
      const list = [new File(['one'], 'one.txt'), new File(['two'], 'two.txt'), new File(['no'], 'no.log')];
      const directory = await files.upload(list, '/workspace/page/list', { ignore: ['*.log'] });
      const root = await navigator.storage.getDirectory();
      const handle = await root.getDirectoryHandle('top', { create: true });
      const inner = await handle.getDirectoryHandle('inner', { create: true });
      const file = await (await inner.getFileHandle('f.txt', { create: true })).createWritable();
      await file.write('from a handle');
      await file.close();
      await files.upload(handle, '/workspace/page/handle');
      return { parts, directory, text: await files.read('/workspace/page/handle/inner/f.txt') };
    },
    machine.id,
  );
  assert.deepEqual(
    [seen.parts.path, seen.parts.bytes, seen.directory.files],
    ['/workspace/page/large.bin', 9 << 20, 2],
  );
  assert.equal(seen.text, 'from a handle');
  assert.equal(await remote('/workspace/page/large.bin'), digest(Buffer.alloc(9 << 20, 7)));
});
