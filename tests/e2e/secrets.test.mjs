// Secrets that a machine uses and never sees: what the service is told, and all the places where they are not.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { InvalidRequestError, Nullspace } from 'nullspace';

import { end, start, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { engineForTests, SMALL, sh, until } from './support/engine.mjs';
import { missingForNames, startNames } from './support/names.mjs';
import { missingForPeer, OWN, PEER, PEER_2, startPeer } from './support/peer.mjs';

const missing = missingForPeer() ?? missingForNames();
const skip = missing === undefined ? false : `needs ${missing}`;

/** Nothing else on the computer looks like it. */
const VALUE = `sk-distinct-${randomBytes(16).toString('hex')}`;
const NAMES = {
  'api.example': PEER,
  'second.example': PEER,
  'other.example': PEER_2,
  'stranger.example': PEER,
  'own.example': OWN,
};
const SECRETS = {
  OPENAI_API_KEY: {
    value: VALUE,
    hosts: ['api.example', 'second.example', 'stranger.example', 'own.example'],
    path: '/v1',
  },
};
const GATEWAY = 'http://127.0.0.1:15001';

let engine;
let peer;
let names;
let service;
let state;
/** What the service was asked. */
const asked = [];

before(async () => {
  if (skip) return;
  peer = await startPeer();
  names = await startNames((name, kind) => (kind === 1 ? NAMES[name] : NAMES[name] && null));
  const folder = temporaryDirectory('secrets');
  const [key, cert] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
  const subject = [
    '-subj',
    '/CN=service',
    '-addext',
    'subjectAltName=DNS:api.example,DNS:second.example,DNS:other.example',
  ];
  const own = ['-addext', 'basicConstraints=critical,CA:FALSE'];
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', [...request, '-keyout', key, '-out', cert, ...subject, ...own], { stdio: 'ignore' });
  const program = fileURLToPath(new URL('support/service.mjs', import.meta.url));
  service = start(peer.enter[0], [...peer.enter.slice(1), process.execPath, program, key, cert]);
  let rest = '';
  service.stdout.setEncoding('utf8').on('data', (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    for (const line of lines) if (line.startsWith('{')) asked.push(JSON.parse(line));
  });
  await Promise.race([
    once(service.stdout, 'data'),
    once(service, 'exit').then(() => assert.fail('the service ended')),
  ]);
  state = path.join(temporaryDirectory('engine'), 'state');
  engine = await engineForTests({ state, env: { SSL_CERT_FILE: cert } });
});
after(async () => {
  await engine?.stopWell();
  names?.close();
  if (service) await end(service);
  await peer?.stop();
});

const withSecrets = (network = {}, more = {}) =>
  engine.Machine.create({ ...SMALL, network: { secrets: SECRETS, ...network }, ...more });

/** Asks for URLs from inside, on one connection: the answers as they came. Perl's own modules only. */
const ASK = String.raw`
use strict; use warnings; use IO::Socket::INET;
my ($method, $headers, $body, @urls) = @ARGV; $headers =~ s/\\n/\r\n/g;
my ($address) = $urls[0] =~ m{^http://([^/]+)}; my $socket = IO::Socket::INET->new(PeerAddr => $address, Timeout => 5) or die "no connection\n";
while (my $url = shift @urls) {
  my ($path) = $url =~ m{^http://[^/]+(/.*)}; my $sent = $body eq 'big' ? 'x' x 1048576 : $body;
  print $socket "$method $path HTTP/1.1\r\nHost: $address\r\nContent-Length: " . length($sent) . "\r\n" . (@urls ? '' : "Connection: close\r\n") . "$headers\r\n$sent";
  $socket->flush; if (@urls) { my $head = ''; while (<$socket>) { $head .= $_; last if /^\r$/ } my ($length) = $head =~ /content-length: (\d+)/i; read($socket, my $rest, $length); print "$head$rest\n" }
}
while (<$socket>) { print }
`;
async function ask(machine, urls, { method = 'GET', headers = '', body = '' } = {}) {
  const args = ['-e', ASK, method, headers, body, ...[urls].flat()];
  const { stdout, stderr } = await machine.commands.run('perl', { args, timeout: 60 });
  const status = Number(stdout.match(/^HTTP\/1\.1 (\d+)/)?.[1] ?? 0);
  return { status, stdout, stderr, location: stdout.match(/^location: (.*)\r$/im)?.[1] };
}
const base = (machine) => sh(machine, 'printf %s "$OPENAI_BASE_URL"');

test('the service is told the secret, and the machine only where to ask', { skip }, async () => {
  const machine = await withSecrets();
  assert.equal(await base(machine), `${GATEWAY}/OPENAI_API_KEY/api.example/v1`);
  assert.equal(await sh(machine, 'printf %s "$OPENAI_API_KEY"'), 'kept-outside-the-machine');
  const { secrets } = (await machine.getInfo()).network;
  assert.deepEqual(secrets, [
    {
      name: 'OPENAI_API_KEY',
      hosts: SECRETS.OPENAI_API_KEY.hosts,
      header: 'authorization',
      baseUrl: `${GATEWAY}/OPENAI_API_KEY/api.example/v1`,
      baseUrlEnv: 'OPENAI_BASE_URL',
    },
  ]);

  asked.length = 0;
  const headers = 'Authorization: Bearer dummy\\nX-Mine: a\\nConnection: x-hop\\nX-Hop: b\\n';
  const url = `${await base(machine)}/chat?stream=no`;
  const { status, stdout } = await ask(machine, url, { method: 'POST', headers, body: 'big' });
  assert.equal(status, 200, stdout);
  const digest = createHash('sha256')
    .update('x'.repeat(1 << 20))
    .digest('hex');
  assert.ok(stdout.includes(digest));
  const [request] = asked;
  assert.deepEqual(
    [request.method, request.url, request.name, request.digest],
    ['POST', '/v1/chat?stream=no', 'api.example', digest],
  );
  assert.equal(request.headers.authorization, `Bearer ${VALUE}`);
  assert.deepEqual(
    [request.headers.host, request.headers['x-mine'], request.headers['x-hop']],
    ['api.example', 'a', undefined],
  );
  await machine.kill();
});

test('header, format and variables are as asked, and the value may come from the environment', { skip }, async (t) => {
  process.env.NULLSPACE_TEST_SECRET = VALUE;
  t.after(() => delete process.env.NULLSPACE_TEST_SECRET);
  const secrets = {
    TOKEN: {
      env: 'NULLSPACE_TEST_SECRET',
      hosts: ['api.example'],
      header: 'X-Api-Key',
      format: 'key={}',
      baseUrlEnv: 'SERVICE',
    },
  };
  asked.length = 0;
  const result = await engine.Machine.runOnce('perl', {
    args: ['-e', ASK, 'GET', '', '', `${GATEWAY}/TOKEN/api.example/a`],
    memoryMb: 64,
    network: { secrets },
  });
  assert.equal(result.exitCode, 0, result.stderr);
  assert.deepEqual([asked[0].headers['x-api-key'], asked[0].headers.authorization], [`key=${VALUE}`, undefined]);
  const before = asked.length;
  for (const wrong of [
    { TOKEN: { env: 'NULLSPACE_TEST_NOT_SET', hosts: ['api.example'] } },
    { TOKEN: { value: VALUE, env: 'NULLSPACE_TEST_SECRET', hosts: ['api.example'] } },
    { TOKEN: { value: VALUE, hosts: ['*.example'] } },
    { TOKEN: { value: VALUE, hosts: ['api.example'], header: 'Host' } },
    { TOKEN: { value: `${VALUE}\n`, hosts: ['api.example'] } },
    { 'not a name': { value: VALUE, hosts: ['api.example'] } },
  ]) {
    await assert.rejects(engine.Machine.create({ ...SMALL, network: { secrets: wrong } }), (error) => {
      assert.ok(error instanceof InvalidRequestError, error.message);
      assert.match(error.message, /network\.secrets/);
      return !JSON.stringify([error.message, error, error.suggestedAction]).includes(VALUE);
    });
  }
  await assert.rejects(withSecrets({}, { envs: { OPENAI_API_KEY: VALUE } }), /envs\.OPENAI_API_KEY/);
  await assert.rejects(withSecrets({}, { internetAccess: false }), /internetAccess/);
  assert.equal(asked.length, before);
});

test('the example runs as it stands', { skip }, async (t) => {
  // Beside the package, as in a project.
  const file = path.resolve('keep-a-key.mjs');
  copyFileSync(path.join(process.env.NULLSPACE_TEST_ROOT, 'examples/keep-a-key/index.mjs'), file);
  t.after(() => rmSync(file));
  const service = { SERVICE_HOST: 'api.example', SERVICE_API_KEY: VALUE };
  const env = { ...process.env, NULLSPACE_API_URL: engine.url, NULLSPACE_API_KEY: engine.apiKey, ...service };
  asked.length = 0;
  const { stdout } = await promisify(execFile)(process.execPath, [file, '/v1/models'], { env });
  assert.match(stdout, /^200 [0-9a-f]{64}\n\nthe key in here: kept-outside-the-machine/);
  assert.deepEqual([asked[0].url, asked[0].headers.authorization], ['/v1/models', `Bearer ${VALUE}`]);
});

test('one connection carries many requests, and answers come as they are made', { skip }, async () => {
  const machine = await withSecrets();
  asked.length = 0;
  const url = await base(machine);
  const { stdout } = await ask(machine, [`${url}/1`, `${url}/2`, `${GATEWAY}/OPENAI_API_KEY/second.example/3`]);
  assert.equal(stdout.match(/^HTTP\/1\.1 200/gm).length, 3, stdout);
  assert.deepEqual(
    asked.map(({ url, name }) => [url, name]),
    [
      ['/v1/1', 'api.example'],
      ['/v1/2', 'api.example'],
      ['/3', 'second.example'],
    ],
  );
  assert.equal(asked[0].port, asked[1].port, 'two connections to one host');
  const begun = Date.now();
  const args = [
    '-c',
    `exec 3<>/dev/tcp/127.0.0.1/15001; printf 'GET /OPENAI_API_KEY/api.example/stream HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3; grep -m 2 '^data:' <&3`,
  ];
  const events = await machine.commands.run('bash', { args, timeout: 20 });
  assert.equal(events.stdout, 'data: 1\ndata: 2\n');
  assert.ok(Date.now() - begun < 5000);
  await machine.kill();
});

test('redirects stay with the hosts of the secret or go without it', { skip }, async () => {
  const machine = await withSecrets();
  const url = await base(machine);
  asked.length = 0;
  assert.equal((await ask(machine, `${url}/to-itself`)).location, `${GATEWAY}/OPENAI_API_KEY/api.example/v2/landing`);
  const second = await ask(machine, `${url}/to-second`);
  assert.equal(second.location, `${GATEWAY}/OPENAI_API_KEY/second.example/landing?a=b`);
  assert.equal((await ask(machine, `${url}/to-other`)).location, 'https://other.example/landing');
  for (const [path, code] of [
    ['/OPENAI_API_KEY/other.example/landing', 'host_not_allowed'],
    ['/OPENAI_API_KEY/api.example:444/', 'host_not_allowed'],
    ['/OPENAI_API_KEY/api.example@other.example/', 'host_not_allowed'],
    ['/OPENAI_API_KEY', 'host_not_allowed'],
    ['/openai_api_key/api.example/', 'secret_not_found'],
    ['/', 'secret_not_found'],
  ]) {
    const { status, stdout } = await ask(machine, GATEWAY + path);
    assert.ok([403, 404].includes(status), stdout);
    assert.ok(stdout.includes(code), stdout);
  }
  // What the machine asks the other host itself, as whoever follows the redirect does.
  const follow =
    "printf 'GET /landing HTTP/1.0\\r\\nHost: other.example\\r\\n\\r\\n' | timeout 5 openssl s_client -quiet -connect other.example:443";
  await machine.commands.run(follow, { shell: true });
  assert.deepEqual(
    asked.map(({ name }) => name),
    ['api.example', 'api.example', 'api.example', 'other.example'],
  );
  const others = asked.filter(({ name }) => name === 'other.example');
  assert.ok(!JSON.stringify(others).includes(VALUE));
  await machine.kill();
});

test('what would show the secret to the machine is not passed on', { skip }, async () => {
  const machine = await withSecrets();
  const url = await base(machine);
  const { stdout, status } = await ask(machine, `${url}/tells-header`);
  assert.equal(status, 200);
  assert.match(stdout, /^x-other: kept\r$/m);
  assert.ok(!stdout.includes(VALUE) && !/^x-told/m.test(stdout), stdout);
  assert.equal((await ask(machine, `${url}/x`, { method: 'TRACE' })).status, 405);
  // A service that is not the one that its name says gets nothing.
  asked.length = 0;
  const stranger = await ask(machine, `${GATEWAY}/OPENAI_API_KEY/stranger.example/x`);
  assert.equal(stranger.status, 502, stranger.stdout);
  assert.deepEqual(asked, []);
  await machine.kill();
});

test('the policy and its limits hold for it, also while something comes', { skip }, async () => {
  const named = { mode: 'custom', allowDomains: ['api.example'] };
  const machine = await withSecrets({ egress: named });
  const url = await base(machine);
  assert.equal((await ask(machine, `${url}/x`)).status, 200);
  for (const host of ['second.example', 'own.example'])
    assert.match((await ask(machine, `${GATEWAY}/OPENAI_API_KEY/${host}/x`)).stdout, /egress_denied/, host);
  for (const egress of [
    { mode: 'deny_all' },
    { mode: 'custom', denyCidrs: [`${PEER}/32`] },
    { mode: 'custom', allowCidrs: [`${PEER_2}/32`] },
    { mode: 'custom', denyDomains: ['api.example'] },
    { mode: 'custom', allowDomains: ['api.example:444'] },
  ]) {
    await machine.updateEgress(egress);
    const { status, stdout } = await ask(machine, `${url}/x`);
    assert.deepEqual([status, stdout.includes('egress_denied')], [403, true], JSON.stringify(egress));
  }
  await machine.updateEgress({ mode: 'allow_all' });
  assert.match((await ask(machine, `${GATEWAY}/OPENAI_API_KEY/own.example/x`)).stdout, /egress_denied/);

  const script = `exec 3<>/dev/tcp/127.0.0.1/15001; printf 'GET /OPENAI_API_KEY/api.example/stream HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3; timeout 20 cat <&3`;
  let seen = '';
  const stream = machine.commands.run('bash', {
    args: ['-c', script],
    timeout: 30,
    onStdout: (text) => (seen += text),
  });
  await until('the stream begins', () => seen.includes('data: 2'));
  await machine.updateEgress({ mode: 'deny_all' });
  assert.notEqual((await stream).exitCode, 124, 'the stream lived on');

  await machine.updateEgress({ mode: 'custom', rateLimit: { kbitPerSec: 4000 } });
  const before = (await machine.getMetrics()).at(-1)?.networkRxBytes ?? 0;
  const begun = Date.now();
  assert.equal((await ask(machine, `${url}/big`)).status, 200);
  assert.ok(Date.now() - begun > 1000, `a megabyte at 4 Mbit/s in ${Date.now() - begun} ms`);
  await until('it is counted', async () => (await machine.getMetrics()).at(-1).networkRxBytes - before > 1_000_000);
  await machine.kill();
});

/** Files of a directory that hold the value. */
function filesWith(directory) {
  const found = [];
  let read = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) {
      const inner = filesWith(file);
      found.push(...inner.found);
      read += inner.read;
    } else if (entry.isFile()) {
      read += 1;
      if (readFileSync(file).includes(VALUE)) found.push(file);
    }
  }
  return { found, read };
}

