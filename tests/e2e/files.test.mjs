// Files of a machine: read, written, listed and moved, whole and as streams. In the Python SDK: make_dir,
// get_info, watch_dir, WatchHandle.stop.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import {
  BatchWriteError,
  InvalidRequestError,
  InvalidResponseError,
  NotFoundError,
  Nullspace,
  TransportError,
} from 'nullspace';

import { site } from './support/browser.mjs';
import { cuttingProxy } from './support/cutting-proxy.mjs';
import { needsRoot } from '../../scripts/lib/engine.mjs';
import { engineForTests, SMALL, sh } from './support/engine.mjs';

const page = await site();
const plan = { frames: 0 };
const proxy = await cuttingProxy(plan);
const engine = await engineForTests({ args: ['--allow-origin', page.origin, '--allow-host', proxy.host] });
plan.target = engine.url;
after(async () => {
  await engine.stopWell();
  await page.close();
  await proxy.close();
});

let machine;
before(async () => {
  machine = await engine.Machine.create({ ...SMALL, memoryMb: 256, timeout: 900 });
});

const bytes = new Uint8Array([0, 1, 2, 254, 255]);

/** A stream of so many bytes, whose content only its position decides. */
function stream(size, piece = 65_536) {
  let sent = 0;
  const chunk = new Uint8Array(piece).map((_, index) => (index * 31) & 0xff);
  return new ReadableStream({
    pull(controller) {
      if (sent >= size) return controller.close();
      const next = chunk.slice(0, Math.min(piece, size - sent));
      sent += next.length;
      controller.enqueue(next);
    },
  });
}

test('text is written and read back, short and long', async () => {
  const info = await machine.files.write('/workspace/dir/short.txt', 'grüß €\n');
  assert.deepEqual(
    [info.name, info.path, info.isDir, info.size, info.type],
    ['short.txt', '/workspace/dir/short.txt', false, 11, 'file'],
  );
  assert.ok(info.modifiedTime instanceof Date);
  assert.equal(await machine.files.read('/workspace/dir/short.txt'), 'grüß €\n');
  const long = 'ä'.repeat(200_000);
  assert.equal((await machine.files.write('long.txt', long)).path, '/workspace/long.txt');
  assert.equal(await machine.files.read('long.txt'), long);
  await machine.files.write('empty', '');
  assert.equal(await machine.files.read('empty'), '');
});

test('every kind of content arrives as it is, in every format', async () => {
  const contents = {
    bytes,
    buffer: bytes.buffer,
    view: new DataView(bytes.buffer),
    blob: new Blob([bytes]),
    stream: new Blob([bytes]).stream(),
  };
  for (const [name, content] of Object.entries(contents)) {
    await machine.files.write(`/tmp/${name}`, content);
    assert.deepEqual(await machine.files.read(`/tmp/${name}`, { format: 'bytes' }), bytes, name);
  }
  const blob = await machine.files.read('/tmp/blob', { format: 'blob' });
  assert.deepEqual(new Uint8Array(await blob.arrayBuffer()), bytes);
  const parts = [];
  for await (const part of await machine.files.read('/tmp/stream', { format: 'stream' })) parts.push(...part);
  assert.deepEqual(parts, [...bytes]);
  await assert.rejects(
    machine.files.read('/tmp/bytes'),
    (error) => error instanceof InvalidResponseError && /no UTF-8/.test(error.message),
  );
  await assert.rejects(
    machine.files.write('/tmp/x', 7),
    (error) => error instanceof InvalidRequestError && /`content`/.test(error.message),
  );
});

test('directories are made, listed to a depth, and removed', async () => {
  await machine.files.mkdir('/workspace/tree/a/b');
  await machine.files.write('/workspace/tree/a/b/deep.txt', 'x');
  await machine.files.write('/workspace/tree/top.txt', 'x');
  const names = (list) => list.map(({ path }) => path.replace('/workspace/tree/', '')).sort();
  assert.deepEqual(names(await machine.files.list('/workspace/tree')), ['a', 'top.txt']);
  assert.deepEqual(names(await machine.files.list('/workspace/tree', { depth: 2 })), [
    'a',
    'a/b',
    'a/b/deep.txt',
    'top.txt',
  ]);
  assert.ok((await machine.files.list()).some(({ path }) => path === '/workspace'));
  assert.equal(await machine.files.exists('/workspace/tree/a'), true);
  await machine.files.remove('/workspace/tree');
  assert.equal(await machine.files.exists('/workspace/tree'), false);
  await assert.rejects(machine.files.info('/workspace/tree'), NotFoundError);
  await assert.rejects(machine.files.read('/workspace/tree/top.txt'), NotFoundError);
});

