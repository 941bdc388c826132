// What adapters share. They are given a machine and import no framework.

import { findByName as find, NAME, NAME_KEY } from '../lib/names.js';

const encoder = new TextEncoder();

/** What a command printed, as bytes. */
export const bytesOf = ({ bytes, data }) => bytes ?? encoder.encode(data);

/** `undefined` where there is no such file; with `machineToo`, also where there is no machine any more. */
export const unlessMissing = async (promise, machineToo = false) => {
  try {
    return await promise;
  } catch (error) {
    if (error?.name === 'NotFoundError' && (machineToo || error.code !== 'machine_not_found')) return undefined;
    throw error;
  }
};

/** A name of a machine or a snapshot: the framework's own id, where a name can hold it. */
export const nameOf = async (kind, id) => {
  const name = `${kind}:${id}`;
  if (NAME.test(name)) return name;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(id)));
  return `${kind}:sha256:${Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
};

/** The machine of that name that lives, the oldest where a server knows no names. */
export const findByName = (Machine, name, signal) => find((options) => Machine.list(options), name, { signal });

/** Snapshots of that name, newest first. A server that filters by nothing lists all. */
export const snapshotsOf = async (Snapshot, name, signal) =>
  (await Snapshot.list({ name, signal })).filter(({ metadata }) => metadata?.[NAME_KEY] === name);

/** What a snapshot decides. */
const OF_SNAPSHOT = [
  ...['template', 'vcpus', 'memoryMb', 'diskMb', 'envs', 'cwd', 'internetAccess', 'desktop'],
  ...['warmPool', 'warmPoolMode', 'warmPoolWaitMs'],
];

/** Options of a create that starts from a snapshot instead. */
export const fromSnapshot = (options, snapshotId) => ({
  ...Object.fromEntries(Object.entries(options).filter(([key]) => !OF_SNAPSHOT.includes(key))),
  snapshotId,
});
