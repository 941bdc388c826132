// SSH access: keys and certificates as files, and OpenSSH itself going in with the command that the answer gives.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { InvalidRequestError, NotFoundError } from 'nullspace';

import { engineForTests, SMALL, sh, until } from './support/engine.mjs';

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

/** The options that `scp` and `sftp` need of an answer. */
const optionsOf = (access) => [
  ...['-F', 'none', '-o', 'BatchMode=yes', '-P', String(access.port)],
  ...wordsOf(access).slice(0, -3),
];

/** Runs `scp` or `sftp`. */
const run = (program, access, words, options = {}) => {
  const ran = spawnSync(program, [...optionsOf(access), ...words], { encoding: 'utf8', timeout: 120_000, ...options });
  assert.ok(!ran.error, String(ran.error));
  return ran;
};

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

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

  // scp as it was before it spoke SFTP, if the machine has one; else what it comes to.
  const source = join(directory, 'file');
  writeFileSync(source, 'x'.repeat(300_000));
  const hasScp = ssh(access, 'command -v scp').status === 0;
  const sent = hasScp
    ? run('scp', access, ['-O', source, 'root@127.0.0.1:/tmp/file'])
    : ssh(access, `'cat > /tmp/file'`, { input: 'x'.repeat(300_000) });
  assert.equal(sent.status, 0, sent.stderr);
  assert.equal((await machine.files.read('/tmp/file')).length, 300_000);

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

test('scp and sftp need no program in the machine, and one that is there is not asked', async () => {
  const machine = await engine.Machine.create({ ...SMALL });
  // Every place where a distribution may have put its own, as far as the machine may write there.
  await sh(
    machine,
    `for p in /usr/lib/openssh /usr/lib/ssh /usr/libexec/openssh /usr/libexec; do
       mkdir -p $p && printf '#!/bin/sh\\nexit 9\\n' > $p/sftp-server && chmod 755 $p/sftp-server; done; true`,
  );
  const access = await machine.createSshAccess({ keyDir: join(directory, 'copies') });
  const scp = (...words) => run('scp', access, words);
  const there = (path) => `root@127.0.0.1:${path}`;
  const here = (name) => join(directory, name);
  const copied = (...words) => {
    const { status, stderr } = scp(...words);
    assert.equal(status, 0, stderr);
  };

  // Relative paths begin where shells do.
  writeFileSync(here('a file.txt'), 'by scp');
  copied(here('a file.txt'), there(''));
  assert.equal(await machine.files.read('/workspace/a file.txt'), 'by scp');
  copied(there('a file.txt'), here('back.txt'));
  assert.equal(readFileSync(here('back.txt'), 'utf8'), 'by scp');

  // Much: the same bytes in both directions.
  const much = randomBytes(64 << 20);
  writeFileSync(here('much'), much);
  copied(here('much'), there('/workspace/much'));
  assert.equal((await sh(machine, 'sha256sum < /workspace/much')).split(' ')[0], sha256(much));
  copied(there('/workspace/much'), here('much-back'));
  assert.equal(sha256(readFileSync(here('much-back'))), sha256(much));
  // Less over more: nothing of the old content stays.
  copied(here('a file.txt'), there('/workspace/much'));
  assert.equal(await machine.files.read('/workspace/much'), 'by scp');

  // A directory with what is in it, with modes and times.
  const tree = here('tree');
  mkdirSync(join(tree, 'sub', 'empty'), { recursive: true });
  for (let n = 0; n < 150; n++) writeFileSync(join(tree, 'sub', `f${n}`), String(n));
  writeFileSync(join(tree, 'run.sh'), '#!/bin/sh\n');
  chmodSync(join(tree, 'run.sh'), 0o751);
  chmodSync(join(tree, 'sub', 'f0'), 0o600);
  const when = new Date('2021-02-03T04:05:06Z');
  utimesSync(join(tree, 'run.sh'), when, when);
  copied('-r', '-p', tree, there('/workspace'));
  assert.equal(
    await sh(machine, `cd /workspace/tree && stat -c '%a %Y' run.sh && stat -c %a sub/f0 && ls sub | wc -l`),
    `751 ${when.getTime() / 1000}\n600\n151`,
  );
  copied('-r', '-p', there('/workspace/tree'), here('tree-back'));
  const back = statSync(join(here('tree-back'), 'run.sh'));
  assert.deepEqual([back.mode & 0o777, back.mtimeMs], [0o751, when.getTime()]);
  assert.equal(readFileSync(join(here('tree-back'), 'sub', 'f149'), 'utf8'), '149');
  assert.equal(readdirSync(join(here('tree-back'), 'sub')).length, 151);

  // Names that are no UTF-8 come along, and lead back to their files.
  await sh(machine, `cd tree/sub/empty && echo bytes > "$(printf 'caf\\351')"`);
  copied('-r', there('/workspace/tree/sub/empty'), here('bytes'));
  assert.deepEqual(readdirSync(here('bytes')), ['caf\u{FFFD}E9']);
  writeFileSync(join(here('bytes'), 'caf\u{FFFD}E9'), 'again\n');
  copied(join(here('bytes'), 'caf\u{FFFD}E9'), there('/workspace/tree/sub/empty'));
  assert.equal(await sh(machine, 'cd tree/sub/empty && ls | od -An -tx1 && cat *'), '63 61 66 e9 0a\nagain');

  for (const words of [
    [there('/workspace/not-there'), here('x')],
    [here('a file.txt'), there('/no/such/directory/f')],
  ]) {
    const { status, stderr } = scp(...words);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /\/workspace\/not-there.*No such file|\/no\/such\/directory\/f.*No such file/);
  }
  assert.ok(!existsSync(here('x')));
  await machine.kill();
});

