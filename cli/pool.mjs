// `nullspace warm-pool ...`

import { TemplateWarmPool } from 'nullspace';

import { flag, wanted } from './options.mjs';
import { WarmPoolOptions } from './options.json';
import { fields, listing, show, showId } from './output.mjs';
import { given, number } from './values.mjs';

const ID = ['<pool>', 'id of the pool'];

const described = (pool) =>
  fields({
    id: pool.id,
    name: pool.name,
    template: pool.templateRef,
    state: pool.state,
    ready: `${pool.status.ready} of ${pool.minReady} to ${pool.maxReady}`,
    warming: pool.status.warming,
    claimed: pool.status.claimed,
    created: pool.createdAt,
  });

const settings = (given) =>
  [
    ['--name <name>'],
    ['--min-ready <n>'],
    ['--max-ready <n>'],
    ['--vcpus <n>'],
    ['--memory-mb <n>'],
    ['--disk-mb <n>'],
    ['--idle-timeout-seconds <n>'],
    ['--stale-after-seconds <n>'],
    ['--label <name=value>', 'labels'],
  ].map(([flags, option]) => flag(WarmPoolOptions, flags, { option, ...given }));
const created = settings();
const changed = settings({ isChange: true });

export const create = {
  args: [['<template>', 'what its machines are made from']],
  options: created,
  async run(template, flags) {
    const made = await TemplateWarmPool.create(template, wanted(created, flags));
    showId(await made.getInfo());
  },
};

export const list = listing(
  [
    ['ID', ({ id }) => id],
    ['NAME', ({ name }) => name],
    ['TEMPLATE', ({ templateRef }) => templateRef],
    ['STATE', ({ state }) => state],
    ['READY', ({ status }) => status.ready],
  ],
  () => TemplateWarmPool.list(),
);

export const get = {
  args: [ID],
  run: async (id) => show(await (await TemplateWarmPool.get(id)).getInfo(), described),
};

export const update = {
  args: [ID],
  options: changed,
  run: async (id, flags) => show(await (await TemplateWarmPool.get(id)).update(wanted(changed, flags)), described),
};

export const remove = {
  args: [ID],
  async run(id) {
    await (await TemplateWarmPool.get(id)).delete();
    show({ deleted: id }, () => id);
  },
};

/** Methods of the SDK that answer with the pool. */
const turned = (verb) => ({
  args: [ID],
  run: async (id) => show(await (await TemplateWarmPool.get(id))[verb](), described),
});
export const enable = turned('enable');
export const disable = turned('disable');
export const drain = turned('drain');
export const reconcile = turned('reconcile');

export const wait = {
  args: [ID],
  options: [
    ['--min-ready <n>', 'how many machines must be ready', number],
    ['--timeout <seconds>', 'how long to wait (default: 300)', number],
  ],
  run: async (id, flags) => show(await (await TemplateWarmPool.get(id)).waitUntilReady(given(flags)), described),
};
