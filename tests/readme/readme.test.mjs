// Every code block of README.md and of docs/ runs, each as a program of its own, against an engine of an ordinary user: that is what
// somebody has who installed the package and typed the first command.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { cleanUpOnSignals, endAll, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { startEngine, withoutRights } from '../../scripts/lib/engine.mjs';
import { blocks, documents } from './extract.mjs';

const run = promisify(execFile);
const here = new URL('.', import.meta.url);
const texts = documents();
const root = process.env.NULLSPACE_TEST_ROOT;

cleanUpOnSignals();
let engine;
let folder;
before(async () => {
  engine = await startEngine(withoutRights(process.env.NULLSPACE_TEST_ENGINE, temporaryDirectory('engine')));
  // The folder of a project, which has a folder `src`.
  folder = temporaryDirectory('docs');
  mkdirSync(path.join(folder, 'src'));
  writeFileSync(path.join(folder, 'src', 'index.js'), 'export {};\n');
});
after(async () => {
  const how = await engine?.stop();
  await endAll();
  assert.equal(how?.code, 0);
});

const expected = texts.flatMap((text) => blocks(text).map((block) => ({ file: text.file, ...block })));

test('there are blocks, and each was made a program', () => {
  assert.ok(expected.length >= 30, `${expected.length} blocks`);
  const programs = readdirSync(new URL('blocks', here)).filter((name) => name.endsWith('.mjs'));
  assert.deepEqual(programs.sort(), expected.map(({ name }) => `${name}.mjs`).sort());
});

test('JavaScript blocks run as they stand', () => {
  const hiding = expected.filter(({ extension, hides }) => extension === 'mjs' && hides);
  assert.deepEqual(hiding, []);
});

for (const { file, name, line } of expected) {
  test(`${file} line ${line}: ${name}`, async () => {
    await run(process.execPath, [new URL(`blocks/${name}.mjs`, here).pathname], {
      cwd: folder,
      env: {
        ...process.env,
        NULLSPACE_API_URL: engine.url,
        NULLSPACE_API_KEY: engine.apiKey,
        NULLSPACE_ENGINE: process.env.NULLSPACE_TEST_ENGINE,
      },
      timeout: 60_000,
    });
  });
}

test('no block leaves a machine or a pool behind', async () => {
  for (const [path, items] of [
    ['/v1/machines', 'machines'],
    ['/v1/template-warm-pools?state=enabled', 'pools'],
  ]) {
    const answer = await fetch(engine.url + path, { headers: { authorization: `Bearer ${engine.apiKey}` } });
    assert.deepEqual((await answer.json()).items, [], `${items} are left`);
  }
});

test('the commands they name exist', () => {
  const { scripts } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'));
  const all = texts.map(({ text }) => text).join('\n');
  const named = new Set([...all.matchAll(/npm (?:run )?(start|test|(?<=run )[\w:]+)/g)].map((m) => m[1]));
  assert.ok(named.size >= 5, [...named].join());
  for (const name of named) assert.ok(Object.hasOwn(scripts, name), `npm run ${name}`);
});

test('the links of the project lead somewhere', () => {
  for (const { file, text } of texts) {
    for (const [, link] of text.matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)) {
      assert.ok(existsSync(path.join(root, path.dirname(file), link)), `${file} links to ${link}`);
    }
  }
});

test('the README is for one sitting', () => {
  const { text } = texts.find(({ file }) => file === 'README.md');
  const lines = text.split('\n').length;
  assert.ok(lines <= 150, `it has ${lines} lines: at most 150, the rest belongs into docs/`);
});

test('every guide is in the list of guides', () => {
  const list = texts.find(({ file }) => file === 'docs/README.md').text;
  for (const { file } of texts.filter(({ file }) => /^docs\/(?!README)/.test(file))) {
    assert.ok(list.includes(`](${path.basename(file)})`), `docs/README.md does not name ${file}`);
  }
});

test('blocks of other packages are theirs', () => {
  for (const { file, text } of texts) {
    for (const [, name, code] of text.matchAll(/^```(?:ts|js) (\w+)\n([\s\S]*?)^```/gm)) {
      assert.match(code, new RegExp(`^import .* from '@?[\\w/-]*${name}`), `${file}: ${name}`);
      assert.ok(!code.includes("'nullspace'"), file);
    }
  }
});
