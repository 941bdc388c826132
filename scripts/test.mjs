// `npm test`: the set-up of `npm start`, then every suite. The last line is 'N passed, N failed'.
//
//   node scripts/test.mjs              all
//   node scripts/test.mjs e2e contract only these (the names are in lib/suites.mjs)
//   node scripts/test.mjs e2e --only crash   of their JavaScript files, those with this in their name
//   node scripts/test.mjs packaging --all    the consumer project of every runtime and bundler; writes docs/runtimes.md

import { parseArgs } from 'node:util';

import { cleanUpOnSignals, endAll } from './lib/cleanup.mjs';
import { prepare } from './lib/setup.mjs';
import { StepError, step, stepTimes } from './lib/steps.mjs';
import { allConsumers, onlyFiles, suites } from './lib/suites.mjs';

const { values: options, positionals: chosen } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string', default: '' }, all: { type: 'boolean', default: false } },
});
const unknown = chosen.filter((name) => !Object.hasOwn(suites, name));
if (unknown.length > 0) {
  console.error(`no suite ${unknown.join(', ')}; there are ${Object.keys(suites).join(', ')}`);
  process.exit(2);
}

const wanted = Object.entries(suites).filter(([name, suite]) =>
  chosen.length === 0 ? !suite.apart : chosen.includes(name),
);

onlyFiles(options.only);
if (options.all) allConsumers();
cleanUpOnSignals();
const total = { passed: 0, failed: 0, skipped: 0 };

/** Counts a suite; one that could not run to its end is one failure more. */
async function runSuite(name, { title, run }) {
  let counts;
  try {
    await step(`Test: ${title}`, async (current) => {
      counts = await run(current);
      current.note = `${counts.passed} passed, ${counts.failed} failed${counts.skipped ? `, ${counts.skipped} skipped` : ''}`;
      for (const line of counts.skips ?? []) current.note += `\n     skipped: ${line}`;
      if (counts.failed > 0) throw new StepError(current.note, { excerpt: counts.failures?.join('\n') });
      if (counts.passed === 0) {
        counts.failed = 1;
        throw new Error(`nothing ran in ${name}`);
      }
    });
  } catch (error) {
    if (!(error instanceof StepError)) console.error(error);
    counts ??= { passed: 0, failed: 1, skipped: 0 };
  }
  for (const key of Object.keys(total)) total[key] += counts[key] ?? 0;
}

/** One after the other: beside each other they are slow enough to miss what they wait for. */
async function runSuites(chosen) {
  for (const [name, suite] of chosen) await runSuite(name, suite);
}
const early = wanted.filter(([, suite]) => suite.early);
const others = wanted.filter(([, suite]) => !suite.early);

try {
  await prepare({
    tests: true,
    inRust: wanted.some(([, suite]) => suite.inRust),
    engine: others.length > 0,
    needs: new Set(wanted.flatMap(([, suite]) => suite.needs ?? [])),
    onPackage: () => runSuites(early),
  });
  await runSuites(others);
} catch (error) {
  if (!(error instanceof StepError)) console.error(error);
  total.failed += 1; // the set-up
}
await endAll();

console.log('\nTimes:');
for (const { title, seconds, outcome } of stepTimes()) {
  console.log(`${seconds.toFixed(1).padStart(8)} s  ${title}${outcome === 'ok' ? '' : `  ${outcome}`}`);
}
const { passed, failed, skipped } = total;
if (skipped > 0) console.log(`\n${skipped} skipped: what was missing stands above.`);
console.log(`\n${passed} passed, ${failed} failed`);
// When one half of the set-up has failed, the other one still wants to go on.
process.exit(failed > 0 || passed === 0 ? 1 : 0);
