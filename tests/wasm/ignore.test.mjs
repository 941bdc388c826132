// Patterns of `.nullspaceignore`. Expected values are those of `git check-ignore`.

import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import test from 'node:test';

import { pkg } from './package.mjs';

const { default: ignoring } = await import(new URL('lib/ignore.js', pkg));

const leftOut = (patterns, paths) => {
  const rules = ignoring().add(patterns);
  return paths.filter((path) => rules.ignores(path));
};

test('patterns mean what they mean in .gitignore', () => {
  for (const [patterns, out, kept] of [
    ['*.log', ['a.log', 'sub/b.log', '.log', 'A.LOG'], ['a.log.txt', 'log']],
    ['node_modules/', ['node_modules/', 'sub/node_modules/x'], ['node_modules']],
    ['/build', ['build', 'build/x'], ['sub/build']],
    ['docs/*.md', ['docs/a.md'], ['docs/sub/a.md', 'sub/docs/a.md']],
    ['**/cache', ['cache', 'a/cache', 'a/b/cache/x'], ['caches']],
    ['a/**/b', ['a/b', 'a/x/b', 'a/x/y/b'], ['ab', 'x/a/b']],
    ['a/**', ['a/x', 'a/x/y'], ['a', 'a/']],
    ['**', ['a', 'a/b'], []],
    ['a**b', ['ab', 'axb'], ['a/b']],
    ['?.js', ['a.js', 'ä.js', '😀.js'], ['ab.js', '.js']],
    ['[a-c].js', ['b.js', 'B.js'], ['d.js']],
    ['[!a-c].js', ['d.js'], ['a.js']],
    ['[]x]', [']', 'x'], ['[']],
    ['[[:digit:]]', ['7'], ['a']],
    ['[a', [], ['[a', 'a']],
    ['\\#a\n# a comment\n\n', ['#a'], ['# a comment', 'a']],
    ['\\!a', ['!a'], ['a']],
    ['a \nb\\ \r\n', ['a', 'b '], ['a ', 'b']],
    ['a\\', [], ['a', 'a\\']],
    ['*.log\n!keep.log', ['a.log'], ['keep.log']],
    ['sub/\n!sub/keep', ['sub/keep'], []],
    ['/*\n!/keep', ['a', 'a/b'], ['keep', 'keep/b']],
    [['*.map', '/dist'], ['a.map', 'dist/x'], ['sub/dist']],
  ])
    assert.deepEqual(leftOut(patterns, [...out, ...kept]), out, String(patterns));
});

test('no pattern takes long, whatever the names', () => {
  const begun = performance.now();
  for (const pattern of [
    `${'*a'.repeat(20)}*b`,
    `${'a*'.repeat(100)}c`,
    `${'[a-z]*'.repeat(50)}9`,
    `${'**/a/'.repeat(40)}b`,
    `${'**'.repeat(60)}b`,
    `${'?*'.repeat(60)}b`,
  ])
    assert.deepEqual(leftOut(pattern, ['a'.repeat(255), `${'a/'.repeat(300)}x`, `${'aa/'.repeat(300)}x`]), [], pattern);
  assert.ok(performance.now() - begun < 2000, `${performance.now() - begun} ms`);
});
