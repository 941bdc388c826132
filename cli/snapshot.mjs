// `nullspace snapshot ...`

import { Machine, Snapshot } from 'nullspace';

import { entries, fields, listing, localTime, show, showId, size } from './output.mjs';
import { given, pairs } from './values.mjs';

const ID = ['<snapshot>', 'id of the snapshot'];

export const create = {
  args: [['<machine>', 'id of the machine']],
  options: [
    ['--name <name>', 'what it is called'],
    ['-m, --metadata <name=value>', 'yours; repeatable', pairs],
    ['--idempotency-key <key>', 'the same key makes one snapshot'],
  ],
  async run(id, { name, metadata, idempotencyKey }) {
    const machine = await Machine.connect(id);
    showId(await machine.createSnapshot(given({ name, metadata, idempotencyKey })));
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
  ({ machine, name, metadata }) => Snapshot.list(given({ machineId: machine, name, metadata })),
  [
    ['--name <name>', 'only those called so'],
    ['--machine <id>', 'only those of a machine'],
    ['-m, --metadata <name=value>', 'only those with this; repeatable', pairs],
  ],
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
