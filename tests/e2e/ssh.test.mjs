// SSH access: keys and certificates as files, and OpenSSH itself going in with the command that the answer gives.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { InvalidRequestError, NotFoundError } from 'nullspace';

import { engineForTests, SMALL, until } from './support/engine.mjs';

const engine = await engineForTests();
const directory = mkdtempSync(join(tmpdir(), 'nullspace-ssh-'));
after(async () => {
  await engine.stopWell();
  rmSync(directory, { recursive: true, force: true });
});

/** Runs the command of an answer, with more words, and nothing to ask. */
const ssh = (access, words, options = {}) => {
  const run = spawnSync('sh', ['-c', `${access.command.replace('ssh ', 'ssh -F none -o BatchMode=yes ')} ${words}`], {
    encoding: 'utf8',
    timeout: 30_000,
    ...options,
  });
  assert.ok(!run.error, String(run.error));
  assert.ok(run.status !== 127, 'no ssh: on Debian `apt-get install openssh-client`');
  return run;
};

/** The words of the command of an answer, after the first. */
const wordsOf = (access) =>
  spawnSync('sh', ['-c', `printf '%s\\0' ${access.command}`], { encoding: 'utf8' })
    .stdout.split('\0')
    .slice(1, -1);

test('createSshAccess without a key makes one, and its command goes in', async () => {
  const machine = await engine.Machine.create({ ...SMALL, envs: { NAME: 'first' } });
  const keyDir = join(directory, 'a b 100%h');
  const access = await machine.createSshAccess({ keyDir, expiresInMinutes: 5 });
  const minutes = (access.expiresAt.getTime() - Date.now()) / 60_000;
  assert.ok(minutes > 4 && minutes <= 5.1, String(minutes));
  assert.equal(access.user, 'root');
  assert.equal(access.identityFile, join(keyDir, 'nullspace_ssh_ed25519'));
  for (const file of [access.identityFile, access.certificateFile, access.knownHostsFile])
    assert.equal(statSync(file).mode & 0o777, 0o600, file);

  const ran = ssh(access, `'echo $NAME; cat; echo err >&2; exit 5'`, { input: 'typed\n' });
  assert.deepEqual([ran.stdout, ran.stderr, ran.status], ['first\ntyped\n', 'err\n', 5]);
  // OpenSSH reads the key as its own.
  const shown = spawnSync('ssh-keygen', ['-y', '-f', access.identityFile], { encoding: 'utf8' });
  assert.match(shown.stdout, /^ssh-ed25519 /);

  // A terminal, which has a size and a line discipline.
  const typed = ssh(access, '-tt', { input: 'stty size; tty; exit 4\n' });
  assert.equal(typed.status, 4, typed.stderr);
  assert.match(typed.stdout, /\/dev\/pts\/\d/);

  // The same key for the next machine; the first command still leads to the first.
  const second = await engine.Machine.create({ ...SMALL, envs: { NAME: 'second' } });
  const other = await second.createSshAccess({ keyDir });
  assert.equal(other.identityFile, access.identityFile);
  assert.equal(ssh(other, 'echo \\$NAME').stdout, 'second\n');
  assert.equal(ssh(access, 'echo \\$NAME').stdout, 'first\n');

  // Certificates that ended are cleared away with the next one.
  utimesSync(other.certificateFile, new Date(), new Date(Date.now() - 1000));
  await machine.createSshAccess({ keyDir });
  assert.deepEqual(readdirSync(keyDir).sort(), [
    'known_hosts',
    'nullspace_ssh_ed25519',
    access.certificateFile.split('/').at(-1),
  ]);
  await Promise.all([machine.kill(), second.kill()]);
  const late = ssh(access, 'true');
  assert.equal(late.status, 255);
  assert.match(late.stderr, /nullspace: .*not found|nullspace: .*destroyed/i);
});

test('two processes that make the key at once get the same', async () => {
  const machine = await engine.Machine.create({ ...SMALL });
  const keyDir = join(directory, 'race');
  const all = await Promise.all(Array.from({ length: 8 }, () => machine.createSshAccess({ keyDir })));
  for (const access of all) assert.equal(access.identityFile, all[0].identityFile);
  assert.equal(ssh(all[0], 'echo in').stdout, 'in\n');
  assert.equal(readdirSync(keyDir).length, 3, String(readdirSync(keyDir)));
  await machine.kill();
});

