// The container image of the engine without any hub: a small Debian by debootstrap, the engine's program, the entrypoint.
//
//   node scripts/image.mjs [--engine target/static/x86_64-unknown-linux-musl/dist/nullspace-engine] [--tag nullspace-engine:0.1.0]
//                          [--cli docker] [--rootfs DIR] [--tar FILE]
//
// Needs root and debootstrap. --rootfs keeps the Debian for the next time; --tar writes the root file system into a file for
// `docker import` elsewhere and imports nothing. For this computer's own architecture.

import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { cleanUpOnSignals, endAll, removeDirectory, temporaryDirectory } from './lib/cleanup.mjs';
import { staticEngine } from './lib/engine-build.mjs';
import { inRoot, packageVersion } from './lib/project.mjs';
import { StepError, step } from './lib/steps.mjs';

/** What machines find in their /usr, beside what Debian calls essential. */
const PACKAGES = ['ca-certificates', 'curl', 'e2fsprogs', 'nodejs', 'python3-minimal'];
/** Of no use inside. */
const UNREAD = [
  'usr/share/doc',
  'usr/share/locale',
  'usr/share/man',
  'usr/share/info',
  'var/cache/apt',
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

cleanUpOnSignals();
const own = options.rootfs ?? path.join(temporaryDirectory('image'), 'rootfs');
try {
  if (!existsSync(options.engine))
    throw new StepError(`there is no ${options.engine}: \`npm run pack:engine\` makes it, or name one with --engine`);
  if (!existsSync(path.join(own, 'usr/bin/python3')))
    await step('Make a small Debian', (current) =>
      current.run('debootstrap', ['--variant=minbase', `--include=${PACKAGES.join(',')}`, SUITE, own]),
    );
  await step('Put the engine into it', async (current) => {
    for (const name of UNREAD) rmSync(path.join(own, name), { recursive: true, force: true });
    copyFileSync(options.engine, path.join(own, 'usr/bin/nullspace-engine'));
    copyFileSync(inRoot('deploy', 'docker', 'entrypoint'), path.join(own, 'entrypoint'));
    for (const name of ['usr/bin/nullspace-engine', 'entrypoint']) chmodSync(path.join(own, name), 0o755);
    current.note = `${(statSync(options.engine).size / 1e6).toFixed(1)} MB`;
  });
  if (options.tar !== undefined)
    await step(`Write ${options.tar}`, (current) =>
      current.run('tar', ['--numeric-owner', '-czf', path.resolve(options.tar), '-C', own, '.']),
    );
  else
    await step(`Import it as ${options.tag}`, async (current) => {
      const flags = changes().flatMap((line) => ['--change', line]);
      const tar = spawn('tar', ['--numeric-owner', '-cf', '-', '-C', own, '.'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await current.run(options.cli, ['import', ...flags, '-', options.tag], { stdio: [tar.stdout, 'pipe', 'pipe'] });
      const size = await current.run(options.cli, ['image', 'inspect', '--format', '{{.Size}}', options.tag]);
      current.note = `${(Number(size) / 1e6).toFixed(0)} MB`;
    });
} catch (error) {
  if (!(error instanceof StepError)) console.error(error);
  else if (!error.excerpt) console.error(error.message);
  process.exitCode = 1;
} finally {
  if (options.rootfs === undefined) removeDirectory(path.dirname(own));
  await endAll();
}
