// Keys for SSH as files of the computer, in Node, Deno and Bun: made once, certificates beside them.

import { wrong } from './checks.js';
import { quoted } from './shell.js';
import { checkMachineId } from './ssh-answer.js';

const builtin = (name) => process.getBuiltinModule(name);

/** Name of the key that is made. The Python SDK takes the same. */
const NAME = 'nullspace_ssh_ed25519';
const MAGIC = 'openssh-key-v1\0';

/** A path with `~` for the home directory. */
const path = (option, given) => {
  if (typeof given !== 'string' || given.trim() === '') wrong(option, 'must be a path such as ~/.ssh/id_ed25519');
  const { join, resolve } = builtin('node:path');
  return given === '~' || given.startsWith('~/') ? join(builtin('node:os').homedir(), given.slice(1)) : resolve(given);
};

/** Fields as SSH writes them: a length of four bytes before each. */
const field = (bytes) => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
};
const fields = (...parts) => Buffer.concat(parts.map((part) => field(Buffer.from(part))));

/** A new ed25519 key in the form of `ssh-keygen`. */
const makeKey = () => {
  const { generateKeyPairSync, randomBytes } = builtin('node:crypto');
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const [seed, point] = [Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')];
  const blob = fields('ssh-ed25519', point);
  const check = randomBytes(4);
  let secret = Buffer.concat([
    check,
    check,
    fields('ssh-ed25519', point, Buffer.concat([seed, point]), 'nullspace-sdk'),
  ]);
  const missing = (8 - (secret.length % 8)) % 8;
  secret = Buffer.concat([secret, Buffer.from(Array.from({ length: missing }, (_, index) => index + 1))]);
  const whole = Buffer.concat([
    Buffer.from(MAGIC),
    fields('none', 'none', ''),
    Buffer.from([0, 0, 0, 1]),
    field(blob),
    field(secret),
  ]);
  const lines = whole.toString('base64').match(/.{1,70}/g);
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`;
};

/** The public half, which stands in clear in every private key of OpenSSH. */
const publicHalf = (text) => {
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([^-]+)-----END/.exec(text)?.[1];
  const bytes = Buffer.from(body ?? '', 'base64');
  if (bytes.subarray(0, MAGIC.length).toString('latin1') !== MAGIC) return undefined;
  let at = MAGIC.length;
  const next = () => {
    const end = at + 4 + bytes.readUInt32BE(at);
    const found = bytes.subarray(at + 4, end);
    at = end;
    return found;
  };
  try {
    for (let skipped = 0; skipped < 3; skipped += 1) next();
    at += 4;
    const blob = next();
    const kind = blob.subarray(4, 4 + blob.readUInt32BE(0)).toString('latin1');
    return `${kind} ${blob.toString('base64')}`;
  } catch {
    return undefined; // cut off
  }
};

/** Writes whole or not at all, and for nobody else; `place` gives the file its name. */
const write = async (file, text, place = builtin('node:fs/promises').rename) => {
  const { rm, writeFile } = builtin('node:fs/promises');
  const draft = `${file}.${builtin('node:crypto').randomBytes(6).toString('hex')}`;
  try {
    await writeFile(draft, text, { mode: 0o600, flag: 'wx' });
    await place(draft, file);
  } finally {
    await rm(draft, { force: true });
  }
};

/** The public key of a file, which is made if it is missing. */
const publicKeyOf = async (file) => {
  const { link, mkdir, readFile } = builtin('node:fs/promises');
  const { dirname } = builtin('node:path');
  const read = (name) => readFile(name, 'utf8').catch(() => undefined);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  if ((await read(file)) === undefined) {
    // Another call may make it at the same time: the first one's stays.
    await write(file, makeKey(), link).catch((error) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
  const key = publicHalf((await read(file)) ?? '') ?? (await read(`${file}.pub`))?.trim();
  if (!key)
    wrong('identityFile', `is no private key of OpenSSH, and ${file}.pub does not exist: make it with ssh-keygen -y`);
  return key;
};

/** A path as a value of an option of `ssh`, which splits at spaces and replaces what follows a `%`. */
const value = (file) => `"${file.replaceAll('%', '%%')}"`;

/** Certificates of machines that nobody can enter any more. Their files say until when they hold. */
const removeEnded = async (identity) => {
  const { readdir, rm, stat } = builtin('node:fs/promises');
  const { basename, dirname, join } = builtin('node:path');
  const begin = `${basename(identity)}-mch_`;
  for (const name of await readdir(dirname(identity))) {
    if (!name.startsWith(begin) || !name.endsWith('-cert.pub')) continue;
    const file = join(dirname(identity), name);
    const end = await stat(file).catch(() => undefined);
    if (end && end.mtimeMs < Date.now()) await rm(file, { force: true });
  }
};

const remember = async (file, { host, port, hostKey }) => {
  const { readFile } = builtin('node:fs/promises');
  const marker = port === 22 ? host : `[${host}]:${port}`;
  const known = await readFile(file, 'utf8').catch(() => '');
  const others = known.split('\n').filter((line) => line.trim() !== '' && !line.startsWith(`${marker} `));
  await write(file, `${[...others, `${marker} ${hostKey}`].join('\n')}\n`);
};

/** The key to ask with, and what keeps the answer where `ssh` finds it. */
export const sshIdentity = async ({ publicKey, identityFile, keyDir }) => {
  const { dirname, join } = builtin('node:path');
  const { rename, utimes } = builtin('node:fs/promises');
  if (keyDir !== undefined && publicKey !== undefined)
    wrong('keyDir', 'is where a key is made: leave out `publicKey`, or give its `identityFile`');
  if (identityFile !== undefined && keyDir !== undefined) wrong('keyDir', 'cannot be given with `identityFile`');
  const directory = keyDir === undefined ? '~/.nullspace/ssh' : keyDir;
  const identity =
    identityFile === undefined ? join(path('keyDir', directory), NAME) : path('identityFile', identityFile);
  return {
    publicKey: publicKey ?? (await publicKeyOf(identity)),
    /** `access` was checked: its texts become arguments, a line and files. */
    async keep(machine, access) {
      checkMachineId(machine);
      await removeEnded(identity);
      const certificateFile = `${identity}-${machine}-cert.pub`;
      await write(certificateFile, `${access.certificate.trim()}\n`, async (draft, file) => {
        await utimes(draft, new Date(), access.expiresAt);
        await rename(draft, file);
      });
      const knownHostsFile = access.hostKey === undefined ? undefined : join(dirname(identity), 'known_hosts');
      if (knownHostsFile) await remember(knownHostsFile, access);
      // Not `-i`, which takes a `%` for itself in one place and as a sign in another.
      const parts = ['ssh', '-o', `IdentityFile=${value(identity)}`, '-o', `CertificateFile=${value(certificateFile)}`];
      parts.push('-o', 'IdentitiesOnly=yes');
      if (knownHostsFile) parts.push('-o', `UserKnownHostsFile=${value(knownHostsFile)}`);
      parts.push('-o', `StrictHostKeyChecking=${knownHostsFile ? 'yes' : 'accept-new'}`);
      parts.push('-p', String(access.port), `${access.user}@${access.host}`);
      return {
        command: parts.map(quoted).join(' '),
        identityFile: identity,
        certificateFile,
        ...(knownHostsFile ? { knownHostsFile } : {}),
      };
    },
  };
};