test('files are moved, and their permissions set', async () => {
  await machine.files.write('/workspace/run.sh', '#!/bin/sh\necho ran\n');
  await machine.files.setPermissions('/workspace/run.sh', 0o750);
  assert.equal((await machine.files.info('/workspace/run.sh')).mode, '0750');
  await machine.files.setPermissions('/workspace/run.sh', '0755');
  const moved = await machine.files.rename('/workspace/run.sh', '/tmp/moved.sh');
  assert.equal(moved.path, '/tmp/moved.sh');
  assert.equal(await sh(machine, '/tmp/moved.sh'), 'ran');
  await assert.rejects(machine.files.setPermissions('/tmp/moved.sh', 'rwx'), /octal mode/);
});

test('names that are no UTF-8 have a text that leads to them', async () => {
  await sh(machine, `mkdir /workspace/names && cd /workspace/names && printf old > "$(printf 'caf\\351.txt')"`);
  const [found] = await machine.files.list('/workspace/names');
  assert.equal(found.name, 'caf\u{FFFD}E9.txt');
  assert.equal(found.path, `/workspace/names/${found.name}`);
  assert.equal((await machine.files.info(found.path)).size, 3);
  assert.equal(await machine.files.read(found.path), 'old');
  assert.equal(await (await fetch(await machine.files.downloadUrl(found.path))).text(), 'old');
  await machine.files.write(found.path, 'new');
  assert.equal(
    await sh(machine, 'cd /workspace/names && ls | od -An -tx1; cat *.txt'),
    '63 61 66 e9 2e 74 78 74 0a\nnew',
  );
  assert.deepEqual(await machine.files.searchFiles('/workspace/names', found.name), [found.path]);
  await machine.files.rename(found.path, '/workspace/names/plain');
  assert.equal(await machine.files.exists(found.path), false);
  assert.equal((await machine.files.rename('/workspace/names/plain', found.path)).path, found.path);
  await assert.rejects(machine.files.read('/workspace/names/\u{FFFD}FF'), /\u{FFFD}FF/u);
  await machine.files.remove(found.path);
  assert.deepEqual(await machine.files.list('/workspace/names'), []);
});

test('what is written gets the permissions that are asked for', async () => {
  const script = '#!/bin/sh\necho ran\n';
  await machine.files.write('/tmp/short.sh', script, { mode: 0o755 });
  await machine.files.write('/tmp/bytes.sh', new TextEncoder().encode(script), { mode: '755' });
  await machine.files.writeFiles([
    { path: '/tmp/batch.sh', content: script, mode: '0700' },
    { path: '/tmp/plain.txt', content: script },
  ]);
  assert.equal(
    await sh(machine, 'cd /tmp && stat -c %a short.sh bytes.sh batch.sh plain.txt && ./short.sh'),
    '755\n755\n700\n644\nran',
  );
  await assert.rejects(machine.files.write('/tmp/x', script, { mode: 'rwx' }), /`mode` must be an octal mode/);
  await assert.rejects(
    machine.files.writeFiles([{ path: '/tmp/x', content: script, mode: 8888 }]),
    /`files\[0\]\.mode` must be an octal mode/,
  );
});

test('content and names are searched, and replaced', async () => {
  await machine.files.writeFiles([
    { path: '/workspace/s/one.ts', content: 'first\nneedle here\n' },
    { path: '/workspace/s/two.md', content: new TextEncoder().encode('needle needle\n') },
  ]);
  const found = await machine.files.findFiles('/workspace/s', 'needle');
  assert.deepEqual(found.map(({ file, line }) => [file.split('/').pop(), line]).sort(), [
    ['one.ts', 2],
    ['two.md', 1],
  ]);
  assert.deepEqual(await machine.files.searchFiles('/workspace/s', '*.ts'), ['/workspace/s/one.ts']);
  const replaced = await machine.files.replaceInFiles(['/workspace/s/one.ts', '/workspace/s/two.md'], 'needle', 'pin');
  assert.deepEqual([replaced.replacements, replaced.filesModified], [3, 2]);
  assert.equal(await machine.files.read('/workspace/s/two.md'), 'pin pin\n');
});

