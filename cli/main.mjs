#!/usr/bin/env node
// The command line of the package: `npx nullspace`. Built on the public API; one file when shipped (crates/xtask).

import { readFileSync } from 'node:fs';

import { Command, CommanderError } from 'commander';

import { completion } from './completion.mjs';
import { engine } from './engine.mjs';
import { events } from './events.mjs';
import { machine } from './machine.mjs';
import { EXIT, fail, useJson } from './output.mjs';
import { pool } from './pool.mjs';

const { version } = JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8'));

const program = new Command('nullspace')
  .description(
    'Machines from the command line. The key and the address come from NULLSPACE_API_KEY and NULLSPACE_API_URL.',
  )
  .version(version)
  .option('--json', 'print JSON')
  .enablePositionalOptions()
  .exitOverride();
machine(program);
pool(program);
events(program);
engine(program);
completion(program);

/** `--json` works behind every command. */
const everywhere = (command) => {
  for (const one of command.commands) {
    one.exitOverride();
    if (one.commands.length === 0) one.option('--json', 'print JSON');
    everywhere(one);
  }
};
everywhere(program);
program.hook('preAction', (_, action) => {
  if (program.opts().json || action.opts().json) useJson();
});

// `| head` ends us, not with an error.
process.stdout.on('error', (error) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) fail(error);
  else process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage;
}
