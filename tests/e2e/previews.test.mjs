// Ports of a machine, reached from outside: addresses, tokens, waiting for a service.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { InvalidRequestError, NotFoundError, redactPreviewToken, redactPreviewUrl } from 'nullspace';

import { engineForTests, SMALL } from './support/engine.mjs';

const engine = await engineForTests();
after(() => engine.stopWell());

/** A web server of few bytes, in whatever language the computer has. */
const SERVE = `exec python3 -c '
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"served " + self.path.split("?")[0].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
'`;

let machine;
let skip = false;
before(async () => {
  machine = await engine.Machine.create({ ...SMALL, memoryMb: 128 });
  skip = (await machine.commands.run('command -v python3', { shell: true })).exitCode !== 0;
  if (!skip) await machine.commands.run(SERVE, { shell: true, background: true, timeout: 600 });
});
const served = (name, run) => test(name, (t) => (skip ? t.skip('the machine has no python3') : run(t)));

test('nothing behind a port is an answer, not an error', async () => {
  const readiness = await machine.waitForPreview(8081, { timeout: 1, intervalMs: 100 });
  assert.deepEqual([readiness.ready, readiness.serviceReady, readiness.kind], [false, false, 'tcp']);
  assert.ok(readiness.attempts > 1);
  assert.ok(readiness.checkedAt instanceof Date);
});

served('a service is waited for and reached at its address', async () => {
  const readiness = await machine.waitForPreview(8080, { path: '/health', timeout: 20 });
  assert.ok(readiness.ready, readiness.error);
  // `get_host_info` of the Python SDK.
  const host = await machine.getHost(8080);
  // An address of its own, or a name below that of a gateway.
  assert.match(host.host, /^(127\.0\.0\.1|8080-mch_\w+\.localhost):\d+$/);
  assert.equal(await machine.getUrl(8080), `http://${host.host}`);
  // `get_websocket_url` of the Python SDK.
  assert.equal(await machine.getWebSocketUrl(8080), `ws://${host.host}`);
  const answer = await fetch(`${await machine.getUrl(8080)}/page`);
  assert.deepEqual([answer.status, await answer.text()], [200, 'served /page']);
});

served('what logs may show of a signed URL', async () => {
  const { url, accessToken } = await machine.createSignedPreviewUrl(8080);
  const shown = redactPreviewUrl(`${url}&page=2#top`);
  assert.match(shown, /edge_token=<redacted>&page=2#top$/);
  assert.ok(!shown.includes(new URL(url).searchParams.get('edge_token')));
  assert.equal(redactPreviewToken(accessToken ?? 'token'), '<redacted>');
  assert.equal(redactPreviewToken(undefined), undefined);
  assert.equal(redactPreviewUrl('http://127.0.0.1:1/?a=b'), 'http://127.0.0.1:1/?a=b');
});

served('a signed URL opens its port until it is revoked', async () => {
  const signed = await machine.createSignedPreviewUrl(8080, { expiresInSeconds: 60 });
  const left = signed.accessTokenExpiresAt.getTime() - Date.now();
  assert.ok(left > 50_000 && left <= 60_500, `${left} ms`);
  assert.equal(await (await fetch(signed.url)).text(), 'served /');
  const listed = await machine.listPreviewUrls({ port: 8080 });
  assert.ok(listed.some(({ id, status }) => id === signed.grant.id && status === 'active'));
  assert.ok(!JSON.stringify(listed).includes(new URL(signed.url).searchParams.get('edge_token')), 'tokens stay out');
  const revoked = await machine.revokePreviewUrl(signed.grant.id);
  assert.deepEqual([revoked.success, revoked.grant.status], [true, 'revoked']);
  const refused = await fetch(signed.url);
  assert.ok([401, 403, 410].includes(refused.status), `${refused.status}`);
  assert.deepEqual(await machine.listPreviewUrls({ port: 8081 }), []);
});

served('a preview URL and a proxy target carry their tokens', async () => {
  const preview = await machine.getPreviewUrl(8080);
  assert.equal(await (await fetch(preview.url)).text(), 'served /');
  assert.match(preview.websocketUrl, /^ws:/);
  const target = await machine.createPreviewProxyTarget(8080, { transports: ['http'], expiresInSeconds: 60 });
  assert.ok(target.httpUrl && target.httpToken);
  assert.deepEqual(
    [target.websocketUrl, target.websocketToken, target.trafficAccessRequired],
    [undefined, undefined, false],
  );
  const answer = await fetch(target.httpUrl, { headers: { [target.tokenHeaderName]: target.httpToken } });
  assert.equal(answer.status, 200);
});

served('ports of a machine without public traffic open with its token only', async () => {
  const closed = await engine.Machine.create({ ...SMALL, memoryMb: 128, network: { allowPublicTraffic: false } });
  await closed.commands.run(SERVE, { shell: true, background: true, timeout: 600 });
  assert.ok((await closed.waitForPreview(8080, { timeout: 20 })).ready);
  const url = await closed.getUrl(8080);
  assert.ok([401, 403].includes((await fetch(url)).status));
  const headers = { 'x-nullspace-traffic-access-token': closed.trafficAccessToken };
  assert.equal(await (await fetch(url, { headers })).text(), 'served /');
  assert.ok(
    [401, 403].includes((await fetch(url, { headers: { ...headers, [Object.keys(headers)[0]]: 'no' } })).status),
  );
  await closed.kill();
});

test('reserved ports and unknown grants are refused', async () => {
  await assert.rejects(machine.getHost(22), InvalidRequestError);
  await assert.rejects(machine.getPreviewUrl(5901), InvalidRequestError);
  await assert.rejects(machine.createSignedPreviewUrl(8080, { expiresInSeconds: 59 }), InvalidRequestError);
  await assert.rejects(machine.revokePreviewUrl('pvg_none'), NotFoundError);
  await assert.rejects(machine.revokePreviewUrl('..'), InvalidRequestError);
});
