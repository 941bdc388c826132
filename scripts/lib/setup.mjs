// The steps from a fresh clone to a package and an engine. Each skips what is done already.

import { existsSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';

import { engineBinary, inRoot, packageVersion, tarball } from './project.mjs';
import { foundVersions, missingRequirements } from './requirements.mjs';
import { isUnchanged, stamp } from './stamps.mjs';
import { step } from './steps.mjs';

/** Everything, in order. */
export async function prepare() {
  await checkRequirements({ engine: true });
  await wasmToolchain();
  await npmPackages();
  await buildPackage();
  await packPackage();
  await buildEngine();
}

export const checkRequirements = ({ engine = false } = {}) =>
  step('Check requirements', async (current) => {
    const missing = missingRequirements({ engine });
    for (const line of missing) current.write(`missing: ${line}\n`);
    if (missing.length > 0) throw new Error(`missing: ${missing.length}`);
    current.note = foundVersions();
  });

/** A compiler for wasm32-unknown-unknown: the script says how it gets one. */
export const wasmToolchain = () =>
  step('Find a wasm toolchain', async (current) => {
    const log = await current.run('bash', ['scripts/ensure-wasm-toolchain.sh']);
    current.note = log.match(/wasm-toolchain: (.*)$/m)?.[1] ?? '';
  });

export const npmPackages = () => npmInstall('Install npm packages', 'npm', '.');

/** What makes the API reference: kept apart, since it needs a TypeScript of its own. */
export const referencePackages = () => npmInstall('Install what makes the API reference', 'npm-reference', 'reference');

const npmInstall = (title, name, folder) =>
  step(title, async (current) => {
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
  });

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
  'scripts/ensure-wasm-toolchain.sh',
];

/** `pkg/`: the npm package. */
export const buildPackage = () => step('Build the npm package', (current) => xtaskBuild(current, 'pkg'));

/** The same with ways to crash it, for tests/wasm. */
export const buildTraps = (current) => xtaskBuild(current, 'target/pkg-traps', ['--features', 'traps']);

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

export const buildEngine = () =>
  step('Build the engine', async (current) => {
    // cargo knows best what is unchanged.
    await current.run('cargo', ['build', '--locked', '--release', '--package', 'nullspace-engine']);
    if (!existsSync(engineBinary)) throw new Error(`cargo made no ${engineBinary}`);
  });
