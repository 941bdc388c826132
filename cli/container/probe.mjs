// What is found out about this computer before `decide` is asked: which container command lines there are, and whether they answer.

import { execFile } from 'node:child_process';

const PATIENCE_MS = 10_000;

/** Runs a program to its end; never fails. */
export const ask = (program, args, options = {}) =>
  new Promise((resolve) => {
    execFile(program, args, { timeout: PATIENCE_MS, encoding: 'utf8', ...options }, (error, stdout, stderr) =>
      resolve({
        isThere: error?.code !== 'ENOENT',
        ok: !error,
        stdout: String(stdout),
        stderr: String(stderr).trim(),
      }),
    );
  });

const firstLine = (text) =>
  text
    .split('\n')
    .find((line) => line.trim() !== '')
    ?.trim();

const json = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
};

/** One shape of what docker, podman and nerdctl say of themselves. */
export const readInfo = (name, kind, { isThere, ok, stdout, stderr }) => {
  if (!isThere) return undefined;
  const info = json(stdout);
  // Docker's own answers with exit code 0 and a list of errors when no server does.
  const error = info.ServerErrors?.[0] ?? (ok ? undefined : (firstLine(stderr) ?? 'it failed'));
  if (error !== undefined) return { name, kind, answers: false, error };
  const security = (info.SecurityOptions ?? []).map(String);
  const host = info.host ?? {};
  return {
    name,
    kind,
    answers: true,
    version: info.ServerVersion ?? info.version?.Version,
    os: info.OSType ?? host.os,
    arch: info.Architecture ?? host.arch,
    rootless: host.security?.rootless ?? security.some((text) => text.includes('name=rootless')),
    apparmor: host.security?.apparmorEnabled ?? security.some((text) => text.includes('name=apparmor')),
  };
};

const KINDS = { docker: 'docker', podman: 'podman', nerdctl: 'nerdctl' };

/** Every container command line that is installed. */
export const findClis = async () => {
  const found = await Promise.all(
    Object.entries(KINDS).map(async ([name, kind]) =>
      readInfo(name, kind, await ask(name, ['info', '--format', kind === 'podman' ? 'json' : '{{json .}}'])),
    ),
  );
  return found.filter(Boolean);
};

/** Distributions of WSL, from `wsl --list --verbose`: UTF-16, with a star before the one that is meant without a name. */
export const readWsl = ({ isThere, ok, stdout }) => {
  if (!isThere) return undefined;
  if (!ok) return { isThere: true, distributions: [] };
  const lines = stdout.replaceAll('\0', '').split(/\r?\n/).slice(1);
  const distributions = lines.flatMap((line) => {
    const [, star, name, version] = line.match(/^\s*(\*)?\s*(\S+)\s+\S+\s+(\d)\s*$/) ?? [];
    return name && !/^docker-desktop/.test(name) ? [{ name, version: Number(version), isDefault: star === '*' }] : [];
  });
  return { isThere: true, distributions };
};

export const findWsl = async () =>
  process.platform === 'win32'
    ? readWsl(await ask('wsl.exe', ['--list', '--verbose'], { encoding: 'utf16le' }))
    : undefined;
