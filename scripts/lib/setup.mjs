// The steps from a fresh clone to a package and an engine. Each skips what is done already.

import { existsSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';

import { ensureBrowser } from './browser.mjs';
import { engineBinary, inRoot, packageVersion, releaseEngine, tarball } from './project.mjs';
import { canInstall, foundVersions, missingRequirements } from './requirements.mjs';
import { isUnchanged, stamp } from './stamps.mjs';
import { StepError, step } from './steps.mjs';

/**
 * The package and the engine, side by side: they share nothing that is built, and each fills the pauses of the other. For tests also
 * what they `needs`; with an engine that is given, Rust is compiled for tests `inRust` only. Whoever gives `onPackage` has it run as
 * soon as there is a package, while the engine compiles.
 */
export async function prepare({ tests = false, engine = true, inRust = false, needs = [], onPackage = () => {} } = {}) {
  await checkRequirements({ engine, tests });
  const makePackage = async () => {
    await wasmToolchain();
    await npmPackages();
    await buildPackage();
    await packPackage();
    if (tests) await findBrowser();
    for (const need of needs) await need();
    await onPackage();
  };
  const buildWanted = () => (tests && (inRust || !process.env.NULLSPACE_TEST_ENGINE) ? buildTests() : buildEngine());
  await Promise.all([makePackage(), engine && buildWanted()]);
}

/** Looks for what is needed; as root on a system with apt-get, installs what is missing. */
export const checkRequirements = (needs = {}) =>
  step('Check requirements', async (current) => {
    let missing = missingRequirements(needs);
    if (missing.packages.length > 0 && canInstall()) {
      const names = missing.packages.map(({ name }) => name);
      console.log(`     Installing ${names.join(' ')}`);
      const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
      await current.run('apt-get', ['update', '-qq'], { env });
      await current.run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...names], { env });
      missing = missingRequirements(needs);
    }
    const lines = missing.others.map((line) => `missing: ${line}`);
    if (missing.packages.length > 0) {
      lines.push(
        `missing: ${missing.packages.map(({ what }) => what).join(', ')}; on Debian and Ubuntu:`,
        `sudo apt-get install -y ${missing.packages.map(({ name }) => name).join(' ')}`,
      );
    }
    for (const line of lines) current.write(`${line}\n`);
    if (lines.length > 0) throw new StepError(`${missing.others.length + missing.packages.length} missing`);
    if (needs.tests && process.getuid?.() !== 0)
      console.log('     Without root, tests of networks, limits and other users are skipped: as root all of them run');
    current.note = foundVersions();
  });

/** A browser for the tests. */
export const findBrowser = () =>
  step('Find a browser', async (current) => {
    const install = () => installLocked(current, 'npm-browser', 'tests/browser');
    current.note = await ensureBrowser(current, install);
  });

/** A compiler for wasm32-unknown-unknown: the script says how it gets one. */
export const wasmToolchain = () =>
  step('Find a wasm toolchain', async (current) => {
    const log = await current.run('bash', ['scripts/ensure-wasm-toolchain.sh']);
    current.note = log.match(/wasm-toolchain: (.*)$/m)?.[1] ?? '';
  });

export const npmPackages = () => npmInstall('Install npm packages', 'npm', '.');

/** What makes the site of the documentation: kept apart, since it needs a TypeScript of its own. */
export const referencePackages = () => npmInstall('Install what makes the documentation', 'npm-reference', 'reference');

const npmInstall = (title, name, folder) => step(title, (current) => installLocked(current, name, folder));

/** Installs what the lock file of a folder names. */
async function installLocked(current, name, folder) {
  const inFolder = (file) => path.posix.join(folder, file);
  const state = {
    inputs: ['package.json', 'package-lock.json'].map(inFolder),
    outputs: [inFolder('node_modules/.package-lock.json')],
  };
  if (isUnchanged(name, state)) {
    current.note = 'unchanged';
    return;
  }
  await current.run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: inRoot(folder) });
  stamp(name, state);
}

