// `nullspace machine cp`

import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { Machine } from 'nullspace';

import { progress, show } from './output.mjs';
import { given } from './values.mjs';

/** `mch_...:/path`, or nothing for a path of this computer. */
const remote = (text) => text.match(/^(mch_\w+):(.*)$/)?.slice(1);

export const copy = async (from, to, { conflict }) => {
  const [source, target] = [remote(from), remote(to)];
  if (!source === !target)
    throw Object.assign(new Error('one of the two must be in a machine: ID:PATH'), {
      name: 'InvalidRequestError',
      code: 'invalid_request',
    });
  if (target) {
    const machine = await Machine.connect(target[0]);
    const line = progress(from);
    try {
      const result = await machine.files.upload(from, target[1] || '.', given({ conflict, onProgress: line.step }));
      line.end();
      show(result, ({ path: where, files, bytes }) => `${where}  ${files} files, ${bytes} bytes`);
    } finally {
      line.end();
    }
    return;
  }
  const machine = await Machine.connect(source[0]);
  const file = to.endsWith('/') || to === '.' ? path.join(to, path.posix.basename(source[1])) : to;
  // It appears when all of it has come.
  const unfinished = `${file}.${process.pid}.part`;
  try {
    const bytes = await machine.files.read(source[1], { format: 'stream' });
    await pipeline(Readable.fromWeb(bytes), createWriteStream(unfinished));
    await rename(unfinished, file);
  } finally {
    await rm(unfinished, { force: true });
  }
  show({ path: file }, () => file);
};
