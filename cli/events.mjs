// `nullspace events`

import { Lifecycle } from 'nullspace';

import { interruption } from './ending.mjs';
import { localTime, showAll, tell } from './output.mjs';
import { given, number } from './values.mjs';

const COLUMNS = [
  ['TIME', ({ occurredAt }) => localTime(occurredAt)],
  ['OPERATION', ({ operation }) => operation],
  ['STATUS', ({ status }) => status],
  ['MACHINE', ({ machineId }) => machineId],
  ['REASON', ({ errorMessage, reason }) => errorMessage ?? reason],
];

export const events = {
  options: [
    ['-f, --follow', 'what happens from now on'],
    ['--machine <id>', 'only of this machine'],
    ['--operation <name>', 'only this, such as create'],
    ['--limit <n>', 'most events (default: 50)', number],
  ],
  async run({ follow, machine, operation, limit }) {
    const filter = given({ machineId: machine, operation });
    if (!follow) {
      const { events: list } = await Lifecycle.listEvents(given({ ...filter, limit }));
      showAll(list, COLUMNS);
      return;
    }
    const { signal } = interruption();
    for await (const event of Lifecycle.streamEvents({ ...filter, liveOnly: true, signal }))
      tell(
        event,
        COLUMNS.map(([, cell]) => cell(event)),
      );
  },
};
