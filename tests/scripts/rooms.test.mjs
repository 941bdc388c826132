// Imports between rooms point one way: the order that a crate writes down is the one that its files keep.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { inRoot } from '../../scripts/lib/project.mjs';

/** Rooms by their height, from the line of arrows in a doc comment. Those beside each other do not know each other. */
function heights(text) {
  const [, arrows] = text.match(/^\/\/! Imports point one way: `([^`]+)`/m) ?? [];
  assert.ok(arrows, 'no line "Imports point one way"');
  const levels = arrows.split('->').map((level) => level.split(',').map((name) => name.trim()));
  return new Map(levels.reverse().flatMap((names, height) => names.map((name) => [name, height])));
}

/** The paths of a tree such as `a::{b, c::d}`, each as its names; `rest` begins with the tree. */
function expand(rest) {
  const [head, name, colons] = rest.match(/^\s*(\w+|\*)(\s*::\s*)?/) ?? [''];
  if (!name) return { paths: [], length: 0 };
  if (!colons) return { paths: [[name]], length: head.length };
  let length = head.length;
  if (rest[length] !== '{') {
    const below = expand(rest.slice(length));
    return { paths: below.paths.map((path) => [name, ...path]), length: length + below.length };
  }
  const paths = [];
  do {
    length += 1;
    const below = expand(rest.slice(length));
    paths.push(...below.paths.map((path) => [name, ...path]));
    length += below.length;
    length += rest.slice(length).match(/^(\s+as\s+\w+)?\s*/)[0].length;
  } while (rest[length] === ',');
  return { paths, length: length + 1 };
}

/** What a file names of its crate, as paths from the root of the crate. */
function imports(file, text) {
  const code = text.replace(/\/\/.*/g, '');
  const modules = file.replace(/\.rs$/, '').split('/');
  if (modules.at(-1) === 'mod') modules.pop();
  const tests = code.indexOf('#[cfg(test)]\nmod tests');
  return [...code.matchAll(/(?<![\w:]|pub\(in )(crate|super)::/g)].flatMap(({ index }) => {
    const inTests = tests >= 0 && index > tests ? ['tests'] : [];
    return expand(code.slice(index)).paths.map((path) => {
      const climbs = path.findIndex((name) => name !== 'super');
      if (climbs === 0) return path.slice(1);
      const here = [...modules, ...inTests];
      return [...here.slice(0, here.length - climbs), ...path.slice(climbs)];
    });
  });
}

/** Imports of the files below `folder` that point up, or beside, in the order that its `map` writes down. */
function upward(folder, map, { within = [], everywhere = [] } = {}) {
  const order = heights(readFileSync(join(folder, map), 'utf8'));
  const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.rs'));
  const met = new Set();
  const wrong = files.flatMap((name) => {
    const room = name.split('/')[0].replace(/\.rs$/, '');
    if (['lib', 'main', 'mod', ...everywhere].includes(room)) return [];
    met.add(room);
    if (!order.has(room)) return [`${name}: the order names no ${room}`];
    const crate = imports([...within, name].join('/'), readFileSync(join(folder, name), 'utf8'));
    const inside = crate.filter((path) => within.every((part, at) => path[at] === part));
    return [...new Set(inside.map((path) => path[within.length] ?? 'all of it'))]
      .filter((other) => other !== room && !everywhere.includes(other))
      .filter((other) => !(order.get(other) < order.get(room)))
      .map((other) => `${name} -> ${other}`);
  });
  assert.deepEqual(
    [...order.keys()].filter((room) => !met.has(room)),
    [],
    'rooms that are not there',
  );
  return wrong;
}

test('a tree of imports is read to its leaves, and from where it stands', () => {
  const text = `use super::run::{Done, Failure};
use crate::machine::{ground::{clock, Error as E}, Engine}; // use crate::cli::Gone;
pub(in crate::machine) fn f() { super::super::life::end(); crate::hops::x() }
#[cfg(test)]
mod tests {
    use super::*;
}`;
  assert.deepEqual(
    imports('machine/builds/cache.rs', text).map((path) => path.join('::')),
    [
      'machine::builds::run::Done',
      'machine::builds::run::Failure',
      'machine::ground::clock',
      'machine::ground::Error',
      'machine::Engine',
      'machine::life::end',
      'hops::x',
      'machine::builds::cache::*',
    ],
  );
});

test('no room of the SDK imports upwards', () => {
  assert.deepEqual(upward(inRoot('src'), 'lib.rs'), []);
});

test('no room of the engine imports upwards', () => {
  assert.deepEqual(upward(inRoot('crates/engine/src'), 'lib.rs'), []);
});

test('no room of engine/machine imports upwards', () => {
  const owners = ['Engine', 'live'];
  assert.deepEqual(
    upward(inRoot('crates/engine/src/machine'), 'mod.rs', { within: ['machine'], everywhere: owners }),
    [],
  );
});
