// `nullspace engine`: finds the local engine of this user, or starts one.

import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, readSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { findEngine as find, HOW_TO_GET_ENGINE } from '../pkg-template/lib/find-engine.js';
import { decide } from './container/decide.mjs';
import { findClis, findWsl } from './container/probe.mjs';
import { containerLogs, containerRuns, startContainer, stopContainer } from './container/run.mjs';
import { EXIT, interruption, misuse, problem } from './ending.mjs';
import { fields, show, shownLines, useJson } from './output.mjs';
import { isAlive, isDefaultFolder, runningEngine, stateFolder } from './running.mjs';
import { quoted } from '../pkg-template/lib/shell.js';
import { version } from './version.mjs';

export const findEngine = () => find(fileURLToPath(import.meta.url));

/** The first start makes the file system of `base`. Milliseconds. */
const START_MS = 60_000;
/** An engine ends its machines within 20 s, and itself whatever they do. Milliseconds. */
const END_MS = 25_000;
const LOOK_MS = 20;

/** What this command alone knows; the rest is the engine's. */
const split = (args) => {
  const own = { rest: [] };
  const words = [...args];
  while (words.length > 0) {
    const word = words.shift();
    const [, folder] = word.match(/^--state=(.*)$/s) ?? [];
    const [, port] = word.match(/^--port=(.*)$/s) ?? [];
    if (word === '--background') own.background = true;
    else if (word === '--container') own.container = true;
    else if (word === '--json') useJson();
    else if (word === '--state') own.state = words.shift() ?? '';
    else if (folder !== undefined) own.state = folder;
    else {
      // The engine takes it, and a container is published on it.
      own.port ??= port ?? (word === '--port' ? words[0] : undefined);
      own.rest.push(word);
    }
  }
  if (own.state === '') throw misuse('--state: give a directory');
  return own;
};

const command = (verb, folder) =>
  `npx nullspace engine ${verb}${isDefaultFolder(folder) ? '' : ` --state ${quoted(folder)}`}`;

/** Says where an engine is and what can be done with it. */
const describe = (engine, { title, foreground = false }) => {
  const { base_url: url, pid, version, log, folder, file, notes = [], container } = engine;
  show({ url, pid, version, state: folder, keyFile: file, log: log ?? undefined, notes, container }, () => {
    const found = isDefaultFolder(folder)
      ? 'programs of yours on this computer find address and key by themselves; for others'
      : 'programs find the engine of the usual directory only; for this one';
    return `${title}\n${fields({
      address: url,
      key: `in ${file}, which only you can read`,
      use: `${found}: eval "$(${command('env', folder)})"`,
      stop: foreground ? 'Ctrl-C' : command('stop', folder),
      logs: log || container ? command('logs', folder) : undefined,
      version,
      process: pid,
      container: container && `${container.name} of ${container.cli}, made of ${container.image}`,
      'not here': notes,
    })}`;
  });
};

/** An engine is there already: that is what was wanted, unless something else was said. */
const already = (engine, rest) => {
  if (rest.length > 0)
    throw problem(
      `an engine runs on ${engine.folder} already, at ${engine.base_url}: it was not touched, and ${rest[0]} has no effect on it`,
      {
        code: 'engine_runs',
        suggestedAction: `\`${command('stop', engine.folder)}\` first, or give the other one a directory of its own with --state`,
      },
    );
  describe(engine, { title: 'An engine of yours runs already.' });
};

/** Waits until the process is the engine of the folder; `ended` tells how it ended before that. */
const ready = async (child, folder, ended) => {
  const deadline = Date.now() + START_MS;
  let over;
  ended.then(
    (code) => (over = { code }),
    (error) => (over = { error }),
  );
  for (;;) {
    const engine = runningEngine(folder);
    if (engine?.pid === child.pid) return { engine };
    if (over?.error) throw over.error;
    if (over) return {};
    if (Date.now() > deadline) {
      child.kill('SIGKILL');
      throw problem(`the engine gave no address within ${START_MS / 1000} s and was ended`, { code: 'engine_failed' });
    }
    await sleep(LOOK_MS);
  }
};

const endOf = (child) =>
  new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? (signal ? EXIT.signal : EXIT.error)));
  });

