// `npx nullspace` of the packed package, against an engine that ends with the tests of a file.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import path from 'node:path';
import { after } from 'node:test';

import { cleanUpOnSignals, endAll, removeDirectory, temporaryDirectory } from '../../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../../scripts/lib/engine.mjs';

export const program = path.resolve('node_modules/.bin/nullspace');
export const SMALL = ['--vcpus', '1', '--memory-mb', '64'];

export const startCli = async () => {
  cleanUpOnSignals();
  const binary = process.env.NULLSPACE_TEST_ENGINE;
  const engine = await startEngine({ binary });
  const local = temporaryDirectory('cli');
  after(async () => {
    assert.deepEqual(await engine.stop(), { code: 0, signal: null });
    removeDirectory(local);
    await endAll();
  });
  const environment = {
    PATH: process.env.PATH,
    HOME: local,
    NULLSPACE_API_URL: engine.url,
    NULLSPACE_API_KEY: engine.apiKey,
  };

  /** Runs it, with `input` on standard input; never throws. `encoding: 'buffer'` gives bytes. */
  const run = (args, env = {}, { input = '', encoding = 'utf8' } = {}) =>
    new Promise((resolve) => {
      const child = execFile(
        program,
        args,
        { env: { ...environment, ...env }, cwd: local, maxBuffer: 1 << 26, timeout: 60_000, encoding },
        (error, stdout, stderr) => {
          const said = `${stdout}${stderr}`;
          assert.ok(!said.includes(engine.apiKey), 'the key was printed');
          if (encoding === 'utf8') assert.ok(!said.includes('\u001b'), 'colours without a terminal');
          resolve({ code: error ? error.code : 0, stdout, stderr });
        },
      );
      child.stdin.on('error', () => {});
      if (input !== undefined) child.stdin.end(input);
    });
  const good = async (...args) => {
    const { code, stdout, stderr } = await run(args);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  };
  const json = async (...args) => JSON.parse(await good(...args, '--json'));
  /** Starts it; `heard(pattern)` resolves when standard output has that. */
  const start = (args) => {
    const child = spawn(program, args, { env: environment, cwd: local });
    let output = '';
    let look = () => {};
    child.stdout.on('data', (bytes) => {
      output += bytes;
      look();
    });
    child.stderr.resume();
    return {
      child,
      output: () => output,
      ended: new Promise((resolve) => child.once('close', resolve)),
      heard: (pattern) =>
        new Promise((resolve) => {
          look = () => pattern.test(output) && resolve(output);
          look();
        }),
    };
  };
  return { binary, engine, local, environment, run, good, json, start };
};
