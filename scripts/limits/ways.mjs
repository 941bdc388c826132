// The ways in which an engine can be started, as far as this computer can.

import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { NAME, runArguments } from '../../cli/container/arguments.mjs';
import { answers } from '../../cli/container/run.mjs';
import { temporaryDirectory } from '../lib/cleanup.mjs';
import { startEngine, withoutRights } from '../lib/engine.mjs';
import { inRoot } from '../lib/project.mjs';

const run = promisify(execFile);
const isRoot = process.getuid() === 0;

/** Where the memory controller of this computer is. */
export const version = () =>
  / - cgroup \S+ \S*\bmemory\b/.test(readFileSync('/proc/self/mountinfo', 'utf8')) ? 'version 1' : 'version 2';

const OWN = 'nullspace-limits';
const docker = (...args) => run('docker', args).then(({ stdout }) => stdout.trim());

/** An engine in a container, with the rights that `nullspace engine --container` gives it. */
async function inContainer(image) {
  const directory = temporaryDirectory('limits-container');
  const keyFile = path.join(directory, 'env');
  const apiKey = 'nsk_limits';
  writeFileSync(keyFile, `NULLSPACE_API_KEY=${apiKey}\n`);
  const port = 3917;
  const seccomp = inRoot('deploy', 'docker', 'seccomp.json');
  // The container and the volume of somebody's own engine have the other name.
  const own = (argument) =>
    argument === NAME || argument.startsWith(`${NAME}:/`) ? argument.replace(NAME, OWN) : argument;
  await docker(...runArguments({ image, port, keyFile, seccomp }).map(own));
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    if (await answers(url)) break;
    if (tries === 300) throw new Error(`the container does not answer: ${await docker('logs', OWN)}`);
    await sleep(200);
  }
  return {
    url,
    apiKey,
    async stop() {
      await docker('rm', '--force', OWN);
      await docker('volume', 'rm', OWN);
    },
  };
}

/** Column, and how its engine is started; `undefined` where this computer cannot. */
export async function ways(binary, image) {
  const hasImage = await docker('image', 'inspect', image).then(
    () => true,
    () => false,
  );
  return {
    [`root, ${version()}`]: isRoot ? () => startEngine({ binary, isStrict: true }) : undefined,
    'ordinary user': () => startEngine(withoutRights(binary, temporaryDirectory('limits'))),
    [`container, ${version()}`]: hasImage ? () => inContainer(image) : undefined,
  };
}
