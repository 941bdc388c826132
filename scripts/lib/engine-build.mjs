// The engine as one static program for each platform, whatever computer it is built on: the C library is musl, and Zig compiles C and
// links. Both come from PyPI, into a virtual environment of this repository.

import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { PLATFORMS } from './engine-packages.mjs';
import { devDir, inRoot } from './project.mjs';
import { pythonFor } from './python.mjs';
import { StepError } from './steps.mjs';

const target = inRoot('target', 'static');
/** The profile of what is published. */
const PROFILE = 'dist';

/** Builds the program of a platform. Gives its path. */
export async function buildStatic(step, platform) {
  const triple = PLATFORMS[platform];
  const python = await pythonFor(step, 'scripts/zig');
  const bin = path.dirname(python);
  const rustc = await standardLibrary(step, triple);
  // Messages of panics hold paths of source files: none of this computer may be in what others run.
  const cargoHome = process.env.CARGO_HOME ?? path.join(os.homedir(), '.cargo');
  const renamed = [
    [inRoot(), '/nullspace'],
    [cargoHome, '/cargo'],
    [sysroot(rustc), '/rust'],
  ].map(([from, to]) => `--remap-path-prefix=${from}=${to}`);
  await step.run(
    path.join(bin, 'cargo-zigbuild'),
    ['zigbuild', '--locked', '--profile', PROFILE, '--package', 'nullspace-engine', '--target', triple],
    {
      env: {
        ...process.env,
        PATH: `${bin}${path.delimiter}${process.env.PATH}`,
        RUSTC: rustc,
        CARGO_TARGET_DIR: target,
        CARGO_ENCODED_RUSTFLAGS: renamed.join('\u001f'),
      },
    },
  );
  const file = staticEngine(platform);
  if (!existsSync(file)) throw new Error(`cargo made no ${file}`);
  return file;
}

/** Where the program of a platform is, once it was built. */
export const staticEngine = (platform) => path.join(target, PLATFORMS[platform], PROFILE, 'nullspace-engine');

const output = (program, args) =>
  execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
const sysroot = (rustc) => output(rustc, ['--print', 'sysroot']);

const has = (rustc, triple) => {
  try {
    const folder = output(rustc, ['--print', 'target-libdir', '--target', triple]);
    return readdirSync(folder).some((name) => /^libstd-.*\.rlib$/.test(name));
  } catch {
    return false;
  }
};

/** A compiler that has the standard library of the target. */
async function standardLibrary(step, triple) {
  const own = process.env.RUSTC || 'rustc';
  if (has(own, triple)) return own;
  if (process.env.WASM_TOOLCHAIN_RUSTUP !== '0') {
    const { code } = await step.try('timeout', ['60', 'rustup', 'target', 'add', triple]);
    if (code === 0 && has(own, triple)) return own;
  }
  // The compiler that Debian packages, as the wasm build uses it: its sources of the standard library build for any target.
  const answer = await step.run('bash', ['scripts/ensure-wasm-toolchain.sh']);
  const rustc = answer.match(/^export RUSTC=(.+)$/m)?.[1];
  if (!rustc || !answer.includes('WASM_TOOLCHAIN=debian'))
    throw new StepError(`the standard library of ${triple} is missing: rustup target add ${triple}`);
  if (!has(rustc, triple)) await fromSources(step, rustc, triple);
  return rustc;
}

/** What a linker puts around a program that is static. */
const STARTS = ['crt1.o', 'rcrt1.o', 'crti.o', 'crtn.o', 'crtbegin.o', 'crtbeginS.o', 'crtend.o', 'crtendS.o'];

/** Builds the standard library from Debian's sources and puts it beside that of the compiler. */
async function fromSources(step, rustc, triple) {
  const work = path.join(devDir, 'std');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(path.join(work, 'src'), { recursive: true });
  const version = output(rustc, ['--version']).split(' ')[1];
  const packaged = output('apt-cache', ['madison', 'rust-web-src'])
    .split('\n')
    .map((line) => line.split('|')[1]?.trim())
    .find((found) => found?.startsWith(`${version}+`));
  if (!packaged) throw new StepError(`apt offers no rust-web-src ${version}, the sources of ${rustc}`);
  const as = ['-o', `APT::Sandbox::User=${os.userInfo().username}`];
  await step.run('apt-get', [...as, '-qq', 'download', `rust-web-src=${packaged}`], { cwd: work });
  const [deb] = readdirSync(work).filter((name) => name.endsWith('.deb'));
  await step.run(
    'sh',
    ['-c', 'dpkg-deb --fsys-tarfile "$1" | tar -x --wildcards "./usr/src/rustc-*/library/*"', 'sh', deb],
    {
      cwd: work,
    },
  );
  const library = path.join(work, 'usr/src', `rustc-${version}`, 'library');
  // Where cargo looks for it.
  const place = path.join(sysroot(rustc), 'lib/rustlib/src/rust');
  mkdirSync(place, { recursive: true });
  rmSync(path.join(place, 'library'), { recursive: true, force: true });
  renameSync(library, path.join(place, 'library'));
  const placed = path.join(place, 'library');
  writeFileSync(
    path.join(work, 'Cargo.toml'),
    '[package]\nname = "stdbuild"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n',
  );
  writeFileSync(path.join(work, 'src/lib.rs'), '');
  // Programs that abort link one crate of it that was compiled for that; cargo has one setting for all.
  const wrapper = path.join(work, 'wrapper');
  writeFileSync(
    wrapper,
    '#!/bin/sh\ncase " $* " in *" --crate-name panic_abort "*) exec "$@" -Cpanic=abort ;; *) exec "$@" ;; esac\n',
    { mode: 0o755 },
  );
  const vendored = [
    'source.crates-io.replace-with="std-vendor"',
    `source.std-vendor.directory="${path.join(placed, 'vendor')}"`,
  ].flatMap((line) => ['--config', line]);
  try {
    await step.run(
      'cargo',
      [
        'build',
        '--quiet',
        '--release',
        '--offline',
        '--target',
        triple,
        '-Zbuild-std=std,panic_abort,panic_unwind',
        ...vendored,
      ],
      {
        cwd: work,
        env: {
          ...process.env,
          RUSTC: rustc,
          RUSTC_WRAPPER: wrapper,
          RUSTC_BOOTSTRAP: '1',
          CARGO_TARGET_DIR: path.join(work, 'target'),
          // Bitcode lets link-time optimisation reach into it.
          CARGO_ENCODED_RUSTFLAGS: ['-Cembed-bitcode=yes', `--remap-path-prefix=${placed}=/rustc/library`].join(
            '\u001f',
          ),
        },
      },
    );
    const folder = path.join(sysroot(rustc), 'lib/rustlib', triple, 'lib');
    const made = path.join(work, 'target', triple, 'release/deps');
    const beside = `${folder}.new`;
    rmSync(beside, { recursive: true, force: true });
    mkdirSync(path.join(beside, 'self-contained'), { recursive: true });
    for (const name of readdirSync(made))
      if (/\.(rlib|rmeta)$/.test(name) && !name.startsWith('libstdbuild'))
        copyFileSync(path.join(made, name), path.join(beside, name));
    // Zig has its own of these, and cargo-zigbuild takes away only what lies here.
    for (const name of STARTS) writeFileSync(path.join(beside, 'self-contained', name), '');
    rmSync(folder, { recursive: true, force: true });
    renameSync(beside, folder);
  } finally {
    rmSync(placed, { recursive: true, force: true });
    rmSync(work, { recursive: true, force: true });
  }
}
