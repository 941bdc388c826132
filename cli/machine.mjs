// `nullspace machine ...`

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { text } from 'node:stream/consumers';

import { Machine } from 'nullspace';

import { copy } from './copy.mjs';
import { shell } from './shell.mjs';
import { fields, isJson, show, table } from './output.mjs';
import { given, list, network, number, pairs } from './values.mjs';

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
    metadata: info.metadata && Object.keys(info.metadata).length > 0 ? info.metadata : undefined,
    error: info.errorMessage,
    warnings: info.warnings?.join('; '),
  });

const networkFlags = (command) =>
  command
    .option('--egress <mode>', 'network policy: allow_all, deny_all or custom')
    .option('--allow-cidr <range>', 'custom policy: let this range in; repeatable', list)
    .option('--deny-cidr <range>', 'custom policy: keep this range out; repeatable', list)
    .option('--kbit-per-sec <n>', 'custom policy: most kilobits a second', number)
    .option('--pps <n>', 'custom policy: most packets a second', number)
    .option('--burst <n>', 'what may come at once', number);

/** Adds the commands. */
export const machine = (program) => {
  const group = program.command('machine').description('make and use machines');

  networkFlags(group.command('create').description('make a machine and print its id'))
    .option('-t, --template <name>', 'what it is made from (default: base)')
    .option('--snapshot <id>', 'go on from a snapshot')
    .option('--vcpus <n>', 'processors', number)
    .option('--memory-mb <n>', 'memory, MiB', number)
    .option('--disk-mb <n>', 'disk, MiB', number)
    .option('--timeout <seconds>', 'lease (default: 300)', number)
    .option('--cwd <path>', 'working directory of commands')
    .option('-e, --env <name=value>', 'environment; repeatable', pairs)
    .option('-m, --metadata <name=value>', 'yours; repeatable', pairs)
    .option('--mask-request-host <host>', 'host name that preview requests carry')
    .option('--private-traffic', 'preview ports want the traffic token')
    .option('--no-internet', 'nothing leaves the machine')
    .option('--warm-pool <id>', 'take it from this pool')
    .option('--warm-pool-mode <mode>', 'prefer, require or bypass')
    .option('--warm-pool-wait-ms <ms>', 'wait for a ready one', number)
    .option('--on-timeout <what>', 'destroy or pause')
    .option('--auto-resume', 'preview traffic wakes it; needs --on-timeout pause')
    .option('--idempotency-key <key>', 'the same key makes one machine')
    .action(async (flags) => {
      const made = await Machine.create(
        given({
          template: flags.template,
          snapshotId: flags.snapshot,
          vcpus: flags.vcpus,
          memoryMb: flags.memoryMb,
          diskMb: flags.diskMb,
          timeout: flags.timeout,
          cwd: flags.cwd,
          envs: flags.env,
          metadata: flags.metadata,
          network: network(flags),
          internetAccess: flags.internet === false ? false : undefined,
          warmPool: flags.warmPool,
          warmPoolMode: flags.warmPoolMode,
          warmPoolWaitMs: flags.warmPoolWaitMs,
          onTimeout: flags.onTimeout,
          autoResume: flags.autoResume,
          idempotencyKey: flags.idempotencyKey,
        }),
      );
      show({ id: made.id, trafficAccessToken: made.trafficAccessToken }, ({ id }) => id);
    });

  group
    .command('list')
    .description('list machines')
    .option('--state <state>', 'only these, such as running or paused')
    .option('--template <name>', 'only those of a template')
    .option('-m, --metadata <name=value>', 'only those with this; repeatable', pairs)
    .option('--limit <n>', 'most machines', number)
    .action(async ({ state, template, metadata, limit }) => {
      const items = [];
      const query = given({ template, metadata });
      const page = await Machine.list(
        given({ state, limit, query: Object.keys(query).length > 0 ? query : undefined }),
      );
      for await (const info of page) {
        items.push(info);
        if (items.length === limit) break;
      }
      show(items, () =>
        table(
          ['ID', 'STATUS', 'TEMPLATE', 'CREATED'],
          items.map(({ id, status, template: name, createdAt }) => [id, status, name, createdAt.toISOString()]),
        ),
      );
    });

  group
    .command('get')
    .argument('<id>')
    .description('describe a machine')
    .action(async (id) => show(await Machine.getInfoById(id), described));
  group
    .command('connect')
    .argument('<id>')
    .description('take a machine up; a paused one is resumed')
    .option('--timeout <seconds>', 'a new lease', number)
    .action(async (id, options) => {
      const found = await Machine.connect(id, given(options));
      show(await found.getInfo(), described);
    });

  group
    .command('exec')
    .argument('<id>')
    .argument('<command...>', 'behind --')
    .description('run a command; ends with its exit code')
    .option('-s, --shell', 'the command is text for a shell')
    .option('--cwd <path>', 'working directory')
    .option('-e, --env <name=value>', 'environment; repeatable', pairs)
    .option('--timeout <seconds>', 'longest run (default: 30)', number)
    .option('-d, --detach', 'do not wait: print its process id')
    .action(async (id, [command, ...args], { shell: asShell, cwd, env, timeout, detach }) => {
      const found = await Machine.connect(id);
      const what = asShell ? [command, ...args].join(' ') : command;
      const options = given({
        shell: asShell,
        args: asShell || args.length === 0 ? undefined : args,
        cwd,
        envs: env,
        timeout,
      });
      if (detach) {
        const { pid } = await found.commands.run(what, { ...options, background: true });
        show({ pid }, () => pid);
        return;
      }
      if (isJson()) {
        const result = await found.commands.run(what, options);
        show(result);
        process.exitCode = result.exitCode;
        return;
      }
      // Ctrl-C ends the command too.
      const controller = new AbortController();
      process.once('SIGINT', () => controller.abort(Object.assign(new Error('interrupted'), { code: 'interrupted' })));
      for await (const event of found.commands.stream(what, { ...options, signal: controller.signal })) {
        if (event.kind === 'stdout') process.stdout.write(event.data);
        else if (event.kind === 'stderr') process.stderr.write(event.data);
        else if (event.kind === 'exit') process.exitCode = event.exitCode;
      }
    });

  group
    .command('shell')
    .argument('<id>')
    .description('open a terminal')
    .option('--cwd <path>', 'working directory')
    .action(async (id, options) => shell(await Machine.connect(id), given(options)));

  group
    .command('ssh')
    .argument('<id>')
    .argument('[words...]', 'what to run there, behind --')
    .description('connect with the ssh of this computer; ends with its exit code')
    .option('--user <name>', 'user inside the machine (default: root)')
    .option('--identity-file <path>', 'private key (default: one that is made, in ~/.nullspace/ssh)')
    .option('--expires-in-minutes <n>', 'how long the certificate admits (default: 60)', number)
    .option('--print', 'print the command instead')
    .action(async (id, words, { print, ...options }) => {
      const access = await (await Machine.connect(id)).createSshAccess(given(options));
      if (print || isJson()) {
        show(access, ({ command }) => command);
        return;
      }
      // The command is made for a shell; the words are told to ssh as they are.
      const child = spawn('sh', ['-c', `exec ${access.command} "$@"`, 'sh', ...words], { stdio: 'inherit' });
      // Ctrl-C is for the other side.
      process.on('SIGINT', () => {});
      const [code, signal] = await once(child, 'exit');
      process.exitCode = code ?? 128 + (signal ? constants.signals[signal] : 0);
    });

  group
    .command('code')
    .argument('<id>')
    .argument('[code]', 'a cell; without it, standard input')
    .description('run code in a machine of template code-interpreter; ends with 1 when it fails')
    .option('-l, --language <name>', 'python, javascript or bash (default: python)')
    .option('--context <id>', 'a context (default: one that all cells of the language share)')
    .option('--timeout <seconds>', 'longest run (default: 300)', number)
    .action(async (id, cell, options) => {
      const found = await Machine.connect(id);
      const live = !isJson();
      const execution = await found.runCode(cell ?? (await text(process.stdin)), {
        ...given(options),
        onStdout: live ? ({ text: part }) => process.stdout.write(part) : undefined,
        onStderr: live ? ({ text: part }) => process.stderr.write(part) : undefined,
        onResult: live ? (result) => process.stdout.write(`${result.text}\n`) : undefined,
      });
      if (!live) show(execution.serialize());
      else if (execution.error)
        process.stderr.write(execution.error.traceback || `${execution.error.name}: ${execution.error.value}\n`);
      if (execution.error) process.exitCode = 1;
    });

  group
    .command('cp')
    .argument('<from>', 'a path here, or ID:PATH')
    .argument('<to>', 'a path here, or ID:PATH')
    .description('copy a file or a directory into a machine, or a file out of it')
    .option('--conflict <what>', 'merge, replace or error')
    .action(copy);

  group
    .command('logs')
    .argument('<id>')
    .argument('<pid>', 'process id', number)
    .description('what a command printed')
    .action(async (id, pid) => {
      const found = await Machine.connect(id);
      show(await found.commands.getLogs(pid), ({ output }) => output.replace(/\n$/, ''));
    });

  group
    .command('kill')
    .argument('<id...>')
    .description('destroy machines')
    .action(async (ids) => {
      for (const id of ids) await Machine.killById(id);
      show({ killed: ids }, () => ids.join('\n'));
    });
  group
    .command('pause')
    .argument('<id>')
    .description('freeze a machine')
    .action(async (id) => {
      const snapshot = await (await Machine.connect(id)).pause();
      show(snapshot, () => snapshot.id);
    });
  group
    .command('resume')
    .argument('<id>')
    .description('go on with a paused machine')
    .action(async (id) => {
      const found = await Machine.resume(id);
      show({ id: found.id }, () => found.id);
    });
  group
    .command('fork')
    .argument('<id>')
    .description('make a second machine that goes on from here')
    .action(async (id) => {
      const fork = await (await Machine.connect(id)).fork();
      show({ id: fork.id }, () => fork.id);
    });
};
