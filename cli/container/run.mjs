// An engine in a container: started, found again, stopped. Its state is on a volume of the container CLI; what programs need to find it
// is where an engine of this computer says it, too.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { problem } from '../ending.mjs';
import { NAME, runArguments } from './arguments.mjs';
import { ask } from './probe.mjs';

const START_MS = 120_000;
const LOOK_MS = 100;
const ANSWER_MS = 2000;
/** An engine ends its machines within 20 s. Seconds. */
const END_S = 25;
/** A Dockerfile of a checkout of the project. */
const DOCKERFILE = 'deploy/docker/Dockerfile';

const failed = (what, said) => problem(`${what}${said ? `:\n${said}` : ''}`, { code: 'engine_failed' });

/** Runs the CLI with its output shown, which for people is on standard error. */
const show = (cli, args) =>
  new Promise((resolve, reject) => {
    // Builders before Docker 23 know caches of a Dockerfile only when they are told so.
    const env = { ...process.env, DOCKER_BUILDKIT: '1' };
    const child = spawn(cli, args, { env, stdio: ['ignore', process.stderr, process.stderr] });
    child.once('error', reject);
    child.once('close', (code) => resolve(code));
  });

/** An image to run: one that is named, one that is there, or one that is built now. */
const findImage = async (cli, version) => {
  const { NULLSPACE_ENGINE_IMAGE: named } = process.env;
  if (named) return named;
  const image = `${NAME}:${version}`;
  if ((await ask(cli, ['image', 'inspect', image])).ok) return image;
  if (!existsSync(DOCKERFILE))
    throw problem(`${cli} has no image ${image}`, {
      code: 'engine_not_found',
      suggestedAction:
        'make it with `npm run image` in a checkout of the project, or name another in NULLSPACE_ENGINE_IMAGE',
    });
  process.stderr.write(`${image} is built once; this takes some minutes\n`);
  if ((await show(cli, ['build', '--file', DOCKERFILE, '--tag', image, '.'])) !== 0)
    throw failed(`${cli} could not build ${image}`);
  return image;
};

const write = (file, text) => {
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  renameSync(`${file}.new`, file);
};

/** The key of a state directory, made when it has none. */
const keyOf = (folder) => {
  const file = path.join(folder, 'api-key');
  if (process.env.NULLSPACE_API_KEY) return process.env.NULLSPACE_API_KEY;
  if (!existsSync(file)) write(file, `nsk_${randomBytes(30).toString('hex')}\n`);
  return readFileSync(file, 'utf8').trim();
};

const stateOf = async (cli) => {
  const { ok, stdout } = await ask(cli, ['container', 'inspect', '--format', '{{.State.Status}}', NAME]);
  return ok ? stdout.trim() : undefined;
};

/** Whether an engine answers. A published port accepts connections before anything listens inside. */
export const answers = (url) =>
  new Promise((resolve) => {
    const request = get(`${url}/healthz`, { agent: false, timeout: ANSWER_MS }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
  });

/**
 * Starts the container and waits until its engine answers.
 *
 * @param {object} cli what {@link decide} chose
 * @param {{ folder: string, port: number, version: string, seccomp: string, args: string[] }} options
 */
export const startContainer = async (cli, { folder, port, version, seccomp, args }) => {
  const image = await findImage(cli.name, version);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const apiKey = keyOf(folder);
  const keyFile = path.join(folder, 'container.env');
  write(keyFile, `NULLSPACE_API_KEY=${apiKey}\n`);
  // What is left of an earlier one: its state is on the volume.
  if (await stateOf(cli.name)) await ask(cli.name, ['rm', '--force', NAME]);
  const run = (loops) =>
    ask(cli.name, runArguments({ image, port, keyFile, seccomp, apparmor: cli.apparmor, loops, args }), {
      timeout: START_MS,
    });
  let started = await run(true);
  if (!started.ok && /\/dev\/loop/.test(started.stderr)) {
    // A kernel without them: `diskMb` is refused there, and the engine says so.
    await ask(cli.name, ['rm', '--force', NAME]);
    started = await run(false);
  }
  rmSync(keyFile, { force: true });
  if (!started.ok) {
    await ask(cli.name, ['rm', '--force', NAME]);
    throw failed(`${cli.name} could not start ${image}`, started.stderr);
  }
  const url = `http://127.0.0.1:${port}`;
  const deadline = Date.now() + START_MS;
  while (!(await answers(url))) {
    const state = await stateOf(cli.name);
    if (state !== 'running' || Date.now() > deadline) {
      const { stdout, stderr } = await ask(cli.name, ['logs', '--tail', '40', NAME]);
      await ask(cli.name, ['rm', '--force', NAME]);
      throw failed(`the engine in the container did not start (${state ?? 'it is gone'})`, `${stdout}${stderr}`.trim());
    }
    await sleep(LOOK_MS);
  }
  const engine = { base_url: url, api_key: apiKey, version, container: { cli: cli.name, name: NAME, image } };
  write(path.join(folder, 'engine.json'), `${JSON.stringify(engine, null, 2)}\n`);
  return engine;
};

/** Stops the container; the volume with the state stays. */
export const stopContainer = async ({ container: { cli, name }, file }) => {
  const { ok, stderr } = await ask(cli, ['stop', '--time', String(END_S), name], { timeout: 2 * END_S * 1000 });
  if (!ok && !/no such container/i.test(stderr)) throw failed(`${cli} could not stop ${name}`, stderr);
  await ask(cli, ['rm', '--force', name]);
  rmSync(file, { force: true });
};

/** Whether the container of an engine runs. */
export const containerRuns = async ({ container: { cli } }) => (await stateOf(cli)) === 'running';

/** Shows the log of the container, as long as somebody wants it. */
export const containerLogs = ({ container: { cli, name } }, follow) =>
  new Promise((resolve, reject) => {
    const child = spawn(cli, ['logs', ...(follow ? ['--follow'] : []), name], { stdio: 'inherit' });
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 0));
  });
