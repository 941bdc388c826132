// How many tests passed, by what the test programs print. A program that failed without saying which test did counts
// as one failure, so that nothing is lost.

// `failures` hold what the program said of each failed test, where that can be told from the rest.

/** Sums the `test result:` lines of `cargo test`. */
export function cargoCounts(output, exitCode) {
  const failures = [
    ...output.matchAll(/^---- .* ----\n(?:(?!---- |failures:).*\n)*/gm),
    ...output.matchAll(/^error(?:\[|:).*\n(?:.+\n)*/gm),
  ];
  const counts = { passed: 0, failed: 0, skipped: 0, failures: failures.map(([text]) => text), skips: [] };
  for (const [, passed, failed, ignored] of output.matchAll(
    /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/gm,
  )) {
    counts.passed += Number(passed);
    counts.failed += Number(failed);
    counts.skipped += Number(ignored);
  }
  // One line for each reason: those that need root are many.
  const ignored = [...output.matchAll(/^test .* \.\.\. ignored(?:, (.*))?$/gm)].map(([, why = 'ignored']) => why);
  for (const why of new Set(ignored)) counts.skips.push(`${ignored.filter((one) => one === why).length} tests: ${why}`);
  return withExitCode(counts, exitCode);
}

/** Reads the end of a TAP report of `node --test`. */
export function nodeCounts(output, exitCode) {
  const number = (name) => Number(output.match(new RegExp(`^# ${name} (\\d+)$`, 'm'))?.[1] ?? 0);
  const skips = [...output.matchAll(/^\s*ok \d+ - (.*) # SKIP(.*)$/gm)].map(([, name, why]) => `${name}:${why}`);
  const counts = {
    failures: [...output.matchAll(/^( *)not ok \d+ - (?:.*\n)(?:\1 .*\n)*/gm)].map(([block]) => block),
    passed: number('pass'),
    failed: number('fail') + number('cancelled'),
    skipped: number('skipped'),
    skips,
  };
  return withExitCode(counts, exitCode);
}

/** Reads the end of a report of Python's unittest. */
export function pythonCounts(output, exitCode) {
  const ran = Number(output.match(/^Ran (\d+) tests?/m)?.[1] ?? 0);
  const last = output.match(/^(?:OK|FAILED)(?: \((.*)\))?$/m)?.[1] ?? '';
  const number = (name) => Number(last.match(new RegExp(`${name}=(\\d+)`))?.[1] ?? 0);
  const failed = number('failures') + number('errors');
  const skips = [...output.matchAll(/^(.*) \.\.\. skipped (.*)$/gm)].map(([, name, why]) => `${name}: ${why}`);
  const failures = [...output.matchAll(/^={70}\n(?:(?!={70}|Ran ).*\n)*/gm)].map(([text]) => text);
  // A set-up that failed is an error of no test.
  const passed = Math.max(0, ran - failed - number('skipped'));
  return withExitCode({ passed, failed, skipped: number('skipped'), skips, failures }, exitCode);
}

/** Reads the last line 'N passed, N failed' of our own test programs. */
export function lineCounts(output, exitCode) {
  const [, passed, failed] = [...output.matchAll(/^(\d+) passed, (\d+) failed$/gm)].at(-1) ?? [];
  return withExitCode(
    { passed: Number(passed ?? 0), failed: Number(failed ?? 0) },
    passed === undefined ? 1 : exitCode,
  );
}

function withExitCode(counts, exitCode) {
  if (exitCode !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}
