// Skips what is unchanged: a stamp holds the hash of what a step read and of what it made.

import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { devDir, inRoot, root } from './project.mjs';

const file = (name) => path.join(devDir, 'stamps', name);

/** Whether nothing in `inputs` and `outputs` (files or directories below the root) changed since `stamp`. */
export function isUnchanged(name, { inputs, outputs, extra = '' }) {
  try {
    return readFileSync(file(name), 'utf8') === hash([...inputs, ...outputs], extra);
  } catch {
    return false; // no stamp yet, or an output is missing
  }
}

/** Remembers the present state of `inputs` and `outputs`. */
export function stamp(name, { inputs, outputs, extra = '' }) {
  mkdirSync(path.dirname(file(name)), { recursive: true });
  writeFileSync(file(name), hash([...inputs, ...outputs], extra));
}

/** Content, not times: a fresh checkout of the same sources is unchanged. */
function hash(paths, extra) {
  const digest = createHash('sha256').update(extra);
  for (const entry of paths) addTo(digest, inRoot(entry));
  return digest.digest('hex');
}

function addTo(digest, entry) {
  if (statSync(entry).isDirectory()) {
    for (const name of readdirSync(entry).sort()) addTo(digest, path.join(entry, name));
  } else {
    const content = readFileSync(entry);
    digest.update(`${path.relative(root, entry)}\0${content.length}\0`).update(content);
  }
}
