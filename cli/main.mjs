#!/usr/bin/env node
// The command line of the package: `npx nullspace`. Built on the public API; one file when shipped (crates/xtask).

import { Command, CommanderError } from 'commander';

import { addCommands } from './commands.mjs';
import { cutShort, EXIT, fail } from './ending.mjs';
import { version } from './version.mjs';

const program = new Command('nullspace')
  .description(
    'Machines from the command line, on the server of NULLSPACE_API_URL and NULLSPACE_API_KEY, or on your local engine.',
  )
  .version(version())
  .option('--json', 'print JSON')
  .enablePositionalOptions()
  .exitOverride();
addCommands(program);

// `| head` ends us, not with an error.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error;
  cutShort();
});

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) fail(error);
  else process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage;
}
