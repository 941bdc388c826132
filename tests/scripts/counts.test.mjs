// How results are counted: a suite that fails must never look like one that passed.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cargoCounts, lineCounts, nodeCounts, pythonCounts } from '../../scripts/lib/counts.mjs';
import { compareVersions } from '../../scripts/lib/project.mjs';

test('cargo: all results are summed', () => {
  const output = [
    'test policy::one ... ignored, needs root',
    'test policy::two ... ignored, needs root',
    'test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s',
    'test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s',
  ].join('\n');
  assert.deepEqual(cargoCounts(output, 101), {
    ...{ passed: 5, failed: 4, skipped: 2, failures: [] },
    skips: ['2 tests: needs root'],
  });
});

test('cargo: code that does not compile is one failure', () => {
  const { failures, ...counts } = cargoCounts('error: could not compile\n', 101);
  assert.deepEqual(counts, { passed: 0, failed: 1, skipped: 0, skips: [] });
  assert.deepEqual(failures, ['error: could not compile\n']);
});

test('node: passes, failures, cancelled and skipped ones, with the reason', () => {
  const output = [
    'ok 1 - fine',
    'ok 2 - no peer # SKIP needs iproute2',
    'not ok 3 - broken',
    '  ---',
    '  error: x',
    '  ...',
    '# tests 7',
    '# pass 3',
    '# fail 1',
    '# cancelled 2',
    '# skipped 1',
  ].join('\n');
  const { failures, ...counts } = nodeCounts(output, 1);
  assert.deepEqual(counts, { passed: 3, failed: 3, skipped: 1, skips: ['no peer: needs iproute2'] });
  assert.deepEqual(failures, ['not ok 3 - broken\n  ---\n  error: x\n  ...\n']);
});

test('node: a runner that died is one failure', () => {
  assert.equal(nodeCounts('', 139).failed, 1);
});

test('python: failures and errors are told apart from passes', () => {
  const output =
    'a ... ok\nb (t.T) ... skipped "no venv"\nRan 6 tests in 1s\n\nFAILED (failures=1, errors=2, skipped=1)';
  const { passed, failed, skipped } = pythonCounts(output, 1);
  assert.deepEqual({ passed, failed, skipped }, { passed: 2, failed: 3, skipped: 1 });
  assert.equal(pythonCounts('Ran 4 tests in 1s\n\nOK', 0).passed, 4);
  const error = `${'='.repeat(70)}\nERROR: test_x\n${'-'.repeat(70)}\nTraceback\n`;
  assert.deepEqual(pythonCounts(`${error}\nRan 1 test in 1s\n\nFAILED (errors=1)`, 1).failures, [`${error}\n`]);
});

test('python: tests that passed with an engine that ended badly are a failure', () => {
  assert.equal(pythonCounts('Ran 4 tests in 1s\n\nOK', 1).failed, 1);
});

test('our own line is read, and its absence is a failure', () => {
  assert.deepEqual(lineCounts('ok a\n2 passed, 1 failed\n', 1), { passed: 2, failed: 1 });
  assert.deepEqual(lineCounts('2 passed, 0 failed\n', 1), { passed: 2, failed: 1 });
  assert.deepEqual(lineCounts('crashed', 0), { passed: 0, failed: 1 });
});

test('versions are compared by number', () => {
  assert.ok(compareVersions('1.9', '1.88.1') < 0);
  assert.ok(compareVersions('1.95.0', '1.89') > 0);
  assert.equal(compareVersions('20.16', '20.16.0'), 0);
});
