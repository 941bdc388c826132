// `nullspace/testing-setup`: one engine for all tests of a run, as the global setup of a test runner.

const { startEngine } = require('./testing.cjs');

let running;

const teardown = async () => {
  const engine = await running;
  running = undefined;
  await engine?.close();
};

/** Starts it, and sets the variables that the SDK reads. Jest in watch mode asks again for each run. */
const setup = async () => {
  running ??= startEngine({ env: true }).catch((error) => {
    running = undefined;
    throw error;
  });
  await running;
  return teardown;
};

// As a compiled ES module: Jest, Vitest and Node each look for their own name.
Object.defineProperty(exports, '__esModule', { value: true });
exports.default = setup;
exports.globalSetup = setup;
exports.globalTeardown = teardown;
