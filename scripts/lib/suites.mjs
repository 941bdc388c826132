// What `npm test` runs, in order: cheap and telling first.

import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { browserPath } from './browser.mjs';
import { temporaryDirectory } from './cleanup.mjs';
import { namePattern, THROUGH_A_GATEWAY } from './cluster-files.mjs';
import { consumerProject, isolatedEnvironment } from './consumer.mjs';
import { cargoCounts, lineCounts, nodeCounts, pythonCounts } from './counts.mjs';
import { kubernetesPrograms } from './kubernetes.mjs';
import { engineBinary, inRoot, root, tarball } from './project.mjs';
import { playgroundPackages } from './playground.mjs';
import { makeData, postgresPrograms } from './postgres.mjs';
import { pythonFor } from './python.mjs';
import { referenceSteps } from './reference.mjs';
import { buildTraps, CHECKED, referencePackages, TESTED, TESTED_TOOLS } from './setup.mjs';

/** A suite that is one command, which needs no engine: it passes or fails as a whole. */
const command = (title, program, args) => ({
  title,
  early: true,
  async run(step) {
    const { code } = await step.try(program, args);
    return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
  },
});

const biome = inRoot('node_modules', '.bin', 'biome');

/**
 * All suites by name. `run(step)` resolves with counts; what it `needs` is made while the engine compiles. One that is `early` needs no
 * engine and runs meanwhile, too. One that is `inRust` is compiled with it. What is `apart` runs only when it is asked for.
 */
