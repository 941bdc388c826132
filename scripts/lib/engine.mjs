// A running engine: used by `npm start` and by the tests. Needs nothing of this repository but the binary.

import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, copyFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';

import { removeDirectory, temporaryDirectory } from './cleanup.mjs';
import { startCluster } from './cluster.mjs';
import { startProcess } from './process.mjs';

/**
 * Starts an engine on a free loopback port and waits until it answers. With NULLSPACE_TEST_CLUSTER=3 it is a gateway over three
 * nodes, for tests that talk to an engine through its API and cannot tell which it is. Engines share what machines are made of in
 * NULLSPACE_TEST_BASE, if it is set: without it each copies some thousand files.
 *
 * @param {object} options
 * @param {string} options.binary the program
 * @param {string} [options.state] its state directory; a fresh temporary one when absent
 * @param {string} [options.apiKey] a random one when absent
 * @param {string[]} [options.args] more flags of `serve`
 * @param {string[]} [options.wrapper] a command to run it under, such as `['setpriv', '--reuid', '1234']`
 * @param {'full' | 'fast'} [options.durability] by default it waits for no disk
 * @param {Record<string, string>} [options.env] its whole environment, beside PATH
 * @param {boolean} [options.isStrict] whether it refuses sizes that it cannot hold machines to; by default only as root, who can
 */
export async function startEngine({
  binary,
  state,
  apiKey,
  durability = 'fast',
  args = [],
  wrapper = [],
  env = {},
  isStrict = process.getuid?.() === 0,
}) {
  const ownState = state === undefined;
  const directory = state ?? path.join(temporaryDirectory('engine'), 'state');
  const key = apiKey ?? `nsk_test_${randomBytes(16).toString('hex')}`;
  const nodes = Number(process.env.NULLSPACE_TEST_CLUSTER ?? 0);
  const base = process.env.NULLSPACE_TEST_BASE ? ['--base-cache', process.env.NULLSPACE_TEST_BASE] : [];
  const flags = ['--durability', durability, ...base, ...(isStrict ? [] : ['--best-effort']), ...args];
  const engine =
    nodes > 0
      ? await startCluster({ binary, nodes, directory, key, args: flags, env })
      : await startProcess({
          what: 'the engine',
          // It ends with this program, however that ends.
          command: [
            ...[...wrapper, binary, 'serve', '--listen', '127.0.0.1:0', '--state', directory, '--api-key', key],
            ...['--end-with-stdin', ...flags],
          ],
          ready: /^NULLSPACE_API_URL=(\S+)$/m,
          env,
        });
  const url = engine.said[1];
  return {
    url,
    apiKey: key,
    state: directory,
    pid: engine.pid,
    /** Options that any call of the SDK takes. */
    client: { baseUrl: url, apiKey: key },
    /** stderr so far. */
    log: engine.log,
    stdout: engine.stdout,
    /** Resolves with `{ code, signal }` when the process is gone. */
    ended: engine.ended,
    /** Sends a signal to the engine alone. */
    signal: engine.signal,
    /** SIGTERM, and waits. Removes the state if nobody gave it. Resolves with `{ code, signal }`. */
    async stop() {
      const how = await engine.stop();
      if (ownState) removeDirectory(path.dirname(directory));
      return how;
    },
  };
}

/** Why a test is skipped that an engine of an ordinary user cannot pass: `false` as root. */
export const needsRoot = process.getuid?.() !== 0 && 'needs an engine that runs as root';

/** No user of this computer: nothing belongs to it. */
export const STRANGER = 54_321;

/**
 * Options of `startEngine` for an engine of a user without rights, whoever runs the tests. Its files are in `directory`, an empty one
 * that is outside of home directories, which such a user cannot enter.
 */
export function withoutRights(binary, directory) {
  if (process.getuid() !== 0) return { binary, isStrict: true };
  chmodSync(directory, 0o755);
  const copy = path.join(directory, 'nullspace-engine');
  copyFileSync(binary, copy);
  chmodSync(copy, 0o755);
  const home = path.join(directory, 'home');
  mkdirSync(home);
  chownSync(home, STRANGER, STRANGER);
  return {
    binary: copy,
    state: path.join(home, 'state'),
    env: { HOME: home },
    isStrict: true,
    wrapper: ['setpriv', '--reuid', String(STRANGER), '--regid', String(STRANGER), '--clear-groups'],
  };
}
