// `nullspace machine shell | ssh`: ways for a person into a machine.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';

import { Machine } from 'nullspace';

import { EXIT, interruption } from './ending.mjs';
import { flag } from './options.mjs';
import { SshAccessOptions } from './options.json';
import { isJson, show } from './output.mjs';
import { terminal } from './terminal.mjs';
import { given } from './values.mjs';

export const shell = {
  args: [['<machine>', 'id of the machine']],
  options: [['--cwd <path>', 'working directory']],
  async run(id, flags) {
    const { signal } = interruption();
    await terminal(await Machine.connect(id, { signal }), { ...given(flags), signal });
  },
};

export const ssh = {
  args: [
    ['<machine>', 'id of the machine'],
    ['[words...]', 'what to run there'],
  ],
  options: [
    flag(SshAccessOptions, '--user <name>'),
    ['--identity-file <path>', 'private key (default: one that is made, in ~/.nullspace/ssh)'],
    flag(SshAccessOptions, '--expires-in-minutes <n>'),
    ['--print', 'print the command instead'],
  ],
  further: true,
  async run(id, words, { print, ...flags }) {
    const access = await (await Machine.connect(id)).createSshAccess(given(flags));
    if (print || isJson()) {
      show(access, ({ command }) => command);
      return;
    }
    // The command is made for a shell, by the SDK; the words are told to ssh as they are.
    const child = spawn('sh', ['-c', `exec ${access.command} "$@"`, 'sh', ...words], { stdio: 'inherit' });
    // Ctrl-C is for the other side.
    process.on('SIGINT', () => {});
    const [code, signal] = await once(child, 'exit');
    process.exitCode = code ?? EXIT.signal + (signal ? constants.signals[signal] : 0);
  },
};
