// `nullspace/testing`: an engine of their own for tests. esbuild makes testing.cjs of this, for require() and import alike.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { findEngine, HOW_TO_GET_ENGINE } from './lib/find-engine.js';

const START_SECONDS = 60;
/** An engine ends its machines within 20 s, and itself whatever they do. Milliseconds. */
const END_MS = 25_000;
/** Characters of the log that are kept. */
const LOG = 65_536;

const VARIABLES = { NULLSPACE_API_URL: 'url', NULLSPACE_API_KEY: 'apiKey' };

/** What the engine shall not take from whoever runs the tests: their key, their address. */
const environment = (apiKey) => {
  const names = Object.keys(process.env).filter((name) => !name.startsWith('NULLSPACE_'));
  return { ...Object.fromEntries(names.map((name) => [name, process.env[name]])), NULLSPACE_API_KEY: apiKey };
};

/** Sets the variables that the SDK reads; gives what takes that back. */
const setVariables = (engine) => {
  const before = Object.keys(VARIABLES).map((name) => [name, process.env[name]]);
  for (const [name, key] of Object.entries(VARIABLES)) process.env[name] = engine[key];
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
};

const isText = (value) => typeof value === 'string' && value !== '';

const check = ({ binary, args = [], env = false, startTimeout = START_SECONDS, ...others }) => {
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new TypeError(`startEngine: there is no option \`${unknown}\`; give binary, args, env or startTimeout`);
  if (binary !== undefined && !isText(binary))
    throw new TypeError('startEngine: `binary` must be the path of nullspace-engine');
  if (!Array.isArray(args) || !args.every(isText))
    throw new TypeError("startEngine: `args` must be an array of strings such as ['--faults']");
  if (typeof env !== 'boolean') throw new TypeError('startEngine: `env` must be true or false');
  if (!(startTimeout > 0)) throw new TypeError('startEngine: `startTimeout` must be seconds such as 60');
  const file = binary ?? findEngine(__filename).file;
  if (file === undefined) throw new Error(HOW_TO_GET_ENGINE);
  return { file, args, env, startTimeout };
};

/** Resolves with the address that the engine prints. */
const address = (child, log, startTimeout) =>
  new Promise((resolve, reject) => {
    let printed = '';
    const failed = (why) => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      reject(new Error(`the engine ${why}${log() ? `; it said:\n${log()}` : ''}`));
    };
    const timer = setTimeout(() => failed(`gave no address within ${startTimeout} s`), startTimeout * 1000);
    child.once('error', (error) => failed(`did not start: ${error.message}`));
    child.once('close', (code, signal) => failed(`ended with ${signal ?? `exit code ${code}`}`));
    child.stdout.on('data', (text) => {
      printed += text;
      const url = printed.match(/^NULLSPACE_API_URL=(\S+)$/m)?.[1];
      if (url === undefined) return;
      clearTimeout(timer);
      resolve(url);
    });
  });

/** Starts an engine that ends with this process. */
export const startEngine = async (options = {}) => {
  const { file, args, env, startTimeout } = check(options);
  const apiKey = `nsk_test_${randomBytes(16).toString('hex')}`;
  // It ends when its standard input does, which the system closes with this process, however that ends. In a session of its own,
  // or a Ctrl-C would end it while tests still clean up.
  const fixed = ['--port', '0', '--temporary', '--end-with-stdin', '--durability', 'fast'];
  const child = spawn(file, ['serve', ...fixed, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    env: environment(apiKey),
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8');
  child.stderr.on('data', (text) => {
    said = (said + text).slice(-LOG);
  });
  child.stdin.on('error', () => {});
  const ended = new Promise((resolve) => child.once('close', resolve));
  const url = await address(child, () => said, startTimeout);
  // What is left open is no reason for the tests to go on.
  // Streams of Bun have no `unref`, and keep nothing alive.
  for (const handle of [child, child.stdin, child.stdout, child.stderr]) handle.unref?.();

  const engine = { url, apiKey, pid: child.pid, client: { baseUrl: url, apiKey }, log: () => said };
  const takeBack = env ? setVariables(engine) : () => {};
  let closing;
  const close = async () => {
    takeBack();
    child.ref();
    child.stdin.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
    await ended;
    clearTimeout(timer);
  };
  engine.close = () => {
    closing ??= close();
    return closing;
  };
  if (Symbol.asyncDispose) engine[Symbol.asyncDispose] = engine.close;
  return engine;
};

/** An engine from before the tests of a file to after them. */
export const useEngine = ({ before, after } = {}, options = {}) => {
  if (typeof before !== 'function' || typeof after !== 'function')
    throw new TypeError(
      'useEngine: give the hooks of the test runner: { before, after } of node:test, { before: beforeAll, after: afterAll } of Vitest and Jest',
    );
  check({ env: true, ...options });
  let engine;
  before(async () => {
    engine = await startEngine({ env: true, ...options });
  });
  after(() => engine?.close());
  const used = {};
  for (const name of ['url', 'apiKey', 'pid', 'client', 'log'])
    Object.defineProperty(used, name, {
      enumerable: true,
      get() {
        if (engine === undefined) throw new Error(`useEngine: \`${name}\` is there once the tests run`);
        return engine[name];
      },
    });
  return used;
};
