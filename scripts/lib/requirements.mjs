// What has to be on the computer before anything can be built or tested.

import { execFileSync } from 'node:child_process';
import path from 'node:path';

import { installedBrowser } from './browser.mjs';
import { compareVersions, isExecutable, requiredRust } from './project.mjs';
import { findPython } from './python.mjs';

const NODE = '20.16.0';

/**
 * What comes as a package of the system. Machines are made of this computer's own programs, so those that tests run
 * inside of them must be in `/usr/bin`.
 *
 * @typedef {object} SystemPackage
 * @property {string} what it is needed for
 * @property {string} name Debian's package
 * @property {boolean} [tests] only tests need it
 * @property {() => boolean} isThere
 *
 * @type {SystemPackage[]}
 */
const SYSTEM_PACKAGES = [
  {
    what: 'a C compiler',
    name: 'build-essential',
    isThere: () =>
      (process.env.CC ? [process.env.CC] : ['cc', 'gcc', 'clang']).some((name) => output(name, ['--version'])),
  },
  { what: 'bash', name: 'bash', isThere: () => isProgram('bash') },
  { what: 'tar', name: 'tar', isThere: () => isProgram('tar') },
  { what: 'ip', name: 'iproute2', tests: true, isThere: () => isProgram('ip') },
  { what: 'mkfs.ext4', name: 'e2fsprogs', tests: true, isThere: () => isProgram('mkfs.ext4') },
  {
    what: 'unshare, nsenter and setpriv',
    name: 'util-linux',
    tests: true,
    isThere: () => ['unshare', 'nsenter', 'setpriv'].every(isProgram),
  },
  {
    what: 'ssh, scp and ssh-keygen',
    name: 'openssh-client',
    tests: true,
    isThere: () => ['ssh', 'scp', 'ssh-keygen'].every(isProgram),
  },
  { what: 'openssl', name: 'openssl', tests: true, isThere: () => isProgram('openssl') },
  { what: 'git in /usr/bin', name: 'git', tests: true, isThere: () => isExecutable('/usr/bin/git') },
  { what: 'python3 in /usr/bin', name: 'python3', tests: true, isThere: () => isExecutable('/usr/bin/python3') },
  {
    what: 'Python 3.11 or newer with venv',
    name: 'python3-venv',
    tests: true,
    isThere: () => findPython() !== undefined,
  },
  {
    what: 'libraries of the browser',
    name: 'libnss3',
    tests: true,
    // A browser that is installed brought its libraries.
    isThere: () => installedBrowser() !== undefined || hasLibrary('libnss3.so'),
  },
];

/**
 * Looks for everything that is needed to build; with `engine` to run machines, with `tests` to test them.
 *
 * @returns {{ packages: SystemPackage[], others: string[] }} packages of the system that are missing, and what comes in
 * other ways, one sentence each
 */
export function missingRequirements({ engine = false, tests = false } = {}) {
  const others = [];
  if (engine && process.platform !== 'linux') {
    others.push(
      `Linux (this is ${process.platform}): machines are made of its namespaces, so use a Linux virtual machine; ` +
        '`npm run build` and `npm run pack` work here',
    );
  }
  const node = process.versions.node;
  if (compareVersions(node, NODE) < 0) {
    others.push(`Node.js ${NODE} or newer (this is ${node}): https://nodejs.org, or a version manager such as nvm`);
  }
  if (!version('npm', ['--version'])) others.push('npm: it comes with Node.js; on Debian `apt-get install npm`');
  const wanted = requiredRust();
  const cargo = version('cargo', ['--version']);
  if (!cargo) {
    others.push(`Rust ${wanted} or newer with cargo: https://rustup.rs`);
  } else if (compareVersions(cargo, wanted) < 0) {
    others.push(`Rust ${wanted} or newer (this is ${cargo}): \`rustup update stable\``);
  }
  const packages = SYSTEM_PACKAGES.filter((entry) => (tests || !entry.tests) && !entry.isThere());
  return { packages, others };
}

/** Whether packages of the system can be installed without asking anybody. */
export const canInstall = () => process.getuid?.() === 0 && isProgram('apt-get');

/** The tools' versions in one line. */
export const foundVersions = () =>
  `Rust ${version('cargo', ['--version'])}, Node.js ${process.versions.node}, npm ${version('npm', ['--version'])}`;

/** The first `1.2.3` that a program prints; `undefined` when it does not run. */
const version = (program, args) => output(program, args)?.match(/\d+\.\d+(\.\d+)?/)?.[0];

/** Whether a program is in PATH or where Debian keeps those of root. */
const isProgram = (name) =>
  [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/sbin'].some((folder) =>
    isExecutable(path.join(folder, name)),
  );

const hasLibrary = (name) =>
  ['/sbin/ldconfig', 'ldconfig'].some((program) => output(program, ['-p'])?.includes(name) ?? false);

function output(program, args) {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return undefined;
  }
}
