// Where things are in this repository. Nothing here runs anything.

import { accessSync, constants, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');

/** A path below the root. */
export const inRoot = (...parts) => path.join(root, ...parts);

/** Logs, stamps and the Python environment; may be deleted at any time. */
export const devDir = inRoot('.nullspace-dev');

const targetDir = process.env.CARGO_TARGET_DIR ? path.resolve(root, process.env.CARGO_TARGET_DIR) : inRoot('target');

/** The engine of `npm start` and of the tests, or one that is given to them. */
export const engineBinary = process.env.NULLSPACE_TEST_ENGINE || path.join(targetDir, 'debug', 'nullspace-engine');
/** The engine of benchmarks and long tests, at full speed. */
export const releaseEngine = path.join(targetDir, 'release', 'nullspace-engine');

/** Version of the npm package. */
export const packageVersion = () => JSON.parse(readFileSync(inRoot('pkg-template', 'package.json'), 'utf8')).version;

/** The packed npm package. */
export const tarball = () => inRoot('dist', `nullspace-${packageVersion()}.tgz`);

/** The newest Rust that a crate of the workspace asks for, such as `1.89`. */
export function requiredRust() {
  const manifests = ['.', 'crates/wire', 'crates/agent', 'crates/engine', 'crates/xtask'];
  const versions = manifests.flatMap((directory) => {
    const text = readFileSync(inRoot(directory, 'Cargo.toml'), 'utf8');
    return [...text.matchAll(/^rust-version = "([\d.]+)"/gm)].map((match) => match[1]);
  });
  return versions.sort(compareVersions).at(-1);
}

/** Whether there is a file that may be executed. */
export function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Orders `1.9` before `1.88.1`. Negative when `a` is older. */
export function compareVersions(a, b) {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
