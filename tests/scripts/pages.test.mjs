// The parts of docs/ that say again what the source says.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { ownCodes } from '../../scripts/pages/errors.mjs';
import { limitsSource } from '../../scripts/pages/limits.mjs';
import { PARTS, pageFile, renewed } from '../../scripts/pages.mjs';

const page = (name) => readFileSync(pageFile(name), 'utf8');
const part = (name, section) => page(name).match(new RegExp(`<!-- ${section}:[\\s\\S]*<!-- /${section} -->`))[0];
const rows = (text) => [...text.matchAll(/^\| (?!\w+ \|)(.*) \|$/gm)].map(([, row]) => row.split(/ (?<!\\)\| /));

for (const name of Object.keys(PARTS)) {
  test(`docs/${name} says what the source says`, async () => {
    assert.equal(page(name), await renewed(name), 'run `node scripts/pages.mjs` and commit the page');
  });
}

test('docs/limits.md shows every limit that both sides check', () => {
  const constants = limitsSource().match(/^pub const /gm).length;
  assert.equal(part('limits.md', 'limits').match(/^\| (?!what)/gm).length, constants);
});

test('docs/errors.md shows the class of each kind that Rust knows', () => {
  const source = readFileSync(new URL('../../src/core/error.rs', import.meta.url), 'utf8');
  const [, list] = source.match(/^kinds! \{([^}]*)\}/m);
  const names = list.match(/\w+/g).map((kind) => (kind === 'Other' ? 'NullspaceError' : `${kind}Error`));
  assert.deepEqual(
    rows(part('errors.md', 'classes')).map(([name]) => name.trim()),
    names.map((name) => `\`${name}\``),
  );
});

test('docs/errors.md explains every code that the SDK gives by itself', () => {
  const [, table] = page('errors.md').split('## Codes of the SDK');
  const explained = [...table.matchAll(/^\| `(\w+)` \| `(\w+)` \| .{10,} \|$/gm)].map(([, code, name]) => [code, name]);
  assert.deepEqual(explained, [...ownCodes()].sort());
});

test('every option says what it is, and what holds without it or that it is required', () => {
  const all = rows(part('options.md', 'options'));
  assert.ok(all.length > 250, `${all.length} options`);
  assert.deepEqual(
    all.filter((cells) => cells.length !== 3 || cells[1].trim() === '').map(([name]) => name),
    [],
  );
});

test('the table of commands has their arguments and their flags', () => {
  const text = part('command-line.md', 'commands');
  for (const command of ['machine create', 'machine exec <machine> [command...]', 'run [command...]', 'doctor']) {
    assert.ok(text.includes(`| \`${command}\` |`), command);
  }
  assert.match(text, /\| `-t, --template <name>` \| `create` \|/);
});