export const suites = {
  rustfmt: command('rustfmt', 'cargo', ['fmt', '--all', '--check']),
  biome: command('biome (JavaScript format and lint)', biome, ['check', '--error-on-warnings', '.']),
  licences: command('licences', 'node', ['scripts/licences.mjs']),
  words: command('spelling, and words that are not used any more', 'node', ['scripts/words.mjs']),
  cargo: {
    title: 'cargo test',
    inRust: true,
    async run(step) {
      // Most tests wait for something most of their time.
      const env = { ...CHECKED, RUST_TEST_THREADS: String(2 * os.availableParallelism()) };
      // `--no-fail-fast`, so that the sum is one of all tests.
      const cargo = (args) => step.try('cargo', ['test', ...args], { env });
      const { code, output } = await cargo([...TESTED, '--no-fail-fast']);
      const tools = await cargo(TESTED_TOOLS);
      return cargoCounts(output + tools.output, code || tools.code);
    },
  },
  clippy: {
    title: 'clippy',
    inRust: true,
    async run(step) {
      // Nothing is compiled again: cargo repeats what was found.
      let passed = true;
      for (const what of [TESTED, TESTED_TOOLS]) {
        const { code, output } = await step.try('cargo', ['test', ...what, '--no-run'], { env: CHECKED });
        passed &&= code === 0 && !/^(warning|error)\b/m.test(output);
      }
      return passed ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
    },
  },
  types: {
    title: 'types of the examples and tests',
    early: true,
    async run(step) {
      const project = await consumerProject(step, [
        'examples',
        'tests/e2e',
        'tests/readme',
        'tests/types',
        'tests/tsconfig.json',
        'scripts/lib',
      ]);
      const blocks = path.join(project, 'tests/readme/blocks');
      await step.run('node', [inRoot('tests/readme/extract.mjs'), blocks, '--types']);
      const tsc = inRoot('node_modules', '.bin', 'tsc');
      const types = ['--typeRoots', inRoot('node_modules', '@types'), '--types', 'node'];
      const { code } = await step.try(tsc, ['--project', 'tests/tsconfig.json', ...types], { cwd: project });
      return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
    },
  },
  wasm: {
    title: 'the package against a scripted server (tests/wasm)',
    early: true,
    needs: [buildTraps],
    run: (step) => nodeTest(step, testFiles('tests/wasm'), { cwd: root }),
  },
  playground: {
    title: 'the playground in Chromium (tests/playground)',
    needs: [playgroundPackages],
    async run(step) {
      const tsc = inRoot('node_modules', '.bin', 'tsc');
      const { code } = await step.try(tsc, ['--project', inRoot('examples', 'playground')]);
      const counts = await nodeTest(step, testFiles('tests/playground'), {
        cwd: root,
        env: testEnvironment(),
        wrapper: ownNetwork(),
      });
      counts[code === 0 ? 'passed' : 'failed'] += 1;
      return counts;
    },
  },
  e2e: {
    title: 'the packed package against the engine (tests/e2e)',
    async run(step) {
      const { project, files } = await e2eProject(step);
      return nodeTest(step, files, { cwd: project, env: testEnvironment(), wrapper: ownNetwork() });
    },
  },
  cluster: {
    title: 'the same, and the Python SDK, against a gateway with three nodes',
    async run(step) {
      const { project, files } = await e2eProject(step);
      const name = (file) => path.basename(file);
      const wanted = files.filter((file) =>
        everything || only ? name(file) in THROUGH_A_GATEWAY : THROUGH_A_GATEWAY[name(file)],
      );
      const env = clusterEnvironment();
      const names = { NODE_OPTIONS: `--import ${path.join(project, 'scripts/lib/localhost-names.mjs')}` };
      const counts = await nodeTest(step, wanted, {
        cwd: project,
        env: { ...env, ...names },
        wrapper: ownNetwork(),
        pattern: (file) => namePattern(name(file)),
      });
      if (only && !'contract'.includes(only)) return counts;
      const python = await pythonFor(step, 'tests/contract');
      const { code, output } = await step.try('node', ['tests/contract/run.mjs', python], { env });
      const contract = pythonCounts(output, code);
      for (const key of ['passed', 'failed', 'skipped']) counts[key] += contract[key] ?? 0;
      for (const key of ['failures', 'skips']) counts[key].push(...(contract[key] ?? []));
      return counts;
    },
  },
  cli: {
    title: 'the command line of the packed package (tests/cli)',
    async run(step) {
      const project = await consumerProject(step, ['tests/cli', 'scripts/lib']);
      return nodeTest(step, testFiles('tests/cli'), { cwd: project, env: testEnvironment(), wrapper: ownNetwork() });
    },
  },
  container: {
    title: 'an engine in a container (tests/container)',
    apart: true,
    // Its engine is that of the image.
    early: true,
    async run(step) {
      const project = await consumerProject(step, ['tests/container', 'scripts/lib', 'cli/container', 'deploy/docker']);
      const env = { ...process.env, ...testEnvironment() };
      return nodeTest(step, testFiles('tests/container'), { cwd: project, env });
    },
  },
  kubernetes: {
    title: 'the manifests of deploy/kubernetes on a Kubernetes with three nodes (tests/kubernetes)',
    apart: true,
    needs: [kubernetesPrograms],
    async run(step) {
      const project = await consumerProject(step, ['tests/kubernetes', 'tests/e2e/support', 'scripts/lib']);
      const wrapper = ownNetwork();
      return nodeTest(step, testFiles('tests/kubernetes'), {
        cwd: project,
        env: testEnvironment(),
        wrapper,
        limit: 900_000,
      });
    },
  },
  browsers: {
    title: 'Firefox and WebKit, where they are (tests/browsers)',
    apart: true,
    needs: [playgroundPackages],
    run: (step) =>
      nodeTest(step, testFiles('tests/browsers'), { cwd: root, env: testEnvironment(), wrapper: ownNetwork() }),
  },
  examples: {
    title: 'the examples (tests/examples)',
    async run(step) {
      const folder = await installedExamples(step);
      const env = { ...testEnvironment(), NULLSPACE_TEST_EXAMPLES: folder };
      return nodeTest(step, testFiles('tests/examples'), { cwd: root, env, wrapper: ownNetwork() });
    },
  },
  contract: {
    title: 'the Python SDK against the engine (tests/contract)',
    async run(step) {
      const python = await pythonFor(step, 'tests/contract');
      const run = ['tests/contract/run.mjs', python];
      const { code, output } = await step.try('node', run, { env: testEnvironment() });
      return pythonCounts(output, code);
    },
  },
  'api-fuzz': {
    title: 'random requests of the schema against the engine (tests/api-fuzz)',
    apart: true,
    async run(step) {
      const python = await pythonFor(step, 'tests/api-fuzz');
      const [program, ...args] = [...ownNetwork(), process.execPath, 'tests/api-fuzz/run.mjs', python];
      const { code, output } = await step.try(program, args, { env: testEnvironment() });
      const findings = Number(output.match(/^\d+ requests, (\d+) findings$/m)?.[1] ?? 0);
      return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: Math.max(1, findings), failures: [output] };
    },
  },
  buildah: {
    title: 'buildah about what the package and the engine take over from Docker (tests/buildah)',
    apart: true,
    run: (step) => nodeTest(step, testFiles('tests/buildah'), { cwd: root }),
  },
  replay: {
    title: 'recorded requests of the Python SDK (tests/contract)',
    run: (step) =>
      nodeTest(step, testFiles('tests/contract'), { cwd: root, env: testEnvironment(), wrapper: ownNetwork() }),
  },
  readme: {
    title: 'blocks of README and docs (tests/readme)',
    async run(step) {
      const project = await consumerProject(step, [
        'tests/readme',
        'scripts/lib',
        'README.md',
        'docs',
        'pkg-template/README.md',
        'pkg-template/llms.txt',
      ]);
      await step.run('node', [inRoot('tests/readme/extract.mjs'), path.join(project, 'tests/readme/blocks')]);
      await compileTypeScript(step, path.join(project, 'tests/readme/blocks'));
      return nodeTest(step, testFiles('tests/readme'), { cwd: project, env: testEnvironment(), wrapper: ownNetwork() });
    },
  },
  scripts: {
    title: 'the scripts themselves (tests/scripts)',
    // The compiler that reads the declarations of the package.
    needs: [referencePackages],
    run(step) {
      // `npm start` alone needs other features of the crates, so that it would compile most of them again.
      const env = { ...process.env, NULLSPACE_TEST_ENGINE: engineBinary };
      return nodeTest(step, testFiles('tests/scripts'), { cwd: root, env });
    },
  },
  reference: {
    title: 'the site of the documentation (tests/site), and the report of the public surface',
    early: true,
    needs: [referencePackages],
    async run(step) {
      const counts = { passed: 0, failed: 0, failures: [] };
      for (const [program, ...args] of referenceSteps()) {
        const { code, output } = await step.try(program, args, { cwd: inRoot('reference') });
        counts[code === 0 ? 'passed' : 'failed'] += 1;
        if (code === 0) continue;
        const isReport = program.endsWith('api-extractor');
        const hint = isReport ? '\nIf the change is meant: npm run docs, and commit spec/nullspace.api.md' : '';
        counts.failures.push(output + hint);
      }
      if (counts.failed > 0) return counts;
      const read = await nodeTest(step, testFiles('tests/site'), { cwd: root, env: testEnvironment() });
      return { ...read, passed: read.passed + counts.passed };
    },
  },
  size: command('size of what is shipped (bench/size.mjs)', 'node', ['bench/size.mjs']),
  packaging: {
    title: 'the packed files, and tiny consumer projects (tests/packaging)',
    async run(step) {
      const env = testEnvironment();
      const counts = { passed: 0, failed: 0 };
      const consumers = everything ? ['run.mjs', '--all', '--write', inRoot('docs', 'runtimes.md')] : ['run.mjs'];
      const engine = ['engine.mjs', ...(everything ? ['--all'] : [])];
      for (const [program, ...flags] of [['check.mjs'], ['newcomer.mjs'], engine, consumers]) {
        const args = [`tests/packaging/${program}`, '--tarball', tarball(), ...flags];
        const { code, output } = await step.try('node', args, { env });
        const { passed, failed } = lineCounts(output, code);
        counts.passed += passed;
        counts.failed += failed;
      }
      return counts;
    },
  },
};

