// What has to be on the computer before anything can be built.

import { execFileSync } from 'node:child_process';

import { compareVersions, requiredRust } from './project.mjs';

const NODE = '20.16.0';

/**
 * Looks for everything that is needed to build, and with `engine` to run machines.
 *
 * @returns {string[]} what is missing and how to get it, one sentence each; empty when all is there
 */
export function missingRequirements({ engine }) {
  const missing = [];
  if (engine && process.platform !== 'linux') {
    missing.push(
      `Linux (this is ${process.platform}): machines are made of its namespaces, so use a Linux virtual machine; ` +
        '`npm run build` and `npm run pack` work here',
    );
  }
  const node = process.versions.node;
  if (compareVersions(node, NODE) < 0) {
    missing.push(`Node.js ${NODE} or newer (this is ${node}): https://nodejs.org, or a version manager such as nvm`);
  }
  if (!version('npm', ['--version'])) missing.push('npm: it comes with Node.js; on Debian `apt-get install npm`');
  const wanted = requiredRust();
  const cargo = version('cargo', ['--version']);
  if (!cargo) {
    missing.push(`Rust ${wanted} or newer with cargo: https://rustup.rs`);
  } else if (compareVersions(cargo, wanted) < 0) {
    missing.push(`Rust ${wanted} or newer (this is ${cargo}): \`rustup update stable\``);
  }
  const compilers = process.env.CC ? [process.env.CC] : ['cc', 'gcc', 'clang'];
  if (!compilers.some((name) => output(name, ['--version']))) {
    missing.push('a C compiler (the engine holds SQLite): on Debian and Ubuntu `apt-get install build-essential`');
  }
  if (!output('bash', ['--version'])) missing.push('bash: on Debian `apt-get install bash`');
  return missing;
}

/** The tools' versions in one line. */
export const foundVersions = () =>
  `Rust ${version('cargo', ['--version'])}, Node.js ${process.versions.node}, npm ${version('npm', ['--version'])}`;

/** The first `1.2.3` that a program prints; `undefined` when it does not run. */
const version = (program, args) => output(program, args)?.match(/\d+\.\d+(\.\d+)?/)?.[0];

function output(program, args) {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return undefined;
  }
}