/** Runs the program as long as it wants, in this terminal. */
const inForeground = (file, args, stdout = 'inherit') => {
  // The terminal sends its signals to both; others are passed on.
  const child = spawn(file, args, { stdio: ['inherit', stdout, 'inherit'] });
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  process.on('SIGINT', () => {});
  return child;
};

/** What an engine says when another one has the state directory. */
const IN_USE = /is in use by another nullspace-engine/;

const inBackground = async (file, folder, rest) => {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const log = path.join(folder, 'engine.log');
  // What does not go through the log: the last words of a program that fails.
  const words = openSync(log, 'a', 0o600);
  const from = statSync(log).size;
  const args = ['serve', '--state', folder, '--log-file', log, ...rest];
  const child = spawn(file, args, { detached: true, stdio: ['ignore', 'ignore', words] });
  closeSync(words);
  const { engine } = await ready(child, folder, endOf(child));
  if (!engine) {
    const said = readFileSync(log).subarray(from).toString('utf8').trim();
    // Somebody was faster: theirs is there in a moment.
    const deadline = Date.now() + START_MS;
    while (IN_USE.test(said) && Date.now() < deadline) {
      const other = runningEngine(folder);
      if (other) return already(other, rest);
      await sleep(LOOK_MS);
    }
    throw problem(`the engine did not start:\n${shownLines(said.slice(-4000))}`, { code: 'engine_failed' });
  }
  child.unref();
  describe(engine, { title: 'The engine runs in the background.' });
};

/** What was told of an engine, unless its container is gone. */
const stillRuns = async (engine) => {
  if (!engine?.container || (await containerRuns(engine))) return engine;
  rmSync(engine.file, { force: true });
  return undefined;
};

/** A program where there is one, else a container; else what is missing. */
const chooseWay = async (program, container) => {
  const found = {
    platform: process.platform,
    arch: process.arch,
    program,
    wanted: container ? 'container' : undefined,
  };
  const first = decide(found);
  if (first.way === 'program') return first;
  const way = decide({ ...found, clis: await findClis(), wsl: await findWsl() });
  if (way.way === 'none')
    throw problem([container ? way.lines[0] : HOW_TO_GET_ENGINE, ...way.lines.slice(1)].join('\n'), {
      code: 'engine_not_found',
    });
  if (way.way === 'wsl')
    throw problem(
      `an engine runs in the Linux of WSL: \`wsl -d ${way.distribution} -- npx nullspace engine --background\``,
      {
        code: 'engine_not_found',
        suggestedAction:
          'install Node and the packages nullspace and nullspace-engine there first; 127.0.0.1 is the same for both',
      },
    );
  return way;
};

const DEFAULT_PORT = '3000';

const inContainer = async (cli, folder, given, rest) => {
  const port = Number(given ?? DEFAULT_PORT);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw misuse(
      '--port: give a port from 1 to 65535; in a container it is published, so that it cannot be any free one',
    );
  // The container has its own.
  const args = rest.filter((word, index) => !/^--port(=|$)/.test(word) && rest[index - 1] !== '--port');
  const seccomp = fileURLToPath(new URL('./seccomp.json', import.meta.url));
  await startContainer(cli, { folder, port, version: version(), seccomp, args });
  describe(runningEngine(folder), { title: 'The engine runs in a container.' });
};

const VERBS = ['serve', 'doctor', 'template', 'prune', 'help', '--version'];

const HELP = `Usage: nullspace engine [options]           find the engine of this user, or start one in this terminal
       nullspace engine --background        the same, without the terminal
       nullspace engine --container         in a container, as it is done where there is no program for this computer
       nullspace engine stop | status | logs [--follow] | env
       nullspace engine doctor | template | prune    what the engine's own program does

--state DIR and --json go with all. Further options are those of the engine's program:
`;

export const engine = {
  args: [['[args...]', '--background, --state DIR, and options of the engine such as --port 3001']],
  isForeign: true,
  async run(args) {
    const { file } = findEngine();
    const found = () => {
      if (!file) throw problem(HOW_TO_GET_ENGINE, { code: 'engine_not_found' });
      return file;
    };
    if (VERBS.includes(args[0])) {
      process.exitCode = await endOf(inForeground(found(), args));
      return;
    }
    if (args.some((word) => word === '--help' || word === '-h')) {
      process.stdout.write(`${HELP}\n`);
      if (file) process.exitCode = await endOf(inForeground(file, ['serve', '--help']));
      return;
    }
    const { background, container, port, state, rest } = split(args);
    const folder = stateFolder(state);
    const other = await stillRuns(runningEngine(folder));
    if (other) return already(other, rest);
    const way = await chooseWay(file, container);
    if (way.way === 'container') return inContainer(way.cli, folder, port, rest);
    if (background) return inBackground(found(), folder, rest);
    // What it prints for scripts holds the key, and `engine env` does that.
    const child = inForeground(found(), ['serve', '--state', folder, ...rest], 'ignore');
    const ended = endOf(child);
    const { engine } = await ready(child, folder, ended);
    if (engine) describe(engine, { title: 'The engine runs.', foreground: true });
    process.exitCode = await ended;
  },
};

