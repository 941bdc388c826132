// What the calls on files of a volume send, over a server with canned answers.

import assert from 'node:assert/strict';
import test from 'node:test';

import { sdk } from './package.mjs';
import { serve } from './server.mjs';

const { Volume, Files } = sdk;
const info = (path) => ({ name: 'a', path, is_dir: false, size: 1, type: 'file' });
const VOLUME = {
  id: 'vol_1',
  name: 'v',
  created_at: '2026-01-02T03:04:05Z',
  used_bytes: 0,
  inode_count: 0,
  mount_count: 0,
  status: 'available',
};

/** A volume behind a server, and what was sent after it was taken up. */
const withFiles = async (use) => {
  const server = await serve((request, response, respond) => {
    const { path, body, method } = request;
    const call = path.replace('/v1/volumes/vol_1', '');
    const signed = `${server.url}/v1/volumes/vol_1/file?grant=secret`;
    const answers = {
      '': VOLUME,
      '/files': [info('/a')],
      '/files/info': info('/a'),
      '/files/write': info('/a'),
      '/files/rename': info('/b'),
      '/files/exists': { exists: true },
      '/files/find': [],
      '/files/search': ['/a'],
      '/files/replace': {
        dry_run: body?.dry_run === true,
        replacements: 2,
        files_modified: 1,
        files_skipped: 0,
        binary_files_skipped: 0,
      },
      '/files/download-url': { url: signed },
      '/files/upload-url': { url: signed },
    };
    if (call === '/file' && method === 'GET') {
      response.writeHead(200).end('bytes');
      return true;
    }
    if (answers[call] === undefined) respond(204);
    else respond(200, answers[call]);
    return true;
  });
  try {
    const volume = await Volume.get('vol_1', { ...server.options, headers: { 'x-own': 'mine' } });
    server.requests.length = 0;
    await use(volume.files, server.requests, volume);
  } finally {
    await server.close();
  }
};
const sent = (requests) =>
  requests.map(({ method, url, body }) => [method, url.replace('/v1/volumes/vol_1', ''), body]);

test('files of a volume are a part of its handle, of the class of those of a machine', async () =>
  withFiles(async (files, _, volume) => {
    assert.ok(files instanceof Files);
    assert.equal(volume.files, files);
    assert.deepEqual(JSON.parse(JSON.stringify(files)), {});
    await volume.close();
    assert.throws(() => volume.files, { code: 'handle_closed' });
    await assert.rejects(files.list(), { code: 'handle_closed' });
  }));

test('calls of one request go below the volume and name no user', async () =>
  withFiles(async (files, requests) => {
    await files.list(undefined, { depth: 2 });
    await files.info('/a');
    await files.write('/a', 'text', { mode: 0o600 });
    await files.rename('/a', '/b');
    assert.equal(await files.exists('/a'), true);
    await files.mkdir('/d');
    await files.remove('/d');
    await files.setPermissions('/a', '644');
    await files.findFiles('/', 'x');
    assert.deepEqual(await files.searchFiles('/', '*'), ['/a']);
    const counted = await files.replaceInFiles(['/a'], 'x', 'y', { dryRun: true });
    assert.deepEqual([counted.dryRun, counted.replacements], [true, 2]);
    assert.match(await files.downloadUrl('/d', { archiveFormat: 'tar' }), /grant=/);
    assert.equal((await files.uploadUrl('/a')).token, undefined);
    assert.deepEqual(sent(requests), [
      ['GET', '/files?path=%2F&depth=2', undefined],
      ['POST', '/files/info', { path: '/a' }],
      ['POST', '/files/write', { path: '/a', content: 'text', mode: '0600', encoding: 'utf8' }],
      ['POST', '/files/rename', { old_path: '/a', new_path: '/b' }],
      ['POST', '/files/exists', { path: '/a' }],
      ['POST', '/files/mkdir', { path: '/d' }],
      ['POST', '/files/remove', { path: '/d' }],
      ['POST', '/files/permissions', { path: '/a', permissions: '0644' }],
      ['POST', '/files/find', { path: '/', pattern: 'x' }],
      ['POST', '/files/search', { path: '/', pattern: '*' }],
      ['POST', '/files/replace', { files: ['/a'], pattern: 'x', replacement: 'y', dry_run: true }],
      ['POST', '/files/download-url', { path: '/d', archive_format: 'tar' }],
      ['POST', '/files/upload-url', { path: '/a' }],
    ]);
  }));

