// Looks at the packed package without running it: publint, attw, the declarations against the built classes, type
// tests under each kind of module resolution, what the files hold, what may not be in the wasm.
//
//   node tests/packaging/check.mjs --tarball dist/nullspace-0.1.0.tgz
//
// Ends with 'N passed, N failed'.

import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, '../..');
const { values: options } = parseArgs({ options: { tarball: { type: 'string' } } });
if (!options.tarball) {
  console.error('usage: node tests/packaging/check.mjs --tarball dist/nullspace-<version>.tgz');
  process.exit(2);
}
const tarball = path.resolve(options.tarball);
const bin = (name) => path.join(root, 'node_modules/.bin', name);

const run = (program, args, cwd = root) =>
  new Promise((resolve, reject) =>
    execFile(program, args, { cwd, maxBuffer: 1 << 24 }, (error, stdout, stderr) =>
      error ? reject(new Error(`${path.basename(program)}\n${stdout}${stderr}`.slice(0, 6000))) : resolve(stdout),
    ),
  );

const work = await mkdtemp(path.join(tmpdir(), 'nullspace-check-'));
const project = path.join(work, 'project');
const installed = path.join(project, 'node_modules/nullspace');

/** ES modules alone, as what takes them is; their types are checked in consumers/agent-frameworks. */
const ADAPTERS = ['./ai-sdk', './bash-tool', './langchain', './mastra', './openai'];

const RESOLUTIONS = [
  ['node16 ESM', { module: 'node16', moduleResolution: 'node16' }, 'mts'],
  ['node16 CJS', { module: 'node16', moduleResolution: 'node16' }, 'cts'],
  ['nodenext ESM', { module: 'nodenext', moduleResolution: 'nodenext' }, 'mts'],
  ['nodenext CJS', { module: 'nodenext', moduleResolution: 'nodenext' }, 'cts'],
  ['bundler', { module: 'esnext', moduleResolution: 'bundler' }, 'ts'],
  ['bundler, preserve', { module: 'preserve', moduleResolution: 'bundler' }, 'ts'],
];

const typesFolder = async () => {
  const folder = path.join(project, `types-${Math.random().toString(36).slice(2)}`);
  await mkdir(folder);
  return folder;
};

