// Patterns of `.dockerignore`.

import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import test from 'node:test';

import TABLE from './dockerignore-table.mjs';
import { pkg } from './package.mjs';

const { default: rulesOf } = await import(new URL('lib/dockerignore.js', pkg));

const ignores = (rules, path) => rules.ignores(path.replace(/\/$/, ''), path.endsWith('/'));

for (const [patterns, out, kept] of TABLE)
  test(`.dockerignore ${JSON.stringify(patterns)}`, () => {
    const rules = rulesOf(patterns);
    for (const path of out) assert.equal(ignores(rules, path), true, `${path} is left out`);
    for (const path of kept) assert.equal(ignores(rules, path), false, `${path} is kept`);
  });

test('a pattern that is no pattern is refused by its text', () => {
  for (const bad of ['[', '[a', '[]', '[]a]', '[^]', '[a-]', '[-x]', 'a\\', '!', '!  ', '!/'])
    assert.throws(
      () => rulesOf([bad]),
      { name: 'InvalidRequestError', message: /of \.dockerignore is malformed/ },
      bad,
    );
});

test('a directory that is left out is looked into only when something in it may be kept', () => {
  for (const [patterns, path, expected] of [
    [['docs'], 'docs', false],
    [['docs', '!docs/keep.md'], 'docs', true],
    [['docs', '!docs/a/keep.md'], 'docs/a', true],
    [['docs', '!docs/a/keep.md'], 'docs/b', false],
    [['node_modules', '!README.md'], 'node_modules', false],
    [['**', '!**/keep'], 'any/where', true],
    [['*', '!src/*.js'], 'src', true],
    [['*', '!src/*.js'], 'lib', false],
  ])
    assert.equal(rulesOf(patterns).mayKeep(path), expected, `${patterns} ${path}`);
});

test('no pattern takes for ever', () => {
  const rules = rulesOf([`${'**/a*'.repeat(30)}b`, `${'*a'.repeat(100)}b`]);
  const begun = performance.now();
  assert.equal(rules.ignores(`${'a/'.repeat(100)}${'a'.repeat(200)}`, false), false);
  assert.ok(performance.now() - begun < 20_000);
});