/** Looks through the machine for two halves put together, which the looking process alone has in one piece. */
const SEARCH = String.raw`
use strict; use warnings; use File::Find;
my $value = join '', @ARGV; my ($files, $memory, @found) = (0, 0);
# A piece at a time: a machine has less memory than a process may have mapped.
my $holds = sub {
  my ($handle, $what, $left) = (@_, 1 << 40); my ($rest, $read) = ('', 0);
  while (my $got = sysread($handle, my $part, $left < 1 << 20 ? $left : 1 << 20)) {
    $part = $rest . $part; $read += $got; $left -= $got;
    if (index($part, $value) >= 0) { push @found, $what; last }
    $rest = length $part > 64 ? substr($part, -64) : $part;
  }
  return $read;
};
find({ no_chdir => 1, wanted => sub {
  if ($_ eq '/proc' || $_ eq '/sys') { $File::Find::prune = 1; return }
  return unless -f $_ && !-l $_ && open my $file, '<:raw', $_; $files++; $holds->($file, $_);
} }, '/');
for my $process (grep { /^\/proc\/\d+$/ && $_ ne "/proc/$$" } glob '/proc/*') {
  for my $name (qw(environ cmdline)) { open my $file, '<:raw', "$process/$name" or next; $holds->($file, "$process/$name") }
  open my $maps, '<', "$process/maps" or next; open my $mem, '<:raw', "$process/mem" or next;
  while (<$maps>) {
    my ($from, $to) = /^([0-9a-f]+)-([0-9a-f]+) r/ or next; no warnings 'portable';
    sysseek($mem, hex $from, 0) or next; my $left = hex($to) - hex($from); next if $left > 64 << 20;
    $memory++ if $holds->($mem, "$process/mem", $left);
  }
}
print "$files $memory @found\n";
`;

