import type { MonitorMetrics } from 'nullspace';

import { samples } from './client';
import { bytes, Loading } from './parts';
import { Plot } from './plot';

const rate = (all: readonly MonitorMetrics[], key: 'networkRxBytes' | 'networkTxBytes') =>
  all.slice(1).map((sample, index) => {
    const before = all[index] as MonitorMetrics;
    const seconds = ((sample.timestamp?.getTime() ?? 0) - (before.timestamp?.getTime() ?? 0)) / 1000 || 1;
    return Math.max(0, (sample[key] ?? 0) - (before[key] ?? 0)) / seconds;
  });

/** What the machine uses: two minutes, second by second. */
export function Metrics({ id }: { id: string }) {
  const all = samples.value.get(id) ?? [];
  const last = all.at(-1);
  if (!last) return <Loading>Waiting for the first sample …</Loading>;
  const mem = all.map((sample) => sample.memUsedBytes ?? 0);
  const disk = all.map((sample) => sample.diskUsedBytes ?? 0);
  return (
    <div class="plots">
      <Plot
        title="Processor"
        now={`${last.cpuPercent.toFixed(1)} % of ${(last.cpuCount ?? 1) * 100} %`}
        values={all.map((sample) => sample.cpuPercent)}
        top={(last.cpuCount ?? 1) * 100}
        unit={(value) => `${Math.round(value)} %`}
      />
      <Plot
        title="Memory"
        now={`${bytes(mem.at(-1) ?? 0)} of ${bytes(last.memTotalBytes ?? 0)}`}
        values={mem}
        top={last.memTotalBytes ?? 0}
        unit={bytes}
      />
      <Plot
        title="Disk"
        now={`${bytes(disk.at(-1) ?? 0)} of ${bytes(last.diskTotalBytes ?? 0)}`}
        values={disk}
        top={last.diskTotalBytes ?? 0}
        unit={bytes}
      />
      <Traffic title="Network in" values={rate(all, 'networkRxBytes')} />
      <Traffic title="Network out" values={rate(all, 'networkTxBytes')} />
    </div>
  );
}

const Traffic = ({ title, values }: { title: string; values: number[] }) => (
  <Plot
    title={title}
    now={`${bytes(values.at(-1) ?? 0)}/s`}
    values={values}
    top={Math.max(1024, ...values)}
    unit={(value) => `${bytes(value)}/s`}
  />
);
