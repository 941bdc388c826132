#!/usr/bin/env node
// `nullspace-engine`: the program of this platform, with the terminal, the signals and the exit code of this one.

const { spawn } = require('node:child_process');
const { constants } = require('node:os');
const { binaryPath } = require('./index.js');

let file;
try {
  file = binaryPath();
} catch (error) {
  console.error(`nullspace-engine: ${error.message}`);
  process.exit(1);
}
const child = spawn(file, process.argv.slice(2), { stdio: 'inherit' });
// The terminal sends its signals to both; others are passed on.
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
process.on('SIGINT', () => {});
child.once('error', (error) => {
  console.error(`nullspace-engine: ${error.message}`);
  process.exitCode = 1;
});
child.once('exit', (code, signal) => {
  process.exitCode = code ?? 128 + constants.signals[signal];
});
