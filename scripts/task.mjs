// The smaller commands of package.json: `node scripts/task.mjs build | pack | pack-engine [platforms] | engine [flags] | playground | bench [flags] | size [--write] | docs [--serve] | soak | fuzz |
// lint | fmt`.

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

import { cleanUpOnSignals, endAll, start } from './lib/cleanup.mjs';
import { buildStatic } from './lib/engine-build.mjs';
import { checkPrograms, emulators, packEngine, PLATFORMS, runnerOf } from './lib/engine-packages.mjs';
import { engineBinary, inRoot, packageVersion, releaseEngine, root, tarball } from './lib/project.mjs';
import { playgroundPackages, runPlayground } from './lib/playground.mjs';
import { referenceSteps } from './lib/reference.mjs';
import { serveSite } from './lib/site.mjs';
import {
  buildEngine,
  buildPackage,
  buildReleaseEngine,
  checkRequirements,
  findBrowser,
  npmPackages,
  packPackage,
  referencePackages,
  wasmToolchain,
} from './lib/setup.mjs';
import { StepError, step } from './lib/steps.mjs';

const [task, ...rest] = process.argv.slice(2);

const tasks = {
  async build() {
    await checkRequirements();
    await wasmToolchain();
    await npmPackages();
    await buildPackage();
  },
  async pack() {
    await tasks.build();
    await packPackage();
  },
  /** The engine's packages, for all platforms or for those that are named. Takes a quarter of an hour each. */
  async 'pack-engine'() {
    await checkRequirements();
    const platforms = rest.length > 0 ? rest : Object.keys(PLATFORMS);
    for (const platform of platforms)
      if (!Object.hasOwn(PLATFORMS, platform))
        throw new Error(`no platform ${platform}; there are ${Object.keys(PLATFORMS).join(', ')}`);
    const programs = {};
    for (const platform of platforms)
      programs[platform] = await step(`Build the engine for ${platform}`, async (current) => {
        const file = await buildStatic(current, platform);
        current.note = `${(statSync(file).size / 1e6).toFixed(1)} MB`;
        return file;
      });
    await packPrograms(programs);
  },
  /** The engine's packages of programs that were built elsewhere: `DIR/engine-PLATFORM/.../nullspace-engine`. For releases. */
  async 'pack-programs'() {
    const [folder] = rest;
    const programs = Object.fromEntries(
      Object.keys(PLATFORMS).map((platform) => {
        const own = path.resolve(folder, `engine-${platform}`);
        const [found] = readdirSync(own, { recursive: true }).filter(
          (name) => path.basename(name) === 'nullspace-engine',
        );
        return [platform, path.join(own, found)];
      }),
    );
    await packPrograms(programs);
  },
  async engine() {
    // Only the engine's lines may go to stdout: scripts read them.
    console.log = console.error;
    await checkRequirements({ engine: true });
    await buildEngine();
    await runEngine(rest);
  },
  async bench() {
    await tasks.pack();
    await findBrowser();
    await buildReleaseEngine();
    await step('Install the peers', (current) =>
      current.run('npm', ['install', '--no-audit', '--no-fund', '--no-save', '--no-package-lock', tarball()], {
        cwd: inRoot('bench'),
      }),
    );
    await show(['bench/run.mjs', ...rest]);
  },
  /** What the pages of the project weigh and how soon they are there. */
  async 'bench-pages'() {
    await tasks.docs();
    await tasks.pack();
    await findBrowser();
    await buildEngine();
    await playgroundPackages();
    await show(['bench/pages.mjs', ...rest]);
  },
  async playground() {
    await tasks.pack();
    await buildEngine();
    await playgroundPackages();
    await runPlayground();
  },
  async docs() {
    await npmPackages();
    await referencePackages();
    await step('Renew the declarations of options and answers', (current) =>
      current.run('cargo', ['xtask', 'declarations']),
    );
    await step('Renew what docs/ says again of the source', (current) => current.run('node', ['scripts/pages.mjs']));
    await step('Make the site in dist/site, and spec/nullspace.api.md', async (current) => {
      for (const [program, ...args] of referenceSteps({ update: true }))
        await current.run(program, args, { cwd: inRoot('reference') });
    });
    if (!rest.includes('--serve')) return;
    const { origin } = await serveSite({ port: 4173 });
    console.log(`\nOpen ${origin} in a browser. Ctrl-C ends it.`);
    await new Promise(() => {});
  },
  /** The long forms of tests that `npm test` runs short: much data, many uploads under kill -9, long random histories of an engine and of a cluster. */
  async soak() {
    process.env.NULLSPACE_TEST_LONG = '1';
    await tasks.pack();
    await buildReleaseEngine();
    process.env.NULLSPACE_TEST_ENGINE = releaseEngine;
    await show(['scripts/test.mjs', 'e2e', ...rest]);
    await step('Long random histories', (current) =>
      current.run(
        'cargo',
        [
          ...['test', '--release', '--locked', '--package', 'nullspace-engine', '--test', 'api', '--test', 'cluster'],
          ...['--', 'model::'],
        ],
        { env: { ...process.env, NULLSPACE_TEST_STEPS: '10000' } },
      ),
    );
  },
  /** Every `fuzz_...` test (in the crates themselves, and in the two files that have some) with FUZZ_CASES cases each (2 million unless it is set); proptest prints what fails, and its seed. */
  async fuzz() {
    await checkRequirements();
    const env = {
      ...process.env,
      PROPTEST_CASES: process.env.FUZZ_CASES ?? '2000000',
      PROPTEST_MAX_GLOBAL_REJECTS: '100000000',
    };
    await step(`Fuzz, ${env.PROPTEST_CASES} cases each`, (current) =>
      current.run(
        'cargo',
        [
          'test',
          '--release',
          '--locked',
          '--workspace',
          '--lib',
          '--test',
          'streams',
          '--test',
          'fuzz_agent',
          'fuzz_',
          ...rest,
        ],
        {
          env,
        },
      ),
    );
  },
  async size() {
    await tasks.build();
    await show(['bench/size.mjs', ...rest]);
  },
  async lint() {
    await npmPackages();
    await step('Lint', async (current) => {
      await current.run('cargo', ['fmt', '--all', '--check']);
      await current.run(biome, ['check', '.']);
      await current.run('node', ['scripts/licences.mjs']);
      await current.run('node', ['scripts/words.mjs']);
      await current.run('cargo', clippy);
    });
  },
  async fmt() {
    await npmPackages();
    await step('Format', async (current) => {
      await current.run('cargo', ['fmt', '--all']);
      await current.run(biome, ['check', '--write', '.']);
    });
  },
};