test('a batch says which files were not written', async () => {
  await machine.files.write('/workspace/blocker', 'a file');
  const call = machine.files.writeFiles([
    { path: '/workspace/good', content: 'good' },
    { path: '/workspace/blocker/below', content: 'bad' },
  ]);
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof BatchWriteError);
    assert.deepEqual(error.details.successes, ['/workspace/good']);
    assert.equal(error.details.failures[0].path, '/workspace/blocker/below');
    return true;
  });
  assert.equal(await machine.files.read('/workspace/good'), 'good');
  assert.deepEqual(await machine.files.writeFiles([]), []);
});

test('a user has his own rights and home', { skip: needsRoot }, async () => {
  const user = 'nobody';
  await machine.commands.run('mkdir -p /tmp/his && chown 65534:65534 /tmp/his', { shell: true });
  const info = await machine.files.write('/tmp/his/file', 'mine', { user });
  assert.equal(info.owner, user);
  await sh(machine, 'echo secret > /root/secret && chmod 600 /root/secret');
  await assert.rejects(machine.files.read('/root/secret', { user }));
  assert.equal(await machine.files.read('/root/secret'), 'secret\n');
});

test('addresses of single files need no key, and hold for their file and direction only', async () => {
  await machine.files.write('/workspace/shared.txt', 'shared');
  const url = await machine.files.downloadUrl('/workspace/shared.txt');
  assert.ok(!url.includes(engine.apiKey));
  assert.equal(await (await fetch(url)).text(), 'shared');
  assert.equal((await fetch(url, { method: 'PUT', body: 'x' })).status, 401);
  const upload = await machine.files.uploadUrl('/workspace/given.txt');
  assert.ok(upload.url.includes(upload.token));
  assert.equal((await fetch(upload.url, { method: 'PUT', body: 'given' })).status, 204);
  const form = new FormData();
  form.set('file', new Blob(['by form']));
  assert.equal((await fetch(upload.url, { method: 'POST', body: form })).status, 204);
  assert.equal(await machine.files.read('/workspace/given.txt'), 'by form');
  assert.equal((await fetch(upload.url)).status, 401);
  const tampered = url.replace(/token=(.)/, (_, first) => `token=${first === 'a' ? 'b' : 'a'}`);
  assert.equal((await fetch(tampered)).status, 401);
  assert.ok(!engine.log().includes(upload.token), 'the log holds a token');
});

test('paths do not lead out of the machine', async () => {
  await sh(
    machine,
    'ln -sf ../../../../../../etc/hostname /workspace/up; ln -sf /proc/1/root/etc/passwd /workspace/root',
  );
  assert.equal((await machine.files.read('/workspace/up')).trim(), await sh(machine, 'cat /etc/hostname'));
  assert.equal(await machine.files.exists('../../../../../../work'), await machine.files.exists('/work'));
  await assert.rejects(machine.files.write('/workspace/.nullspace/x', 'x'));
  await assert.rejects(machine.files.read('a\0b'), (error) => error instanceof InvalidRequestError);
});

test("a stream that throws leaves the file as it was, and the error is the caller's own", async () => {
  await machine.files.write('/workspace/kept', 'before');
  const thrown = new RangeError('source broke');
  let pulls = 0;
  const broken = new ReadableStream({
    pull(controller) {
      if (pulls++ < 3) controller.enqueue(new Uint8Array(100_000));
      else controller.error(thrown);
    },
  });
  await assert.rejects(machine.files.write('/workspace/kept', broken), (error) => error === thrown);
  await assert.rejects(
    machine.files.write('/workspace/kept', new ReadableStream({ start: (c) => c.enqueue('text') })),
    /must give bytes/,
  );
  assert.equal(await machine.files.read('/workspace/kept'), 'before');
});

test('an aborted upload leaves the file as it was, and cancels its source', async () => {
  const controller = new AbortController();
  let cancelled;
  const endless = new ReadableStream({
    async pull(sink) {
      await sleep(5);
      sink.enqueue(new Uint8Array(65_536));
    },
    cancel: (reason) => {
      cancelled = reason ?? true;
    },
  });
  setTimeout(() => controller.abort(new Error('enough')), 150);
  await assert.rejects(machine.files.write('/workspace/kept', endless, { signal: controller.signal }), /enough/);
  assert.equal(await machine.files.read('/workspace/kept'), 'before');
  for (let tries = 0; cancelled === undefined && tries < 50; tries++) await sleep(20);
  assert.ok(cancelled);
  assert.deepEqual(await sh(machine, 'ls -A /workspace | grep -c "^\\.nullspace-tmp" || true'), '0');
});

