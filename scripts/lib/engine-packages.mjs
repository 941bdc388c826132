// The npm packages of the engine: `nullspace-engine`, which finds the program, and one with the program for each platform.

import { chmodSync, copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { removeDirectory, temporaryDirectory } from './cleanup.mjs';
import { inRoot, packageVersion } from './project.mjs';

/** Platforms in the words of npm, and the Rust target of each: one static file, which needs no C library of the computer. */
export const PLATFORMS = {
  'linux-x64': 'x86_64-unknown-linux-musl',
  'linux-arm64': 'aarch64-unknown-linux-musl',
};

const NAME = 'nullspace-engine';
const nameFor = (platform) => `${NAME}-${platform}`;

const manifest = () => JSON.parse(readFileSync(inRoot('npm-engine', 'package.json'), 'utf8'));

/** The package of all platforms that there is a program for. Its version is that of the SDK, which is written once. */
export const mainManifest = (platforms = Object.keys(PLATFORMS)) => ({
  ...manifest(),
  version: packageVersion(),
  // Of the very same version. One that was not packed is not named: others could publish a package of that name.
  optionalDependencies: Object.fromEntries(platforms.map((platform) => [nameFor(platform), packageVersion()])),
});

/** The package of one platform. */
export const platformManifest = (platform) => {
  const { license, repository, homepage, bugs, publishConfig } = manifest();
  const [os, cpu] = platform.split('-');
  return {
    name: nameFor(platform),
    version: packageVersion(),
    description: `The program of ${NAME} for ${os} ${cpu}. Install ${NAME}, which takes the right one.`,
    license,
    repository,
    homepage,
    bugs,
    os: [os],
    cpu: [cpu],
    files: ['bin'],
    // Yarn would keep it in an archive, where it cannot be executed.
    preferUnplugged: true,
    publishConfig,
  };
};

const write = (folder, value) =>
  writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(value, null, 2)}\n`);

/** Makes a folder of each package; the program of a platform is `programs[platform]`. Gives the folders. */
const stage = (folder, programs) => {
  const main = path.join(folder, NAME);
  cpSync(inRoot('npm-engine'), main, { recursive: true });
  copyFileSync(inRoot('LICENSE'), path.join(main, 'LICENSE'));
  write(main, mainManifest(Object.keys(programs)));
  const platforms = Object.entries(programs).map(([platform, program]) => {
    const own = path.join(folder, nameFor(platform));
    mkdirSync(path.join(own, 'bin'), { recursive: true });
    write(own, platformManifest(platform));
    copyFileSync(inRoot('LICENSE'), path.join(own, 'LICENSE'));
    writeFileSync(path.join(own, 'README.md'), `# ${nameFor(platform)}\n\n${platformManifest(platform).description}\n`);
    const file = path.join(own, 'bin', NAME);
    copyFileSync(program, file);
    chmodSync(file, 0o755);
    return own;
  });
  return [main, ...platforms];
};

/**
 * Packs the engine's packages.
 *
 * @param {import('./steps.mjs').Step} step runs npm
 * @param {Record<string, string>} programs the program of each platform that there is one for
 * @param {string} target where the tarballs go
 * @returns {Promise<string[]>} their paths, that of `nullspace-engine` first
 */
export async function packEngine(step, programs, target) {
  const folder = temporaryDirectory('engine-packages');
  mkdirSync(target, { recursive: true });
  try {
    const made = [];
    for (const own of stage(folder, programs)) {
      await step.run('npm', ['pack', '--silent', '--pack-destination', target, own]);
      made.push(path.join(target, `${path.basename(own)}-${packageVersion()}.tgz`));
    }
    const there = readdirSync(target);
    for (const file of made) if (!there.includes(path.basename(file))) throw new Error(`npm pack made no ${file}`);
    return made;
  } finally {
    removeDirectory(folder);
  }
}