test('the value is nowhere but at the service: files, processes, state, log, metrics, snapshots, answers', {
  skip,
}, async () => {
  const machine = await withSecrets({}, { idempotencyKey: 'secrets-1', metadata: { purpose: 'secrets' } });
  asked.length = 0;
  // Something runs that uses it, and keeps its environment.
  const url = await base(machine);
  await machine.commands.run('sleep 300', { shell: true, background: true });
  await machine.pty.create();
  assert.equal((await ask(machine, `${url}/x`)).status, 200);
  assert.equal(asked.filter(({ headers }) => headers.authorization === `Bearer ${VALUE}`).length, 1);

  const halves = [VALUE.slice(0, 20), VALUE.slice(20)];
  const searched = await machine.commands.run('perl', { args: ['-e', SEARCH, ...halves], timeout: 300 });
  const { exitCode, stdout, stderr } = searched;
  assert.deepEqual([exitCode, stderr], [0, '']);
  const [files, memory, ...found] = stdout.trim().split(' ');
  assert.deepEqual(found, []);
  assert.ok(Number(files) > 1000 && Number(memory) > 10, `${files} files, ${memory} pieces of memory`);

  const { id } = await machine.createSnapshot();
  const fork = await machine.fork();
  await machine.pause();
  const again = await engine.Machine.resume(machine.id);
  for (const kept of [fork, again]) {
    const { status, stdout } = await ask(kept, `${url}/x`);
    assert.equal(status, 200, stdout);
  }
  const restored = await engine.Machine.create({ snapshotId: id, timeout: 120 });
  assert.equal(await sh(restored, 'printf %s "$OPENAI_BASE_URL$OPENAI_API_KEY"'), '');
  assert.equal((await restored.getInfo()).network.secrets, undefined);
  assert.equal((await ask(restored, `${url}/x`)).status, 0);
  const given = await engine.Machine.create({ snapshotId: id, timeout: 120, network: { secrets: SECRETS } });
  assert.equal((await ask(given, `${await base(given)}/x`)).status, 200);
  const same = await withSecrets({}, { idempotencyKey: 'secrets-1', metadata: { purpose: 'secrets' } });
  assert.equal(same.id, machine.id);

  const answers = [];
  for (const place of [
    '/v1/machines',
    `/v1/machines/${machine.id}`,
    `/v1/machines/${fork.id}`,
    `/v1/machines/${machine.id}/metrics`,
    `/v1/machines/${machine.id}/processes`,
    `/v1/machines/${machine.id}/pty`,
    '/v1/lifecycle/events',
    '/v1/snapshots',
  ]) {
    const answer = await engine.request('GET', place);
    answers.push(await answer.text());
  }
  assert.ok(answers[0].includes(machine.id) && answers[1].includes('OPENAI_BASE_URL'));
  assert.deepEqual(
    answers.filter((text) => text.includes(VALUE)),
    [],
  );
  // A body that is wrong elsewhere, and one whose secret is.
  for (const network of [
    { secrets: SECRETS.OPENAI_API_KEY },
    { secrets: { A: { value: [VALUE], hosts: ['a.test'] } } },
    { secrets: { A: VALUE } },
  ]) {
    const answer = await engine.request('POST', '/v1/machines', { body: { network } });
    const text = await answer.text();
    assert.deepEqual([answer.status, text.includes(VALUE)], [400, false], text);
  }
  const { found: inState, read } = filesWith(state);
  assert.deepEqual(inState, []);
  assert.ok(read > 5);
  assert.ok(engine.log().length > 0 && !engine.log().includes(VALUE));
  await Promise.all([again, fork, restored, given].map((one) => one.kill()));
});

test('a client shows nothing of it either', { skip }, async () => {
  const seen = [];
  const note = (event) => seen.push(JSON.stringify(event));
  const { Machine } = new Nullspace({ ...engine.client, onRequest: note, onResponse: note });
  const machine = await Machine.create({ ...SMALL, network: { secrets: SECRETS } });
  seen.push(JSON.stringify(machine), String(machine));
  assert.ok(seen.length >= 4);
  assert.deepEqual(
    seen.filter((text) => text.includes(VALUE)),
    [],
  );
  await machine.kill();
});
