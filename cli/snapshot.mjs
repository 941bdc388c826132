// `nullspace snapshot ...`, where it takes flags.

import { call } from './call.mjs';
import { idAlone } from './output.mjs';

export const create = call('Machine#createSnapshot', {
  flags: [
    '--name <name>',
    '-m, --metadata <name=value>',
    ['--idempotency-key <key>', 'the same key makes one snapshot'],
  ],
  view: idAlone,
});

export const list = call('Snapshot.list', {
  flags: ['--name <name>', ['--machine <id>', { option: 'machineId' }], '-m, --metadata <name=value>'],
});
