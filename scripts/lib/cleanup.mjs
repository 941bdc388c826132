// What must not outlive this program: child processes and temporary directories.
//
// Every child gets a process group of its own, so that what a child started (rustc under cargo, an engine under a
// test) ends with it, and a Ctrl-C in the terminal reaches only this program, which then ends them in order.

import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** An engine tears its machines down within this time; whoever is slower is killed. Milliseconds. */
const GRACE_MS = 25_000;
/** Exit code after Ctrl-C and after SIGTERM. */
export const INTERRUPTED = 130;

const children = new Set();
const directories = new Set();
let stopping = false;

/** Whether a signal came: then failures of children are no news. */
export const isStopping = () => stopping;

/** Starts a child in a process group of its own. Its end is awaited by `endAll`, too. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options, detached: true });
  children.add(child);
  child.once('exit', () => {
    // The leader is gone; the rest of its group may not be.
    if (!groupExists(child)) children.delete(child);
  });
  child.once('error', () => children.delete(child));
  return child;
}

/** Ends a child and all of its group: SIGTERM, then after the grace time SIGKILL. */
export async function end(child, signal = 'SIGTERM') {
  signalGroup(child, signal);
  const deadline = Date.now() + GRACE_MS;
  while (groupExists(child) && Date.now() < deadline) await sleep(25);
  signalGroup(child, 'SIGKILL');
  children.delete(child);
}

/** Makes a directory that is removed when this program ends, however it ends. */
export function temporaryDirectory(label) {
  const directory = mkdtempSync(path.join(os.tmpdir(), `nullspace-${label}-`));
  directories.add(directory);
  return directory;
}

/**
 * Removes a directory now. Overlay work directories have no permissions, even for their owner: those are given first. Files of machines
 * may belong to subordinate ids of an ordinary user, who is root among those.
 */
export function removeDirectory(directory) {
  const remove = () => rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  try {
    remove();
  } catch {
    try {
      openUp(directory);
      remove();
    } catch (error) {
      if (error.code !== 'EPERM' || process.getuid() === 0) throw error;
      execFileSync('unshare', ['--map-root-user', '--map-auto', 'rm', '-rf', directory]);
    }
  }
  directories.delete(directory);
}

/** Ends every child and removes every temporary directory. */
export async function endAll() {
  await Promise.all([...children].map((child) => end(child)));
  for (const directory of directories) {
    try {
      removeDirectory(directory);
    } catch (error) {
      console.error(`could not remove ${directory}: ${error.message}`);
    }
  }
}

/** Makes signals clean up and exit with 130. Call once, first thing. */
export function cleanUpOnSignals() {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      // Whoever read this may be gone already, and an error of it would end the process here.
      for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
      process.stderr.write(`\n${signal}: stopping\n`);
      endAll().finally(() => process.exit(INTERRUPTED));
    });
  }
}

function openUp(directory) {
  chmodSync(directory, 0o700);
  for (const name of readdirSync(directory)) {
    const entry = path.join(directory, name);
    if (lstatSync(entry).isDirectory()) openUp(entry);
  }
}

function groupExists(child) {
  if (child.pid === undefined) return false;
  try {
    process.kill(-child.pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
  // What has ended but was not waited for counts as a member, and whoever inherits it may take seconds to do so.
  return process.platform !== 'linux' || readdirSync('/proc').some((name) => isMember(name, child.pid));
}

/** Whether the process `name` of /proc runs in the group. */
function isMember(name, group) {
  if (!/^\d+$/.test(name)) return false;
  try {
    const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
    // The program's name stands in parentheses and may hold any character.
    const [state, , memberOf] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state !== 'Z' && Number(memberOf) === group;
  } catch {
    return false; // ended meanwhile
  }
}

function signalGroup(child, signal) {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}
