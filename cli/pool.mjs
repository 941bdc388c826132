// `nullspace warm-pool ...`, where it is more than one call.

import { TemplateWarmPool } from 'nullspace';

import { call } from './call.mjs';
import { flagsOf, wanted } from './options.mjs';
import { WarmPoolOptions } from './options.json';
import { show } from './output.mjs';
import { given, number } from './values.mjs';
import { VIEWS } from './views.mjs';

const ID = ['<pool>', 'id of the pool'];

const settings = [
  '--name <name>',
  '--min-ready <n>',
  '--max-ready <n>',
  '--vcpus <n>',
  '--memory-mb <n>',
  '--disk-mb <n>',
  '--idle-timeout-seconds <n>',
  '--stale-after-seconds <n>',
  ['--label <name=value>', { option: 'labels' }],
];
const changed = flagsOf(WarmPoolOptions, settings, { isChange: true });

export const create = call('TemplateWarmPool.create', { flags: settings, shows: (made) => made.getInfo() });

export const update = {
  args: [ID],
  options: changed,
  run: async (id, flags) => show(await (await TemplateWarmPool.get(id)).update(wanted(changed, flags)), VIEWS.WarmPool),
};

export const wait = {
  args: [ID],
  options: [
    ['--min-ready <n>', 'how many machines must be ready', number],
    ['--timeout <seconds>', 'how long to wait (default: 300)', number],
  ],
  run: async (id, flags) => show(await (await TemplateWarmPool.get(id)).waitUntilReady(given(flags)), VIEWS.WarmPool),
};
