// How `nullspace engine` gets an engine: from what was found on a computer, without looking at this one.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CAPABILITIES, runArguments } from '../../cli/container/arguments.mjs';
import { decide } from '../../cli/container/decide.mjs';
import { readInfo, readWsl } from '../../cli/container/probe.mjs';

const docker = { name: 'docker', kind: 'docker', answers: true, version: '27.3.1', os: 'linux', arch: 'x86_64' };
const podman = { name: 'podman', kind: 'podman', answers: true, version: '5.2.0', os: 'linux', arch: 'amd64' };
const nerdctl = { name: 'nerdctl', kind: 'nerdctl', answers: true, version: '1.7.6', os: 'linux', arch: 'x86_64' };
const asleep = (cli, error) => ({ name: cli.name, kind: cli.kind, answers: false, error });
const wsl = (...distributions) => ({
  isThere: true,
  distributions: distributions.map(([name, version, isDefault = false]) => ({ name, version, isDefault })),
});
const linux = { platform: 'linux', arch: 'x64' };
const mac = { platform: 'darwin', arch: 'arm64' };
const windows = { platform: 'win32', arch: 'x64' };
const program = '/p/nullspace-engine';

/** What was found, and the way; for none, what one of the four lines says. */
const CASES = [
  // Linux
  [{ ...linux, program }, 'program'],
  [{ ...linux, program, clis: [docker] }, 'program'],
  [{ ...linux, program, wanted: 'program' }, 'program'],
  [{ ...linux, program, wanted: 'container', clis: [docker] }, 'docker'],
  [{ ...linux, program, wanted: 'container', clis: [] }, /found: no docker, podman or nerdctl/],
  [{ ...linux, arch: 'arm64', program }, 'program'],
  [{ ...linux, clis: [docker] }, 'docker'],
  [{ ...linux, clis: [podman] }, 'podman'],
  [{ ...linux, clis: [nerdctl] }, 'nerdctl'],
  [{ ...linux, clis: [nerdctl, podman, docker] }, 'docker'],
  [{ ...linux, clis: [nerdctl, podman] }, 'podman'],
  [{ ...linux }, /install the npm package nullspace-engine, or Docker or Podman/],
  [{ ...linux, wanted: 'program' }, /its program was not found/],
  [{ ...linux, clis: [asleep(docker, 'permission denied')] }, /usermod -aG docker USER/],
  [{ ...linux, clis: [asleep(docker, 'permission denied')] }, /does not answer \(permission denied\)/],
  [{ ...linux, clis: [asleep(docker, 'x'), podman] }, 'podman'],
  [{ ...linux, clis: [{ ...docker, rootless: true }] }, /docker runs without root/],
  [{ ...linux, clis: [{ ...podman, rootless: true }] }, /podman runs without root.*rootful mode/],
  [{ ...linux, clis: [{ ...docker, rootless: true }, podman] }, 'podman'],
  [{ ...linux, clis: [{ ...docker, version: '19.03.15' }] }, /docker 19\.03\.15 is too old: 20\.10 or newer/],
  [{ ...linux, clis: [{ ...docker, version: '20.10.24+dfsg1' }] }, 'docker'],
  [{ ...linux, clis: [{ ...docker, version: undefined }] }, 'docker'],
  [{ ...linux, clis: [{ ...podman, version: '3.4.4' }] }, /podman 3\.4\.4 is too old: 4\.0/],
  [{ ...linux, clis: [{ ...nerdctl, version: '0.22.0' }] }, /nerdctl 0\.22\.0 is too old: 1\.0/],
  [{ ...linux, clis: [{ ...docker, arch: 'riscv64' }] }, /docker runs on riscv64: there are engines for x64 and arm64/],
  [{ ...linux, arch: 'riscv64', clis: [] }, /another computer/],
  // macOS: Docker Desktop, OrbStack and Colima are the same command line.
  [{ ...mac, clis: [{ ...docker, arch: 'aarch64' }] }, 'docker'],
  [{ ...mac, clis: [{ ...podman, arch: 'arm64' }] }, 'podman'],
  [{ ...mac, program, clis: [{ ...docker, arch: 'aarch64' }] }, 'docker'],
  [{ ...mac, program }, /install Docker Desktop, OrbStack, Colima or Podman/],
  [{ ...mac, wanted: 'program' }, /a program for Linux, and this is darwin/],
  [
    { ...mac, clis: [asleep(docker, 'Cannot connect to the Docker daemon')] },
    /open Docker Desktop or OrbStack, `colima start`/,
  ],
  [{ ...mac, clis: [asleep(docker), asleep(podman)] }, /docker is installed but does not answer; podman is installed/],
  [{ ...mac, clis: [asleep(docker), { ...podman, arch: 'arm64' }] }, 'podman'],
  [{ ...mac, arch: 'x64', clis: [docker] }, 'docker'],
  [{ ...mac, clis: [{ ...nerdctl, arch: 'aarch64' }] }, 'nerdctl'],
  [{ ...mac, clis: [{ ...docker, arch: undefined }] }, 'docker'],
  // Windows
  [{ ...windows, clis: [docker] }, 'docker'],
  [
    { ...windows, clis: [{ ...docker, os: 'windows' }] },
    /docker runs windows containers: switch it to Linux containers/,
  ],
  [{ ...windows, clis: [{ ...docker, os: 'windows' }], wsl: wsl(['Ubuntu', 2]) }, 'wsl Ubuntu'],
  [{ ...windows, clis: [podman] }, 'podman'],
  [{ ...windows, clis: [docker], wsl: wsl(['Ubuntu', 2]) }, 'docker'],
  [{ ...windows, wsl: wsl(['Ubuntu', 2]) }, 'wsl Ubuntu'],
  [{ ...windows, wsl: wsl(['Debian', 2], ['Ubuntu', 2, true]) }, 'wsl Ubuntu'],
  [{ ...windows, wsl: wsl(['Old', 1, true], ['Debian', 2]) }, 'wsl Debian'],
  [{ ...windows, wsl: wsl(['Old', 1, true]) }, /version 1 only.*`wsl --set-version Old 2`/],
  [{ ...windows, wsl: wsl() }, /WSL has no Linux: `wsl --install`/],
  [{ ...windows }, /install Docker Desktop or Podman, or a Linux with `wsl --install`/],
  [{ ...windows, wanted: 'container', wsl: wsl(['Ubuntu', 2]) }, /found: no docker, podman or nerdctl/],
  [{ ...windows, clis: [asleep(docker, 'the pipe is missing')] }, /open Docker Desktop, or `podman machine start`/],
  [{ ...windows, program, wanted: 'program' }, /this is win32/],
  // Elsewhere
  [{ platform: 'freebsd', arch: 'x64' }, /NULLSPACE_API_URL and NULLSPACE_API_KEY/],
  [{ platform: 'freebsd', arch: 'x64', clis: [podman] }, 'podman'],
];

