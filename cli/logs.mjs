// `nullspace machine logs`

import { Machine } from 'nullspace';

import { interruption, stoppable } from './ending.mjs';
import { isJson, show, tell } from './output.mjs';
import { number } from './values.mjs';

export const logs = {
  args: [
    ['<machine>', 'id of the machine'],
    ['<pid>', 'process id', number],
  ],
  options: [['-f, --follow', 'follow the output until the command ends']],
  async run(id, pid, { follow }) {
    const found = await Machine.connect(id);
    if (!follow) {
      show(await found.commands.getLogs(pid), ({ output }) => output.replace(/\n$/, ''));
      return;
    }
    const { signal } = interruption();
    const command = await found.commands.connect(pid, { signal });
    for await (const event of stoppable(command, signal)) {
      if (isJson()) tell(event, []);
      else if (event.kind !== 'exit') process[event.kind].write(event.data);
    }
  },
};
