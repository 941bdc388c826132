// `nullspace warm-pool ...`

import { TemplateWarmPool } from 'nullspace';

import { fields, show, table } from './output.mjs';
import { given, list, number } from './values.mjs';

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

const settings = (command) =>
  command
    .option('--name <name>', 'name')
    .option('--min-ready <n>', 'machines held ready', number)
    .option('--max-ready <n>', 'most machines', number)
    .option('--vcpus <n>', 'processors of each', number)
    .option('--memory-mb <n>', 'memory of each, MiB', number)
    .option('--disk-mb <n>', 'disk of each, MiB', number)
    .option('--idle-timeout-seconds <n>', 'a ready one ends after so long', number)
    .option('--stale-after-seconds <n>', 'a ready one is replaced after so long', number)
    .option('--label <text>', 'repeatable', list);
const wanted = ({ label, ...flags }) =>
  given({ ...flags, labels: label && Object.fromEntries(label.map((text) => text.split('=', 2))) });

/** Adds the commands. */
export const pool = (program) => {
  const group = program.command('warm-pool').description('hold machines ready');
  settings(group.command('create').argument('<template>').description('make a pool and print its id')).action(
    async (template, flags) => {
      const made = await TemplateWarmPool.create(template, wanted(flags));
      show(await made.getInfo(), ({ id }) => id);
    },
  );
  group
    .command('list')
    .description('list pools')
    .action(async () => {
      const pools = await TemplateWarmPool.list();
      show(pools, () =>
        table(
          ['ID', 'NAME', 'TEMPLATE', 'STATE', 'READY'],
          pools.map((one) => [one.id, one.name, one.templateRef, one.state, one.status.ready]),
        ),
      );
    });
  group
    .command('get')
    .argument('<id>')
    .description('describe a pool')
    .action(async (id) => show(await (await TemplateWarmPool.get(id)).getInfo(), described));
  settings(group.command('update').argument('<id>').description('change a pool')).action(async (id, flags) =>
    show(await (await TemplateWarmPool.get(id)).update(wanted(flags)), described),
  );
  group
    .command('delete')
    .argument('<id>')
    .description('delete a pool and its ready machines')
    .action(async (id) => {
      await (await TemplateWarmPool.get(id)).delete();
      show({ deleted: id }, () => id);
    });
  for (const [verb, what] of Object.entries({
    enable: 'let a pool serve and fill',
    disable: 'let a pool neither serve nor fill',
    drain: 'destroy its ready machines',
    reconcile: 'compare what there is with what there should be',
  }))
    group
      .command(verb)
      .argument('<id>')
      .description(what)
      .action(async (id) => show(await (await TemplateWarmPool.get(id))[verb](), described));
  group
    .command('wait')
    .argument('<id>')
    .description('wait until enough machines are ready')
    .option('--min-ready <n>', 'so many', number)
    .option('--timeout <seconds>', 'so long (default: 300)', number)
    .action(async (id, flags) => show(await (await TemplateWarmPool.get(id)).waitUntilReady(given(flags)), described));
};
