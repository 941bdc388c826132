// `nullspace machine ...`: making and finding machines.

import { Machine } from 'nullspace';

import { creation } from './creation.mjs';
import { flag } from './options.mjs';
import { ConnectOptions } from './options.json';
import { QUIET, show, showAll, showId } from './output.mjs';
import { given, number, pairs } from './values.mjs';
import { VIEWS } from './views.mjs';

const ID = ['<machine>', 'id of the machine'];

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

export const list = {
  options: [
    ['--state <state>', 'only these, such as running or paused'],
    ['--template <name>', 'only those of a template'],
    ['-m, --metadata <name=value>', 'only those with this; repeatable', pairs],
    ['--limit <n>', 'most machines', number],
    QUIET,
  ],
  async run({ state, template, metadata, limit, quiet }) {
    const items = [];
    const query = given({ template, metadata });
    const page = await Machine.list(given({ state, limit, query: Object.keys(query).length > 0 ? query : undefined }));
    for await (const info of page) {
      items.push(info);
      if (items.length === limit) break;
    }
    showAll(items, VIEWS.ListMachinesResponse, quiet);
  },
};

export const connect = {
  args: [ID],
  options: [flag(ConnectOptions, '--timeout <seconds>')],
  async run(id, flags) {
    const found = await Machine.connect(id, given(flags));
    show(await found.getInfo(), VIEWS.MachineInfo);
  },
};

export const fork = {
  args: [ID],
  async run(id) {
    const made = await (await Machine.connect(id)).fork();
    showId({ id: made.id });
  },
};
