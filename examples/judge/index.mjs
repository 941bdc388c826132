// @ts-check
// A judge of programs that strangers send in: each runs in a machine of its own, without network, with limits of memory and time,
// and gets a verdict for each test.
//
//   npx nullspace engine --background      (or set NULLSPACE_API_URL and NULLSPACE_API_KEY of another engine)
//   node index.mjs solution.py            runs it against the tests below

import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { Machine, NullspaceError } from 'nullspace';

/** How programs run, by the ends of their names. */
const LANGUAGES = { py: 'python3 program.py', sh: 'bash program.sh' };
const MAX_OUTPUT = 64 * 1024; // bytes that an answer may have

/**
 * @typedef {{ input: string, output: string }} Test
 * @typedef {'accepted' | 'wrong answer' | 'time limit' | 'memory limit' | 'output limit' | 'runtime error'} Verdict
 */

/**
 * Judges one program. Stops at the first test that it fails.
 *
 * @param {string} language such as `py`
 * @param {string} source
 * @param {Test[]} tests
 * @param {{ seconds?: number, memoryMb?: number, signal?: AbortSignal }} [limits]
 * @returns {Promise<{ verdict: Verdict, test?: number, ms: number, stderr?: string }>}
 */
export async function judge(language, source, tests, { seconds = 2, memoryMb = 128, signal } = {}) {
  const command = LANGUAGES[/** @type {keyof typeof LANGUAGES} */ (language)];
  if (!command) throw new RangeError(`no language ${language}; there are ${Object.keys(LANGUAGES).join(', ')}`);
  const machine = await Machine.create({
    vcpus: 1,
    memoryMb,
    // It ends even when this process does not come to its end.
    timeout: 30 + tests.length * (seconds + 5),
    network: { egress: { mode: 'deny_all' } },
    metadata: { example: 'judge' },
    signal,
  });
  try {
    let slowest = 0;
    for (const [index, { input, output }] of tests.entries()) {
      // Anew for each test: a program may have written over itself. The answers are never in the machine.
      await machine.files.write(`program.${language}`, source);
      await machine.files.write('input.txt', input);
      const { verdict, ms, stderr } = await runOne(machine, command, output, seconds, signal);
      slowest = Math.max(slowest, ms);
      if (verdict !== 'accepted') return { verdict, test: index + 1, ms: slowest, stderr };
    }
    return { verdict: 'accepted', ms: slowest };
  } finally {
    await machine.kill();
  }
}

/**
 * @param {Machine} machine
 * @param {string} command
 * @param {string} expected
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<{ verdict: Verdict, ms: number, stderr?: string }>}
 */
async function runOne(machine, command, expected, seconds, signal) {
  const begun = performance.now();
  // What is printed is cut in the machine; the exit code is that of the program.
  const line = `${command} < input.txt | head -c ${MAX_OUTPUT + 1}; exit "\${PIPESTATUS[0]}"`;
  try {
    const { exitCode, stdout, stderr } = await machine.commands.run('bash', {
      args: ['-c', line],
      timeout: seconds,
      signal,
    });
    const ms = Math.round(performance.now() - begun);
    const told = { ms, stderr: stderr.slice(-2000) };
    if (stdout.length > MAX_OUTPUT) return { verdict: 'output limit', ...told };
    if (exitCode === 137 || /MemoryError|memory limit/.test(stderr)) return { verdict: 'memory limit', ...told };
    if (exitCode !== 0) return { verdict: 'runtime error', ...told };
    // Spaces at the ends of lines say nothing.
    const lines = (/** @type {string} */ text) =>
      text
        .trimEnd()
        .split('\n')
        .map((one) => one.trimEnd())
        .join('\n');
    return { verdict: lines(stdout) === lines(expected) ? 'accepted' : 'wrong answer', ...told };
  } catch (error) {
    // Everything that the program started ended with it.
    if (error instanceof NullspaceError && error.code === 'exec_timeout') {
      return { verdict: 'time limit', ms: Math.round(performance.now() - begun) };
    }
    throw error;
  }
}

/** The problem: the sum of the numbers of a line. */
const TESTS = [
  { input: '1 2 3\n', output: '6\n' },
  { input: '-5 5\n', output: '0\n' },
  { input: `${'1 '.repeat(10_000)}\n`, output: '10000\n' },
];

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [file] = process.argv.slice(2);
  if (!file) {
    console.error('usage: node index.mjs solution.py');
    process.exit(2);
  }
  const result = await judge(file.split('.').at(-1) ?? '', await readFile(file, 'utf8'), TESTS);
  console.log(result.verdict, result.test ? `in test ${result.test},` : '', `slowest test ${result.ms} ms`);
  if (result.stderr) console.log(result.stderr);
  process.exitCode = result.verdict === 'accepted' ? 0 : 1;
}