/** What the npm package is made of. */
const PACKAGE_SOURCES = [
  'Cargo.toml',
  'Cargo.lock',
  'LICENSE',
  'package-lock.json',
  'src',
  'crates/wire',
  'crates/xtask',
  'pkg-template',
  'cli',
  'deploy/docker/seccomp.json',
  'scripts/ensure-wasm-toolchain.sh',
];

/** `pkg/`: the npm package. */
export const buildPackage = () => step('Build the npm package', (current) => xtaskBuild(current, 'pkg'));

/** The same with ways to crash it, for tests/wasm. */
export const buildTraps = () =>
  step('Build the npm package with ways to crash it', (current) =>
    xtaskBuild(current, 'target/pkg-traps', ['--features', 'traps']),
  );

async function xtaskBuild(current, out, args = []) {
  const state = { inputs: PACKAGE_SOURCES, outputs: [out] };
  const name = out.replaceAll('/', '-');
  if (isUnchanged(name, state)) {
    current.note = 'unchanged';
    return;
  }
  // xtask replaces only what looks like a package, and an interrupted build does not.
  rmSync(inRoot(out), { recursive: true, force: true });
  // A backtrace of the build program would hide what it says.
  const env = { ...process.env, RUST_BACKTRACE: '0' };
  await current.run('cargo', ['xtask', 'build', '--out', out, ...args], { env });
  stamp(name, state);
}

/** `dist/nullspace-<version>.tgz`. */
export const packPackage = () =>
  step('Pack it', async (current) => {
    const state = { inputs: ['pkg'], outputs: [`dist/nullspace-${packageVersion()}.tgz`] };
    if (isUnchanged('tarball', state)) {
      current.note = 'unchanged';
      return;
    }
    mkdirSync(inRoot('dist'), { recursive: true });
    await current.run('npm', ['pack', '--pack-destination', inRoot('dist'), inRoot('pkg')]);
    if (!existsSync(tarball())) throw new Error(`npm pack made no ${tarball()}`);
    stamp('tarball', state);
  });

/** The engine alone, as `npm start` needs it. */
export const buildEngine = () =>
  step('Build the engine', async (current) => {
    if (process.env.NULLSPACE_TEST_ENGINE) {
      current.note = 'given';
      return;
    }
    // cargo knows best what is unchanged.
    await current.run('cargo', ['build', '--locked', '--package', 'nullspace-engine']);
    if (!existsSync(engineBinary)) throw new Error(`cargo made no ${engineBinary}`);
  });

/** The engine with all that `cargo test` runs: every crate is compiled once, and the project's own are looked at by clippy. */
export const buildTests = () =>
  step('Build the engine and the Rust tests', async (current) => {
    await current.run('cargo', ['test', ...TESTED, '--no-run'], { env: CHECKED });
    if (!existsSync(engineBinary)) throw new Error(`cargo made no ${engineBinary}`);
  });

/** What `cargo test` builds and runs. */
export const TESTED = ['--locked', '--workspace', '--exclude', 'xtask', '--features', 'nullspace/traps'];
/** The same for xtask, which is a profile of its own: it is not optimised. */
export const TESTED_TOOLS = ['--locked', '--package', 'xtask', '--profile', 'tool'];
/** As `cargo clippy` does it, but what is compiled can be run. */
export const CHECKED = { ...process.env, RUSTC_WORKSPACE_WRAPPER: 'clippy-driver' };

/** The engine at full speed, for benchmarks and long tests. */
export const buildReleaseEngine = () =>
  step('Build the engine, optimised', async (current) => {
    await current.run('cargo', ['build', '--locked', '--release', '--package', 'nullspace-engine']);
    if (!existsSync(releaseEngine)) throw new Error(`cargo made no ${releaseEngine}`);
  });