/** Looks at the program of each platform, and packs them. */
async function packPrograms(programs) {
  for (const [platform, file] of Object.entries(programs))
    await step(`Look at the engine for ${platform}`, async (current) => {
      checkPrograms(readFileSync(file), platform);
      const runner = runnerOf(platform);
      current.note = 'static, for that processor, and so is the agent in it';
      if (!runner) {
        current.note += `; not run: there is no ${emulators(platform).join(' or ')}`;
        return;
      }
      const [program, ...args] = [...runner, file, '--version'];
      const version = (await current.run(program, args)).trim();
      if (version !== `nullspace-engine ${packageVersion()}`) throw new StepError(`it says of itself: ${version}`);
      current.note += `; ${[...runner, version].join(': ')}`;
    });
  await step('Pack the engine', async (current) => {
    const made = await packEngine(current, programs, inRoot('dist'));
    current.note = made.map((file) => `${path.basename(file)} ${(statSync(file).size / 1e6).toFixed(1)} MB`).join(', ');
  });
}

const biome = inRoot('node_modules', '.bin', 'biome');
const clippy = ['clippy', '--locked', '--workspace', '--all-targets', '--all-features', '--', '-D', 'warnings'];

/** A second signal within this time is the same one on another way: from the terminal, from npm. Milliseconds. */
const SAME_SIGNAL_MS = 1000;

/** Replaces this program as well as Node can: same terminal, same signals, same exit code. */
async function runEngine(flags) {
  // In a session of its own, or a Ctrl-C would reach it from the terminal and from here: twice means `hurry`.
  const options = { cwd: process.env.INIT_CWD ?? root, stdio: 'inherit', detached: true };
  const child = spawn(engineBinary, ['serve', ...flags], options);
  let last = Number.NEGATIVE_INFINITY;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.removeAllListeners(signal);
    process.on(signal, () => {
      if (performance.now() - last > SAME_SIGNAL_MS) child.kill(signal === 'SIGHUP' ? 'SIGTERM' : signal);
      last = performance.now();
    });
  }
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once('exit', (...how) => resolve(how));
    child.once('error', reject);
  });
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143);
}

/** Runs a script whose output is what the person asked for. */
async function show(script) {
  const child = start(process.execPath, script, { cwd: root, stdio: 'inherit' });
  const [code] = await new Promise((resolve, reject) => {
    child.once('exit', (...how) => resolve(how));
    child.once('error', reject);
  });
  if (code !== 0) process.exitCode = 1;
}

cleanUpOnSignals();
try {
  if (!Object.hasOwn(tasks, task)) throw new Error(`no task ${task}; there are ${Object.keys(tasks).join(', ')}`);
  await tasks[task]();
} catch (error) {
  if (!(error instanceof StepError)) console.error(error.message);
  process.exitCode = 1;
} finally {
  await endAll();
}
