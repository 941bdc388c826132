// The local engine that runs on a state directory, from what it says of itself there (crates/engine/src/cli/running.rs).

import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

const read = (file) => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
};

/** Where an engine keeps its state when it is told nothing. */
const defaultFolder = () => {
  const state = process.env.XDG_STATE_HOME;
  return path.join(state && path.isAbsolute(state) ? state : path.join(homedir(), '.local', 'state'), 'nullspace');
};

/** The state directory of `--state`, else the usual one. */
export const stateFolder = (given) => (given === undefined ? defaultFolder() : path.resolve(given));

export const isDefaultFolder = (folder) => folder === defaultFolder();

/** When a process began, in ticks since the computer did: with its number that names it for ever. Nothing for one that has ended. */
const startOf = (pid) => {
  const stat = read(`/proc/${pid}/stat`);
  const words = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return words?.[0] === 'Z' ? undefined : words?.[19];
};

/** Whether the process of an engine is there. It takes its file away when it begins to end. */
export const isAlive = ({ pid, started }) => startOf(pid) === started;

/** What is in `engine.json` while that engine lives; the SDK looks in the same way. */
export const runningEngine = (folder) => {
  const file = path.join(folder, 'engine.json');
  try {
    const told = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof told.base_url !== 'string') return undefined;
    if (told.pid !== undefined && !isAlive(told)) return undefined;
    return { ...told, file, folder };
  } catch {
    return undefined;
  }
};
