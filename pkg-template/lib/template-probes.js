// When what a template starts counts as ready: plain data, which the server tests inside the machine that builds.

import { filled, integer, optionsOf, wrong } from './checks.js';
import { quoted } from './shell.js';
import { InvalidRequestError } from './errors.js';

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
