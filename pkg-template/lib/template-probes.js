// When what a template starts counts as ready: plain data, which the server tests inside the machine that builds.

import { InvalidRequestError } from './errors.js';

export const wrong = (name, what) => {
  throw new InvalidRequestError({ code: 'invalid_request', message: `option \`${name}\` ${what}` });
};

const kindOf = (value) => (value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`);

/** Text with something in it. */
export const filled = (name, value, example) => {
  if (value === undefined) wrong(name, `is missing, such as ${example}`);
  if (typeof value !== 'string') wrong(name, `must be a string such as ${example}, not ${kindOf(value)}`);
  if (value.trim() === '') wrong(name, `must not be empty: give ${example}`);
  if (value.includes('\0')) wrong(name, 'must not hold a NUL character');
  return value;
};

/** Options of a step: a plain object that holds these names and no others. */
export const optionsOf = (given, names) => {
  if (given === undefined) return {};
  if (given === null || typeof given !== 'object' || Array.isArray(given))
    wrong('options', `must be a plain object, not ${kindOf(given)}`);
  for (const [name, value] of Object.entries(given))
    if (value !== undefined && !names.includes(name)) wrong(name, `is not known; known are ${names.join(', ')}`);
  return given;
};

export const integer = (name, value, min, max, example) => {
  if (!Number.isInteger(value) || value < min || value > max)
    wrong(name, `must be a whole number from ${min} to ${max} such as ${example}, not ${String(value)}`);
  return value;
};

export const flag = (name, value) => {
  if (value !== undefined && typeof value !== 'boolean') wrong(name, `must be true or false, not ${kindOf(value)}`);
  return value === true;
};

/** One word of a shell. */
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

const timing = (given) => {
  const {
    timeout = 30,
    intervalMs = 500,
    startupGrace = 2,
  } = optionsOf(given, ['timeout', 'intervalMs', 'startupGrace']);
  return {
    timeoutSecs: integer('timeout', timeout, 1, 86_400, 30),
    intervalMs: integer('intervalMs', intervalMs, 1, 3_600_000, 500),
    startupGraceSecs: integer('startupGrace', startupGrace, 0, 86_400, 2),
  };
};

export const waitForPort = (port, options) =>
  Object.freeze({ kind: 'tcp', port: integer('port', port, 1, 65_535, 8080), ...timing(options) });

export const waitForUrl = (url, options) => {
  const example = "'http://localhost:8080/health'";
  let parsed;
  try {
    parsed = new URL(filled('url', url, example));
  } catch (error) {
    if (error instanceof InvalidRequestError) throw error;
    return wrong('url', `must be a URL such as ${example}`);
  }
  const { protocol, hostname, port, pathname, search, hash, username, password } = parsed;
  if (protocol !== 'http:') wrong('url', `must begin with http://, such as ${example}`);
  if (!['localhost', '127.0.0.1', '0.0.0.0'].includes(hostname))
    wrong('url', `must be of localhost, 127.0.0.1 or 0.0.0.0: the server asks inside the machine, such as ${example}`);
  // `URL` drops the one that HTTP has by itself.
  const named = port || (/^http:\/\/[^/]*:80(\/|$)/i.test(url.trim()) ? '80' : '');
  if (named === '' || named === '0') wrong('url', `must name a port, such as ${example}`);
  if (search || hash || username || password)
    wrong('url', `must have no query, fragment, user or password, such as ${example}`);
  return Object.freeze({ kind: 'http', port: Number(named), path: pathname, ...timing(options) });
};

const command = (text, options) => Object.freeze({ kind: 'command', command: text, ...timing(options) });

export const waitForProcess = (name, options) =>
  command(`ps -eo comm= | grep -Fx -- ${quoted(filled('name', name, "'nginx'"))} >/dev/null`, options);

export const waitForFile = (path, options) =>
  command(`test -e ${quoted(filled('path', path, "'/tmp/ready'"))}`, options);

export const waitForTimeout = (timeoutMs) =>
  Object.freeze({ kind: 'timeout', timeoutMs: integer('timeoutMs', timeoutMs, 0, 86_400_000, 5000) });

/** Fields of each kind, and what they are called on the wire. */
const FIELDS = {
  tcp: { port: 'port' },
  http: { port: 'port', path: 'path' },
  command: { command: 'command' },
};
const TIMING = { timeoutSecs: 'timeout_secs', intervalMs: 'interval_ms', startupGraceSecs: 'startup_grace_secs' };

/** A probe as the wire has it. A text is a command. */
export const readinessOf = (name, given) => {
  const probe = typeof given === 'string' ? command(filled(name, given, "'curl -f localhost:8080'")) : given;
  if (probe?.kind === 'timeout') return { kind: 'timeout', timeout_ms: waitForTimeout(probe.timeoutMs).timeoutMs };
  if (!Object.hasOwn(FIELDS, String(probe?.kind)))
    wrong(name, 'must be a command, or a probe such as waitForPort(8080)');
  // Those of a caller are read as those that the functions above make.
  const { timeoutSecs: timeout, intervalMs, startupGraceSecs: startupGrace } = probe;
  const whole = { ...probe, ...timing({ timeout, intervalMs, startupGrace }) };
  if (probe.kind === 'command') filled(`${name}.command`, probe.command, "'test -e /tmp/ready'");
  else integer(`${name}.port`, probe.port, 1, 65_535, 8080);
  if (probe.kind === 'http') filled(`${name}.path`, probe.path, "'/health'");
  const names = Object.entries({ ...FIELDS[probe.kind], ...TIMING });
  return { kind: probe.kind, ...Object.fromEntries(names.map(([key, wire]) => [wire, whole[key]])) };
};

/** Prints a build's log. */
const LEVELS = ['debug', 'info', 'warn', 'error'];
export const defaultBuildLogger = (given) => {
  const { minLevel = 'info', print = console.log } = optionsOf(given, ['minLevel', 'print']);
  if (!LEVELS.includes(minLevel)) wrong('minLevel', `must be one of '${LEVELS.join("', '")}', not '${minLevel}'`);
  if (typeof print !== 'function') wrong('print', 'must be a function');
  const least = LEVELS.indexOf(minLevel);
  return ({ timestamp, kind, level, message }) => {
    // The first and the last are told whatever was asked for.
    if (kind !== 'start' && kind !== 'end' && LEVELS.indexOf(level) < least) return;
    print(`${timestamp.toISOString().slice(11, 19)} ${level.padEnd(5)} ${message.trimEnd()}`);
  };
};