test('an aborted download errs, and a cancelled one lets go of its connection', async () => {
  await sh(machine, 'head -c 60000000 /dev/zero > /workspace/zeros');
  const controller = new AbortController();
  const download = await machine.files.read('/workspace/zeros', { format: 'stream', signal: controller.signal });
  const reader = download.getReader();
  await reader.read();
  controller.abort(new Error('enough'));
  await assert.rejects(async () => {
    for (;;) if ((await reader.read()).done) return;
  }, /enough/);
  const other = await machine.files.read('/workspace/zeros', { format: 'stream' });
  await other.cancel();
});

test('changes are told as they happen, below as well when asked for', async () => {
  await machine.files.mkdir('/workspace/watched/below');
  const watch = machine.files.watch('/workspace/watched', { recursive: true });
  await watch.started;
  await machine.files.write('/workspace/watched/below/a.txt', 'a');
  await machine.files.remove('/workspace/watched/below/a.txt');
  const seen = [];
  for await (const change of watch) {
    seen.push(change);
    if (change.event === 'remove' && change.path.endsWith('/below/a.txt')) break;
  }
  assert.ok(seen.every(({ path }) => path.startsWith('/workspace/watched')));
  assert.ok(
    seen.some(({ event, path }) => ['create', 'rename'].includes(event) && path === '/workspace/watched/below/a.txt'),
  );
  // Left, it is over.
  assert.deepEqual(await watch.next(), { done: true, value: undefined });
});

test('60 files made right after a watch has started are all told, though nobody stepped yet', async () => {
  await machine.files.mkdir('/workspace/watched60');
  const watch = machine.files.watch('/workspace/watched60');
  await watch.started;
  const paths = Array.from({ length: 60 }, (_, index) => `/workspace/watched60/${index}`);
  await Promise.all(paths.map((path) => machine.files.write(path, 'a')));
  const told = new Set();
  for await (const { event, path } of watch) {
    assert.notEqual(event, 'resync_required');
    if (told.add(path).size === 60) break;
  }
  assert.deepEqual([...told].sort(), paths.sort());
});

test('a watch ends by its time, by a signal, and by being left', async () => {
  const timed = [];
  for await (const change of machine.files.watch('/workspace', { timeout: 0.3 })) timed.push(change);
  const controller = new AbortController();
  const watch = machine.files.watch('/workspace', { signal: controller.signal });
  await watch.started;
  setTimeout(() => controller.abort(new Error('enough')), 50);
  await assert.rejects(watch.next(), /enough/);
  const left = machine.files.watch('/workspace');
  const waiting = left.next();
  await left.return();
  assert.deepEqual(await waiting, { done: true, value: undefined });
});

test('a watch of nothing is an error, and so is a connection that is cut', async () => {
  await assert.rejects(machine.files.watch('/workspace/nothing').started, NotFoundError);
  await assert.rejects(machine.files.watch('/workspace', { recursiv: true }).next(), /did you mean `recursive`/i);
  const { Machine } = new Nullspace({ ...engine.client, baseUrl: proxy.url });
  const cut = await Machine.connect(machine.id);
  for (plan.frames = 0; plan.frames < 2; plan.frames++) {
    const watch = cut.files.watch('/workspace');
    const change = watch.next();
    setTimeout(() => machine.files.write('/workspace/changed', String(plan.frames)), 100);
    await assert.rejects(change, (error) => {
      assert.ok(error instanceof TransportError, String(error));
      return true;
    });
  }
});

test('a write to a machine that is gone fails, and the source is let go', async () => {
  const other = await engine.Machine.create(SMALL);
  await other.kill();
  await assert.rejects(other.files.write('/workspace/x', stream(10 << 20)));
});

/** Resident memory of a process, MiB. Linux, proc(5). */
const resident = (pid) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m)[1]) / 1024;

