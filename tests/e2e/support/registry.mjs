// A registry of container images on loopback, with images of programs of this computer.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, realpathSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const digestOf = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Copies programs of this computer, with the libraries that they load, below `root`. */
export function copyPrograms(root, programs) {
  for (const program of programs) {
    const libraries = execFileSync('ldd', [program], { encoding: 'utf8' }).match(/\/\S+(?= \(0x)/g) ?? [];
    for (const file of [program, ...libraries]) {
      const target = path.join(root, file);
      if (existsSync(target)) continue;
      mkdirSync(path.dirname(target), { recursive: true });
      cpSync(realpathSync(file), target);
    }
  }
}

/** The content of a directory as a layer; everything belongs to root. */
export function layerOf(directory) {
  const tar = execFileSync('tar', ['--owner=0', '--group=0', '--numeric-owner', '-C', directory, '-cf', '-', '.'], {
    maxBuffer: 2 ** 30,
  });
  return { packed: gzipSync(tar, { level: 1 }), diffId: digestOf(tar) };
}

/**
 * Starts a registry that everybody may read, or only who says `login` (`name:password`).
 *
 * @returns `host`, `publish(name, tag, layers, run)` and the paths that were asked for, in order
 */
export async function startRegistry({ login } = {}) {
  const blobs = new Map();
  const tags = new Map();
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    const given = request.headers.authorization;
    if (login && given !== `Basic ${Buffer.from(login).toString('base64')}`) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="tests"' }).end();
      return;
    }
    if (request.url === '/v2/') return void response.writeHead(200).end();
    const [, name, kind, reference] = request.url.match(/^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/) ?? [];
    const digest = kind === 'manifests' ? (tags.get(`${name}:${reference}`) ?? reference) : reference;
    const blob = blobs.get(digest);
    if (!blob) return void response.writeHead(404).end();
    const type = kind === 'manifests' ? MANIFEST : 'application/octet-stream';
    response.writeHead(200, {
      'content-type': type,
      'content-length': blob.length,
      'docker-content-digest': digest,
    });
    response.end(request.method === 'HEAD' ? undefined : blob);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const keep = (bytes) => {
    blobs.set(digestOf(bytes), bytes);
    return { digest: digestOf(bytes), size: bytes.length };
  };
  const keepJson = (value) => keep(Buffer.from(JSON.stringify(value)));
  const host = `127.0.0.1:${server.address().port}`;
  return {
    host,
    asked,
    /** @returns the name that a build gives for it */
    publish(name, tag, layers, run = {}) {
      const config = keepJson({
        architecture: process.arch === 'x64' ? 'amd64' : process.arch,
        os: 'linux',
        config: run,
        history: layers.map(() => ({ created_by: 'a test' })),
        rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      });
      const manifest = keepJson({
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
        layers: layers.map(({ packed }) => ({
          mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
          ...keep(packed),
        })),
      });
      tags.set(`${name}:${tag}`, manifest.digest);
      return `${host}/${name}:${tag}`;
    },
    async close() {
      // One of an engine that it made in advance and never used is no idle one to `close`, which would wait for it.
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
