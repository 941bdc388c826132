// Somebody who has npm and no Rust: the tarballs installed into an empty folder, without any script, an engine in the background, the
// first program of the README. As root it is done as another user, who has rights to nothing but that folder.
//
//   NULLSPACE_TEST_ENGINE=target/debug/nullspace-engine node tests/packaging/engine.mjs --tarball dist/nullspace-0.1.0.tgz [--all]
//
// The tarballs of the engine are made here, of that program. --all does it with pnpm and yarn, too. Ends with 'N passed, N failed'.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';

import { cleanUpOnSignals, endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { packEngine } from '../../scripts/lib/engine-packages.mjs';
import { inRoot, isExecutable } from '../../scripts/lib/project.mjs';

const { values: options } = parseArgs({ options: { tarball: { type: 'string' }, all: { type: 'boolean' } } });
const binary = process.env.NULLSPACE_TEST_ENGINE;
if (!options.tarball || !binary) {
  console.error(
    'usage: NULLSPACE_TEST_ENGINE=... node tests/packaging/engine.mjs --tarball dist/nullspace-<version>.tgz [--all]',
  );
  process.exit(2);
}

/** No user of this computer: nothing belongs to it. */
const UID = 54_323;
const isRoot = process.getuid() === 0;
/** Seconds. An engine starts within 10 s of the installation: the first start makes the file system of machines. */
const LIMIT_S = 60;

const run = promisify(execFile);
const step = { run: (program, args) => run(program, args) };
const seconds = (from) => (performance.now() - from) / 1000;

/** PATH without Rust, and with the Node that runs this. */
const pathWithoutRust = (folder) => {
  mkdirSync(folder);
  for (const name of ['node', 'npm', 'npx']) {
    const file = path.join(path.dirname(process.execPath), name);
    if (existsSync(file)) symlinkSync(file, path.join(folder, name));
  }
  const others = (process.env.PATH ?? '').split(path.delimiter).filter((entry) => /^\/(usr\/)?s?bin$/.test(entry));
  const all = [folder, ...others, '/usr/sbin', '/sbin'];
  for (const entry of all)
    for (const name of ['cargo', 'rustc']) assert.ok(!isExecutable(path.join(entry, name)), `${entry} has ${name}`);
  return all.join(path.delimiter);
};

const readme = readFileSync(inRoot('README.md'), 'utf8');
const FIRST = readme.slice(readme.indexOf('\n## First program\n')).match(/```js\n([\s\S]*?)```/)?.[1] ?? '';

/** How each package manager installs files, and runs what is installed. */
const MANAGERS = {
  npm: {
    install: (files) => ['npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', ...files],
  },
  pnpm: {
    package: 'pnpm@10',
    install: (files) => ['pnpm', 'add', '--ignore-scripts', ...files],
  },
  yarn: {
    package: 'yarn@1',
    // It asks the registry for what another package wants, and nothing is there before a release.
    manifest: ([, , ...platforms]) => ({
      resolutions: Object.fromEntries(
        platforms.map((file) => [path.basename(file).replace(/-\d+\.\d+\.\d+.*$/, ''), `file:${file}`]),
      ),
    }),
    install: (files) => ['yarn', 'add', '--ignore-scripts', '--no-progress', ...files],
  },
};

/** How this computer reaches a registry. */
const network = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => /^(NODE_EXTRA_CA_CERTS|SSL_CERT_\w+|(https?|no)_proxy)$/i.test(name)),
);

async function newcomer(name, tarballs, PATH) {
  const folder = temporaryDirectory(`engine-${name}`);
  const { package: manager, install, manifest = () => ({}) } = MANAGERS[name];
  const env = {
    ...network,
    NO_UPDATE_NOTIFIER: '1',
    PATH: `${path.join(folder, 'tools/node_modules/.bin')}${path.delimiter}${PATH}`,
    HOME: folder,
  };
  const as = isRoot ? ['setpriv', '--reuid', String(UID), '--regid', String(UID), '--clear-groups'] : [];
  const project = path.join(folder, 'project');
  const ownIn = (cwd, ...words) => {
    const [program, ...args] = [...as, ...words];
    return run(program, args, { cwd, env, maxBuffer: 1 << 24 });
  };
  const own = (...words) => ownIn(project, ...words);
  try {
    mkdirSync(path.join(folder, 'tools'));
    mkdirSync(project);
    writeFileSync(path.join(project, 'package.json'), JSON.stringify({ private: true, ...manifest(tarballs) }));
    writeFileSync(path.join(project, 'first.mjs'), FIRST);
    const all = [folder, path.join(folder, 'tools'), project, path.join(project, 'package.json')];
    if (isRoot) for (const entry of all) chownSync(entry, UID, UID);
    if (manager) await ownIn(path.join(folder, 'tools'), 'npm', 'install', '--no-audit', '--no-fund', manager);
    const begun = performance.now();
    await own(...install(tarballs));
    const installed = performance.now();
    const started = await own('npx', '--no-install', 'nullspace', 'engine', '--background', '--port', '0');
    assert.match(started.stdout, /^The engine runs in the background\.$/m);
    const { stdout } = await own('node', 'first.mjs');
    assert.match(stdout, /^hello from \S+\n/);
    const took = seconds(installed);
    assert.ok(took < LIMIT_S, `${took} s from the installation to the first output`);
    const { stdout: found } = await own('npx', '--no-install', 'nullspace', 'doctor', '--json');
    assert.equal(JSON.parse(found).engineFrom, 'the npm package nullspace-engine');
    if (name === 'npm') {
      const { stdout: version } = await own('npx', '--no-install', 'nullspace-engine', '--version');
      assert.match(version, /^nullspace-engine \d+\.\d+\.\d+\n$/);
    }
    return `${name} install ${((installed - begun) / 1000).toFixed(1)} s, first output ${took.toFixed(1)} s later`;
  } finally {
    await own('npx', '--no-install', 'nullspace', 'engine', 'stop').catch(() => {});
    removeDirectory(folder);
  }
}

cleanUpOnSignals();
let [passed, failed] = [0, 0];
const folder = temporaryDirectory('engine-tarballs');
try {
  chmodSync(folder, 0o755);
  const program = path.join(folder, 'nullspace-engine');
  copyFileSync(binary, program);
  await run('strip', [program]);
  const platform = `${process.platform}-${process.arch}`;
  const packed = await packEngine(step, { [platform]: program }, path.join(folder, 'packed'));
  const tarballs = [options.tarball, ...packed].map((file) => {
    const copy = path.join(folder, path.basename(file));
    copyFileSync(file, copy);
    return copy;
  });
  const PATH = pathWithoutRust(path.join(folder, 'bin'));
  for (const name of options.all ? Object.keys(MANAGERS) : ['npm']) {
    try {
      console.log(`ok     a newcomer without Rust: ${await newcomer(name, tarballs, PATH)}`);
      passed += 1;
    } catch (error) {
      failed += 1;
      console.log(
        `FAILED a newcomer without Rust, ${name}\n${error.stdout ?? ''}${error.stderr ?? ''}${error.message}`,
      );
    }
  }
} finally {
  removeDirectory(folder);
  await endAll();
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
