// A running engine: used by `npm start` and by the tests. Needs nothing of this repository but the binary.

import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, copyFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';

import { end, removeDirectory, start, temporaryDirectory } from './cleanup.mjs';

/** The first start makes the file system of `base`. Milliseconds. */
const START_MS = 60_000;

/**
 * Starts an engine on a free loopback port and waits until it answers.
 *
 * @param {object} options
 * @param {string} options.binary the program
 * @param {string} [options.state] its state directory; a fresh temporary one when absent
 * @param {string} [options.apiKey] a random one when absent
 * @param {string[]} [options.args] more flags of `serve`
 * @param {string[]} [options.wrapper] a command to run it under, such as `['setpriv', '--reuid', '1234']`
 * @param {'full' | 'fast'} [options.durability] by default it waits for no disk
 * @param {Record<string, string>} [options.env] its whole environment, beside PATH
 */
export async function startEngine({ binary, state, apiKey, durability = 'fast', args = [], wrapper = [], env = {} }) {
  const ownState = state === undefined;
  const directory = state ?? path.join(temporaryDirectory('engine'), 'state');
  const key = apiKey ?? `nsk_test_${randomBytes(16).toString('hex')}`;
  const command = [
    ...wrapper,
    binary,
    'serve',
    ...['--listen', '127.0.0.1:0', '--state', directory, '--api-key', key, '--durability', durability],
    // With this program, however that ends.
    '--end-with-stdin',
    ...args,
  ];
  const child = start(command[0], command.slice(1), { stdio: 'pipe', env: { PATH: process.env.PATH, ...env } });
  child.stdin.on('error', () => {}); // it may end first
  let log = '';
  let stdout = '';
  const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
  const url = await new Promise((resolve, reject) => {
    const failed = (why) => reject(new Error(`the engine ${why}; its log:\n${log.slice(-4000)}`));
    const timer = setTimeout(() => {
      failed(`gave no address within ${START_MS / 1000} s`);
      end(child, 'SIGKILL');
    }, START_MS);
    child.stderr.setEncoding('utf8').on('data', (text) => {
      log += text;
    });
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      const address = stdout.match(/^NULLSPACE_API_URL=(\S+)$/m)?.[1];
      if (address) {
        clearTimeout(timer);
        resolve(address);
      }
    });
    child.once('error', (error) => {
      clearTimeout(timer);
      failed(`did not start: ${error.message}`);
    });
    ended.then(({ code, signal }) => {
      clearTimeout(timer);
      failed(`ended with ${signal ?? `exit code ${code}`}`);
    });
  });

  return {
    url,
    apiKey: key,
    state: directory,
    pid: child.pid,
    /** Options that any call of the SDK takes. */
    client: { baseUrl: url, apiKey: key },
    /** stderr so far. */
    log: () => log,
    stdout: () => stdout,
    /** Resolves with `{ code, signal }` when the process is gone. */
    ended,
    /** Sends a signal to the engine alone. */
    signal: (name) => child.kill(name),
    /** SIGTERM, and waits. Removes the state if nobody gave it. Resolves with `{ code, signal }`. */
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => end(child), 25_000);
      const how = await ended;
      clearTimeout(timer);
      await end(child);
      if (ownState) removeDirectory(path.dirname(directory));
      return how;
    },
  };
}

/** No user of this computer: nothing belongs to it. */
export const STRANGER = 54_321;

/**
 * Options of `startEngine` for an engine of a user without rights, whoever runs the tests. Its files are in `directory`, an empty one
 * that is outside of home directories, which such a user cannot enter.
 */
export function withoutRights(binary, directory) {
  if (process.getuid() !== 0) return { binary };
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
    wrapper: ['setpriv', '--reuid', String(STRANGER), '--regid', String(STRANGER), '--clear-groups'],
  };
}
