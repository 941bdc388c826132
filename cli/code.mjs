// `nullspace machine code`

import { text } from 'node:stream/consumers';

import { Machine } from 'nullspace';

import { EXIT, interruption } from './ending.mjs';
import { flag } from './options.mjs';
import { RunCodeOptions } from './options.json';
import { isJson, show } from './output.mjs';
import { given } from './values.mjs';

export const code = {
  args: [
    ['<machine>', 'id of the machine'],
    ['[code]', 'a cell; without it, standard input'],
  ],
  options: [
    flag(RunCodeOptions, '-l, --language <name>', { about: 'python, javascript or bash (default: python)' }),
    flag(RunCodeOptions, '--context <id>'),
    flag(RunCodeOptions, '--timeout <seconds>'),
  ],
  async run(id, cell, flags) {
    const found = await Machine.connect(id);
    const live = !isJson();
    const execution = await found.runCode(cell ?? (await text(process.stdin)), {
      ...given(flags),
      signal: interruption().signal,
      onStdout: live ? ({ text: part }) => process.stdout.write(part) : undefined,
      onStderr: live ? ({ text: part }) => process.stderr.write(part) : undefined,
      onResult: live ? (result) => process.stdout.write(`${result.text}\n`) : undefined,
    });
    if (!live) show(execution.serialize());
    else if (execution.error)
      process.stderr.write(execution.error.traceback || `${execution.error.name}: ${execution.error.value}\n`);
    if (execution.error) process.exitCode = EXIT.error;
  },
};