const STATE = ['--state <dir>', "the engine's directory; without it the usual one"];

/** The engine of a directory, which has to run. */
const running = async (state) => {
  const folder = stateFolder(state);
  const engine = await stillRuns(runningEngine(folder));
  if (engine) return engine;
  throw problem(`no engine runs on ${folder}`, {
    code: 'engine_not_running',
    suggestedAction: `start one with \`${command('--background', folder)}\``,
  });
};

export const stop = {
  options: [STATE],
  async run({ state }) {
    const folder = stateFolder(state);
    const engine = runningEngine(folder);
    if (!engine) {
      show({ stopped: false, state: folder }, () => `no engine runs on ${folder}`);
      return;
    }
    if (engine.container) {
      await stopContainer(engine);
      show(
        { stopped: true, state: folder },
        () => 'The engine is stopped. Its state stays on the volume of the container.',
      );
      return;
    }
    process.kill(engine.pid, 'SIGTERM');
    const deadline = Date.now() + END_MS;
    while (isAlive(engine)) {
      if (Date.now() > deadline)
        throw problem(`the engine (process ${engine.pid}) has not ended within ${END_MS / 1000} s`, {
          suggestedAction: `\`kill -9 ${engine.pid}\` ends it at once; the next start removes what it leaves`,
        });
      await sleep(LOOK_MS);
    }
    show({ stopped: true, state: folder }, () => `The engine is stopped. Its state stays in ${folder}.`);
  },
};

export const status = {
  options: [STATE],
  async run({ state }) {
    describe(await running(state), { title: 'The engine runs.' });
  },
};

export const env = {
  options: [STATE],
  async run({ state }) {
    const { base_url: url, api_key: key } = await running(state);
    show({ NULLSPACE_API_URL: url, NULLSPACE_API_KEY: key }, (all) =>
      Object.entries(all)
        .map(([name, value]) => `export ${name}=${quoted(value)}`)
        .join('\n'),
    );
  },
};

/** How often a log is looked at. Milliseconds. */
const FOLLOW_MS = 200;

export const logs = {
  options: [STATE, ['-f, --follow', 'follow the log until Ctrl-C']],
  async run({ state, follow }) {
    const folder = stateFolder(state);
    const engine = runningEngine(folder);
    if (engine?.container) {
      process.exitCode = await containerLogs(engine, follow);
      return;
    }
    const file = engine?.log ?? path.join(folder, 'engine.log');
    let [open, at] = [undefined, 0];
    /** Prints what is new; a log that began anew is read from its start. */
    const more = () => {
      const now = statSync(file);
      if (open === undefined || now.ino !== open.ino) {
        if (open !== undefined) {
          rest();
          closeSync(open.fd);
        }
        [open, at] = [{ fd: openSync(file), ino: now.ino }, 0];
      }
      rest();
    };
    const bytes = Buffer.alloc(65_536);
    const rest = () => {
      for (let size = 1; size > 0; at += size) {
        size = readSync(open.fd, bytes, 0, bytes.length, at);
        process.stdout.write(bytes.toString('latin1', 0, size), 'latin1');
      }
    };
    try {
      more();
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
      throw problem(`there is no log in ${folder}`, {
        code: 'not_found',
        exitCode: EXIT.notFound,
        suggestedAction:
          'an engine that runs in a terminal logs there; one of `nullspace engine --background` has a log',
      });
    }
    if (!follow) return;
    const { signal } = interruption();
    while (!signal.aborted) {
      await sleep(FOLLOW_MS, undefined, { signal }).catch(() => {});
      try {
        more();
      } catch (error) {
        // Between two files.
        if (error.code !== 'ENOENT') throw error;
      }
    }
    throw signal.reason;
  },
};
