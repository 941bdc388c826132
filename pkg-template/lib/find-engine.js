// Where the program of a local engine is on this computer. For Node alone: the command line and `nullspace/testing` carry a copy.

import { accessSync, constants } from 'node:fs';
import module from 'node:module';
import path from 'node:path';

/** The npm package, and the program in it. */
const NAME = 'nullspace-engine';

const runs = (file) => {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** The program of the npm package, as a file at `from` would import that. */
const ofPackage = (from) => {
  try {
    return module.createRequire(from)(NAME).binaryPath();
  } catch {
    return undefined;
  }
};

/**
 * The engine's program and where it was found; nothing when there is none. `own` is a file of this package: it is installed beside
 * the engine, or what is worked on is.
 */
export const findEngine = (own) => {
  const onPath = (process.env.PATH ?? '')
    .split(path.delimiter)
    .filter(Boolean)
    .map((folder) => [path.join(folder, NAME), 'PATH']);
  const builds = ['release', 'debug'].map((profile) => [`target/${profile}/${NAME}`, 'this checkout']);
  const places = [
    [process.env.NULLSPACE_ENGINE, 'NULLSPACE_ENGINE'],
    ...[path.join(process.cwd(), 'package.json'), own].map((from) => [ofPackage(from), `the npm package ${NAME}`]),
    ...onPath,
    ...builds,
  ];
  const [file, from] = places.find(([candidate]) => candidate && runs(candidate)) ?? [];
  return { file, from };
};

/** What to say when there is none. */
export const HOW_TO_GET_ENGINE =
  process.platform === 'linux'
    ? `no ${NAME} was found (NULLSPACE_ENGINE, the npm package ${NAME}, PATH, ./target): install that package beside this one, or make its file with \`npm run pack:engine\` in a checkout of the project`
    : `an engine runs on Linux, not on ${process.platform}: use one in a Linux virtual machine or a container, and put its address and key into NULLSPACE_API_URL and NULLSPACE_API_KEY`;
