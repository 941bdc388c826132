// What the guides name exists.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { inRoot } from '../../scripts/lib/project.mjs';
import { drawn, LINES, PICTURE } from '../../scripts/recording.mjs';

const read = (...parts) => readFileSync(inRoot(...parts), 'utf8');
const declarations = read('pkg-template', 'index.d.ts');

test('docs/troubleshooting.md names errors as the source says them', () => {
  const sources = ['src', 'crates/engine/src', 'crates/agent/src', 'pkg-template/lib', 'cli'].flatMap((folder) =>
    readdirSync(inRoot(folder), { recursive: true })
      .filter((name) => /\.(rs|m?js)$/.test(name))
      .map((name) => read(folder, name)),
  );
  // The system adds what it says of a file: the error is ours up to there.
  const systems = ['No such file or directory'];
  // A text of Rust may go over lines.
  const all = [...sources, ...systems].join('\n').replaceAll(/\\\n\s*/g, '');
  const headings = [...read('docs', 'troubleshooting.md').matchAll(/^### `(.*)`$/gm)].map(([, text]) => text);
  assert.ok(headings.length >= 20, `${headings.length} errors`);
  const missing = headings.filter((text) => !text.split(/…|: /).every((piece) => all.includes(piece.trim())));
  assert.deepEqual(missing, []);
});

for (const [page, least] of [
  ['migrate-from-e2b.md', 30],
  ['migrate-from-daytona.md', 30],
]) {
  test(`docs/${page} leads to calls and classes that there are`, () => {
    const cells = [
      ...read('docs', page).matchAll(/^\| (?!Daytona|e2b)(?:(?:\\\||[^|])*) \| ((?:\\\||[^|])*) \|/gm),
    ].map(([, cell]) => cell);
    assert.ok(cells.length >= least, `${cells.length} rows`);
    const spans = cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code));
    const missing = spans.flatMap((code) => [
      ...[...code.matchAll(/(?<=\.)(\w+)\(/g)]
        .map(([, name]) => name)
        .filter((name) => !new RegExp(`\\b${name}[(<]`).test(declarations)),
      ...[...code.matchAll(/\b[A-Z]\w+\b(?=[.]|$)/g)]
        .map(([name]) => name)
        .filter((name) => !/^[A-Z_]+$/.test(name) && !new RegExp(`class ${name}\\b`).test(declarations)),
      ...[...code.matchAll(/\b([a-z]\w*): /g)]
        .map(([, name]) => name)
        .filter((name) => !new RegExp(`\\b${name}\\??: `).test(declarations)),
    ]);
    assert.deepEqual(missing, []);
  });
}

test('every page of docs/ ends with a line, and has one title', () => {
  for (const name of readdirSync(inRoot('docs')).filter((name) => path.extname(name) === '.md')) {
    const text = read('docs', name);
    assert.match(text, /[^\n]\n$/, name);
    assert.equal(text.replaceAll(/^```[\s\S]*?^```/gm, '').match(/^# /gm)?.length, 1, name);
  }
});

test('what the engine suggests is said in names of the SDK', () => {
  const texts = readdirSync(inRoot('crates/engine/src'), { recursive: true })
    .filter((name) => name.endsWith('.rs'))
    .flatMap((name) => [...read('crates/engine/src', name).matchAll(/with_action\(\s*"((?:[^"\\]|\\.)*)"/g)])
    .map(([, text]) => text);
  assert.ok(texts.length >= 30, `${texts.length} texts`);
  // `timeout`, not `timeout_secs`: options have no underscore.
  assert.deepEqual(
    texts.filter((text) => /`[a-z]+_[a-z_]+`/.test(text)),
    [],
  );
});

test('the picture of README.md plays the commands of its script', () => {
  assert.ok(read('README.md').includes(`](${path.relative(inRoot(), PICTURE)})`));
  const text = readFileSync(PICTURE, 'utf8').replaceAll('&lt;', '<').replaceAll('&amp;', '&');
  const typed = [...text.matchAll(/class="prompt">\$ <\/tspan>(.*)<\/text>/g)].map(([, line]) => line);
  const [first, second] = [...new Set(text.match(/mch_\w+/g))];
  assert.deepEqual(
    typed.map((line) => line.replaceAll(first, 'ID').replaceAll(second, 'FORK')),
    LINES,
    'run `node scripts/recording.mjs` and commit the picture',
  );
  assert.match(drawn([{ typed: 'echo "<&"', printed: ['<&'] }]), /echo "&lt;&amp;".*\n.*>&lt;&amp;</);
});
