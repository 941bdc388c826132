// Files of this computer that a client may name: those beneath one directory, also behind links.

import { realpath } from 'node:fs/promises';
import path from 'node:path';

import { problem } from '../ending.mjs';

const outside = (given, root) => problem(`${given} is outside of ${root}: give a path beneath it`);

const isBeneath = (file, root) => file === root || file.startsWith(root + path.sep);

export class LocalFiles {
  constructor(root) {
    this.root = root;
  }

  /** A file or directory that exists. */
  async source(given) {
    const root = await realpath(this.root);
    const found = await realpath(path.resolve(root, given));
    if (!isBeneath(found, root)) throw outside(given, root);
    return found;
  }

  /** A place for a file; its directory must exist. */
  async target(given) {
    const root = await realpath(this.root);
    const wanted = path.resolve(root, given);
    const directory = await realpath(path.dirname(wanted));
    if (!isBeneath(directory, root)) throw outside(given, root);
    return path.join(directory, path.basename(wanted));
  }
}