test('a key of the caller, files by scp, a forwarded port, and the policy of the machine', async () => {
  const machine = await engine.Machine.create({ ...SMALL, network: { egress: { mode: 'deny_all' } } });
  const identityFile = join(directory, 'own');
  for (const kind of ['ed25519', 'ecdsa']) {
    rmSync(identityFile, { force: true });
    rmSync(`${identityFile}.pub`, { force: true });
    assert.equal(spawnSync('ssh-keygen', ['-q', '-t', kind, '-N', '', '-f', identityFile]).status, 0);
    const publicKey = readFileSync(`${identityFile}.pub`, 'utf8');
    // Only a certificate: what becomes of it is the caller's business.
    const bare = await machine.createSshAccess({ publicKey });
    assert.equal(bare.identityFile, undefined);
    assert.match(bare.certificate, /-cert-v01@openssh\.com /);
    assert.equal(bare.command, `ssh -p ${bare.port} root@127.0.0.1`);
    const access = await machine.createSshAccess({ identityFile });
    assert.equal(ssh(access, 'echo in').stdout, 'in\n', kind);
  }
  const access = await machine.createSshAccess({ identityFile });

  // scp, by whichever way the machine knows.
  const source = join(directory, 'file');
  writeFileSync(source, 'x'.repeat(300_000));
  const options = wordsOf(access).slice(0, -3);
  const scp = (...words) =>
    spawnSync('scp', ['-F', 'none', '-O', '-P', String(access.port), ...options, ...words], {
      encoding: 'utf8',
      timeout: 30_000,
    });
  const hasScp = ssh(access, 'command -v scp').status === 0;
  if (hasScp) {
    const sent = scp(source, 'root@127.0.0.1:/tmp/file');
    assert.equal(sent.status, 0, sent.stderr);
    assert.equal((await machine.files.read('/tmp/file')).length, 300_000);
  } else {
    assert.equal(ssh(access, `'cat > /tmp/file'`, { input: 'x'.repeat(300_000) }).status, 0);
    assert.equal((await machine.files.read('/tmp/file')).length, 300_000);
  }

  // Much in both directions at once.
  const sum = spawnSync(
    'sh',
    [
      '-c',
      // The limit is in the pipe: `spawnSync` waits for whoever still holds its end.
      `head -c 200000000 /dev/zero | timeout 90 ${access.command.replace('ssh ', 'ssh -F none -o BatchMode=yes ')} cat | wc -c`,
    ],
    { encoding: 'utf8', timeout: 120_000 },
  );
  assert.equal(sum.stdout.trim(), '200000000', sum.stderr);

  // A port of the machine, here.
  await machine.commands.run('mkdir -p /srv/www && echo served > /srv/www/index.html', { shell: true });
  await machine.commands.run('python3 -m http.server -d /srv/www 8000', { shell: true, background: true });
  const words = wordsOf(access);
  const local = 20_000 + Math.floor(Math.random() * 10_000);
  const forward = spawn('ssh', [
    ...['-F', 'none', '-o', 'BatchMode=yes', '-o', 'ExitOnForwardFailure=yes', '-N', '-L', `${local}:localhost:8000`],
    ...words,
  ]);
  let text;
  await until('the forwarded port answers', async () => {
    text = await fetch(`http://127.0.0.1:${local}/`, { signal: AbortSignal.timeout(5000) })
      .then((answer) => answer.text())
      .catch(() => undefined);
    return text !== undefined;
  });
  assert.equal(text, 'served\n');
  forward.kill();

  // SSH is no way around the policy.
  const out = ssh(access, `'timeout 5 sh -c "exec 3<>/dev/tcp/1.1.1.1/443" 2>&1; echo $?'`);
  assert.notEqual(out.stdout.trim().at(-1), '0');
  const refused = spawnSync('ssh', ['-F', 'none', '-o', 'BatchMode=yes', '-W', '10.0.0.1:80', ...words], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.match(refused.stderr, /administratively prohibited/);
  await machine.kill();
});

test('a client that goes away leaves no process behind', async () => {
  const machine = await engine.Machine.create({ ...SMALL });
  const access = await machine.createSshAccess({ keyDir: join(directory, 'gone') });
  const words = wordsOf(access);
  const client = spawn('ssh', ['-F', 'none', '-o', 'BatchMode=yes', ...words, 'exec sleep 4321']);
  const sleeps = async () =>
    (await machine.commands.run('ps -eo args | grep -c "^sleep 4321"', { shell: true })).stdout.trim();
  await until('it runs', async () => (await sleeps()) === '1');
  client.kill('SIGKILL');
  await until('it was killed', async () => (await sleeps()) === '0');
  await machine.kill();
});

test('what is wrong is named before anything is sent', async () => {
  const machine = await engine.Machine.create({ ...SMALL });
  const refused = (options, name) =>
    assert.rejects(machine.createSshAccess(options), (error) => {
      assert.ok(error instanceof InvalidRequestError, String(error));
      assert.match(error.message, new RegExp(name));
      return true;
    });
  await refused(5, 'object');
  await refused({ publicKey: 'AAAA' }, 'publicKey');
  await refused({ publicKey: '-----BEGIN OPENSSH PRIVATE KEY-----' }, 'private');
  await refused({ keyDir: 5 }, 'keyDir');
  await refused({ keyDir: directory, identityFile: 'x' }, 'keyDir');
  await refused({ publicKey: 'ssh-ed25519 AAAA', keyDir: directory }, 'keyDir');
  await refused({ keyDir: directory, expiresInMinutes: 0 }, 'expiresInMinutes');
  await refused({ keyDir: directory, expiresInMinutes: 1441 }, 'expires_in_minutes');
  await refused({ keyDir: directory, user: 'no-such-user' }, 'user');
  await refused({ keyDir: directory, ttl: 5 }, 'ttl');
  const strange = join(directory, 'strange');
  writeFileSync(strange, 'no key');
  await refused({ identityFile: strange }, 'identityFile');
  await machine.kill();
  await assert.rejects(machine.createSshAccess({ keyDir: directory }), NotFoundError);
});
