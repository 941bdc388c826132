// Virtual environments for what tests need of Python, each made once.

import { execFileSync } from 'node:child_process';
import path from 'node:path';

import { devDir } from './project.mjs';
import { isUnchanged, stamp } from './stamps.mjs';

/** Path of a Python that has what `<folder>/requirements.txt` names. */
export async function pythonFor(step, folder) {
  const name = `python-${path.basename(folder)}`;
  const requirements = `${folder}/requirements.txt`;
  const directory = path.join(devDir, name);
  const python = path.join(directory, 'bin', 'python');
  const state = { inputs: [requirements], outputs: [`.nullspace-dev/${name}/pyvenv.cfg`] };
  if (isUnchanged(name, state)) return python;
  await step.run(findPython(), ['-m', 'venv', '--clear', directory]);
  await step.run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements]);
  stamp(name, state);
  return python;
}

/** A Python that can make that; `undefined` without one. The SDK needs 3.11; Debian keeps `ensurepip` in another package. */
export function findPython() {
  const check = 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))';
  for (const name of ['python3', 'python3.13', 'python3.12', 'python3.11']) {
    try {
      execFileSync(name, ['-c', check], { stdio: 'ignore' });
      return name;
    } catch {
      // the next one
    }
  }
  return undefined;
}
