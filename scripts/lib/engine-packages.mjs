// The npm packages of the engine: `nullspace-engine`, which finds the program, and one with the program for each platform.

import { chmodSync, copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { removeDirectory, temporaryDirectory } from './cleanup.mjs';
import { inRoot, isExecutable, packageVersion } from './project.mjs';

/** Platforms in the words of npm, and the Rust target of each: one static file, which needs no C library of the computer. */
export const PLATFORMS = {
  'linux-x64': 'x86_64-unknown-linux-musl',
  'linux-arm64': 'aarch64-unknown-linux-musl',
};

/** What the header of an ELF file calls the processor of each platform. Source: elf.h, EM_X86_64 and EM_AARCH64. */
const PROCESSORS = { 62: 'x64', 183: 'arm64' };
const [PT_INTERP, ET_EXEC, ET_DYN] = [3, 2, 3];
const MAGIC = Buffer.from('\x7fELF', 'latin1');
const HEADER_SIZE = 64;

/**
 * What an ELF program at an offset is made for, and whether it needs a loader of the computer; `undefined` where there is none.
 *
 * @param {Buffer} bytes
 * @returns {{ processor: string | undefined, isStatic: boolean } | undefined}
 */
const programAt = (bytes, offset = 0) => {
  if (bytes.length < offset + HEADER_SIZE || bytes.compare(MAGIC, 0, 4, offset, offset + 4) !== 0) return undefined;
  const program = bytes.subarray(offset);
  // 64 bits, little endian, version 1.
  if (program[4] !== 2 || program[5] !== 1 || program[6] !== 1) return undefined;
  if (![ET_EXEC, ET_DYN].includes(program.readUInt16LE(16))) return undefined;
  const [from, size, count] = [Number(program.readBigUInt64LE(32)), program.readUInt16LE(54), program.readUInt16LE(56)];
  const kinds = [];
  for (let index = 0; index < count; index++) {
    const at = from + index * size;
    if (at + size > program.length) return undefined;
    kinds.push(program.readUInt32LE(at));
  }
  return { processor: PROCESSORS[program.readUInt16LE(18)], isStatic: !kinds.includes(PT_INTERP) };
};

/** Whether a program needs no loader and no library of the computer. */
export const isStatic = (bytes) => programAt(bytes)?.isStatic === true;

/** Throws unless the engine of a platform, and the agent that it holds for machines, are static programs for its processor. */
export const checkPrograms = (bytes, platform) => {
  const [, processor] = platform.split('-');
  const found = [];
  for (let at = bytes.indexOf(MAGIC); at >= 0; at = bytes.indexOf(MAGIC, at + 1)) {
    const program = programAt(bytes, at);
    if (program) found.push(program);
  }
  // The second one is among its data.
  if (!programAt(bytes) || found.length < 2)
    throw new Error(`the engine of ${platform} must be a program that holds another one, the agent of machines`);
  for (const program of found) {
    if (program.processor !== processor)
      throw new Error(
        `the engine of ${platform} is, or holds, a program for ${program.processor ?? 'another processor'}`,
      );
    if (!program.isStatic) throw new Error(`the engine of ${platform} is, or holds, a program that needs a loader`);
  }
};

/** What runs a program of a platform on another one, where it is installed. */
export const emulators = (platform) => {
  const name = { 'linux-x64': 'qemu-x86_64', 'linux-arm64': 'qemu-aarch64' }[platform];
  return [`${name}-static`, name];
};

/** What a program of a platform is run with here: nothing, or an emulator; `undefined` where there is none. */
export const runnerOf = (platform) => {
  if (platform === `${process.platform}-${process.arch}`) return [];
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  const found = emulators(platform).find((name) => folders.some((folder) => isExecutable(path.join(folder, name))));
  return found && [found];
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
