// The container image of the engine without any hub: a small Debian by debootstrap, the engine's program, the entrypoint. The /usr of that
// Debian, which machines have as theirs, is packed in it: the entrypoint unpacks it onto the volume, and runs by BusyBox until then. It
// is not packed where the engine is no static program.
//
//   node scripts/image.mjs [--engine target/static/x86_64-unknown-linux-musl/dist/nullspace-engine] [--tag nullspace-engine:0.1.0]
//                          [--cli docker] [--rootfs DIR] [--tar FILE]
//
// Needs root and debootstrap. --rootfs keeps the Debian for the next time; --tar writes the root file system into a file for
// `docker import` elsewhere and imports nothing. For this computer's own architecture.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { cleanUpOnSignals, endAll, removeDirectory, temporaryDirectory } from './lib/cleanup.mjs';
import { staticEngine } from './lib/engine-build.mjs';
import { isStatic } from './lib/engine-packages.mjs';
import { inRoot, packageVersion } from './lib/project.mjs';
import { StepError, step } from './lib/steps.mjs';

/** What machines find in their /usr, beside what Debian calls essential. */
const PACKAGES = ['ca-certificates', 'curl', 'e2fsprogs', 'nodejs', 'python3-minimal'];
/** For the image alone: programs that the entrypoint needs before there is a /usr. */
const BUSYBOX = 'busybox-static';
const APPLETS = ['cmp', 'cp', 'gzip', 'mkdir', 'mount', 'mv', 'rm', 'sh', 'tar'];
/** Of no use inside. */
const UNREAD = [
  'usr/share/doc',
  'usr/share/locale',
  'usr/share/man',
  'usr/share/info',
  'usr/share/nodejs/@types',
  'var/cache/apt',
  'var/cache/debconf',
  'var/lib/apt/lists',
  'var/log',
];
const SUITE = 'bookworm';

const { values: options } = parseArgs({
  options: {
    engine: { type: 'string', default: staticEngine(`linux-${process.arch}`) },
    tag: { type: 'string', default: `nullspace-engine:${packageVersion()}` },
    cli: { type: 'string', default: 'docker' },
    rootfs: { type: 'string' },
    tar: { type: 'string' },
  },
});

/** What an image says of itself, in the words of a Dockerfile: those of deploy/docker/Dockerfile, where they are written. */
const changes = () => {
  const text = readFileSync(inRoot('deploy', 'docker', 'Dockerfile'), 'utf8');
  return text.slice(text.lastIndexOf('\nFROM ')).match(/^(ENV|VOLUME|EXPOSE|ENTRYPOINT) .*$/gm);
};

/** A hash of files, one after the other. */
const hashOf = (...files) => {
  const hash = createHash('sha256');
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest('hex');
};

cleanUpOnSignals();
const work = temporaryDirectory('image');
const debian = options.rootfs ?? path.join(work, 'debian');
/** What the image has in addition to that, and instead of its /usr. */
const added = path.join(work, 'added');
const tar = (...args) => ['--numeric-owner', '--sort=name', ...args];
try {
  if (!existsSync(options.engine))
    throw new StepError(`there is no ${options.engine}: \`npm run pack:engine\` makes it, or name one with --engine`);
  // The libraries of one that was built for tests are in /usr.
  const isPacked = isStatic(readFileSync(options.engine));
  if (!existsSync(path.join(debian, isPacked ? 'usr/bin/busybox' : 'usr/bin/python3')))
    await step('Make a small Debian', (current) =>
      current.run('debootstrap', ['--variant=minbase', `--include=${[...PACKAGES, BUSYBOX].join(',')}`, SUITE, debian]),
    );
  for (const name of UNREAD) rmSync(path.join(debian, name), { recursive: true, force: true });
  const bin = path.join(added, 'usr/bin');
  mkdirSync(bin, { recursive: true });
  if (isPacked)
    await step('Pack its /usr', async (current) => {
      const packed = path.join(added, 'usr.tar.gz');
      await current.run('tar', tar('--use-compress-program=gzip -n', '-cf', packed, '-C', debian, 'usr'));
      writeFileSync(path.join(added, 'usr.id'), `${hashOf(packed, options.engine)}\n`);
      copyFileSync(path.join(debian, 'usr/bin/busybox'), path.join(bin, 'busybox'));
      for (const name of APPLETS) symlinkSync('busybox', path.join(bin, name));
      current.note = `${(statSync(packed).size / 1e6).toFixed(1)} MB`;
    });
  await step('Put the engine beside it', async (current) => {
    copyFileSync(options.engine, path.join(bin, 'nullspace-engine'));
    copyFileSync(inRoot('deploy', 'docker', 'entrypoint'), path.join(added, 'entrypoint'));
    for (const name of ['usr/bin/nullspace-engine', 'entrypoint']) chmodSync(path.join(added, name), 0o755);
    current.note = `${(statSync(options.engine).size / 1e6).toFixed(1)} MB`;
  });
  // Docker takes no path twice, and a Debian that was kept may have these of an earlier time.
  const own = [
    'entrypoint',
    isPacked ? 'usr' : 'usr/bin/nullspace-engine',
    ...(isPacked ? ['usr.id', 'usr.tar.gz'] : []),
  ];
  const content = [...own.map((name) => `--exclude=./${name}`), '-C', debian, '.', '-C', added, ...own];
  if (options.tar !== undefined)
    await step(`Write ${options.tar}`, (current) =>
      current.run('tar', tar('-czf', path.resolve(options.tar), ...content)),
    );
  else
    await step(`Import it as ${options.tag}`, async (current) => {
      const flags = changes().flatMap((line) => ['--change', line]);
      const source = spawn('tar', tar('-cf', '-', ...content), { stdio: ['ignore', 'pipe', 'inherit'] });
      try {
        await current.run(options.cli, ['import', ...flags, '-', options.tag], {
          stdio: [source.stdout, 'pipe', 'pipe'],
        });
      } finally {
        // It waits for a reader for ever if there is none any more.
        source.kill();
      }
      const size = await current.run(options.cli, ['image', 'inspect', '--format', '{{.Size}}', options.tag]);
      current.note = `${(Number(size) / 1e6).toFixed(0)} MB`;
    });
} catch (error) {
  if (!(error instanceof StepError)) console.error(error);
  else if (!error.excerpt) console.error(error.message);
  process.exitCode = 1;
} finally {
  removeDirectory(work);
  await endAll();
}
