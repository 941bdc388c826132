// `nullspace machine metrics`

import { setTimeout as sleep } from 'node:timers/promises';

import { Machine } from 'nullspace';

import { interruption } from './ending.mjs';
import { fields, isJson, localTime, show, size, tell } from './output.mjs';
import { number } from './values.mjs';

const cells = (one) => ({
  time: one.timestamp,
  cpu: `${one.cpuPercent.toFixed(1)} % of ${one.cpuCount * 100} %`,
  memory: `${size(one.memUsedBytes)} of ${size(one.memTotalBytes)}`,
  disk: `${size(one.diskUsedBytes)} of ${size(one.diskTotalBytes)}`,
  received: size(one.networkRxBytes),
  sent: size(one.networkTxBytes),
});

export const metrics = {
  args: [['<machine>', 'id of the machine']],
  options: [
    ['-f, --follow', 'a line each interval'],
    ['--interval <seconds>', 'with --follow (default: 2)', number],
  ],
  async run(id, { follow, interval = 2 }) {
    const newest = async () => (await Machine.getMetricsById(id)).at(-1);
    if (!follow) {
      const found = await newest();
      show(found, () => (found ? fields(cells(found)) : 'none yet'));
      return;
    }
    const { signal } = interruption();
    for (;;) {
      const found = await newest();
      if (found && isJson()) tell(found, []);
      else if (found) {
        const { time, ...rest } = cells(found);
        tell(found, [localTime(time), ...Object.entries(rest).map(([name, value]) => `${name} ${value}`)]);
      }
      await sleep(interval * 1000, undefined, { signal }).catch(() => {});
      signal.throwIfAborted();
    }
  },
};