/**
 * A copy of the examples with the packed package, and what they need: there is no network while they run. Those with large tools
 * only when everything is run.
 */
async function installedExamples(step) {
  const folder = temporaryDirectory('examples');
  const quiet = ['--no-audit', '--no-fund', '--no-package-lock', '--prefer-offline'];
  cpSync(inRoot('examples'), folder, {
    recursive: true,
    filter: (source) => !/node_modules|playground/.test(path.relative(inRoot('examples'), source)),
  });
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  const { dependencies } = JSON.parse(readFileSync(path.join(folder, 'browser-terminal', 'package.json'), 'utf8'));
  const small = Object.entries(dependencies).map(([name, version]) => `${name}@${version}`);
  await step.run('npm', ['install', ...quiet, tarball(), ...small], { cwd: folder });
  for (const name of everything ? ['cloudflare-worker', 'next-route'] : []) {
    await step.run('npm', ['install', ...quiet, tarball()], { cwd: path.join(folder, name) });
  }
  return folder;
}

/** A project with the packed package and the files of tests/e2e, by their compiled names. */
async function e2eProject(step) {
  const project = await consumerProject(step, ['tests/e2e', 'examples', 'scripts/lib', 'pkg-template/package.json']);
  await compileTypeScript(step, path.join(project, 'tests/e2e'));
  await compileTypeScript(step, path.join(project, 'examples'));
  const files = testFiles('tests/e2e').map((file) => file.replace(/\.ts$/, '.mjs'));
  return { project, files };
}

/** A variable of whoever runs the tests, if it is set. */
const given = (name) => (process.env[name] ? { [name]: process.env[name] } : {});

/** Where the engines of all suites share what their machines are made of. */
let base;
const sharedBase = () => {
  base ??= temporaryDirectory('base');
  return base;
};

