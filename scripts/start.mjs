// `npm start`: from a fresh clone to a machine that ran a command. Needs nothing but Node, since it runs before
// `npm install`.

import { cleanUpOnSignals, endAll } from './lib/cleanup.mjs';
import { consumerProject, isolatedEnvironment } from './lib/consumer.mjs';
import { startEngine } from './lib/engine.mjs';
import { engineBinary, packageVersion, tarball } from './lib/project.mjs';
import { prepare } from './lib/setup.mjs';
import { StepError, step } from './lib/steps.mjs';

cleanUpOnSignals();
try {
  await prepare();
  const engine = await step('Start the engine', async (current) => {
    const started = await startEngine({ binary: engineBinary, isStrict: true });
    current.note = started.url;
    return started;
  });
  const project = await step('Install the package into a new project', (current) =>
    consumerProject(current, ['examples/node-quickstart']),
  );
  const output = await step('Run examples/node-quickstart', (current) =>
    current.run('node', ['examples/node-quickstart/index.mjs'], {
      cwd: project,
      env: isolatedEnvironment({ NULLSPACE_API_URL: engine.url, NULLSPACE_API_KEY: engine.apiKey }),
    }),
  );
  await step('Stop the engine', async () => {
    const { code, signal } = await engine.stop();
    if (code !== 0) throw new Error(`it ended with ${signal ?? `exit code ${code}`}`);
  });
  console.log(`\n${output.trimEnd()}\n`);
  console.log(`The package: ${tarball()} (npm install it anywhere; version ${packageVersion()})`);
  console.log('An engine to work with: npm run engine (it prints the two lines to paste into your shell)');
} catch (error) {
  if (!(error instanceof StepError)) console.error(error);
  process.exitCode = 1;
} finally {
  await endAll();
}
