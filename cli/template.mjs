// `nullspace template ...`

import { existsSync } from 'node:fs';
import path from 'node:path';

import { InvalidArgumentError } from 'commander';
import { defaultBuildLogger, Template, TemplateBuild } from 'nullspace';

import { interruption, misuse } from './ending.mjs';
import { fields, isJson, listing, localTime, progress, show, showAll, shown, shownLines, tell } from './output.mjs';
import { given, list as repeatable, number, pairs } from './values.mjs';

const REF = ['<template>', 'name, name:tag, namespace/name:tag or id'];
const BUILD = ['<build>', 'id of the build'];

/** Repeatable, as Docker has it: `id=npm,env=NPM_TOKEN`, `id=npm,src=./token`. */
const secret = (text, before = []) => {
  const { id, env, src, source, ...rest } = Object.fromEntries(text.split(',').map((part) => part.split('=', 2)));
  const file = src ?? source;
  if (!id || (env === undefined) === (file === undefined) || Object.keys(rest).some((name) => name !== 'type'))
    throw new InvalidArgumentError('Give id=NAME,env=VARIABLE or id=NAME,src=FILE, such as id=npm,env=NPM_TOKEN.');
  return [...before, env === undefined ? { id, file } : { id, env }];
};

const described = (info) =>
  fields({
    id: info.id,
    name: info.canonicalRef,
    tags: info.tags?.join(', '),
    visibility: info.visibility,
    builtin: info.builtin ? 'yes' : undefined,
    description: info.description,
    user: info.runtimeDefaults?.defaultUser,
    directory: info.runtimeDefaults?.defaultWorkdir,
    starts: info.runtimeDefaults?.startCmd,
    variables: info.runtimeDefaults?.defaultEnvKeys?.join(', '),
  });

const describedBuild = (one) =>
  fields({
    build: one.buildId,
    template: one.templateId,
    name: one.name,
    tags: one.tags.join(', '),
    status: one.status,
    created: one.createdAt,
    error: one.error,
  });

export const build = {
  args: [
    ['<name>', 'what it will be called: app, team/app:stable'],
    ['[directory]', 'what the Dockerfile copies from', '.'],
  ],
  options: [
    ['-f, --file <path>', 'the Dockerfile (default: that of the directory)'],
    ['--build-arg <NAME=VALUE>', 'repeatable: a value of ARG', pairs],
    ['--target <stage>', 'the stage that becomes the template (default: the last)'],
    ['--secret <what>', 'repeatable: id=NAME,env=VARIABLE or id=NAME,src=FILE', secret],
    ['--ignore <pattern>', 'repeatable: left out, beside what .dockerignore names', repeatable],
    ['-t, --tag <tag>', 'repeatable, when the name has none', repeatable],
    ['--vcpus <n>', 'processors of the machine that builds', number],
    ['--memory-mb <n>', 'memory of it, MiB', number],
    ['--disk-mb <n>', 'the least disk of machines that start from it, MiB', number],
    ['--no-internet', 'let no step reach the network'],
    ['--no-cache', 'do every step again'],
    ['-d, --detach', 'print the id of the build and end; see `template logs`'],
    ['-q, --quiet', 'print no log'],
  ],
  async run(name, directory, flags) {
    const { file = path.join(directory, 'Dockerfile'), buildArg, target, secret: secrets, ignore, tag } = flags;
    if (!existsSync(file)) throw misuse(`there is no ${file}: name the Dockerfile with --file`);
    const { signal } = interruption();
    const line = progress('sending files');
    const builder = Template.fromDockerfile(file).setFileContext(directory, given({ ignore }));
    const options = {
      ...given({ buildArgs: buildArg, buildTarget: target, buildSecrets: secrets, tags: tag }),
      ...given({ vcpus: flags.vcpus, memoryMb: flags.memoryMb, diskMb: flags.diskMb }),
      ...(flags.internet === false ? { internetAccess: false } : {}),
      ...(flags.cache === false ? { skipCache: true } : {}),
      onUploadProgress: line.step,
      signal,
    };
    // People see the log; what they make of the result is on standard output alone.
    const print = (text) => {
      line.end();
      console.error(shownLines(text));
    };
    const onLog = flags.quiet || isJson() ? undefined : defaultBuildLogger({ print });
    try {
      if (flags.detach) {
        const begun = await Template.buildInBackground(builder, name, options);
        line.end();
        show(begun, ({ id }) => shown(id));
        return;
      }
      const made = await Template.build(builder, name, { ...options, ...given({ onLog }) });
      line.end();
      show(made, ({ canonicalRef }) => shown(canonicalRef));
    } finally {
      line.end();
    }
  },
};

export const list = listing(
  [
    ['ID', ({ id }) => id],
    ['NAME', ({ canonicalRef }) => canonicalRef],
    ['TAGS', ({ tags }) => tags?.join(', ')],
    ['VISIBILITY', ({ visibility }) => visibility],
    ['BUILTIN', ({ builtin }) => (builtin ? 'yes' : '')],
  ],
  () => Template.list(),
);

export const get = {
  args: [REF],
  run: async (ref) => show(await Template.get(ref), described),
};

export const remove = {
  args: [['<template...>', 'names or ids']],
  async run(refs) {
    for (const ref of refs) await Template.delete(ref);
    show({ deleted: refs }, () => refs.map(shown).join('\n'));
  },
};

export const tag = {
  args: [REF, ['<tag...>', 'tags']],
  options: [['--remove', 'take them away']],
  async run(ref, tags, { remove: isRemoved }) {
    if (!isRemoved) {
      show(await Template.assignTags(ref, tags), described);
      return;
    }
    for (const one of tags) await Template.removeTag(ref, one);
    show({ removed: tags }, () => tags.map(shown).join('\n'));
  },
};

export const rename = {
  args: [REF, ['<name>', 'the new one']],
  run: async (ref, name) => show(await Template.rename(ref, name), described),
};

export const builds = {
  args: [REF],
  options: [
    ['--status <status>', 'waiting, building, ready, error or cancelled'],
    ['--limit <n>', 'so many', number],
    ['-q, --quiet', 'ids alone'],
  ],
  async run(ref, { quiet, ...flags }) {
    const columns = [
      ['BUILD', ({ buildId }) => buildId],
      ['STATUS', ({ status }) => status],
      ['TAGS', ({ tags }) => tags.join(', ')],
      ['CREATED', ({ createdAt }) => localTime(createdAt)],
    ];
    const { builds: found } = await Template.listBuilds(ref, given(flags));
    showAll(
      found.map((one) => ({ id: one.buildId, ...one })),
      columns,
      quiet,
    );
  },
};

export const logs = {
  args: [BUILD],
  options: [
    ['-f, --follow', 'go on with what it says, until it ends'],
    ['--offset <n>', 'from this entry on', number],
  ],
  async run(id, { follow = false, offset }) {
    const { signal } = interruption();
    const held = await TemplateBuild.connect(id, { signal });
    const print = defaultBuildLogger({ minLevel: 'debug', print: (text) => console.log(shownLines(text)) });
    for await (const entry of held.logs({ follow, signal, ...given({ offset }) })) {
      if (isJson()) tell(entry, []);
      else print(entry);
    }
  },
};

export const cancel = {
  args: [BUILD],
  options: [['--reason <text>', 'why']],
  async run(id, flags) {
    const held = await TemplateBuild.connect(id);
    show(await held.cancel(given(flags)), describedBuild);
  },
};
