// `nullspace engine`: the program of a local engine, wherever it is.

import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

import { EXIT, problem } from './ending.mjs';

const runs = (file) => {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

const NAME = 'nullspace-engine';

/** The engine's program and where it was found: NULLSPACE_ENGINE, the PATH, a checkout's build. */
export const findEngine = () => {
  const places = (process.env.PATH ?? '')
    .split(path.delimiter)
    .filter(Boolean)
    .map((folder) => [path.join(folder, NAME), 'PATH']);
  const builds = ['release', 'debug'].map((profile) => [`target/${profile}/${NAME}`, 'this checkout']);
  const all = [[process.env.NULLSPACE_ENGINE, 'NULLSPACE_ENGINE'], ...places, ...builds];
  const [file, from] = all.find(([candidate]) => candidate && runs(candidate)) ?? [];
  return { file, from };
};

const HOW =
  'no nullspace-engine was found (NULLSPACE_ENGINE, PATH, ./target): it runs on Linux; build it with `npm run engine` in a checkout of the project, or `cargo build --release -p nullspace-engine`';

export const engine = {
  args: [['[args...]', 'its own arguments, such as --listen 127.0.0.1:3000']],
  isForeign: true,
  async run(args) {
    const { file } = findEngine();
    if (!file) throw problem(HOW, { code: 'engine_not_found' });
    const verbs = ['serve', 'doctor', 'template', 'help', '--help', '--version'];
    const child = spawn(file, verbs.includes(args[0]) ? args : ['serve', ...args], { stdio: 'inherit' });
    // The terminal sends its signals to both; others are passed on.
    for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
    process.on('SIGINT', () => {});
    process.exitCode = await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve(code ?? (signal ? EXIT.signal : EXIT.error)));
    });
  },
};
