// Fails when a dependency, Rust or npm, has a licence that does not go with Apache-2.0. Reads only what cargo and
// npm have locked.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

import satisfies from 'spdx-satisfies';

import { inRoot, root } from './lib/project.mjs';

/** Permissive ones. An expression such as `MIT OR GPL-3.0` is fine: one of them may be chosen. */
const ALLOWED = [
  '0BSD',
  'Apache-2.0',
  'Apache-2.0 WITH LLVM-exception',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BSL-1.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  'Python-2.0',
  'Unicode-3.0',
  'Unlicense',
  'Zlib',
];

/** Only used by checks, and in no package: texts of the SPDX project, word lists, and a test tool. */
const DATA = new Map([
  // Checks pages in tests; it is used as it is, and neither changed nor shipped.
  ['axe-core', 'MPL-2.0'],
  // Word lists of the spelling check.
  ['@cspell/dict-django', 'WTFPL'],
  ['@cspell/dict-en-common-misspellings', 'CC BY-SA 4.0'],
  ['spdx-exceptions', 'CC-BY-3.0'],
  ['spdx-ranges', '(MIT AND CC-BY-3.0)'],
]);

function isAllowed(expression) {
  try {
    return satisfies(expression, ALLOWED);
  } catch {
    return false; // not an SPDX expression: somebody has to look
  }
}

function crates() {
  const metadata = JSON.parse(
    execFileSync('cargo', ['metadata', '--format-version', '1', '--locked'], {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    }),
  );
  // `MIT/Apache-2.0` is how crates wrote OR before SPDX.
  return metadata.packages.map(({ name, version, license }) => [name, version, license?.replaceAll('/', ' OR ')]);
}

/** What npm has locked. Consumer projects of tests/packaging have no lock and ship nothing. */
const LOCKS = ['package-lock.json', 'reference/package-lock.json'];

function npmPackages() {
  return LOCKS.flatMap((lock) => Object.entries(JSON.parse(readFileSync(inRoot(lock), 'utf8')).packages))
    .filter(([place]) => place !== '')
    .map(([place, { version, license }]) => [place.replace(/^.*node_modules\//, ''), version, license])
    .filter(([name, , license]) => !(DATA.get(name) === license));
}

const all = [...crates(), ...npmPackages()];
const refused = all.filter(([, , licence]) => !licence || !isAllowed(licence));
for (const [name, version, licence] of refused) console.error(`${name} ${version}: ${licence ?? 'no licence given'}`);
console.log(`${all.length} dependencies, ${refused.length} with a licence that is not allowed`);
if (refused.length > 0) {
  console.error(`Allowed: ${ALLOWED.join(', ')} (scripts/licences.mjs)`);
  process.exitCode = 1;
}
