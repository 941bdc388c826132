// How the command line ends: exit codes, signals, and errors in the words of its own flags.

import { isJson, shownLines } from './output.mjs';

/** Exit codes, as the README lists them; those of a command that ran in a machine are its own. */
export const EXIT = {
  error: 1,
  usage: 2,
  auth: 3,
  notFound: 4,
  /** As `timeout` and shells have them. */
  timedOut: 124,
  notRunnable: 126,
  noProgram: 127,
  signal: 128,
};

/** An error of the command line itself. */
export const problem = (message, { exitCode = EXIT.error, code = 'error', suggestedAction } = {}) =>
  Object.assign(new Error(message), { code, exitCode, suggestedAction });

/** Wrong usage. */
export const misuse = (message, suggestedAction) =>
  problem(message, { exitCode: EXIT.usage, code: 'invalid_request', suggestedAction });

/** After a signal: for what has to be told to the machine. Milliseconds. */
const LINGER_MS = 1000;

const SIGNALS = { SIGINT: 2, SIGTERM: 15, ...(process.platform === 'win32' ? {} : { SIGHUP: 1 }) };

let interrupted;
/** Aborts with the first signal that would end this program; the second one ends it. */
export const interruption = () => {
  const controller = new AbortController();
  interrupted = controller;
  for (const [name, number] of Object.entries(SIGNALS))
    process.once(name, () =>
      controller.abort(problem('interrupted', { code: 'interrupted', exitCode: EXIT.signal + number })),
    );
  return controller;
};

/** Iterates over what cannot be told to stop, until the signal. */
export async function* stoppable(steps, signal) {
  signal.throwIfAborted();
  const walk = steps[Symbol.asyncIterator]();
  const stopped = new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  for (;;) {
    const { done, value } = await Promise.race([walk.next(), stopped]);
    if (done) return;
    yield value;
  }
}

/** Nobody reads any more what is printed: what is under way ends, and with it this program. */
export const cutShort = () => {
  if (!interrupted) process.exit(0);
  interrupted.abort(problem('nobody reads any more', { code: 'interrupted', exitCode: 0 }));
};

/** A command of which not even the start succeeded: as shells tell it. */
const notStarted = ({ message }) =>
  /no such file|not found|does not exist/i.test(message) ? EXIT.noProgram : EXIT.notRunnable;

const exitCodeOf = (error) => {
  // What its command ended with is not ours.
  if (error.name === 'BuildError') return EXIT.error;
  if (error.exitCode !== undefined) return error.exitCode;
  if (error.code === 'exec_timeout') return EXIT.timedOut;
  if (error.code === 'exec_failed') return notStarted(error);
  if (error.name === 'AuthError' || error.name === 'PermissionDeniedError') return EXIT.auth;
  if (error.name === 'NotFoundError') return EXIT.notFound;
  if (error.name === 'InvalidRequestError') return EXIT.usage;
  return EXIT.error;
};

/** Options of the SDK and of the API whose flags are called otherwise. */
const FLAGS = {
  envs: '--env',
  timeout_secs: '--timeout',
  snapshot_id: '--snapshot',
  machine_id: '--machine',
  internet_access: '--no-internet',
  allow_public_traffic: '--private-traffic',
  allow_cidrs: '--allow-cidr',
  deny_cidrs: '--deny-cidr',
  allow_domains: '--allow-domain',
  deny_domains: '--deny-domain',
  labels: '--label',
  background: '--detach',
  mode: '--egress',
  tags: '--tag',
  skip_cache: '--no-cache',
  build_args: '--build-arg',
  build_target: '--target',
  build_secrets: '--secret',
  secrets: '--secret',
};
/** Settings that are no flags. */
const VARIABLES = { api_key: 'NULLSPACE_API_KEY', base_url: 'NULLSPACE_API_URL' };

/** What a program can do that has no key, and a command cannot. */
const IN_A_PROGRAM = 'pass `apiKey`, or, where the runtime has an environment and files, ';

/** Puts the flags of a command in the place of the option names that the SDK and the API use. */
const inFlags = (text, command) => {
  const known = new Set(command?.options.map(({ long }) => long));
  return text?.replace(IN_A_PROGRAM, '').replace(/(?:options? )?`([\w.[\]]+)(?:: [^`]*)?`/g, (whole, path) => {
    const name = path
      .split('.')
      .at(-1)
      .replace(/\[.*$/, '')
      .replace(/([a-z])([A-Z])/g, '$1_$2')
      .toLowerCase();
    if (VARIABLES[name]) return VARIABLES[name];
    const flag = FLAGS[name] ?? `--${name.replaceAll('_', '-')}`;
    return known.has(flag) ? flag : whole;
  });
};

/** Says what went wrong with a command, and ends with the code of its kind. */
export const fail = (error, command) => {
  process.exitCode = exitCodeOf(error);
  if (error.code === 'interrupted') {
    // What is still under way by then is waited for no longer.
    setTimeout(() => process.exit(), LINGER_MS).unref();
    return;
  }
  const { code, status, requestId } = error;
  // What a server answered is no matter of flags.
  const message = code === 'invalid_response' ? error.message : inFlags(error.message, command);
  const suggestedAction = inFlags(error.suggestedAction, command);
  if (isJson()) console.error(JSON.stringify({ error: { code, message, suggestedAction, status, requestId } }));
  else console.error(shownLines(`error: ${message}${suggestedAction ? `\n${suggestedAction}` : ''}`));
};
