// `npm run release`: the packages, their checksums and the notes of a release, and then the upload.
//
//   npm run release -- --dry-run             everything but the upload; notes of what is unreleased will do
//   npm run release -- --dry-run --built     the same with the tarballs that are in dist/, for the platforms that are there
//   npm run release -- --publish             from .github/workflows/release.yml: uploads what is in dist/, with provenance
//
// The version is that of pkg-template/package.json.

import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { cleanUpOnSignals, endAll } from './lib/cleanup.mjs';
import { PLATFORMS } from './lib/engine-packages.mjs';
import { inRoot, packageVersion } from './lib/project.mjs';
import { checksums, notesOf, tarballs, versions } from './lib/release.mjs';
import { StepError, step } from './lib/steps.mjs';

const { values: options } = parseArgs({
  options: {
    'dry-run': { type: 'boolean', default: false },
    built: { type: 'boolean', default: false },
    publish: { type: 'boolean', default: false },
  },
});
const isDry = options['dry-run'];
if (isDry === options.publish) {
  console.error('usage: npm run release -- --dry-run [--built] | --publish');
  process.exit(2);
}
const version = packageVersion();

cleanUpOnSignals();
try {
  await step('Check the version', async (current) => {
    const others = Object.entries(versions()).filter(([, found]) => found !== version);
    if (others.length > 0)
      throw new StepError(`${others.map(([file, found]) => `${file} says ${found}`).join(', ')}, not ${version}`);
    current.note = version;
  });
  const notes = await step('Find the notes', async (current) => {
    const changelog = readFileSync(inRoot('CHANGELOG.md'), 'utf8');
    const found = notesOf(changelog, version) ?? (isDry ? notesOf(changelog, 'Unreleased') : undefined);
    if (!found) throw new StepError(`CHANGELOG.md has no section "## ${version}"`);
    current.note = `${found.split('\n').length} lines`;
    return found;
  });
  if (isDry && !options.built)
    for (const task of ['pack', 'pack-engine'])
      await step(`npm run ${task.replace('-', ':')}`, (current) => current.run('node', ['scripts/task.mjs', task]));
  const files = await step('Look at the packages', async (current) => {
    const there = (platform) => existsSync(inRoot('dist', `nullspace-engine-${platform}-${version}.tgz`));
    const platforms = Object.keys(PLATFORMS).filter((platform) => !(isDry && options.built) || there(platform));
    const all = tarballs(platforms);
    for (const file of all) {
      if (!existsSync(file)) throw new StepError(`there is no ${file}`);
      const listed = await current.run('tar', ['-tzf', file]);
      if (!/^package\/LICENSE$/m.test(listed)) throw new StepError(`${path.basename(file)} has no LICENSE`);
      const manifest = JSON.parse(await current.run('tar', ['-xzOf', file, 'package/package.json']));
      if (manifest.version !== version) throw new StepError(`${manifest.name} has version ${manifest.version}`);
      if (Object.keys(manifest.scripts ?? {}).length > 0) throw new StepError(`${manifest.name} has scripts`);
      for (const [name, wanted] of Object.entries(manifest.optionalDependencies ?? {}))
        if (wanted !== version || !all.some((other) => path.basename(other) === `${name}-${version}.tgz`))
          throw new StepError(`${manifest.name} wants ${name} ${wanted}, which is not part of this release`);
    }
    current.note = all.map((file) => `${path.basename(file)} ${(statSync(file).size / 1e6).toFixed(1)} MB`).join(', ');
    return all;
  });
  await step('Write dist/SHA256SUMS and dist/notes.md', async (current) => {
    writeFileSync(inRoot('dist', 'SHA256SUMS'), checksums(files));
    writeFileSync(inRoot('dist', 'notes.md'), `${notes}\n`);
    await current.run('sha256sum', ['--check', 'SHA256SUMS'], { cwd: inRoot('dist') });
  });
  if (isDry) console.log(`\nNothing was uploaded. To be published, in this order:\n${files.join('\n')}`);
  else
    for (const file of files)
      await step(`Publish ${path.basename(file)}`, (current) =>
        current.run('npm', ['publish', '--provenance', '--access', 'public', file]),
      );
} catch (error) {
  if (!(error instanceof StepError)) console.error(error);
  process.exitCode = 1;
} finally {
  await endAll();
}
