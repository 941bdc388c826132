// @ts-check
// Runs the test files of a project side by side, each in a machine of its own. The project is prepared once, and each machine
// starts from a snapshot of that, so no test sees what another one did.
//
//   npx nullspace engine --background      (or set NULLSPACE_API_URL and NULLSPACE_API_KEY of another engine)
//   node index.mjs PROJECT --prepare 'pip install -r requirements.txt' --run 'python3 -m unittest' tests/*.py

import { availableParallelism } from 'node:os';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Machine, NullspaceError, Snapshot } from 'nullspace';

/** @typedef {{ file: string, passed: boolean, ms: number, output: string }} Result */

/**
 * @param {string} project a directory of this computer
 * @param {string[]} files test files, as the command takes them
 * @param {object} options
 * @param {string} options.run what runs one of them; its name is put behind it
 * @param {string} [options.prepare] what runs once before, such as an installation
 * @param {number} [options.parallel] machines at the same time
 * @param {number} [options.seconds] limit of one file
 * @param {(result: Result) => void} [options.onResult]
 */
export async function runTests(project, files, { run, prepare, parallel = 4, seconds = 300, onResult }) {
  const snapshot = await prepared(project, prepare);
  /** @type {Result[]} */
  const results = [];
  const waiting = [...files];
  const worker = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const result = await runFile(snapshot.id, file, run, seconds);
      onResult?.(result);
      results.push(result);
    }
  };
  try {
    // All of them end before the snapshot goes, also when one fails.
    const ends = await Promise.allSettled(Array.from({ length: Math.min(parallel, files.length) }, worker));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  } finally {
    await Snapshot.delete(snapshot.id);
  }
  return results;
}

async function prepared(/** @type {string} */ project, /** @type {string | undefined} */ prepare) {
  const machine = await Machine.create({ timeout: 1800, metadata: { example: 'parallel-tests' } });
  try {
    await machine.files.upload(project, '/workspace', { ignore: ['node_modules', '.git'] });
    if (prepare) {
      const { exitCode, stdout, stderr } = await machine.commands.run(prepare, { shell: true, timeout: 1200 });
      if (exitCode !== 0) throw new Error(`\`${prepare}\` ended with ${exitCode}:\n${stdout}${stderr}`);
    }
    return await machine.createSnapshot();
  } finally {
    await machine.kill();
  }
}

async function runFile(snapshotId = '', file = '', run = '', seconds = 300) {
  const begun = performance.now();
  const machine = await Machine.create({ snapshotId, timeout: seconds + 60 });
  try {
    // The name of a file is an argument, whatever is in it.
    const line = `${run} "$1"`;
    const { exitCode, stdout, stderr } = await machine.commands.run('bash', {
      args: ['-c', line, 'run', file],
      timeout: seconds,
    });
    return { file, passed: exitCode === 0, ms: Math.round(performance.now() - begun), output: stdout + stderr };
  } catch (error) {
    if (!(error instanceof NullspaceError) || error.code !== 'exec_timeout') throw error;
    return { file, passed: false, ms: seconds * 1000, output: `it ran longer than ${seconds} s` };
  } finally {
    await machine.kill();
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { run: { type: 'string' }, prepare: { type: 'string' }, parallel: { type: 'string' } },
  });
  const [project, ...files] = positionals;
  if (!project || files.length === 0 || !values.run) {
    console.error("usage: node index.mjs PROJECT --run 'COMMAND' [--prepare 'COMMAND'] [--parallel N] FILE...");
    process.exit(2);
  }
  const results = await runTests(project, files, {
    run: values.run,
    prepare: values.prepare,
    parallel: Number(values.parallel ?? availableParallelism()),
    onResult: ({ file, passed, ms, output }) => {
      console.log(`${passed ? 'ok    ' : 'FAILED'} ${file} ${ms} ms`);
      if (!passed) console.log(output.replaceAll(/^/gm, '    '));
    },
  });
  const failed = results.filter(({ passed }) => !passed).length;
  console.log(`${results.length - failed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}
