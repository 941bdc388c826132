// `nullspace warm-pool ...`

import { TemplateWarmPool } from 'nullspace';

import { fields, listing, show, showId } from './output.mjs';
import { given, list as repeatable, number } from './values.mjs';

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

const settings = [
  ['--name <name>', 'name'],
  ['--min-ready <n>', 'machines held ready', number],
  ['--max-ready <n>', 'most machines', number],
  ['--vcpus <n>', 'processors of each', number],
  ['--memory-mb <n>', 'memory of each, MiB', number],
  ['--disk-mb <n>', 'disk of each, MiB', number],
  ['--idle-timeout-seconds <n>', 'destroy a ready machine after this time', number],
  ['--stale-after-seconds <n>', 'replace a ready machine after this time', number],
  ['--label <text>', 'repeatable', repeatable],
];
const wanted = ({ label, ...flags }) =>
  given({ ...flags, labels: label && Object.fromEntries(label.map((text) => text.split('=', 2))) });

export const create = {
  args: [['<template>', 'what its machines are made from']],
  options: settings,
  async run(template, flags) {
    const made = await TemplateWarmPool.create(template, wanted(flags));
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
  options: settings,
  run: async (id, flags) => show(await (await TemplateWarmPool.get(id)).update(wanted(flags)), described),
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
