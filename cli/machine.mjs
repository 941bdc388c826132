// `nullspace machine ...`: making, finding and ending machines.

import { Machine } from 'nullspace';

import { creation } from './creation.mjs';
import { flag } from './options.mjs';
import { ConnectOptions } from './options.json';
import { duration, entries, fields, listing, localTime, show, showId } from './output.mjs';
import { given, number, pairs } from './values.mjs';

const ID = ['<machine>', 'id of the machine'];

/** How long it has, while its time runs. */
const left = ({ status, remainingMs, timeoutAt }) => {
  if (status !== 'running') return undefined;
  const milliseconds = remainingMs ?? (timeoutAt && timeoutAt.getTime() - Date.now());
  return milliseconds === undefined ? undefined : duration(milliseconds);
};

const egress = ({ mode, allowCidrs = [], allowDomains = [], denyCidrs = [], denyDomains = [] }) =>
  [
    mode,
    ...[...allowCidrs, ...allowDomains].map((what) => `+${what}`),
    ...[...denyCidrs, ...denyDomains].map((what) => `-${what}`),
  ].join(' ');

const described = (info) =>
  fields({
    id: info.id,
    status: info.status,
    template: info.template,
    vcpus: info.config?.vcpus,
    memory: info.config && `${info.config.memoryMb} MiB`,
    disk: info.config?.diskMb && `${info.config.diskMb} MiB`,
    created: info.createdAt,
    ends: info.timeoutAt,
    left: left(info),
    egress: info.network && egress(info.network.egress),
    metadata: entries(info.metadata),
    error: info.errorMessage,
    warnings: info.warnings?.join('; '),
  });

export const create = {
  options: [...creation.options, ['--name <name>', 'give the machine of that name if there is one']],
  async run(flags) {
    const wanted = creation.wanted(flags);
    const made =
      flags.name === undefined
        ? await Machine.create(wanted)
        : await Machine.getOrCreate({ ...wanted, name: flags.name });
    showId({ id: made.id, trafficAccessToken: made.trafficAccessToken });
  },
};

export const list = listing(
  [
    ['ID', ({ id }) => id],
    ['STATUS', ({ status }) => status],
    ['TEMPLATE', (info) => info.template],
    ['CREATED', ({ createdAt }) => localTime(createdAt)],
    ['LEFT', left],
    ['METADATA', (info) => entries(info.metadata)],
  ],
  async ({ state, template, metadata, limit }) => {
    const items = [];
    const query = given({ template, metadata });
    const page = await Machine.list(given({ state, limit, query: Object.keys(query).length > 0 ? query : undefined }));
    for await (const info of page) {
      items.push(info);
      if (items.length === limit) break;
    }
    return items;
  },
  [
    ['--state <state>', 'only these, such as running or paused'],
    ['--template <name>', 'only those of a template'],
    ['-m, --metadata <name=value>', 'only those with this; repeatable', pairs],
    ['--limit <n>', 'most machines', number],
  ],
);

export const get = {
  args: [ID],
  run: async (id) => show(await Machine.getInfoById(id), described),
};

export const connect = {
  args: [ID],
  options: [flag(ConnectOptions, '--timeout <seconds>')],
  async run(id, flags) {
    const found = await Machine.connect(id, given(flags));
    show(await found.getInfo(), described);
  },
};

export const kill = {
  args: [['<machine...>', 'ids of machines']],
  async run(ids) {
    for (const id of ids) await Machine.killById(id);
    show({ killed: ids }, () => ids.join('\n'));
  },
};

export const pause = {
  args: [ID],
  async run(id) {
    showId(await (await Machine.connect(id)).pause());
  },
};

export const resume = {
  args: [ID],
  async run(id) {
    const found = await Machine.resume(id);
    showId({ id: found.id });
  },
};

export const fork = {
  args: [ID],
  async run(id) {
    const made = await (await Machine.connect(id)).fork();
    showId({ id: made.id });
  },
};
