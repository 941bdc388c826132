// Starts an engine and runs the Python tests against it: `node tests/contract/run.mjs PYTHON [unittest arguments]`. With
// NULLSPACE_TEST_CLUSTER=3 it is a gateway over three nodes.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { cleanUpOnSignals, endAll, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../scripts/lib/engine.mjs';
import { engineBinary } from '../../scripts/lib/project.mjs';

const [python, ...rest] = process.argv.slice(2);
const cluster = process.env.NULLSPACE_TEST_CLUSTER;
const here = path.dirname(fileURLToPath(import.meta.url));

cleanUpOnSignals();
try {
  const engine = await startEngine({ binary: engineBinary });
  // The SDK reads settings from the home directory and from `.env` of the current one: both are empty.
  const home = temporaryDirectory('python-home');
  // The SDK leaves connections open at the end of a test: its warnings about that would hide the results.
  // Not `spawnSync`: the log of the engine must be read meanwhile, or a full pipe stops the engine.
  const tests = spawn(
    path.resolve(python),
    ['-W', 'ignore::ResourceWarning', '-m', 'unittest', 'discover', '-v', '-s', here, '-t', here, ...rest],
    {
      cwd: home,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: {
        PATH: process.env.PATH,
        HOME: home,
        XDG_CONFIG_HOME: path.join(home, '.config'),
        PYTHONDONTWRITEBYTECODE: '1',
        NO_PROXY: '127.0.0.1,localhost',
        // Previews of a cluster have names.
        ...(cluster ? { PYTHONPATH: path.join(here, 'names'), NULLSPACE_TEST_CLUSTER: cluster } : {}),
        NULLSPACE_API_URL: engine.url,
        NULLSPACE_API_KEY: engine.apiKey,
      },
    },
  );
  const [status] = await once(tests, 'exit');
  const { code, signal } = await engine.stop();
  if (status !== 0) process.exitCode = 1;
  if (code !== 0) {
    console.error(`the engine ended with ${signal ?? `exit code ${code}`}; its log:\n${engine.log().slice(-4000)}`);
    process.exitCode = 1;
  }
  if (process.exitCode) console.error(`the engine's log:\n${engine.log().slice(-4000)}`);
} finally {
  await endAll();
}
