// Template builds beside `buildah`, and pulls of images beside `skopeo`: the same steps on the same image, from a registry on
// loopback, in turn. As root.

import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

import { Nullspace } from 'nullspace';

import { removeDirectory, temporaryDirectory } from '../scripts/lib/cleanup.mjs';
import { startEngine } from '../scripts/lib/engine.mjs';
import { releaseEngine } from '../scripts/lib/project.mjs';
import { copyPrograms, layerOf, startRegistry } from '../tests/e2e/support/registry.mjs';

const run = promisify(execFile);
const time = async (work) => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

/** Ten small steps after one that copies the context. */
const STEPS = Array.from({ length: 10 }, (_, step) => `echo ${step} > /srv/${step}`);
const OPTIONS = { vcpus: 2, memoryMb: 512, internetAccess: false };

/** The image that both build on: a shell, and 20 MB that no step looks at. */
function baseImage(scratch, registry) {
  const low = path.join(scratch, 'low');
  copyPrograms(low, ['/bin/sh', '/bin/cat', '/bin/ls']);
  for (const folder of ['etc', 'srv', 'tmp']) mkdirSync(path.join(low, folder));
  writeFileSync(path.join(low, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\n');
  writeFileSync(path.join(low, 'srv/ballast'), randomBytes(20e6));
  return registry.publish('base', '1', [layerOf(low)], { Env: ['PATH=/usr/bin:/bin'] });
}

/** 200 MB in five layers of a thousand files each. */
function largeImage(scratch, registry, tag) {
  const layers = Array.from({ length: 5 }, (_, layer) => {
    const folder = path.join(scratch, `layer-${layer}`, `data-${layer}`);
    mkdirSync(folder, { recursive: true });
    for (let file = 0; file < 1000; file++) writeFileSync(path.join(folder, `${file}`), randomBytes(40e3));
    return layerOf(path.dirname(folder));
  });
  return registry.publish('large', tag, layers);
}

/**
 * Pulls over `skopeo copy`, both on a file system that is theirs: ext4 takes no inode that was removed in the last seconds, and
 * looks at each of them for every new file. Where thousands were removed, that is most of the time (NOTES.md).
 */
async function pulls(scratch, registry, rounds) {
  const disk = path.join(scratch, 'disk');
  mkdirSync(disk);
  execFileSync('truncate', ['--size', '8G', `${disk}.img`]);
  execFileSync('mkfs.ext4', ['-q', `${disk}.img`]);
  execFileSync('mount', ['-o', 'loop', `${disk}.img`, disk]);
  try {
    const running = await startEngine({ binary: releaseEngine, state: path.join(disk, 'state') });
    const { Template } = new Nullspace(running.client);
    const ratios = [];
    try {
      for (let round = 0; round < rounds; round++) {
        const large = largeImage(path.join(scratch, `large-${round}`), registry, `${round}`);
        const pull = await time(() => Template.build(Template.fromImage(large), 'large', OPTIONS));
        const to = path.join(disk, `copied-${round}`);
        const copy = await time(() =>
          run('skopeo', ['copy', '-q', '--src-tls-verify=false', `docker://${large}`, `dir:${to}`]),
        );
        ratios.push(pull / copy);
      }
    } finally {
      await running.stop();
    }
    return ratios;
  } finally {
    execFileSync('umount', ['--lazy', disk]);
  }
}

/** Runs the parts in turn, and gives medians. */
export async function builds({ table, verdict, median, quick }) {
  try {
    for (const program of ['buildah', 'skopeo']) execFileSync(program, ['--version']);
  } catch {
    console.error('buildah and skopeo (Debian packages of these names) are not installed: no builds are measured');
    return;
  }
  const scratch = temporaryDirectory('bench-builds');
  const registry = await startRegistry();
  const running = await startEngine({ binary: releaseEngine });
  const { Template } = new Nullspace(running.client);
  try {
    const base = baseImage(scratch, registry);
    const context = path.join(scratch, 'context');
    mkdirSync(context);
    for (let file = 0; file < 50; file++) writeFileSync(path.join(context, `${file}`), randomBytes(10e3));
    const buildah = (salt) => {
      const dockerfile = path.join(scratch, 'Dockerfile');
      const lines = [`FROM ${base}`, 'COPY . /srv/context/', `ENV SALT=${salt}`, ...STEPS.map((step) => `RUN ${step}`)];
      writeFileSync(dockerfile, lines.join('\n'));
      const storage = ['--root', path.join(scratch, 'storage'), '--runroot', path.join(scratch, 'run')];
      const flags = ['--isolation', 'chroot', '--layers', '--tls-verify=false', '--quiet', '-t', 'built'];
      return time(() => run('buildah', [...storage, 'build', ...flags, '-f', dockerfile, context]));
    };
    const ours = (salt) => {
      let builder = Template.fromImage(base)
        .setFileContext(context)
        .copy('.', '/srv/context/')
        .setBuildEnvs({ SALT: salt });
      for (const step of STEPS) builder = builder.run(step);
      return time(() => Template.build(builder, 'built', OPTIONS));
    };
    // Both have the image, and have built something.
    await buildah('first');
    await ours('first');
    const ratios = { cold: [], same: [], changed: [] };
    const alone = [];
    for (let round = 0; round < (quick ? 3 : 7); round++) {
      const salt = `round-${round}`;
      // A file that is new to both makes all steps new.
      writeFileSync(path.join(context, 'first'), randomBytes(10e3));
      const both = async () => [await ours(salt), await buildah(salt)];
      const [cold, coldBeside] = await both();
      ratios.cold.push(cold / coldBeside);
      const [same, sameBeside] = await both();
      ratios.same.push(same / sameBeside);
      alone.push(same);
      writeFileSync(path.join(context, '7'), randomBytes(10e3));
      const [changed, changedBeside] = await both();
      ratios.changed.push(changed / changedBeside);
    }
    const pulled = await pulls(scratch, registry, quick ? 1 : 3);
    const row = (what, limit, measured) => [what, `<= ${limit}`, measured.toFixed(2), verdict(measured, limit)];
    table(
      'Template builds, root',
      ['what', 'target', 'measured', ''],
      [
        row('a context and ten steps, new, over buildah', 0.5, median(ratios.cold)),
        row('the same again, over buildah', 0.2, median(ratios.same)),
        row('the same again, ms', 300, median(alone)),
        row('one changed file in the context, over buildah', 0.5, median(ratios.changed)),
        row('a template of an image of 200 MB in five layers, over `skopeo copy` to a directory', 1, median(pulled)),
      ],
    );
  } finally {
    await running.stop();
    await registry.close();
    // buildah leaves mounts behind.
    const mounts =
      readFileSync('/proc/self/mounts', 'utf8').match(new RegExp(`(?<= )${scratch}/storage\\S*`, 'g')) ?? [];
    for (const mount of mounts.reverse()) execFileSync('umount', ['--lazy', mount]);
    removeDirectory(scratch);
  }
}
