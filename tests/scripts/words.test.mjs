import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { devDir, inRoot } from '../../scripts/lib/project.mjs';
import { filesToRead, phrases, used } from '../../scripts/words.mjs';

test('the phrases of CONTRIBUTING.md are found wherever they stand, and say what to write', () => {
  const list = phrases();
  assert.ok(list.length >= 20, `${list.length} phrases`);
  const text = ['/**', ' * The call is asked for', ' * again, and goes on.', ' */'].join('\n');
  assert.deepEqual(used('file.d.ts', text, list), [
    'file.d.ts:2: not "asked for again" but retried, repeated',
    'file.d.ts:3: not "goes on" but continue, start from',
  ]);
  assert.deepEqual(used('file.md', 'The cargo on board.', list), []);
});

test('what people read is read', () => {
  const files = filesToRead();
  for (const file of ['README.md', 'docs/errors.md', 'pkg-template/index.d.ts', 'cli/table.mjs']) {
    assert.ok(files.includes(file), file);
  }
  assert.deepEqual(
    files.filter((file) => !existsSync(inRoot(file))),
    [],
  );
});

test('a misspelt word fails the check, a word of words.txt does not', () => {
  const folder = mkdtempSync(path.join(devDir, 'words-'));
  try {
    const file = path.join(folder, 'page.md');
    const check = (text) => {
      writeFileSync(file, text);
      const args = ['--config', inRoot('cspell.json'), '--root', folder, '--no-progress', '--words-only', file];
      return spawnSync(inRoot('node_modules', '.bin', 'cspell'), args, { encoding: 'utf8' });
    };
    const wrong = check('A machien is isolated.\n');
    assert.match(wrong.stdout, /machien/);
    assert.equal(wrong.status, 1);
    const [word] = readFileSync(inRoot('words.txt'), 'utf8')
      .split('\n')
      .filter((line) => /^[a-z]{6,}$/.test(line));
    assert.equal(check(`A machine has ${word}.\n`).status, 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('words.txt is in order, each word once', () => {
  const words = readFileSync(inRoot('words.txt'), 'utf8')
    .split('\n')
    .filter((line) => line && !line.startsWith('#'));
  assert.deepEqual(words, [...new Set(words)].sort());
});
