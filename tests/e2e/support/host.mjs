// What the computer knows about an engine's machines: read from /proc and /sys, by nothing that the engine says.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

function status(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces and parentheses.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0], parent: Number(fields[1]), started: fields[19] };
  } catch {
    return undefined; // gone
  }
}

const allProcesses = () =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), ...status(name) }))
    .filter(({ state }) => state !== undefined);

/** Processes that `pid` started, at any depth, as they are now. */
export function descendants(pid) {
  const processes = allProcesses();
  const found = [];
  const parents = new Set([pid]);
  for (let grown = true; grown; ) {
    grown = false;
    for (const process of processes) {
      if (parents.has(process.parent) && !parents.has(process.pid)) {
        parents.add(process.pid);
        found.push(process);
        grown = true;
      }
    }
  }
  return found;
}

/** Those of `processes` that still run: a pid used again by another program does not count. */
export const stillAlive = (processes) =>
  processes.filter(({ pid, started }) => {
    const now = status(pid);
    return now !== undefined && now.started === started && now.state !== 'Z';
  });

/** Directories of the control groups that the processes are in, without those of `other` (the engine's own). */
export function controlGroups(processes, other) {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.match(/^\S+ \S+ \S+ (\S+) (\S+) .* - cgroup2? \S+ (\S+)/))
    .filter(Boolean)
    .map(([, top, place, options]) => ({ top, place, options: options.split(',') }));
  const groups = (pid) => {
    try {
      return readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
    } catch {
      return [];
    }
  };
  const own = new Set(groups(other));
  const lines = new Set(processes.flatMap(({ pid }) => groups(pid)).filter((line) => !own.has(line)));
  return [...lines].flatMap((line) => {
    const [, controllers, group] = line.split(':');
    return mounts
      .filter(({ options }) =>
        controllers === '' ? !options.some((o) => isV1(o)) : options.includes(controllers.split(',')[0]),
      )
      .map(({ top, place }) => path.join(place, path.relative(top, group)))
      .filter((directory) => existsSync(directory));
  });
}

const isV1 = (option) =>
  /^(memory|cpu|cpuacct|pids|freezer|devices|blkio|cpuset|net_cls|net_prio|perf_event|hugetlb|rdma|misc|name=)/.test(
    option,
  );

/** Lines of this namespace's mount table that name the directory. */
export const mountsBelow = (directory) =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(directory));

/** Loop devices whose file is below the directory. */
export const loopDevicesBelow = (directory) =>
  readdirSync('/sys/block')
    .filter((name) => name.startsWith('loop'))
    .filter((name) => {
      try {
        return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').startsWith(directory);
      } catch {
        return false; // no file attached
      }
    });

/**
 * Paths below a directory whose last part names a machine. What vanishes during the look does not count, nor does what the owner may
 * not look into: the work directory of an overlay.
 */
export function machineDirectories(directory) {
  let entries;
  try {
    entries = readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'EACCES') return [];
    throw error;
  }
  return entries
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => {
      const place = path.join(directory, name);
      return name.startsWith('mch_') ? [place] : machineDirectories(place);
    });
}
