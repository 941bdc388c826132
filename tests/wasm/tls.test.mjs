// https, directly and through a proxy, with a certificate of its own authority: what NODE_EXTRA_CA_CERTS is for.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';

import { pkg } from './package.mjs';

const hasOpenssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

const listen = async (server) => {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server.address().port;
};

/** Runs a list in a process of its own, since Node reads NODE_EXTRA_CA_CERTS when it starts. */
const list = async (baseUrl, env) => {
  const code = `import { Machine } from ${JSON.stringify(new URL('node.mjs', pkg).href)};
    const options = { baseUrl: ${JSON.stringify(baseUrl)}, apiKey: 'k' };
    try {
      await Machine.list(options);
      console.log((await Machine.list(options)).items.length);
    } catch (error) {
      console.log(error.name, error.code, error.message);
    }`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
    env: { ...process.env, ...env },
    timeout: 20_000,
  });
  return stdout.trim();
};

test('https works directly and through CONNECT, and an unknown authority is refused', {
  skip: hasOpenssl ? false : 'openssl is missing, which makes the certificate',
}, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'nullspace-tls-'));
  const connections = new Set();
  const servers = [];
  try {
    const [key, cert] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
    const request = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '1',
    ];
    execFileSync('openssl', [...request, '-keyout', key, '-out', cert, ...subject], { stdio: 'ignore' });

    const api = https.createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_request, response) => {
      response.setHeader('content-type', 'application/json');
      response.end('{"items":[],"has_next":false}');
    });
    api.on('secureConnection', (socket) => connections.add(socket));
    const port = await listen(api);

    let tunnels = 0;
    const proxy = http.createServer();
    proxy.on('connect', (request, socket) => {
      tunnels += 1;
      const [host, targetPort] = request.url.split(':');
      const onward = net.connect(Number(targetPort), host, () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        onward.pipe(socket).pipe(onward);
      });
      for (const end of [socket, onward]) end.on('error', () => {});
    });
    const proxyPort = await listen(proxy);
    servers.push(api, proxy);

    const trusted = { NODE_EXTRA_CA_CERTS: cert };
    assert.equal(await list(`https://localhost:${port}`, trusted), '0');
    assert.equal(connections.size, 1, 'the connection is kept');
    assert.equal(await list(`https://127.0.0.1:${port}`, trusted), '0');
    assert.equal(tunnels, 0);

    const proxied = { ...trusted, https_proxy: `http://127.0.0.1:${proxyPort}` };
    assert.equal(await list(`https://localhost:${port}`, proxied), '0');
    assert.equal(tunnels, 1, 'the tunnel is kept');

    assert.match(
      await list(`https://localhost:${port}`, {}),
      /^TransportError transport_error .*self-signed certificate/,
    );
    assert.match(
      await list(`https://localhost:${port}`, { https_proxy: proxied.https_proxy }),
      /^TransportError .*self-signed certificate/,
    );
  } finally {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
    rmSync(folder, { recursive: true, force: true });
  }
});
