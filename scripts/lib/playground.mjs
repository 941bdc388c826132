// `npm run playground`: the engine and examples/playground, until somebody ends them.

import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { startEngine } from './engine.mjs';
import { engineBinary, inRoot, root, tarball } from './project.mjs';
import { isUnchanged, stamp } from './stamps.mjs';
import { step } from './steps.mjs';

const folder = inRoot('examples', 'playground');

/** What the playground is built with, and the packed package. */
export const playgroundPackages = () =>
  step('Install what the playground is built with', async (current) => {
    const inFolder = (file) => `examples/playground/${file}`;
    const state = {
      inputs: [inFolder('package.json'), inFolder('package-lock.json'), path.relative(root, tarball())],
      outputs: [inFolder('node_modules/.package-lock.json')],
    };
    if (isUnchanged('npm-playground', state)) {
      current.note = 'unchanged';
      return;
    }
    await current.run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder });
    const quiet = ['--no-audit', '--no-fund', '--no-save', '--no-package-lock', '--prefer-offline'];
    await current.run('npm', ['install', ...quiet, tarball()], { cwd: folder });
    stamp('npm-playground', state);
  });

/** Builds it, and serves it beside an engine of its own. */
export async function startPlayground({ binary = engineBinary, state, port } = {}) {
  // It brings a bundler of its own, which is installed by now.
  const { servePlayground } = await import(pathToFileURL(inRoot('examples', 'playground', 'serve.mjs')).href);
  return servePlayground({
    port,
    startEngine: (origin) => startEngine({ binary, state, args: ['--allow-origin', origin] }),
  });
}

/** Serves it until a signal comes. What was made stays for the next time. */
export async function runPlayground() {
  const state = inRoot('.nullspace-dev', 'playground');
  mkdirSync(state, { recursive: true });
  const served = await step('Build and serve the playground', async (current) => {
    const started = await startPlayground({ state });
    current.note = started.origin;
    return started;
  });
  console.log(`\nOpen ${served.origin} in a browser on this computer. Ctrl-C ends it.`);
  const { code, signal } = await served.engine.ended;
  await served.close();
  if (code !== 0)
    throw new Error(`the engine ended with ${signal ?? `exit code ${code}`}:\n${served.engine.log().slice(-2000)}`);
}
