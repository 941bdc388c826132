// `nullspace machine watch`

import { Machine } from 'nullspace';

import { interruption } from './ending.mjs';
import { localTime, tell } from './output.mjs';
import { given } from './values.mjs';

export const watch = {
  args: [
    ['<machine>', 'id of the machine'],
    ['[path]', 'a file or a directory', '/workspace'],
  ],
  options: [['-r, --recursive', 'directories below as well']],
  async run(id, path, { recursive }) {
    const machine = await Machine.connect(id);
    const changes = machine.files.watch(path, given({ recursive, signal: interruption().signal }));
    for await (const change of changes) tell(change, [localTime(new Date()), change.event.padEnd(6), change.path]);
  },
};