test('much passes both ways without staying in memory, with the same digest', async () => {
  const size = (process.env.NULLSPACE_TEST_LONG ? 1024 : 96) << 20;
  const big = await engine.Machine.create({ vcpus: 1, memoryMb: 256, timeout: 900 });
  const digest = createHash('sha256');
  for await (const part of stream(size)) digest.update(part);
  const expected = digest.digest('hex');
  await big.files.write('/workspace/warm', stream(8 << 20));
  const before = { here: resident(process.pid), engine: resident(engine.pid) };
  let most = { here: 0, engine: 0 };
  const look = setInterval(() => {
    most = { here: Math.max(most.here, resident(process.pid)), engine: Math.max(most.engine, resident(engine.pid)) };
  }, 50);
  const info = await big.files.write('/workspace/big', stream(size));
  assert.equal(info.size, size);
  const back = createHash('sha256');
  for await (const part of await big.files.read('/workspace/big', { format: 'stream' })) back.update(part);
  clearInterval(look);
  assert.equal(back.digest('hex'), expected);
  await big.kill();
  const grown = { here: most.here - before.here, engine: most.engine - before.engine };
  assert.ok(grown.here < 64, `Node grew by ${grown.here.toFixed(1)} MiB`);
  assert.ok(grown.engine < 32, `the engine grew by ${grown.engine.toFixed(1)} MiB`);
});

test('through a fetch of the caller it is the same', async () => {
  let calls = 0;
  const own = async (...args) => {
    calls += 1;
    return fetch(...args);
  };
  const { Machine } = new Nullspace({ ...engine.client, fetch: own });
  const same = await Machine.connect(machine.id);
  const content = randomBytes(300_000);
  await same.files.write('/tmp/own', new Blob([content]).stream());
  assert.deepEqual(Buffer.from(await same.files.read('/tmp/own', { format: 'bytes' })), content);
  assert.equal((await same.files.read('/tmp/own', { format: 'blob' })).size, 300_000);
  const parts = [];
  for await (const part of await same.files.read('/tmp/own', { format: 'stream' })) parts.push(part);
  assert.deepEqual(Buffer.concat(parts), content);
  const thrown = new Error('mine');
  await assert.rejects(
    same.files.write('/tmp/own', new ReadableStream({ pull: (c) => c.error(thrown) })),
    (error) => error === thrown,
  );
  await assert.rejects(same.files.read('/tmp/none'), NotFoundError);
  assert.equal(calls, 8);
});

test('in a browser: every format, a stream, a File, a batch', async () => {
  const seen = await page.run(
    engine,
    async ({ Machine }, id) => {
      const { files } = await Machine.connect(id);
      await files.write('/tmp/page.txt', 'from a page: €');
      const text = await files.read('/tmp/page.txt');
      await files.write('/tmp/page.bin', new File([new Uint8Array([0, 255])], 'page.bin'));
      await files.write('/tmp/streamed', new Blob([new Uint8Array(200_000)]).stream());
      const size = (await files.info('/tmp/streamed')).size;
      let read = 0;
      const reader = (await files.read('/tmp/streamed', { format: 'stream' })).getReader();
      for (let step = await reader.read(); !step.done; step = await reader.read()) read += step.value.length;
      const written = await files.writeFiles([
        { path: '/tmp/p1', content: 'one' },
        { path: '/tmp/p2', content: new Uint8Array(2) },
      ]);
      const missing = await files.read('/tmp/none').catch((error) => error.code);
      return {
        text,
        bytes: [...(await files.read('/tmp/page.bin', { format: 'bytes' }))],
        size,
        read,
        written: written.length,
        missing,
      };
    },
    machine.id,
  );
  assert.deepEqual(seen, {
    text: 'from a page: €',
    bytes: [0, 255],
    size: 200_000,
    read: 200_000,
    written: 2,
    missing: seen.missing,
  });
  assert.match(seen.missing, /not_found/);
});

test('a machine that is killed while its files are worked on is no fault of the engine', async () => {
  const codes = new Set();
  for (let round = 0; round < 12; round++) {
    const short = await engine.Machine.create(SMALL);
    await short.files.write('/tmp/a', 'a');
    const works = Array.from({ length: 12 }, (_, n) =>
      (n % 2 ? short.files.read('/tmp/a') : short.files.write('/tmp/a', 'b')).catch(({ code }) => codes.add(code)),
    );
    await Promise.all([short.kill(), ...works]);
  }
  for (const code of codes) assert.ok(['machine_not_found', 'machine_not_ready'].includes(code), code);
});