test('sftp does what its commands say', async () => {
  const machine = await engine.Machine.create({ ...SMALL });
  const access = await machine.createSshAccess({ keyDir: join(directory, 'sftp') });
  const batch = (...lines) =>
    run('sftp', access, ['-b', '-', 'root@127.0.0.1'], { input: `${lines.join('\n')}\n`, cwd: directory });
  writeFileSync(join(directory, 'one'), 'one');
  writeFileSync(join(directory, 'more'), 'one, and more');
  const did = batch(
    ...['pwd', 'mkdir d', 'put one d/one', 'chmod 4750 d/one', 'ls -l d', 'chmod 750 d/one', 'ln -s one d/link'],
    // Over what is there, as mv does; the rest of a file that is there in part.
    ...['ln d/one d/hard', 'put one d/other', 'rename d/one d/other', 'put -a more d/other', 'get d/link linked'],
  );
  // \`d/link\` leads to what was renamed away.
  assert.equal(did.status, 1, did.stderr);
  assert.match(did.stderr, /No such file/);
  assert.match(did.stdout, /Remote working directory: \/workspace\n/);
  assert.match(did.stdout, /-rwsr-x--- +1 root +root +3 \w{3} [ \d]\d \d\d:\d\d (d\/)?one\n/);
  const rest = batch('mkdir e', 'rmdir e', 'rm d/hard', 'df', 'put -f one d/synced', 'get -a d/other one', 'ls -1 d');
  assert.equal(rest.status, 0, rest.stderr);
  assert.match(rest.stdout, /Avail/);
  assert.match(rest.stdout, /d\/link\nd\/other\nd\/synced\n/);
  assert.equal(readFileSync(join(directory, 'one'), 'utf8'), 'one, and more');
  assert.equal(
    await sh(machine, `cd d; readlink link; cat other; stat -c ' %a %h' other; ls -d ../e 2>/dev/null || echo gone`),
    'one\none, and more 750 1\ngone',
  );
  for (const [line, why] of [
    ['rmdir d', /Failure/],
    ['rm d/none', /d\/none.*No such file/],
    ['put one .nullspace/f', /ermission denied|No such file/],
    ['get d', /d.*(not a regular file|directory)/],
  ]) {
    const { status, stderr, stdout } = batch(line);
    assert.equal(status, 1, line);
    assert.match(stderr + stdout, why, line);
  }
  await machine.kill();
});