const types = async (settings, extension, skipLibCheck) => {
  const folder = await typesFolder();
  for (const name of ['must-compile', 'must-not-compile'])
    await cp(path.join(here, 'types', `${name}.ts`), path.join(folder, `${name}.${extension}`));
  const compilerOptions = {
    ...settings,
    target: 'es2022',
    lib: ['es2022', 'dom', 'dom.iterable', 'esnext.disposable'],
    types: [],
    strict: true,
    exactOptionalPropertyTypes: false,
    noUncheckedIndexedAccess: true,
    noEmit: true,
    skipLibCheck,
  };
  await writeFile(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*'] }));
  await run(bin('tsc'), ['--project', folder], folder);
};

/** A program for Node alone, whose compiler is told nothing of browsers. What it says of other packages' declarations is theirs. */
const typesOfNode = async () => {
  const folder = await typesFolder();
  await cp(path.join(here, 'types', 'node.ts'), path.join(folder, 'node.mts'));
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2022',
    lib: ['es2022'],
    types: ['node'],
    typeRoots: [path.join(root, 'node_modules/@types')],
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    skipLibCheck: false,
  };
  await writeFile(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*'] }));
  const said = await run(bin('tsc'), ['--project', folder], folder).catch((error) => error.message);
  const ours = said.split('\n').filter((line) => /^(node\.mts|\S*node_modules\/nullspace\/)/.test(line));
  if (ours.length > 0) throw new Error(ours.join('\n'));
};

/** Names of the members that the declarations give a class, by class. */
const declared = (text) => {
  const classes = new Map();
  for (const [, name, body] of text.matchAll(/^export class (\w+)[^{]*\{\n([\s\S]*?)^\}/gm)) {
    const members = { static: new Set(), own: new Set() };
    for (const [, isStatic, member] of body.matchAll(/^ {2}(static )?(?:readonly |get )?(\w+)[<(:?]/gm)) {
      if (member !== 'private' && member !== 'constructor') members[isStatic ? 'static' : 'own'].add(member);
    }
    classes.set(name, members);
  }
  return classes;
};

const checks = {
  'publint has nothing to say': async () => {
    const { publint } = await import('publint');
    const { formatMessage } = await import('publint/utils');
    const { messages } = await publint({ pkgDir: installed, level: 'suggestion', strict: true });
    const manifest = JSON.parse(await readFile(path.join(installed, 'package.json'), 'utf8'));
    if (messages.length > 0) throw new Error(messages.map((message) => formatMessage(message, manifest)).join('\n'));
  },
  'attw has nothing to say': () =>
    run(bin('attw'), [tarball, '--no-color', '--format', 'ascii', '--exclude-entrypoints', ...ADAPTERS]),
  'the declarations name the classes and members that are there': async () => {
    const sdk = await import(pathToFileURL(path.join(installed, 'node.mjs')));
    const text = await readFile(path.join(installed, 'index.d.ts'), 'utf8');
    const values = [...text.matchAll(/^export (?:class|const|function) (\w+)/gm)].map(([, name]) => name).sort();
    compare('exports', values, Object.keys(sdk).sort());
    for (const [name, members] of declared(text)) {
      const type = sdk[name];
      if (type.prototype instanceof Error || name === 'Nullspace') continue;
      const own = Object.getOwnPropertyNames(type.prototype).filter(
        (key) => key !== 'constructor' && !key.startsWith('__'),
      );
      // The one class that is plain data.
      if (name === 'Execution') own.push(...Object.keys(new type()));
      compare(`${name} (instance)`, [...members.own].sort(), own.sort());
      const statics = Object.getOwnPropertyNames(type).filter(
        (key) => typeof type[key] === 'function' && !key.startsWith('__') && key !== 'prototype',
      );
      compare(`${name} (static)`, [...members.static].sort(), statics.sort());
    }
  },
  'every option says its default': async () => {
    const text = await readFile(path.join(installed, 'index.d.ts'), 'utf8');
    const silent = [];
    for (const [, name, body] of text.matchAll(/^export interface (\w+Options)[^{]*\{\n([\s\S]*?)^\}/gm)) {
      for (const [, comment, option] of body.matchAll(/( {2}\/\*\*[\s\S]*?\*\/)\n {2}(\w+)\?:/g)) {
        if (
          !comment.includes('@default') &&
          !['signal', 'onRequest', 'onResponse', 'onProgress', 'allowOut', 'denyOut'].includes(option)
        )
          silent.push(`${name}.${option}`);
      }
      const undocumented = [...body.matchAll(/(?:^|[^/])\n {2}(\w+)\?:/g)].map(
        ([, option]) => `${name}.${option} has no comment`,
      );
      silent.push(...undocumented.filter((line) => !body.includes(`*/\n  ${line.split(/[. ]/)[1]}?:`)));
    }
    if (silent.length > 0) throw new Error(silent.join('\n'));
  },
  'both declaration files hold the same text': async () => {
    if (
      (await readFile(path.join(installed, 'index.d.ts'), 'utf8')) !==
      (await readFile(path.join(installed, 'index.d.cts'), 'utf8'))
    )
      throw new Error('index.d.ts and index.d.cts differ');
  },
  'no file names the computer it was built on': async () => {
    // Not all of the home: that of the root of machines is /root, too.
    const own = ['.cargo', '.rustup', '.cache'].map((name) => path.join(homedir(), name));
    const secrets = [root, ...own, process.env.CARGO_HOME].filter((text) => text && text !== '/');
    for (const entry of await readdir(installed, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = path.join(entry.parentPath, entry.name);
      const bytes = await readFile(file);
      for (const secret of secrets)
        if (bytes.includes(secret.endsWith('/') ? secret : `${secret}/`))
          throw new Error(`${entry.name} holds ${secret}`);
    }
  },
  'the package has one dependency, no install script, and one wasm': async () => {
    const manifest = JSON.parse(await readFile(path.join(installed, 'package.json'), 'utf8'));
    // For Node, whose own WebSocket comes late and sends no headers.
    compare('dependencies', Object.keys(manifest.dependencies), ['ws']);
    if (Object.keys(manifest.scripts ?? {}).length > 0) throw new Error('it has scripts');
    const modules = (await readdir(installed, { recursive: true })).filter((name) => name.endsWith('.wasm'));
    compare('wasm files', modules, ['nullspace.wasm']);
  },
  'no traps are in it': async () => {
    if ((await readFile(path.join(installed, 'lib/glue.js'), 'utf8')).includes('Traps'))
      throw new Error('this is the build for crash tests');
  },
  'no entry but that of Node names a Node built-in': async () => {
    const parts = (await readdir(path.join(installed, 'lib'))).filter(
      (name) => name.endsWith('.js') && !name.startsWith('node-') && name !== 'find-engine.js',
    );
    for (const name of ['index.js', 'inline.js', 'worker.js', 'edge.js', ...parts.map((part) => `lib/${part}`)]) {
      const text = await readFile(path.join(installed, name), 'utf8');
      if (/\bprocess\.\w|\brequire\(|from ['"]node:|\bBuffer\b/.test(text)) throw new Error(`${name} does`);
    }
  },
};
for (const [name, settings, extension] of RESOLUTIONS) {
  for (const skip of [false, true])
    checks[`types: ${name}${skip ? ', skipLibCheck' : ''}`] = () => types(settings, extension, skip);
}

checks['types: Node without those of browsers'] = typesOfNode;

function compare(what, left, right) {
  if (JSON.stringify(left) !== JSON.stringify(right)) {
    const only = (a, b) => a.filter((name) => !b.includes(name)).join(', ') || 'nothing';
    throw new Error(`${what}: only declared: ${only(left, right)}; only built: ${only(right, left)}`);
  }
}

let passed = 0;
let failed = 0;
try {
  await mkdir(project);
  await writeFile(path.join(project, 'package.json'), '{ "private": true }');
  await run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', tarball], project);
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      passed += 1;
      console.log(`ok     ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}\n${error.message.replace(/^/gm, '       ')}`);
    }
  }
} finally {
  await rm(work, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
