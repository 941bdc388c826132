// `nullspace template ...`

import { existsSync } from 'node:fs';
import path from 'node:path';

import { InvalidArgumentError } from 'commander';
import { defaultBuildLogger, Template, TemplateBuild, waitForPort, waitForUrl } from 'nullspace';

import { ARGUMENTS, call } from './call.mjs';
import { interruption, misuse } from './ending.mjs';
import { flag, wanted } from './options.mjs';
import { TemplateDefinitionOptions } from './options.json';
import { isJson, progress, show, shown, shownLines, tell } from './output.mjs';
import { given, list as repeatable, number, pairs } from './values.mjs';
import { VIEWS } from './views.mjs';

/** Repeatable, as Docker has it: `id=npm,env=NPM_TOKEN`, `id=npm,src=./token`. */
const secret = (text, before = []) => {
  const { id, env, src, source, ...rest } = Object.fromEntries(text.split(',').map((part) => part.split('=', 2)));
  const file = src ?? source;
  if (!id || (env === undefined) === (file === undefined) || Object.keys(rest).some((name) => name !== 'type'))
    throw new InvalidArgumentError('Give id=NAME,env=VARIABLE or id=NAME,src=FILE, such as id=npm,env=NPM_TOKEN.');
  return [...before, env === undefined ? { id, file } : { id, env }];
};

/** Steps come from several options, and count in the order in which they stand. */
let steps = 0;
const step =
  (add) =>
  (text, before = []) => [...before, { at: steps++, add: (builder) => add(builder, text) }];
const copied = (builder, text) => {
  const [, from, to] = /^(.+):([^:]+)$/.exec(text) ?? [];
  if (from === undefined) throw misuse('--copy takes FROM:TO, such as src:/app');
  return builder.copy(from, to);
};

/** A port, a URL or a command that says when what was started is ready. */
const probe = (text) => {
  if (/^\d+$/.test(text)) return waitForPort(Number(text));
  return text.startsWith('http://') ? waitForUrl(text) : text;
};

/** A template of the steps among the flags. */
const ofSteps = ({ from, image, env, start, ready, ...flags }, directory) => {
  if (from !== undefined && image !== undefined) throw misuse('--from and --image exclude each other');
  const begin = from === undefined ? Template.fromImage(image) : Template.fromTemplate(from);
  const all = ['apt', 'pip', 'npm', 'copy', 'run', 'workdir', 'user'].flatMap((name) => flags[name] ?? []);
  const built = all.sort((a, b) => a.at - b.at).reduce((builder, { add }) => add(builder), begin);
  const withEnvs = env === undefined ? built : built.setRuntimeEnvs(env);
  if (start === undefined && ready !== undefined)
    throw misuse('--ready says when what --start starts is ready: give both');
  const started = start === undefined ? withEnvs : withEnvs.setStartCommand(start, ready && probe(ready));
  return started.setFileContext(directory, given({ ignore: flags.ignore }));
};

/** A template of a Dockerfile. */
const ofDockerfile = ({ file, ignore, ...flags }, directory) => {
  const named = file ?? path.join(directory, 'Dockerfile');
  const step = ['apt', 'pip', 'npm', 'copy', 'run', 'workdir', 'user', 'env', 'start', 'ready'].find(
    (name) => flags[name],
  );
  if (step !== undefined) throw misuse(`--${step} goes with --from or --image: a Dockerfile has its steps itself`);
  if (!existsSync(named))
    throw misuse(`there is no ${named}: name the Dockerfile with --file, or begin with --from or --image`);
  return Template.fromDockerfile(named).setFileContext(directory, given({ ignore }));
};

const ofBuild = (flags, given) => flag(TemplateDefinitionOptions, flags, given);
const buildOptions = [
  ['-f, --file <path>', 'the Dockerfile (default: that of the directory)'],
  ofBuild('--build-arg <NAME=VALUE>', { option: 'buildArgs' }),
  ofBuild('--target <stage>', { option: 'buildTarget' }),
  ofBuild('--secret <what>', {
    option: 'buildSecrets',
    about: 'repeatable: id=NAME,env=VARIABLE or id=NAME,src=FILE',
    read: secret,
  }),
  ['--from <template>', 'begin with a template instead: base, team/app:stable'],
  ['--image <image>', 'begin with an image instead'],
  [
    '--apt <package>',
    'repeatable, as all of the next: steps are done in their order',
    step((to, name) => to.aptInstall(name)),
  ],
  ['--pip <package>', 'a package of Python', step((to, name) => to.pipInstall(name))],
  ['--npm <package>', 'a package of npm', step((to, name) => to.npmInstall(name))],
  ['--copy <FROM:TO>', 'files of the directory', step(copied)],
  ['--run <command>', 'a command', step((to, command) => to.run(command))],
  ['--workdir <path>', 'where what follows runs, and commands of machines', step((to, where) => to.setWorkdir(where))],
  ['--user <name>', 'who runs it', step((to, user) => to.setUser(user))],
  ['--env <NAME=VALUE>', 'repeatable: a variable of machines', pairs],
  ['--start <command>', 'what runs when the template is kept'],
  ['--ready <what>', 'a port, a URL or a command that says when that is ready'],
  ['--ignore <pattern>', 'repeatable: leave this out, in addition to what .dockerignore names', repeatable],
  ofBuild('-t, --tag <tag>', { option: 'tags', about: 'repeatable, when the name has none' }),
  ofBuild('--vcpus <n>'),
  ofBuild('--memory-mb <n>'),
  ofBuild('--disk-mb <n>'),
  ['--no-internet', 'let no step reach the network'],
  ['--no-cache', 'run every step again'],
  ['-d, --detach', 'print the id of the build and end; see `template logs`'],
  ['-q, --quiet', 'print no log'],
];

export const build = {
  args: [
    ['<name>', 'what it will be called: app, team/app:stable'],
    ['[directory]', 'what is copied from', '.'],
  ],
  options: buildOptions,
  async run(name, directory, flags) {
    const isDockerfile = flags.from === undefined && flags.image === undefined;
    const builder = isDockerfile ? ofDockerfile(flags, directory) : ofSteps(flags, directory);
    const { signal } = interruption();
    const line = progress('sending files');
    const options = {
      ...wanted(buildOptions, flags),
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

export const tag = {
  args: [ARGUMENTS.ref, ['<tag...>', 'tags']],
  options: [['--remove', 'remove the tags instead']],
  async run(ref, tags, { remove: isRemoved }) {
    if (!isRemoved) {
      show(await Template.assignTags(ref, tags), VIEWS.TemplateInfo);
      return;
    }
    for (const one of tags) await Template.removeTag(ref, one);
    show({ removed: tags }, () => tags.map(shown).join('\n'));
  },
};

export const builds = call('Template.listBuilds', {
  flags: [
    ['--status <status>', { about: 'waiting, building, ready, error or cancelled' }],
    ['--limit <n>', { about: 'most builds' }],
  ],
  shows: ({ builds: found }) => found.map((one) => ({ id: one.buildId, ...one })),
});

export const logs = {
  args: [['<build>', 'id of the build']],
  options: [
    ['-f, --follow', 'follow the log until the build ends'],
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
