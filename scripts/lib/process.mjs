// A program that serves, from its start to its end: what it says, and when it is ready.

import { end, start } from './cleanup.mjs';

/** The first start of an engine makes the file system of `base`. Milliseconds. */
const START_MS = 60_000;

/**
 * Starts a program, with this one's end as the end of its standard input, and waits until it says that it is ready.
 *
 * @param {object} options
 * @param {string} options.what how errors name it
 * @param {string[]} options.command
 * @param {RegExp} options.ready what standard output, or standard error, holds then
 * @param {Record<string, string>} [options.env] its whole environment, beside PATH
 */
export async function startProcess({ what, command: [program, ...args], ready, env = {} }) {
  const child = start(program, args, { stdio: 'pipe', env: { PATH: process.env.PATH, ...env } });
  child.stdin.on('error', () => {}); // it may end first
  let log = '';
  let stdout = '';
  const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
  const said = await new Promise((resolve, reject) => {
    const failed = (why) => reject(new Error(`${what} ${why}; its log:\n${log.slice(-4000)}`));
    const timer = setTimeout(() => {
      failed(`was not ready within ${START_MS / 1000} s`);
      end(child, 'SIGKILL');
    }, START_MS);
    let found;
    const look = () => {
      found ??= stdout.match(ready) ?? log.match(ready) ?? undefined;
      if (!found) return;
      clearTimeout(timer);
      resolve(found);
    };
    child.stderr.setEncoding('utf8').on('data', (text) => {
      log += text;
      look();
    });
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      look();
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
    child,
    pid: child.pid,
    /** The match of `ready`. */
    said,
    /** stderr so far. */
    log: () => log,
    stdout: () => stdout,
    /** Resolves with `{ code, signal }` when the process is gone. */
    ended,
    /** Sends a signal to the program alone. */
    signal: (name) => child.kill(name),
    /** Sends a signal, SIGTERM by default, and waits until all of it is gone. Resolves with `{ code, signal }`. */
    async stop(name = 'SIGTERM') {
      child.kill(name);
      const timer = setTimeout(() => end(child), 25_000);
      const how = await ended;
      clearTimeout(timer);
      await end(child);
      return how;
    },
  };
}
