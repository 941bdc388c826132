// Makes commands of the table.

import { Command, CommanderError } from 'commander';

import { fail } from './ending.mjs';
import { useJson } from './output.mjs';
import { GROUPS, TABLE } from './table.mjs';

/**
 * Reads the options between the first argument and a command, as in `exec ID --timeout 3 -- cat`: what follows the first word that
 * is no option is not ours.
 */
const further = (command, { options }, words, flags) => {
  const inner = new Command(command.name()).exitOverride().passThroughOptions().argument('[words...]');
  inner.helpInformation = () => command.helpInformation();
  for (const option of options) inner.option(...option);
  inner.option('--json', 'print JSON');
  // Repeatable ones add to what stood before the first argument.
  for (const [name, value] of Object.entries(flags)) inner.setOptionValue(name, value);
  inner.parse(words, { from: 'user' });
  return [inner.args, inner.opts()];
};

const describe = (program, parent, name, about, row) => {
  const { args = [], options = [], run, isForeign } = row;
  const command = parent.command(name).description(about).exitOverride();
  for (const argument of args) command.argument(...argument);
  for (const option of options) command.option(...option);
  // Words of a command in a machine, and of another program, are not ours.
  if (args.some(([argument]) => argument === '[command...]' || argument === '[words...]') || isForeign)
    command.passThroughOptions();
  if (isForeign) command.allowUnknownOption().helpOption(false);
  else command.option('--json', 'print JSON');
  return command.action(async (...given) => {
    let [args, flags] = [given.slice(0, -2), given.at(-2)];
    if (row.further) {
      const [words, merged] = further(command, row, args.at(-1), flags);
      [args, flags] = [[...args.slice(0, -1), words], merged];
    }
    if (flags.json || program.opts().json) useJson();
    try {
      await run(...args, flags, program);
    } catch (error) {
      if (error instanceof CommanderError) throw error;
      fail(error, command);
    }
  });
};

/** Verbs that hands know from elsewhere. */
const HABITS = { list: 'ls', kill: 'rm', delete: 'rm' };

/** Adds all commands to the program, by their names and by their short forms. */
export const addCommands = (program) => {
  const groups = {};
  for (const [name, about, row, short] of TABLE) {
    const [group, verb] = name.split(' ');
    if (short !== undefined) describe(program, program, short, `${about} (${name})`, row);
    if (verb === undefined) {
      groups[name] = describe(program, program, name, about, row);
      continue;
    }
    groups[group] ??= program.command(group).description(GROUPS[group]).enablePositionalOptions().exitOverride();
    const command = describe(program, groups[group], verb, about, row);
    if (HABITS[verb]) command.alias(HABITS[verb]);
  }
};
