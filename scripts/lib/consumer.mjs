// A project of somebody else: a temporary directory where the packed package is installed.

import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { temporaryDirectory } from './cleanup.mjs';
import { inRoot, tarball } from './project.mjs';

/**
 * Makes the project and installs the tarball in it.
 *
 * @param {import('./steps.mjs').Step} step runs npm
 * @param {string[]} copies paths of this repository that are copied to the same places of the project: `nullspace`
 * then means the installed package there, and nothing else can be imported by accident
 */
export async function consumerProject(step, copies) {
  const directory = temporaryDirectory('project');
  writeFileSync(
    path.join(directory, 'package.json'),
    JSON.stringify({ name: 'consumer', private: true, type: 'module' }),
  );
  await step.run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', tarball()], { cwd: directory });
  for (const copy of copies) {
    const target = path.join(directory, copy);
    mkdirSync(path.dirname(target), { recursive: true });
    cpSync(inRoot(copy), target, { recursive: true, filter: (source) => !source.includes('node_modules') });
  }
  return directory;
}

/**
 * Environment of a program that must see neither the user's settings nor this repository's: no key, no URL, an
 * empty home.
 */
export function isolatedEnvironment(more = {}) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(NULLSPACE_|npm_)/i.test(name)));
  const home = temporaryDirectory('home');
  return { ...env, HOME: home, XDG_CONFIG_HOME: path.join(home, '.config'), NO_PROXY: '127.0.0.1,localhost', ...more };
}