test(`the way is chosen, in ${CASES.length} cases`, () => {
  assert.ok(CASES.length >= 40);
  for (const [found, wanted] of CASES) {
    const way = decide(found);
    const label = JSON.stringify(found);
    if (wanted instanceof RegExp) {
      assert.equal(way.way, 'none', label);
      assert.equal(way.lines.length, 4, label);
      assert.match(way.lines.join('\n'), wanted, label);
    } else {
      const got = { program: 'program', container: way.cli?.name, wsl: `wsl ${way.distribution}` }[way.way];
      assert.equal(got, wanted, label);
    }
  }
});

const said = (value, more = {}) => ({ isThere: true, ok: true, stdout: JSON.stringify(value), stderr: '', ...more });

test('what docker and podman say of themselves has one shape', () => {
  const info = {
    ServerVersion: '20.10.24',
    OSType: 'linux',
    Architecture: 'x86_64',
    SecurityOptions: ['name=apparmor', 'name=seccomp,profile=default', 'name=cgroupns'],
  };
  const read = { answers: true, os: 'linux', rootless: false, apparmor: true };
  assert.deepEqual(readInfo('docker', 'docker', said(info)), {
    ...read,
    name: 'docker',
    kind: 'docker',
    version: '20.10.24',
    arch: 'x86_64',
  });
  assert.equal(readInfo('docker', 'docker', said({ SecurityOptions: ['name=rootless'] })).rootless, true);
  const host = { os: 'linux', arch: 'arm64', security: { rootless: true, apparmorEnabled: false } };
  assert.deepEqual(readInfo('podman', 'podman', said({ host, version: { Version: '4.3.1' } })), {
    name: 'podman',
    kind: 'podman',
    answers: true,
    version: '4.3.1',
    os: 'linux',
    arch: 'arm64',
    rootless: true,
    apparmor: false,
  });
});