test('bytes go through signed addresses, without the key and the headers of the caller', async () =>
  withFiles(async (files, requests) => {
    assert.equal(await files.read('/a'), 'bytes');
    await files.write('/a', new TextEncoder().encode(JSON.stringify('x'.repeat(70_000))), { mode: '0600' });
    const tar = await files.archive('/d');
    assert.equal(await new Response(tar).text(), 'bytes');
    assert.deepEqual(
      requests.map(({ method, path, body }) => [method, path.slice(17), body?.path ?? body?.archive_format]),
      [
        ['POST', '/files/download-url', '/a'],
        ['GET', '/file', undefined],
        ['POST', '/files/upload-url', '/a'],
        ['PUT', '/file', undefined],
        ['POST', '/files/permissions', '/a'],
        ['POST', '/files/info', '/a'],
        ['POST', '/files/download-url', '/d'],
        ['GET', '/file', undefined],
      ],
    );
    assert.equal(requests[6].body.archive_format, 'tar');
    for (const { path, headers } of requests) {
      const isSigned = path.endsWith('/file');
      assert.equal(headers.authorization, isSigned ? undefined : 'Bearer test-key');
      assert.equal(headers['x-own'], isSigned ? undefined : 'mine');
    }
  }));

test('hooks are not told what is secret in a signed address', async () => {
  const urls = [];
  const server = await serve(({ path }, response, respond) => {
    if (path.endsWith('/file')) response.writeHead(200).end('bytes');
    else if (path.endsWith('/download-url')) respond(200, { url: `${server.url}/v1/volumes/vol_1/file?grant=secret` });
    else respond(200, VOLUME);
    return true;
  });
  const hooks = { onRequest: ({ url }) => urls.push(url), onResponse: ({ url }) => urls.push(url) };
  const volume = await Volume.get('vol_1', { ...server.options, ...hooks });
  await volume.files.read('/a');
  await server.close();
  assert.equal(urls.length, 6);
  assert.ok(!urls.join().includes('secret'), urls.join());
});

test('what a volume cannot do is said before anything is sent', async () =>
  withFiles(async (files, requests) => {
    const slash = { code: 'invalid_request', message: /must begin with a slash/ };
    await assert.rejects(files.info('a'), slash);
    await assert.rejects(files.read('a'), slash);
    await assert.rejects(files.rename('/a', 'b'), slash);
    await assert.rejects(files.write('a', new Uint8Array(1)), slash);
    await assert.rejects(files.writeFiles([{ path: 'a', content: '' }]), slash);
    await assert.rejects(files.upload(new Blob(['x']), 'a'), slash);
    const user = { code: 'invalid_request', message: /`user` is for files of machines/ };
    await assert.rejects(files.info('/a', { user: 'bob' }), user);
    await assert.rejects(files.read('/a', { user: 'bob' }), user);
    await assert.rejects(files.upload(new Blob(['x']), '/a', { user: 'bob' }), user);
    await assert.rejects(files.read(), /`path`/);
    await assert.rejects(files.downloadFile('/a', 7), /`destination`/);
    await assert.rejects(files.downloadDir('/a', 'x', { overwrite: 1 }), /`overwrite`/);
    await assert.rejects(files.downloadFile('/a', 'x', { archive: true }), /`archive`/);
    assert.equal(requests.length, 0);
  }));
