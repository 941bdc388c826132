// Starts an engine, sends it requests of the schema (fuzz.py), and looks whether it outlives them:
// `node tests/api-fuzz/run.mjs PYTHON`. NULLSPACE_FUZZ_REQUESTS (2000), NULLSPACE_FUZZ_SEED and NULLSPACE_FUZZ_ONLY (a part of
// `POST /v1/...`) say how many, which ones, and of what.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { cleanUpOnSignals, endAll, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../scripts/lib/engine.mjs';
import { engineBinary, root } from '../../scripts/lib/project.mjs';

const [python] = process.argv.slice(2);
const { PATH, NULLSPACE_FUZZ_REQUESTS: requests, NULLSPACE_FUZZ_SEED: seed, NULLSPACE_FUZZ_ONLY: only } = process.env;
const settings = {
  NULLSPACE_FUZZ_REQUESTS: requests || '2000',
  NULLSPACE_FUZZ_SEED: seed || String(Math.floor(Math.random() * 2 ** 31)),
  NULLSPACE_FUZZ_ONLY: only || '',
};

cleanUpOnSignals();
try {
  const engine = await startEngine({ binary: process.env.NULLSPACE_TEST_ENGINE ?? engineBinary });
  const home = temporaryDirectory('fuzz-home');
  console.log(`NULLSPACE_FUZZ_SEED=${settings.NULLSPACE_FUZZ_SEED} repeats this run`);
  const fuzz = spawn(path.resolve(python), [fileURLToPath(new URL('fuzz.py', import.meta.url))], {
    cwd: home,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      PATH,
      HOME: home,
      PYTHONDONTWRITEBYTECODE: '1',
      PYTHONWARNINGS: 'ignore',
      NO_PROXY: '127.0.0.1,localhost',
      NULLSPACE_TEST_ROOT: root,
      NULLSPACE_API_URL: engine.url,
      NULLSPACE_API_KEY: engine.apiKey,
      ...settings,
    },
  });
  const [status] = await once(fuzz, 'exit');
  const { code, signal } = await engine.stop();
  if (status !== 0) process.exitCode = 1;
  if (code !== 0) {
    console.error(`the engine ended with ${signal ?? `exit code ${code}`}`);
    process.exitCode = 1;
  }
  if (process.exitCode) console.error(`the engine's log:\n${engine.log().slice(-4000)}`);
} finally {
  await endAll();
}
