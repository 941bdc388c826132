// `nullspace events`

import { Lifecycle } from 'nullspace';

import { isJson, show, table } from './output.mjs';
import { given, number } from './values.mjs';

const row = (event) => [event.createdAt?.toISOString?.() ?? '', event.operation, event.status, event.machineId ?? ''];

/** Adds the command. */
export const events = (program) =>
  program
    .command('events')
    .description('what happened to machines')
    .option('-f, --follow', 'go on with what happens from now on')
    .option('--machine <id>', 'only of this machine')
    .option('--operation <name>', 'only this, such as create')
    .option('--limit <n>', 'most events (default: 50)', number)
    .action(async ({ follow, machine, operation, limit }) => {
      const filter = given({ machineId: machine, operation });
      if (!follow) {
        const { events: list } = await Lifecycle.listEvents(given({ ...filter, limit }));
        show(list, () => table(['TIME', 'OPERATION', 'STATUS', 'MACHINE'], list.map(row)));
        return;
      }
      const controller = new AbortController();
      let interrupted = false;
      process.once('SIGINT', () => {
        interrupted = true;
        controller.abort(new Error('interrupted'));
      });
      try {
        for await (const event of Lifecycle.streamEvents({ ...filter, signal: controller.signal }))
          console.log(isJson() ? JSON.stringify(event) : row(event).join('  '));
      } catch (error) {
        if (!interrupted) throw error;
      }
    });
