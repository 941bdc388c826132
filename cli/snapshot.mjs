// `nullspace snapshot ...`

import { Machine, Snapshot } from 'nullspace';

import { flag, wanted } from './options.mjs';
import { CreateSnapshotOptions, SnapshotListOptions } from './options.json';
import { entries, fields, listing, localTime, show, showId, size } from './output.mjs';
import { given } from './values.mjs';

const ID = ['<snapshot>', 'id of the snapshot'];

const settings = [
  flag(CreateSnapshotOptions, '--name <name>'),
  flag(CreateSnapshotOptions, '-m, --metadata <name=value>'),
  ['--idempotency-key <key>', 'the same key makes one snapshot'],
];
const filters = [
  flag(SnapshotListOptions, '--name <name>'),
  flag(SnapshotListOptions, '--machine <id>', { option: 'machineId' }),
  flag(SnapshotListOptions, '-m, --metadata <name=value>'),
];

export const create = {
  args: [['<machine>', 'id of the machine']],
  options: settings,
  async run(id, { idempotencyKey, ...flags }) {
    const machine = await Machine.connect(id);
    showId(await machine.createSnapshot({ ...wanted(settings, flags), ...given({ idempotencyKey }) }));
  },
};

export const list = listing(
  [
    ['ID', ({ id }) => id],
    ['MACHINE', ({ machineId }) => machineId],
    ['CREATED', ({ createdAt }) => localTime(createdAt)],
    ['SIZE', ({ sizeBytes }) => size(sizeBytes)],
    ['METADATA', (info) => entries(info.metadata)],
  ],
  (flags) => Snapshot.list(wanted(filters, flags)),
  filters,
);

export const get = {
  args: [ID],
  run: async (id) =>
    show(await Snapshot.get(id), (info) =>
      fields({
        id: info.id,
        machine: info.machineId,
        created: info.createdAt,
        size: size(info.sizeBytes),
        metadata: entries(info.metadata),
      }),
    ),
};

export const remove = {
  args: [['<snapshot...>', 'ids of snapshots']],
  async run(ids) {
    for (const id of ids) await Snapshot.delete(id);
    show({ deleted: ids }, () => ids.join('\n'));
  },
};