test('one that is not there, or does not answer, says so', () => {
  assert.equal(readInfo('docker', 'docker', { isThere: false, ok: false, stdout: '', stderr: '' }), undefined);
  const daemon = { ServerErrors: ['Cannot connect to the Docker daemon'] };
  assert.equal(readInfo('docker', 'docker', said(daemon)).error, 'Cannot connect to the Docker daemon');
  const broken = { isThere: true, ok: false, stdout: '', stderr: '\npermission denied\nmore' };
  assert.deepEqual(readInfo('podman', 'podman', broken), {
    name: 'podman',
    kind: 'podman',
    answers: false,
    error: 'permission denied',
  });
  assert.equal(readInfo('docker', 'docker', { isThere: true, ok: false, stdout: 'x', stderr: '' }).error, 'it failed');
});

test('distributions of WSL are read, without those of Docker Desktop', () => {
  const stdout =
    '  NAME              STATE     VERSION\r\n* Ubuntu-22.04      Running   2\r\n  docker-desktop    Stopped   2\r\n  Old               Stopped   1\r\n';
  assert.deepEqual(readWsl({ isThere: true, ok: true, stdout }).distributions, [
    { name: 'Ubuntu-22.04', version: 2, isDefault: true },
    { name: 'Old', version: 1, isDefault: false },
  ]);
  assert.deepEqual(readWsl({ isThere: true, ok: false, stdout: '' }), { isThere: true, distributions: [] });
  assert.equal(readWsl({ isThere: false, ok: false, stdout: '' }), undefined);
});

test('a container gets 13 capabilities and nothing that makes it the computer', () => {
  const base = { image: 'img', port: 3000, keyFile: '/k', seccomp: '/s.json' };
  const args = runArguments({ ...base, args: ['--faults'] });
  const text = args.join(' ');
  assert.deepEqual(
    args.flatMap((word, index) => (word === '--cap-add' ? [args[index + 1]] : [])),
    [...CAPABILITIES],
  );
  assert.equal(CAPABILITIES.length, 13);
  assert.ok(text.includes('--cap-drop ALL'));
  assert.doesNotMatch(text, /--privileged|docker\.sock|--network host|--pid|unconfined/);
  // No port is published to the network, and no key stands on the command line.
  for (const [, address] of text.matchAll(/--publish (\S+)/g)) assert.match(address, /^127\.0\.0\.1:/);
  assert.ok(text.includes('--env-file /k') && text.endsWith('img --faults'));
  assert.ok(text.includes('--device /dev/loop-control') && text.includes('--device /dev/loop7'));
  assert.doesNotMatch(runArguments({ ...base, loops: false }).join(' '), /--device/);
  assert.match(runArguments({ ...base, apparmor: true }).join(' '), /--security-opt apparmor=unconfined/);
  const elsewhere = runArguments({ ...base, port: 3001 }).join(' ');
  assert.match(elsewhere, /127\.0\.0\.1:3001:3000 .*--allow-host 127\.0\.0\.1:3001/);
});

test('a container has one port for the API and previews, whose names hold the port that is published', () => {
  const words = (port, args) => runArguments({ image: 'img', port, keyFile: '/k', seccomp: '/s.json', args });
  const published = (port) => words(port).filter((_, index, all) => all[index - 1] === '--publish');
  assert.deepEqual(published(3000), ['127.0.0.1:3000:3000', '127.0.0.1:42099:42099']);
  assert.deepEqual(published(3001), ['127.0.0.1:3001:3000', '127.0.0.1:42099:42099']);
  const domains = (...all) => words(...all).filter((_, index, found) => found[index - 1] === '--preview-domain');
  // What the image begins with is for port 3000.
  assert.deepEqual(domains(3000), []);
  assert.deepEqual(domains(3001), ['localhost:3001']);
  assert.deepEqual(domains(3001, ['--preview-domain', 'previews.test']), ['previews.test']);
});