test('links of the machine lead nowhere outside, and users have their own rights', async () => {
  const machine = await engine.Machine.create({ ...SMALL });
  const access = await machine.createSshAccess({ keyDir: join(directory, 'links') });
  // An ordinary user cannot even read it.
  const isOpen = existsSync('/etc/shadow') && process.getuid() === 0;
  const host = isOpen ? readFileSync('/etc/shadow', 'utf8') : undefined;
  await sh(machine, 'printf inside > /etc/shadow; chmod 600 /etc/shadow; ln -s /etc/shadow leak; ln -s / root');
  const paths = ['leak', 'root/etc/shadow', '../../../../etc/shadow', '/proc/self/root/etc/shadow'];
  for (const path of paths) {
    const got = run('scp', access, [`root@127.0.0.1:${path}`, join(directory, 'got')]);
    assert.equal(got.status, 0, `${path}: ${got.stderr}`);
    assert.equal(readFileSync(join(directory, 'got'), 'utf8'), 'inside', path);
  }
  writeFileSync(join(directory, 'new'), 'written');
  for (const path of ['leak', 'root/etc/shadow']) {
    await sh(machine, 'printf inside > /etc/shadow');
    const put = run('scp', access, [join(directory, 'new'), `root@127.0.0.1:${path}`]);
    assert.equal(put.status, 0, put.stderr);
    assert.equal(await sh(machine, 'cat /etc/shadow'), 'written', path);
  }
  if (host !== undefined) assert.equal(readFileSync('/etc/shadow', 'utf8'), host);

  // As somebody else, if this computer can give machines more than one user.
  const other = await machine.createSshAccess({ keyDir: join(directory, 'links'), user: 'nobody' }).catch((e) => e);
  if (other instanceof Error) {
    assert.ok(process.getuid() !== 0, String(other));
  } else {
    const got = run('scp', other, ['nobody@127.0.0.1:/etc/shadow', join(directory, 'refused')]);
    assert.equal(got.status, 1);
    assert.match(got.stderr, /\/etc\/shadow.*Permission denied/);
    await sh(machine, 'mkdir -m 777 /tmp/open');
    assert.equal(run('scp', other, [join(directory, 'new'), 'nobody@127.0.0.1:/tmp/open/mine']).status, 0);
    assert.equal(await sh(machine, 'stat -c %U /tmp/open/mine'), 'nobody');
  }
  await machine.kill();
});

test('a copy whose client is killed, or whose machine ends, leaves nothing open', async () => {
  const machine = await engine.Machine.create({ ...SMALL });
  const access = await machine.createSshAccess({ keyDir: join(directory, 'killed') });
  const source = join(directory, 'slow');
  writeFileSync(source, Buffer.alloc(32 << 20));
  const descriptors = () => readdirSync(`/proc/${engine.pid}/fd`).length;
  const before = descriptors();
  // A tenth of a second each MiB: in the middle for long enough.
  const start = (name) =>
    spawn('scp', [...optionsOf(access), '-l', '16000', source, `root@127.0.0.1:/workspace/${name}`], {
      detached: true,
      stdio: 'ignore',
    });
  // Its files are open in a process of their own in the machine, so none are when that is gone.
  const processes = async () => Number(await sh(machine, 'ls -d /proc/[0-9]* | wc -l'));
  const idle = await processes();
  const isThere = async (name) => (await sh(machine, `stat -c %s /workspace/${name} 2>/dev/null || echo 0`)) !== '0';
  const client = start('first');
  await until('it is written', () => isThere('first'));
  await until('it has a process', async () => (await processes()) === idle + 1);
  process.kill(-client.pid, 'SIGKILL');
  await until('it is closed', async () => (await processes()) === idle);
  await until('the engine has let go', () => descriptors() <= before);

  const second = start('second');
  const ended = new Promise((resolve) => second.once('exit', resolve));
  await until('it is written', () => isThere('second'));
  await machine.kill();
  assert.notEqual(await ended, 0);
  await until('the engine has let go', () => descriptors() <= before);
});

test('a copy waits while its machine is paused, and goes on', async () => {
  const machine = await engine.Machine.create({ ...SMALL });
  const access = await machine.createSshAccess({ keyDir: join(directory, 'paused') });
  const source = join(directory, 'paused-source');
  writeFileSync(source, randomBytes(6 << 20));
  // Two seconds.
  const copy = spawn('scp', [...optionsOf(access), '-l', '24000', source, 'root@127.0.0.1:/workspace/f']);
  const ended = new Promise((resolve) => copy.once('exit', resolve));
  await until('it has begun', async () => (await sh(machine, 'stat -c %s f 2>/dev/null || echo 0')) !== '0');
  await machine.pause();
  await sleep(3000);
  assert.equal(copy.exitCode, null);
  const resumed = await engine.Machine.connect(machine.id);
  assert.equal(await ended, 0);
  assert.equal((await sh(resumed, 'sha256sum < f')).split(' ')[0], sha256(readFileSync(source)));
  await resumed.kill();
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