/** What tests find in their environment. */
const testEnvironment = () =>
  isolatedEnvironment({
    NULLSPACE_TEST_ENGINE: engineBinary,
    NULLSPACE_TEST_ROOT: root,
    NULLSPACE_TEST_BASE: sharedBase(),
    CHROMIUM: browserPath(),
    // Where to keep pictures of what a person would see.
    ...given('NULLSPACE_TEST_PICTURES'),
    // The long forms: `npm run soak`.
    ...given('NULLSPACE_TEST_LONG'),
    // Seconds of silence in a cluster, such as those of production: tests/e2e/cluster-loss.
    ...given('NULLSPACE_TEST_SILENCE'),
    // To repeat a random test.
    ...given('NULLSPACE_TEST_SEED'),
    ...given('NULLSPACE_TEST_STEPS'),
    // How many requests, which, and of what: tests/api-fuzz.
    ...given('NULLSPACE_FUZZ_REQUESTS'),
    ...given('NULLSPACE_FUZZ_SEED'),
    ...given('NULLSPACE_FUZZ_ONLY'),
    NO_COLOR: '1',
  });

/** Each engine that a test starts is a cluster. What takes long of its database is made once. */
function clusterEnvironment() {
  const data = path.join(temporaryDirectory('postgres'), 'data');
  makeData(data);
  return {
    ...testEnvironment(),
    NULLSPACE_TEST_CLUSTER: '3',
    NULLSPACE_TEST_POSTGRES: postgresPrograms(),
    NULLSPACE_TEST_POSTGRES_DATA: data,
  };
}

/**
 * As root, tests run in a network namespace of their own: they may add addresses and servers there, and nothing of
 * it outlives them.
 */
function ownNetwork() {
  if (process.getuid?.() !== 0) return [];
  return ['unshare', '--net', 'sh', '-c', 'ip link set lo up && NULLSPACE_TEST_NETNS=1 exec "$@"', 'sh'];
}

let only = '';
/** Leaves test files out whose name does not hold `text`. */
export function onlyFiles(text) {
  only = text;
}

let everything = false;
/** Runs the consumer projects of every runtime and bundler, not only the usual ones, and writes their table. */
export function allConsumers() {
  everything = true;
}

const testFiles = (directory) =>
  readdirSync(inRoot(directory))
    .filter((name) => /\.test\.(mjs|ts)$/.test(name) && name.includes(only))
    .sort()
    .map((name) => path.join(directory, name));

/** For one test. The long forms of `npm run soak` take longer. Milliseconds. */
const TEST_LIMIT_MS = process.env.NULLSPACE_TEST_LONG ? 3_600_000 : 180_000;

/**
 * Runs test files, as many at once as there are processors, each with the wrapper to itself. `pattern` gives the names of a file's
 * tests that run, where not all do: the others count as nothing.
 */
async function nodeTest(
  step,
  files,
  { cwd, env = process.env, wrapper = [], pattern = () => undefined, limit = TEST_LIMIT_MS },
) {
  const total = { passed: 0, failed: 0, skipped: 0, failures: [], skips: [] };
  const runFile = async (file) => {
    const named = pattern(file);
    const chosen = named ? [`--test-name-pattern=${named}`] : [];
    // A test that waits for ever fails and is named, instead of stopping all.
    const args = ['--test', '--test-reporter=tap', `--test-timeout=${limit}`, ...chosen, file];
    const [program, ...rest] = [...wrapper, process.execPath, ...args];
    const { code, output } = await step.try(program, rest, { cwd, env, together: true });
    const counts = nodeCounts(output, code);
    const isChosen = (line) => !line.endsWith('test name does not match pattern');
    counts.skipped -= counts.skips.length;
    counts.skips = counts.skips.filter(isChosen);
    counts.skipped += counts.skips.length;
    for (const key of Object.keys(total)) {
      if (Array.isArray(total[key])) total[key].push(...counts[key]);
      else total[key] += counts[key];
    }
  };
  const waiting = files.values();
  const worker = async () => {
    for (const file of waiting) await runFile(file);
  };
  await Promise.all(Array.from({ length: os.availableParallelism() }, worker));
  return total;
}

/** Node 20 reads no TypeScript, and no `await using`. */
async function compileTypeScript(step, directory) {
  const files = readdirSync(directory).filter((name) => name.endsWith('.ts'));
  if (files.length === 0) return;
  const esbuild = inRoot('node_modules', '.bin', 'esbuild');
  const args = ['--format=esm', '--target=node20.16', '--out-extension:.js=.mjs', '--outdir=.', '--sourcemap=inline'];
  await step.run(esbuild, [...files, ...args, '--log-level=warning'], { cwd: directory });
}
