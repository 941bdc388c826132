// `nullspace engine` and `nullspace doctor`

import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

import { Machine } from 'nullspace';

import { EXIT, isJson, show } from './output.mjs';

const runs = (file) => {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** The engine's program: NULLSPACE_ENGINE, the PATH, a checkout's build. */
const binary = () => {
  const name = 'nullspace-engine';
  const places = (process.env.PATH ?? '')
    .split(path.delimiter)
    .filter(Boolean)
    .map((folder) => path.join(folder, name));
  return [process.env.NULLSPACE_ENGINE, ...places, `target/release/${name}`, `target/debug/${name}`].find(
    (file) => file && runs(file),
  );
};

const HOW =
  'no nullspace-engine was found (NULLSPACE_ENGINE, PATH, ./target): it runs on Linux; build it with `npm run engine` in a checkout of the project, or `cargo build --release -p nullspace-engine`';

/** Adds the commands. */
export const engine = (program) => {
  program
    .command('engine')
    .description('start a local engine')
    .argument('[args...]', 'its own arguments, such as --listen 127.0.0.1:3000')
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args) => {
      const file = binary();
      if (!file) throw Object.assign(new Error(HOW), { code: 'engine_not_found' });
      const verbs = ['serve', 'doctor', 'template', 'help', '--help', '--version'];
      const child = spawn(file, verbs.includes(args[0]) ? args : ['serve', ...args], { stdio: 'inherit' });
      // The terminal sends its signals to both; others are passed on.
      for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
      process.on('SIGINT', () => {});
      process.exitCode = await new Promise((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (code, signal) => resolve(code ?? (signal ? 128 : EXIT.error)));
      });
    });

  program
    .command('doctor')
    .description('say whether machines can be used from here')
    .action(async () => {
      const found = { node: process.versions.node, engine: binary(), api: undefined, problem: undefined };
      try {
        await Machine.list({ limit: 1, requestTimeout: 10 });
        found.api = 'answers, and takes the key';
      } catch (error) {
        found.problem = error.message;
        process.exitCode = error.name === 'AuthError' ? EXIT.auth : EXIT.error;
      }
      show(found, ({ node, engine: file, api, problem }) =>
        [
          `Node.js  ${node}`,
          `engine   ${file ?? 'none found here; hosted Nullspace needs none'}`,
          `API      ${api ?? `does not work: ${problem}`}`,
        ].join('\n'),
      );
      if (isJson() && found.problem) process.exitCode ||= EXIT.error;
    });
};
