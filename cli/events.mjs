// `nullspace events`

import { Lifecycle } from 'nullspace';

import { interruption } from './ending.mjs';
import { flag } from './options.mjs';
import { LifecycleFilterOptions } from './options.json';
import { localTime, showAll, tell } from './output.mjs';
import { given } from './values.mjs';

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
    flag(LifecycleFilterOptions, '--operation <name>'),
    flag(LifecycleFilterOptions, '--limit <n>'),
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
