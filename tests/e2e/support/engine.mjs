// An engine per test file, and what tests ask about it.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import { Nullspace } from 'nullspace';

import { cleanUpOnSignals, endAll } from '../../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../../scripts/lib/engine.mjs';

const binary = process.env.NULLSPACE_TEST_ENGINE;
if (!binary) throw new Error('NULLSPACE_TEST_ENGINE is not set: run these tests with `npm run test:e2e`');

cleanUpOnSignals();

/** Small enough that many fit on a laptop. */
export const SMALL = { vcpus: 1, memoryMb: 64, timeout: 120 };

/**
 * Starts an engine.
 *
 * @returns the engine, with `Machine` and `TemplateWarmPool` of a client that talks to it
 */
export async function engineForTests(options = {}) {
  const engine = await startEngine({ binary, ...options });
  const { Machine, TemplateWarmPool } = new Nullspace(engine.client);
  return {
    ...engine,
    Machine,
    TemplateWarmPool,
    /** A raw request, for what the SDK cannot send. */
    request: (method, path, { body, headers } = {}) =>
      fetch(new URL(path, engine.url), {
        method,
        headers: {
          authorization: `Bearer ${engine.apiKey}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        body: body === undefined ? undefined : JSON.stringify(body),
      }),
    /** For `after`: it must end well, and have logged no secret. Ends what a failed test left, too. */
    async stopWell() {
      const how = await engine.stop();
      await endAll();
      assert.deepEqual(how, { code: 0, signal: null }, engine.log().slice(-2000));
      assert.ok(!engine.log().includes(engine.apiKey), 'the log holds the API key');
    },
  };
}

/** Runs a shell command in a machine and gives its trimmed stdout; fails unless it exits with 0. */
export async function sh(machine, command, options = {}) {
  const { exitCode, stdout, stderr } = await machine.commands.run(command, { shell: true, ...options });
  assert.equal(exitCode, 0, `${command}: ${stderr}`);
  return stdout.trim();
}

/** Looks every 50 ms until `check` gives something; fails after `seconds`. */
export async function until(what, check, seconds = 15) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const result = await check();
    if (result) return result;
    assert.ok(Date.now() < deadline, `${what}: not within ${seconds} s`);
    await sleep(50);
  }
}
