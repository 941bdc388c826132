// What can be uploaded, as something with a size that gives any part of itself: files, bytes, and directories, which are
// an archive that is never made as a whole.

import { bytesOf } from './content.js';
import { directoryPart } from './parts.js';

const hexadecimal = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

const sha256 = async (bytes) => hexadecimal(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)));

/** Bytes that are hashed at once where nothing hashes piece by piece. */
const HASH_LIMIT = 256 << 20;
const PIECE = 4 << 20;

/** The digest of all bytes. `what` cannot be had without a `hasher` when there are many. */
export const digestOf = async ({ size, read }, hasher, what, signal) => {
  if (!hasher) {
    if (size > HASH_LIMIT) throw new RangeError(`${what}: more than ${HASH_LIMIT >> 20} MiB need Node`);
    return sha256(await read(0, size));
  }
  const hash = hasher();
  for (let at = 0; at < size; at += PIECE) {
    signal?.throwIfAborted();
    hash.update(await read(at, Math.min(at + PIECE, size)));
  }
  return hash.digest('hex');
};

/** `read(begin, end)` resolves with a `Uint8Array`. `hasher` makes what hashes piece by piece, in Node. */
const source = ({ name, mode, size, directory = false, read, hasher }) => ({
  name,
  mode,
  size,
  directory,
  stream: undefined,
  async part(begin, end) {
    const bytes = await read(begin, end);
    return [bytes, await sha256(bytes)];
  },
  digest: () => digestOf({ size, read }, hasher, "checksum: 'sha256' of so much; each part has a checksum anyway"),
});

const ofBlob = (blob, hasher) =>
  source({
    name: blob.name,
    size: blob.size,
    hasher,
    read: async (begin, end) => new Uint8Array(await blob.slice(begin, end).arrayBuffer()),
  });

/** The bytes of an archive of `entries`, any part of them. See directory.js. */
const ofArchive = ({ name, size, read }, hasher) => source({ name, size, directory: true, read, hasher });

/**
 * Opens what was given; `undefined` when that cannot be uploaded. `platform.openPath` opens a path, in Node.
 */
export const openSource = async (given, ignore, { openPath, hasher }) => {
  if (typeof given === 'string') {
    if (!openPath) return undefined;
    const found = await openPath(given);
    if (found.entries) {
      const { archive } = await directoryPart();
      return ofArchive(await archive(found.name, found.entries, ignore), hasher);
    }
    return { ...source({ ...found, hasher }), close: found.close };
  }
  const bytes = bytesOf(given);
  if (bytes) return source({ size: bytes.length, hasher, read: async (begin, end) => bytes.subarray(begin, end) });
  if (typeof given?.getReader === 'function')
    return { name: undefined, size: undefined, directory: false, stream: given };
  if (typeof given?.arrayBuffer === 'function' && typeof given.size === 'number') return ofBlob(given, hasher);
  const handle = given?.kind === 'directory' && typeof given.entries === 'function';
  const files = !handle && typeof given?.[Symbol.iterator] === 'function' ? [...given] : undefined;
  if (handle || files?.every((file) => typeof file?.arrayBuffer === 'function')) {
    const { archive, ofFiles, ofHandle } = await directoryPart();
    const { name, entries } = handle ? await ofHandle(given) : ofFiles(files);
    return ofArchive(await archive(name, entries, ignore), hasher);
  }
  return undefined;
};
